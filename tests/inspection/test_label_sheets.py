"""Label sheets and their HTML page."""

import pytest

from object_detection_mtl.data import input_pipeline
from object_detection_mtl.inspection import label_sheets, label_sources
from tests.data.record_files import example, with_floats, write
from tests.data.test_input_pipeline import as_it_is


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
    assert label_sheets.safe_file_name("2007_000027.jpg") == "2007_000027.jpg"
    assert label_sheets.safe_file_name("../../etc/pass wd") == "_.._etc_pass_wd"
    assert label_sheets.safe_file_name("..") == "image"
    assert label_sheets.safe_file_name("Bär/ü") == "B_r_"
    assert len(label_sheets.safe_file_name("x" * 500)) == 60


RECORDS = {
    "unknown class": example("7", boxes=[[0, 0, 1, 1]] * 2, texts=["cat", "cow"], classes=[1, 1]),
    "clipped": example("7", boxes=[[0, 0, 1.5, 1]]),
    "no area": example("7", boxes=[[0, 0, 1, 1], [0.5, 0, 0.5, 1]], classes=[1, 1]),
}
CORRUPT = {
    "garbage": b"garbage",
    "no image": example("7", data=b"not an image"),
    "lists": with_floats(example("7"), "image/object/bbox/xmin", [0.1, 0.2]),
}


@pytest.fixture
def inspect(tmp_path):
    """Return what inspects a record and returns the record's path."""
    label_map = tmp_path / "map.pbtxt"
    label_map.write_text('item { id: 1 name: "cat" }')

    def run(record):
        path = write(tmp_path / "a.record", record)
        source = label_sources.from_records(str(path), str(label_map))
        label_sheets.write_label_sheets(source, tmp_path / "sheets")
        return path, source.categories

    return run


@pytest.mark.parametrize("kind", RECORDS)
def test_messages_about_objects_are_those_of_training(inspect, caplog, kind):
    path, categories = inspect(RECORDS[kind])
    [message] = [record.getMessage() for record in caplog.records]
    made = input_pipeline.make_pipeline(
        str(path),
        preprocess_fn=as_it_is,
        batch_size=1,
        is_training=False,
        num_classes=1,
        label_map=categories,
    )
    [issue] = next(iter(made.dataset))["example_issues"][0].numpy().nonzero()[0]
    assert message == made.describe(int(issue), 0)


@pytest.mark.parametrize("kind", CORRUPT)
def test_messages_about_corrupt_records_name_the_record(inspect, kind, tmp_path):
    with pytest.raises(ValueError, match=r"a\.record, record 0, at byte 0") as error:
        inspect(CORRUPT[kind])
    assert "{{" not in str(error.value)
