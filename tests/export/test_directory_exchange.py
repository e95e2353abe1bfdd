"""Atomic replacement of a directory."""

import errno
import os
import threading

from object_detection_mtl.export import directory_exchange


def make(path, **files):
    for name, text in files.items():
        target = path / name.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return path


def test_other_entries_of_the_old_directory_are_kept(tmp_path):
    old = make(tmp_path / "out", model="old", notes="mine", logs__a="deep")
    new = make(tmp_path / "out.incomplete", model="new", extra="x")
    assert directory_exchange.replace_directory(str(old), str(new))
    assert (old / "model").read_text() == "new"
    assert (old / "notes").read_text() == "mine"
    assert (old / "logs" / "a").read_text() == "deep"
    assert (old / "extra").read_text() == "x"
    assert (new / "model").read_text() == "old"


def test_a_missing_directory_is_made(tmp_path):
    new = make(tmp_path / "new", model="new")
    assert directory_exchange.replace_directory(str(tmp_path / "out"), str(new))
    assert (tmp_path / "out" / "model").read_text() == "new"
    assert not new.exists()


def test_readers_see_the_old_or_the_new_directory(tmp_path):
    old = make(tmp_path / "out", a="old", b="old")
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(tuple(sorted(path.name for path in old.iterdir())))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(300):
            new = make(tmp_path / f"new{number}", a="new", b="new")
            assert directory_exchange.exchange(str(old), str(new))
    finally:
        stop.set()
        thread.join()
    assert seen == {("a", "b")}


def test_a_system_without_the_operation(tmp_path, monkeypatch):
    monkeypatch.setattr(directory_exchange.sys, "platform", "darwin")
    old, new = make(tmp_path / "out", a="old"), make(tmp_path / "new", a="new")
    assert not directory_exchange.exchange(str(old), str(new))
    assert directory_exchange.replace_directory(str(old), str(new))
    assert ((old / "a").read_text(), (new / "a").read_text()) == ("new", "old")
    assert not directory_exchange.replace_directory("gs://bucket/out", "gs://bucket/new")


def test_paths_that_cannot_be_exchanged(tmp_path):
    new = make(tmp_path / "new", a="new")
    assert not directory_exchange.exchange(str(tmp_path / "missing"), str(new))
    assert (new / "a").read_text() == "new"


def test_a_directory_that_cannot_be_renamed_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(directory_exchange, "exchange", lambda first, second: False)
    old, new = make(tmp_path / "out", a="old"), make(tmp_path / "new", a="new")
    rename, failing = os.rename, [""]

    def fail(source, target):
        if source == failing[0]:
            raise OSError(errno.EBUSY, "busy")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    for path in (old, new):
        failing[0] = str(path)
        assert not directory_exchange.replace_directory(str(old), str(new))
        assert ((old / "a").read_text(), (new / "a").read_text()) == ("old", "new")
        assert {path.name for path in tmp_path.iterdir()} == {"out", "new"}


def test_restore(tmp_path):
    assert directory_exchange.restore(str(tmp_path / "out")) is None
    make(tmp_path / "out.replaced-1", a="old")
    assert directory_exchange.restore(str(tmp_path / "out")) == "out.replaced-1"
    make(tmp_path / "out.replaced-2", a="other")
    assert directory_exchange.restore(str(tmp_path / "out")) is None
    assert (tmp_path / "out" / "a").read_text() == "old"
