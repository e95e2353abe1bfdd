import pytest

from object_detection_mtl import folders


def test_with_those_above_and_again(tmp_path):
    folders.make(tmp_path / "a" / "b")
    folders.make(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    folders.make("")  # the current one


def test_a_folder_that_takes_no_others_is_not_called_missing():
    with pytest.raises(OSError, match=r"^the folder '/proc/a/b' cannot be made: '/proc' takes no"):
        folders.make("/proc/a/b")


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        folders.make(tmp_path / "file")
