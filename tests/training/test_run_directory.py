"""Checks of a run's directory before the first step."""

import pytest

from object_detection_mtl.training import run_directory


def test_a_directory_to_come_and_one_that_is_there_leave_no_trace(tmp_path):
    run_directory.require_writable(str(tmp_path / "a/b"))
    run_directory.require_writable(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    for name in ("notes.txt", "notes.txt/run"):
        with pytest.raises(
            ValueError, match=rf"{name}' cannot be written to .*notes.txt' is a file"
        ):
            run_directory.require_writable(str(tmp_path / name))


@pytest.mark.parametrize("path", ["/proc/run", "/sys/run/a"])
def test_a_file_system_that_takes_no_files_is_refused(path):
    with pytest.raises(ValueError, match=rf"model_dir '{path}' cannot be written to"):
        run_directory.require_writable(path)


def test_an_export_is_refused_as_directory_of_a_run(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(
        ValueError, match="is an export or a downloaded model.*fine_tune_checkpoint"
    ):
        run_directory.require_writable(str(tmp_path))
