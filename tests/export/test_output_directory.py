"""Output directories of exports: replaced whole, leftovers, mount points, remote file systems."""

import os
import shutil

import pytest
import tensorflow as tf

from object_detection_mtl import output_lock
from object_detection_mtl.export import directory_exchange, saved_model
from tests.export import exported


def files_below(directory):
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())


@pytest.fixture
def fake_parts(monkeypatch):
    """Write the parts of an export without a model."""

    def write(module, detector, directory, config_text, **others):
        for name in parts(""):
            path = os.path.join(directory, name)
            tf.io.gfile.makedirs(os.path.dirname(path))
            with tf.io.gfile.GFile(path, "w") as file:
                file.write(config_text)

    monkeypatch.setattr(saved_model, "DetectionModule", lambda detector, options: None)
    monkeypatch.setattr(saved_model, "_write_parts", write)


def contents(directory):
    return {name: (directory / name).read_text() for name in files_below(directory)}


def parts(text):
    return dict.fromkeys(["checkpoint/content", "pipeline.config", "saved_model/content"], text)


def test_a_second_export_replaces_only_the_first(fake_parts, tmp_path):
    output = tmp_path / "new" / "out"
    saved_model.export_detector(None, f"{output}/", config_text="one")
    (output / "saved_model" / "leftover").write_text("of the first")
    (output / "notes.txt").write_text("mine")
    saved_model.export_detector(None, str(output), config_text="two")
    assert contents(output) == {**parts("two"), "notes.txt": "mine"}
    assert os.listdir(tmp_path / "new") == ["out"]


def test_a_failed_export_keeps_the_old_one(fake_parts, tmp_path, monkeypatch):
    output = tmp_path / "out"
    saved_model.export_detector(None, str(output), config_text="one")

    def fail(*arguments, **others):
        raise OSError("no space left on device")

    monkeypatch.setattr(saved_model, "_write_parts", fail)
    with pytest.raises(OSError, match="no space"):
        saved_model.export_detector(None, str(output), config_text="two")
    assert contents(output) == parts("one")
    assert os.listdir(tmp_path) == ["out"]


def test_leftovers_of_killed_exports_are_removed_and_two_exports_refuse_each_other(
    fake_parts, tmp_path, capsys
):
    for name in ("out.incomplete-0123abcd", "out.incomplete-mine", "other.incomplete-0123abcd"):
        (tmp_path / name).mkdir()
    saved_model.export_detector(None, str(tmp_path / "out"), config_text="one")
    names = {"out", "out.incomplete-mine", "other.incomplete-0123abcd"}
    assert {*os.listdir(tmp_path)} == names
    assert "removed out.incomplete-0123abcd, left by an interrupted" in capsys.readouterr().out
    with (
        output_lock.hold_lock(tmp_path / ".out.lock", "x"),
        pytest.raises(output_lock.OutputInUseError, match="out' is in use"),
    ):
        saved_model.export_detector(None, str(tmp_path / "out"), config_text="two")
    assert contents(tmp_path / "out") == parts("one")


