"""Kill training at random and inside saves; count lost steps and differing tensors.

A small model is trained. Every other kill comes at a random time; the others come after a stage of
a save. They are found by stopping the process again and again to look at its directory; the merge
of the shards is too short for that, so the process waits for the reader of a pipe in place of the
index. After each kill the same training is started again. At the end its checkpoint is compared
with that of a training that was never killed.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import faults_model, faults_process
from benchmarks.faults_model import MAX_TO_KEEP, STEPS_PER_SAVE

_ENDLESS = 10**9
_SLICE = 1e-4  # seconds that a process runs between two looks at its directory
_PATIENCE = 10.0  # seconds to wait for a stage
_STEP_KEY = "step/.ATTRIBUTES/VARIABLE_VALUE"
_CONTINUED = re.compile(r"^continuing at step (\d+) from", re.MULTILINE)


@dataclasses.dataclass
class FaultCounts:
    """Result of a series of kills.

    Attributes:
        kills: when training was killed -> number of times.
        lost_steps: largest number of steps between the last complete checkpoint of a killed
            training and the step where it was continued.
        differing_tensors: tensors of the last checkpoint that differ from those of a training that
            was never killed.
        num_tensors: number of compared tensors.
        num_steps: steps of the training.
    """

    kills: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    lost_steps: int = 0
    differing_tensors: int = 0
    num_tensors: int = 0
    num_steps: int = 0


@dataclasses.dataclass(frozen=True)
class _DirectoryState:
    """What a directory of checkpoints holds."""

    names: frozenset[str]
    shards: frozenset[str]
    state_text: str

    @classmethod
    def read(cls, directory: Path) -> _DirectoryState:
        names = frozenset(os.listdir(directory)) if directory.is_dir() else frozenset()
        shards: set[str] = set()
        for name in names:
            if name.endswith("_temp"):
                with contextlib.suppress(OSError):
                    shards.update(os.listdir(directory / name))
        text = ""
        with contextlib.suppress(OSError):
            text = (directory / "checkpoint").read_text()
        return cls(names, frozenset(shards), text)

    def numbers(self, suffix: str) -> set[int]:
        found = (re.fullmatch(rf"ckpt-(\d+){suffix}", name) for name in self.names)
        return {int(match[1]) for match in found if match}

    @property
    def with_data(self) -> set[int]:
        return self.numbers(r"\.data-00000-of-00001")

    @property
    def with_index(self) -> set[int]:
        return self.numbers(r"\.index")


def _newest_is_unnamed(state: _DirectoryState) -> bool:
    newest = max(state.with_index, default=0)
    return newest > 0 and f'"ckpt-{newest}"' not in state.state_text


# Stage of a save -> whether a directory shows that it is done and the next one is not.
STAGES: Mapping[str, Callable[[_DirectoryState], bool]] = {
    "shard": lambda state: any("data" in name for name in state.shards),
    "merge": lambda state: max(state.with_data, default=0) > max(state.with_index, default=0),
    "index": _newest_is_unnamed,
    "state file": lambda state: (
        len(state.with_index) > MAX_TO_KEEP and not _newest_is_unnamed(state)
    ),
    "deletion": lambda state: (
        any(number < max(state.with_index) for number in state.with_data ^ state.with_index)
        if state.with_index
        else False
    ),
}


def measure_faults(kills: int, directory: Path, seed: int = 0) -> FaultCounts:
    """Kill a training again and again, and compare its end with that of an undisturbed one.

    The caller must not have used TensorFlow before: the trainings are forks of its process.

    Args:
        kills: number of kills.
        directory: an empty directory.
        seed: seed of the random times.

    Returns:
        The counts.
    """
    faults_model.import_modules()
    counts = FaultCounts()
    rng = random.Random(seed)
    run, log = directory / "killed", directory / "log.txt"
    usual = _time_of_two_saves(directory / "timed", log)
    stages = list(STAGES)
    complete: int | None = None
    for number in range(kills):
        start = log.stat().st_size
        child = _fork(run, _ENDLESS, log)
        when = "random time"
        if number % 2:
            time.sleep(rng.uniform(0.0, usual))
            _check_running(child, log, start)
        else:
            stage = stages[number // 2 % len(stages)]
            stop = _stop_before_index if stage == "merge" else _stop_after
            if stop(child, run, log, start, STAGES[stage]):
                when = stage
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        counts.kills[when] += 1
        counts.lost_steps = max(counts.lost_steps, _lost(log, start, complete))
        complete = _last_complete_step(run)
    counts.num_steps = ((complete or 0) // STEPS_PER_SAVE + 2) * STEPS_PER_SAVE
    start = log.stat().st_size
    for name in ("killed", "whole"):
        _, status = os.waitpid(_fork(directory / name, counts.num_steps, log), 0)
        if status:
            raise RuntimeError(f"a training failed: {log.read_text()[-2000:]}")
        if name == "killed":
            counts.lost_steps = max(counts.lost_steps, _lost(log, start, complete))
    killed, whole = (_newest_tensors(directory / name) for name in ("killed", "whole"))
    counts.num_tensors = len(whole)
    counts.differing_tensors = sum(
        killed.get(name) != value for name, value in whole.items()
    ) + len(killed.keys() - whole.keys())
    return counts


def _lost(log: Path, start: int, complete: int | None) -> int:
    """Return the steps between a complete checkpoint and the step where training continued."""
    match = _CONTINUED.search(log.read_text()[start:])
    if match:
        return (complete or 0) - int(match[1])
    begun_again = "first step done" in log.read_text()[start:]
    return (complete or 0) if begun_again else 0


def _stop_after(
    child: int, run: Path, log: Path, start: int, stage: Callable[[_DirectoryState], bool]
) -> bool:
    """Stop a training as soon as its directory shows a stage; return whether it did.

    Looking is slow, so it begins one step before a save, or before the first step of a new run.
    """
    deadline = time.monotonic() + _PATIENCE
    looked_at = -1
    while time.monotonic() < deadline:
        _check_running(child, log, start)
        step = _last_step(log, start)
        is_new = not (run / "checkpoint").exists()
        if not is_new and (step % STEPS_PER_SAVE != STEPS_PER_SAVE - 1 or step == looked_at):
            time.sleep(0.001)
            continue
        looked_at = step
        while time.monotonic() < deadline:
            os.kill(child, signal.SIGSTOP)
            if stage(_DirectoryState.read(run)):
                return True
            passed = _last_step(log, start) > step + 1
            os.kill(child, signal.SIGCONT)
            if passed:
                break
            time.sleep(_SLICE)
    return False


def _stop_before_index(
    child: int, run: Path, log: Path, start: int, stage: Callable[[_DirectoryState], bool]
) -> bool:
    """Hold a training between the merge of the shards and the index; return whether it was.

    A pipe has the name of the index until the data are in place: opening it waits for a reader.
    """
    deadline = time.monotonic() + _PATIENCE
    while not _last_step(log, start):
        _check_running(child, log, start)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGSTOP)
    state = _DirectoryState.read(run)
    index = run / f"ckpt-{max(state.with_data | state.with_index, default=0) + 1}.index"
    with contextlib.suppress(FileExistsError):
        os.mkfifo(index)
    os.kill(child, signal.SIGCONT)
    data = index.with_suffix(".data-00000-of-00001")
    while not data.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(child, signal.SIGSTOP)
    if index.is_fifo():
        index.unlink()
    return stage(_DirectoryState.read(run))


def _check_running(child: int, log: Path, start: int) -> None:
    """Raise a RuntimeError with the end of the log if a training has ended by itself."""
    if os.waitpid(child, os.WNOHANG) != (0, 0):
        raise RuntimeError(f"a training failed: {log.read_text()[start:][-2000:]}")


def _last_step(log: Path, start: int) -> int:
    """Return the last step that a training has reported; 0 before the first."""
    steps = re.findall(r"^step (\d+)/", log.read_text()[start:], re.MULTILINE)
    return int(steps[-1]) if steps else 0


def _time_of_two_saves(run: Path, log: Path) -> float:
    begin = time.monotonic()
    log.touch()
    _, status = os.waitpid(_fork(run, 2 * STEPS_PER_SAVE, log), 0)
    if status:
        raise RuntimeError(f"a training failed: {log.read_text()[-2000:]}")
    return time.monotonic() - begin


def _fork(run: Path, num_steps: int, log: Path) -> int:
    """Start a training in a process of its own; return the number of the process."""
    return faults_process.fork(lambda: faults_model.train(str(run), num_steps), log)


def _newest_tensors(run: Path) -> dict[str, bytes]:
    numbers = _DirectoryState.read(run).with_index
    return _tensors(run / f"ckpt-{max(numbers)}")


def _last_complete_step(run: Path) -> int | None:
    """Return the step of the newest checkpoint whose values can all be read; None without one."""
    steps = []
    for number in _DirectoryState.read(run).with_index:
        with contextlib.suppress(Exception):  # Whatever the reader raises for a damaged one.
            tensors = _tensors(run / f"ckpt-{number}")
            steps.append(int.from_bytes(tensors[_STEP_KEY], sys.byteorder))
    return max(steps, default=None)


def _tensors(prefix: Path) -> dict[str, bytes]:
    """Return name -> bytes of the values, without the number of saves and file names."""
    from tensorflow.python.training import py_checkpoint_reader

    reader = py_checkpoint_reader.NewCheckpointReader(str(prefix))
    names = reader.get_variable_to_shape_map()
    ignored = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter")
    return {
        name: reader.get_tensor(name).tobytes() for name in names if not name.startswith(ignored)
    }


def describe_counts(counts: FaultCounts) -> str:
    """Return the counts as lines of text."""
    lines = [f"{number} kills: {when}" for when, number in sorted(counts.kills.items())]
    lines += [
        f"{counts.num_steps} steps trained",
        f"{counts.lost_steps} steps lost before the last complete checkpoint",
        f"{counts.differing_tensors} of {counts.num_tensors} tensors differ from a training that "
        "was never killed",
    ]
    return "\n".join(lines)
