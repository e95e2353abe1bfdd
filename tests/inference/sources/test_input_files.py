"""Input files of paths, directories and patterns."""

import os

import pytest

from object_detection_mtl.inference.sources import input_files


def touch(directory, *names):
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return directory


def found(*arguments, **options):
    return [
        str(file.name)
        for file in input_files.find_input_files([str(a) for a in arguments], **options)
    ]


# Finding ----------------------------------------------------------------------------------------


def test_the_images_of_a_directory_are_sorted(tmp_path):
    touch(tmp_path, "b.JPG", "a.png", "notes.txt", ".hidden.jpg", "below/c.jpg")
    assert found(tmp_path) == ["a.png", "b.JPG"]
    assert found(tmp_path, recursive=True) == ["a.png", "b.JPG", "below/c.jpg"]


def test_images_that_cannot_be_decoded_are_found_to_be_counted(tmp_path):
    touch(tmp_path, "a.jpg", "b.HEIC", "c.heif", "d.avif")
    assert found(tmp_path) == ["a.jpg", "b.HEIC", "c.heif", "d.avif"]


def test_dangling_links_and_pipes_are_found_to_be_named(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "c.png")
    (tmp_path / "d.jpg").mkdir()
    assert found(tmp_path) == ["a.jpg", "b.jpg", "c.png"]


def test_a_named_file_is_read_whatever_its_extension(tmp_path):
    touch(tmp_path, "image", "a.jpg")
    assert found(tmp_path / "image", tmp_path / "a.jpg") == ["image", "a.jpg"]


def test_patterns(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "b.png", "deep/er/c.jpg")
    assert found(tmp_path / "*.jpg") == ["a.jpg", "b.jpg"]
    assert found(tmp_path / "**" / "*.jpg") == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    touch(tmp_path, "a[1].jpg", "a1.jpg")
    assert found(tmp_path / "a[1].jpg") == ["a[1].jpg"]


def test_a_file_given_twice_is_read_once(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    assert found(tmp_path / "b.jpg", tmp_path, tmp_path / "*.jpg") == ["b.jpg", "a.jpg"]


def test_drawings_of_an_earlier_run_are_not_read(tmp_path):
    touch(tmp_path, "a.jpg", "out/drawn_images/a.jpg")
    assert found(tmp_path, recursive=True, without=tmp_path / "out") == ["a.jpg"]


def test_the_output_directory_is_not_searched(tmp_path):
    touch(tmp_path, "out/drawn_images/a.jpg")
    for directory in ("out", "out/drawn_images"):
        with pytest.raises(FileNotFoundError, match=f"{directory}' is the output directory"):
            found(tmp_path / directory, recursive=True, without=tmp_path / "out")


def test_paths_without_a_match(tmp_path):
    touch(tmp_path, "photos/below/a.jpg", "street.jpg")
    for argument, words in [
        ("streat.jpg", r'no file or directory .*streat.jpg.; did you mean "street.jpg"\?'),
        ("nowhere/a.jpg", "nowhere' does not exist either"),
        ("photos", "photos' has no image; to search its subdirectories, give --recursive"),
        ("*.gif", r"no file matches .*\*.gif"),
        ("pho*", r"no file matches .*pho\*' \(only directories do\)"),
    ]:
        with pytest.raises(FileNotFoundError, match=words):
            found(tmp_path / argument)
    with pytest.raises(FileNotFoundError, match="no image was given"):
        input_files.find_input_files([])
    with pytest.raises(FileNotFoundError, match="no file or directory ''"):
        input_files.find_input_files([""])
