import pytest

from object_detection_mtl.reporting import page


def test_a_file_appears_complete(tmp_path):
    path = tmp_path / "new" / "report.html"
    page.write_atomically(path, "\u732b")
    assert path.read_text(encoding="utf-8") == "\u732b"
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_a_directory_of_that_name_is_named(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        page.write_atomically(tmp_path / "report.html", "new")
    assert caught.value.filename == str(tmp_path / "report.html")


def test_an_interrupted_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("earlier")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(page.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        page.write_atomically(path, "later")
    assert path.read_text() == "earlier"
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
