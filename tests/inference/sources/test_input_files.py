"""Input files that paths, directories and patterns select."""

import pytest

from object_detection_mtl.inference.sources import input_files


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def found(*arguments, **options):
    return [str(file.name) for file in input_files.find([str(a) for a in arguments], **options)]


def test_a_folder_gives_its_pictures_by_name(tmp_path):
    touch(tmp_path, "b.JPG", "a.png", "notes.txt", ".hidden.jpg", "below/c.jpg")
    assert found(tmp_path) == ["a.png", "b.JPG"]
    assert found(tmp_path, recursive=True) == ["a.png", "b.JPG", "below/c.jpg"]


def test_a_named_file_is_taken_whatever_it_is_called(tmp_path):
    touch(tmp_path, "picture", "a.jpg")
    assert found(tmp_path / "picture", tmp_path / "a.jpg") == ["picture", "a.jpg"]


def test_patterns(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "b.png", "deep/er/c.jpg")
    assert found(tmp_path / "*.jpg") == ["a.jpg", "b.jpg"]
    assert found(tmp_path / "**" / "*.jpg") == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    touch(tmp_path, "a[1].jpg", "a1.jpg")
    assert found(tmp_path / "a[1].jpg") == ["a[1].jpg"]


def test_a_file_that_is_meant_twice_is_taken_once(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    assert found(tmp_path / "b.jpg", tmp_path, tmp_path / "*.jpg") == ["b.jpg", "a.jpg"]


def test_what_an_earlier_run_drew_is_not_looked_at(tmp_path):
    touch(tmp_path, "a.jpg", "out/pictures/a.jpg")
    assert found(tmp_path, recursive=True, without=tmp_path / "out") == ["a.jpg"]


def test_the_output_folder_is_no_input(tmp_path):
    touch(tmp_path, "out/pictures/a.jpg")
    for folder in ("out", "out/pictures"):
        with pytest.raises(FileNotFoundError, match=f"{folder}' is where the output goes"):
            found(tmp_path / folder, recursive=True, without=tmp_path / "out")


def test_paths_that_mean_nothing(tmp_path):
    touch(tmp_path, "photos/below/a.jpg", "street.jpg")
    for argument, words in [
        ("streat.jpg", r'no file or folder .*streat.jpg.; did you mean "street.jpg"\?'),
        ("nowhere/a.jpg", "nowhere' does not exist either"),
        ("photos", "photos' holds no picture; --recursive searches the folders in it"),
        ("*.gif", r"no file matches .*\*.gif"),
        ("pho*", r"no file matches .*pho\*' \(only folders do\)"),
    ]:
        with pytest.raises(FileNotFoundError, match=words):
            found(tmp_path / argument)
    with pytest.raises(FileNotFoundError, match="no picture was given"):
        input_files.find([])
    with pytest.raises(FileNotFoundError, match="no file or folder ''"):
        input_files.find([""])
