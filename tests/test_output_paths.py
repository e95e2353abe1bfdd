from pathlib import Path

import pytest

from object_detection_mtl import output_paths


def test_make_directory_creates_parents_and_accepts_existing_directories(tmp_path):
    output_paths.make_directory(tmp_path / "a" / "b")
    output_paths.make_directory(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    output_paths.make_directory("")  # the current one


def test_error_names_the_parent_that_accepts_no_directories():
    expected = r"^the directory '/proc/a/b' cannot be created: '/proc' accepts no new directories"
    with pytest.raises(OSError, match=expected):
        output_paths.make_directory("/proc/a/b")


def test_make_directory_fails_where_a_file_has_the_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        output_paths.make_directory(tmp_path / "file")


def test_shard_paths(tmp_path):
    assert output_paths.shard_paths(tmp_path / "a.record", 1) == [tmp_path / "a.record"]
    assert [path.name for path in output_paths.shard_paths("x/a.record", 3)] == [
        "a.record-00000-of-00003",
        "a.record-00001-of-00003",
        "a.record-00002-of-00003",
    ]
    with pytest.raises(ValueError, match="--num_shards is 0"):
        output_paths.shard_paths("a", 0)


def test_an_output_directory_that_is_a_file_is_an_error(tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(ValueError, match="--report=.*file is a file; give a directory"):
        output_paths.check_output_directory("report", file)
    for path in (file / "new", file / "new" / "deep"):
        with pytest.raises(ValueError, match="--report=.*file' is not a directory"):
            output_paths.check_output_directory("report", path)
    for path in (None, tmp_path, tmp_path / "new"):
        output_paths.check_output_directory("report", path)


def test_a_directory_without_permission_is_an_error_before_the_work(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(output_paths.os, "access", lambda path, mode: asked.append(path))
    with pytest.raises(ValueError, match="no permission to write to '.*'; choose another"):
        output_paths.check_output_directory("report", tmp_path / "a" / "b")
    assert asked == [tmp_path]  # The nearest directory that exists.


def test_remote_paths_are_told_from_local_ones(tmp_path):
    for path in ("gs://bucket/a", Path("gs://bucket/a"), Path("gs://a").parent, "s3://b"):
        assert output_paths.is_remote(path)
        with pytest.raises(ValueError, match="remote file system, expected a local path"):
            output_paths.make_directory(path)
    for path in ("a", "/a/b", "C:/a", tmp_path, "a:b", ""):
        assert not output_paths.is_remote(path)


@pytest.mark.parametrize(
    ("path", "directory", "name"),
    [
        ("gs://bucket", "gs://", "bucket"),
        ("gs://bucket/", "gs://", "bucket"),
        ("gs://bucket/a/b/", "gs://bucket/a", "b"),
        ("ram://", "ram://", ""),
        ("file:///tmp/x", "file:///tmp", "x"),
        ("file:///x", "file:///", "x"),
        ("/a/b/", "/a", "b"),
        ("/a", "/", "a"),
        ("a", "", "a"),
    ],
)
def test_directory_and_name_of_a_path(path, directory, name):
    assert output_paths.split_path(path) == (directory, name)
    assert output_paths.directory_of(path) == (directory or ".")
    assert output_paths.strip_slashes(path) == (path.rstrip("/") if name else path)
    is_top_level = path.startswith(("gs://bucket", "ram://")) and "a/b" not in path
    assert output_paths.is_top_level(path) == is_top_level


def test_the_scheme_of_local_files():
    assert output_paths.without_file_scheme("file:///tmp/x") == "/tmp/x"
    for path in ("file://host/x", "/tmp/x", "gs://b", "a"):
        assert output_paths.without_file_scheme(path) == path
