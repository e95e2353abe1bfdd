"""Ordered map over items in several processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from object_detection_mtl.dataset_tools import worker_pool

LONG_WAIT = 600  # seconds


def double(value):
    return 2 * value


def slow_at_first(value):
    time.sleep(0.3 if value < 8 else 0)
    return value


def sleep_unless_first(value):
    time.sleep(0 if value < 8 else LONG_WAIT)
    return value


def refuse(value):
    if value == 11:
        raise ValueError(f"not {value}")
    return value


def _exit():
    os._exit(1)


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def refuse_to_hear(_):
    """Whether Ctrl-C, which a terminal sends to every process, is held back here."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("number", [1, 2])
def test_results_come_in_the_order_of_the_items(number):
    assert list(worker_pool.map_in_order(double, range(100), number)) == list(range(0, 200, 2))
    assert list(worker_pool.map_in_order(double, [], number)) == []


def test_new_processes_are_initialized():
    with pytest.raises(OSError, match="a worker process died"):
        list(worker_pool.map_in_order(double, [1], 2, initializer=_exit))


def test_a_slow_chunk_is_waited_for():
    assert list(worker_pool.map_in_order(slow_at_first, range(40), 2)) == list(range(40))


@pytest.mark.parametrize("number", [1, 2])
def test_errors_arrive_after_the_results_before_them(number):
    results = worker_pool.map_in_order(refuse, range(30), number)
    with pytest.raises(ValueError, match="not 11"):
        list(results)


def test_dead_process_is_an_error():
    with pytest.raises(OSError, match="a worker process died.*--num_workers=1"):
        list(worker_pool.map_in_order(die, range(3), 2))


def test_workers_ignore_ctrl_c():
    assert list(worker_pool.map_in_order(refuse_to_hear, range(2), 2)) == [True, True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_close_does_not_wait_for_unneeded_results():
    results = worker_pool.map_in_order(sleep_unless_first, range(100), 2)
    assert next(results) == 0
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < LONG_WAIT
    assert not multiprocessing.active_children()


def test_the_number_of_processes(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert worker_pool.choose_number(5, 10) == 5
    assert worker_pool.choose_number(0, 7.9) == 1
    assert worker_pool.choose_number(0, 8.1) == 2
    assert worker_pool.choose_number(0, 10**6) == 8
    with pytest.raises(ValueError, match="--num_workers is -2"):
        worker_pool.choose_number(-2, 10)


PARENT = """
import sys
from tests.dataset_tools import test_worker_pool
from object_detection_mtl.dataset_tools import worker_pool
if __name__ == "__main__":
    for pid in worker_pool.map_in_order(test_worker_pool.slow_pid, range(100), 2):
        print(pid, flush=True)
"""


def slow_pid(number):
    time.sleep(0.05)
    return os.getpid()


def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    workers = {int(parent.stdout.readline()) for _ in range(16)}
    assert parent.pid not in workers
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + LONG_WAIT
    while time.monotonic() < deadline and any(map(is_alive, workers)):
        time.sleep(0.05)
    assert not any(map(is_alive, workers))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
