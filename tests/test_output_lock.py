"""Lock of an output: one live process, whatever became of earlier ones."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from object_detection_mtl import output_lock
from object_detection_mtl.dataset_tools.shard_writer import ShardWriter
from object_detection_mtl.training import run_directory

HOLD = """
import sys, time
from object_detection_mtl.output_lock import hold_lock
with hold_lock(sys.argv[1], "the output"):
    print("held", flush=True)
    time.sleep(600)
"""


def refused(context, says):
    with pytest.raises(output_lock.OutputInUseError, match=says), context:
        pass


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds the lock `tmp_path/lock`."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path / "lock")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_live_process_is_named_and_a_killed_one_holds_nothing(tmp_path, holder):
    lock = tmp_path / "lock"
    says = rf"the run is in use: process {holder.pid} on .* writes to it"
    refused(output_lock.hold_lock(lock, "the run"), says)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert lock.exists()
    with output_lock.hold_lock(lock, "the run"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), output_lock.hold_lock(tmp_path / "lock", "x"):
        1 / 0  # noqa: B018
    with output_lock.hold_lock(tmp_path / "lock", "x"):
        pass


def test_a_lease_is_renewed_refuses_others_and_becomes_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(output_lock, "RENEWAL_SECONDS", 0.01)
    now = [1000.0]
    path = str(tmp_path / "lease")
    with output_lock.hold_lease(path, "gs://bucket/run", clock=lambda: now[0]):
        other = output_lock.hold_lease(path, "gs://bucket/run", clock=lambda: now[0])
        refused(other, f"process {os.getpid()} on")
    assert not os.path.exists(path)
    for content, is_free in (
        ({"pid": 1, "host": "elsewhere", "time": 1000.0 - 119}, False),
        ({"pid": 1, "host": "elsewhere", "time": 1000.0 - 121}, True),
        ("garbage", True),
    ):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)
        lease = output_lock.hold_lease(path, "x", clock=lambda: now[0])
        if is_free:
            with lease:
                pass
        else:
            refused(lease, "process 1 on elsewhere")


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 9, b"[]", b'{"time": []}', b'{"time": null, "pid": {}}', b'{"time": NaN}'],
)
def test_a_damaged_lease_is_stale(tmp_path, content):
    path = tmp_path / "lease"
    path.write_bytes(content)
    with output_lock.hold_lease(str(path), "output", clock=lambda: 1e9):
        assert json.loads(path.read_bytes())["time"] == 1e9
    assert not path.exists()


def test_two_conversions_to_one_output(tmp_path):
    output = tmp_path / "train.record"
    with ShardWriter(output, 2) as writer:
        writer.write(b"first")
        refused(ShardWriter(output, 2), "--output_path .*train.record")
        writer.write(b"second")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "train.record-00000-of-00002",
        "train.record-00001-of-00002",
    ]


def test_files_of_a_killed_conversion_are_removed(tmp_path):
    for name in (".incomplete-a.record", ".incomplete-a.record-00001-of-00004", ".incomplete-b"):
        (tmp_path / name).write_bytes(b"x")
    with ShardWriter(tmp_path / "a.record", 1) as writer:
        writer.write(b"first")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".incomplete-b", "a.record"]


def test_two_trainings_of_one_model_dir_and_the_workers_of_one_cluster(tmp_path):
    model_dir = str(tmp_path / "run")
    with run_directory.lock_run(model_dir, is_chief=True):
        with run_directory.lock_run(model_dir, is_chief=False):
            pass
        second = run_directory.lock_run(model_dir, is_chief=True)
        refused(second, "--model_dir .*run' is in use")
    assert not os.path.exists(model_dir)
