"""Label sheets and their HTML page."""

from object_detection_mtl.inspection import label_sheets


def test_page_escapes_every_name():
    name = '<script>alert("x")</script>&.jpg'
    page = label_sheets.make_page([(name, "0001_a b#.png")], ["skipped: <b>"])
    assert "<script>" not in page
    assert "<b>" not in page
    assert page.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;.jpg") == 2
    assert 'src="0001_a%20b%23.png"' in page
    assert 'href="0001_a%20b%23.png"' in page
    assert "skipped: &lt;b&gt;" in page


def test_file_names_are_safe_whatever_images_are_called():
    assert label_sheets._safe("2007_000027.jpg") == "2007_000027.jpg"
    assert label_sheets._safe("../../etc/pass wd") == "_.._etc_pass_wd"
    assert label_sheets._safe("..") == "image"
    assert label_sheets._safe("Bär/ü") == "B_r_"
    assert len(label_sheets._safe("x" * 500)) == 60