def test_an_export_through_a_link_replaces_the_directory_and_keeps_the_link(fake_parts, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    saved_model.export_detector(None, str(tmp_path / "link"), config_text="one")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == parts("one")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_export_killed_at_the_exchange_leaves_the_old_or_the_new(
    fake_parts, tmp_path, monkeypatch, moment
):
    output = tmp_path / "out"
    saved_model.export_detector(None, str(output), config_text="one")
    exchange = directory_exchange.exchange

    class KilledError(BaseException):
        pass

    def kill(first, second):
        if moment == "after":
            exchange(first, second)
        raise KilledError

    monkeypatch.setattr(directory_exchange, "exchange", kill)
    monkeypatch.setattr(
        tf.io.gfile, "rmtree", lambda path: None
    )  # A killed process cleans nothing.
    with pytest.raises(KilledError):
        saved_model.export_detector(None, str(output), config_text="two")
    assert contents(output) == parts("one" if moment == "before" else "two")


def test_a_part_that_cannot_be_moved_keeps_the_old_one(fake_parts, tmp_path, monkeypatch):
    output = tmp_path / "out"
    saved_model.export_detector(None, str(output), config_text="one")
    rename = tf.io.gfile.rename

    def fail_for_new_model(source, target):
        if source.endswith("/saved_model") and "incomplete" in source:
            raise tf.errors.PermissionDeniedError(None, None, "locked")
        rename(source, target)

    monkeypatch.setattr(tf.io.gfile, "rename", fail_for_new_model)
    monkeypatch.setattr(directory_exchange, "replace_directory", lambda *directories: False)
    monkeypatch.setattr(directory_exchange, "exchange", lambda first, second: False)
    with pytest.raises(OSError, match="cannot write to .*out': locked"):
        saved_model.export_detector(None, str(output), config_text="two")
    assert contents(output)["saved_model/content"] == "one"
    assert os.listdir(tmp_path) == ["out"]


def test_the_directory_of_a_training_run_is_not_overwritten(tmp_path):
    run = shutil.copytree(exported.run(), tmp_path / "run")
    with pytest.raises(ValueError, match="model directory of a training run"):
        saved_model.export_detector(None, str(run), config_text="")
    assert files_below(run) == files_below(exported.run())


def test_an_output_directory_that_is_a_file(fake_parts, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        saved_model.export_detector(None, str(tmp_path / "file"), config_text="")
    with pytest.raises(OSError, match="file"):
        saved_model.export_detector(None, str(tmp_path / "file" / "below"), config_text="")
    with pytest.raises(ValueError, match="output directory is empty"):
        saved_model.export_detector(None, "", config_text="")


def test_an_old_export_that_was_moved_aside_is_restored(fake_parts, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    saved_model.export_detector(None, str(output), config_text="one")
    monkeypatch.setattr(directory_exchange, "exchange", lambda first, second: False)
    saved_model.export_detector(None, str(output), config_text="two")
    assert contents(output) == parts("two")
    assert os.listdir(tmp_path) == ["out"]
    os.rename(output, tmp_path / "out.replaced-0123abcd")  # As of an export that was killed.

    def fail(*arguments, **others):
        raise OSError("no space left on device")

    monkeypatch.setattr(saved_model, "_write_parts", fail)
    with pytest.raises(OSError, match="no space"):
        saved_model.export_detector(None, str(output), config_text="three")
    assert contents(output) == parts("two")
    assert os.listdir(tmp_path) == ["out"]
    assert f"out.replaced-0123abcd, left by an interrupted export, is {output} again" in (
        capsys.readouterr().out
    )


def test_an_export_into_a_mount_point_stays_inside(fake_parts, tmp_path, monkeypatch):
    output = tmp_path / "out"
    output.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(output))
    monkeypatch.setattr(directory_exchange, "replace_directory", None)
    for text in ("one", "two"):
        (output / "export.incomplete-0123abcd").mkdir()
        (output / "notes.txt").write_text("mine")
        saved_model.export_detector(None, str(output), config_text=text)
        assert contents(output) == {**parts(text), "notes.txt": "mine"}
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("output", ["ram://export", "ram://bucket/a/export/", "ram://export_2/"])
def test_a_remote_directory(fake_parts, output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("one", "two"):
        saved_model.export_detector(None, output, config_text=text)
        for name in parts(""):
            with tf.io.gfile.GFile(f"{output.rstrip('/')}/{name}") as file:
                assert file.read() == text
    assert sorted(name.rstrip("/") for name in tf.io.gfile.listdir(output)) == [
        "checkpoint",
        "pipeline.config",
        "saved_model",
    ]
    assert os.listdir(tmp_path) == []


def test_a_local_directory_with_a_scheme(fake_parts, tmp_path):
    for text in ("one", "two"):
        saved_model.export_detector(None, f"file://{tmp_path}/out", config_text=text)
        assert contents(tmp_path / "out") == parts(text)
    assert os.listdir(tmp_path) == ["out"]
