"""Kill exports at random and after each stage; check that the directory holds a whole export.

A process exports one generation of a small model after another into the same directory. Every value
of a generation is its number, so that a mixture of two is found.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import faults_process

_SIZE = 200_000  # floats, so that writing takes some time
_PATIENCE = 60.0  # seconds
_SLICE = 1e-4  # seconds that a process runs between two looks at its directories
_NOTES = "notes.txt"  # a file of the user
_VALUE = "model/Ballast/weights/.ATTRIBUTES/VARIABLE_VALUE"


@dataclasses.dataclass
class ExportFaultCounts:
    """Result of a series of kills.

    Attributes:
        kills: when an export was killed -> number of times.
        broken: descriptions of the directories that held no whole export.
        leftovers: names that were left after the last export had ended.
        num_exports: exports that were completed.
    """

    kills: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    broken: list[str] = dataclasses.field(default_factory=list)
    leftovers: list[str] = dataclasses.field(default_factory=list)
    num_exports: int = 0


@dataclasses.dataclass(frozen=True)
class _State:
    """What is beside an output directory."""

    names: frozenset[str]  # of the directory where the export is written
    is_exported: bool  # whether the output directory has the number of this generation

    @classmethod
    def read(cls, output: Path, generation: int) -> _State:
        names: set[str] = set()
        for scratch in output.parent.glob(f"{output.name}.incomplete-*"):
            with contextlib.suppress(OSError):
                names |= {"scratch", *os.listdir(scratch)}
                names |= {f"saved_model/{name}" for name in os.listdir(scratch / "saved_model")}
        return cls(frozenset(names), _config_of(output) == generation)


# Stage of an export -> whether it is done and the next one is not.
STAGES: Mapping[str, Callable[[_State], bool]] = {
    "begin": lambda state: "scratch" in state.names and "checkpoint" not in state.names,
    "checkpoint": lambda state: "checkpoint" in state.names and not state.is_exported,
    "variables": lambda state: "saved_model/variables" in state.names and not state.is_exported,
    "graph": lambda state: "saved_model/saved_model.pb" in state.names and not state.is_exported,
    "exchange": lambda state: "scratch" in state.names and state.is_exported,
}


def measure_export_faults(
    kills: int, directory: Path, seed: int = 0, *, can_exchange: bool = True
) -> ExportFaultCounts:
    """Kill an export again and again; check its directory after each kill.

    The caller must not have used TensorFlow before: the exports are forks of its process.

    Args:
        kills: number of kills.
        directory: an empty directory.
        seed: seed of the random times.
        can_exchange: whether the system exchanges directories in one operation; otherwise a kill
            may come while the old one has another name, from where the next export takes it back.

    Returns:
        The counts.
    """
    _import_modules()
    counts = ExportFaultCounts()
    rng = random.Random(seed)
    output, log = directory / "export", directory / "log.txt"
    log.touch()
    begin = time.monotonic()
    _wait(_fork(output, range(1, 4), log, can_exchange), log)
    usual = (time.monotonic() - begin) / 3
    (output / _NOTES).write_text("mine")
    stages = list(STAGES)
    generation = counts.num_exports = 3
    for number in range(kills):
        child = _fork(output, range(generation + 1, generation + 100), log, can_exchange)
        when = "random time"
        try:
            if number % 2:
                _wait_for_export(child, output, generation + 1, log)
                time.sleep(rng.uniform(0.0, usual))
            else:
                stage = stages[number // 2 % len(stages)]
                if _stop_after(child, output, generation + 1, STAGES[stage], log):
                    when = stage
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        counts.kills[when] += 1
        whole, problem = _examine(output, generation, can_exchange)
        if problem:
            counts.broken.append(f"{when}: {problem}")
        counts.num_exports += max(whole - generation, 0)
        generation = max(generation, whole)
    _wait(_fork(output, range(generation + 1, generation + 2), log, can_exchange), log)
    _, problem = _examine(output, generation + 1, can_exchange)
    counts.broken += [problem] if problem else []
    counts.leftovers = sorted(
        name for name in os.listdir(directory) if name not in (output.name, log.name)
    )
    return counts


def describe_export_counts(counts: ExportFaultCounts) -> str:
    """Return the counts as lines of text."""
    lines = [f"{number} kills: {when}" for when, number in sorted(counts.kills.items())]
    lines += [
        f"{counts.num_exports} exports completed",
        f"{len(counts.broken)} directories without a whole export",
        *counts.broken,
        f"{len(counts.leftovers)} leftovers after the next export",
        *counts.leftovers,
    ]
    return "\n".join(lines)


def _examine(output: Path, generation: int, can_exchange: bool) -> tuple[int, str]:
    """Return the generation that a directory holds, and what is wrong; "" if nothing is.

    Args:
        output: the directory.
        generation: the oldest one that it may hold.
        can_exchange: see `measure_export_faults`.
    """
    import numpy as np
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.training import py_checkpoint_reader

    if not output.exists() and not can_exchange:
        asides = list(output.parent.glob(f"{output.name}.replaced-*"))
        if len(asides) != 1:
            return 0, f"{len(asides)} directories moved aside"
        output = asides[0]
    found = _config_of(output)
    try:
        values = [
            py_checkpoint_reader.NewCheckpointReader(str(output / prefix)).get_tensor(_VALUE)
            for prefix in ("checkpoint/ckpt-0", "saved_model/variables/variables")
        ]
        graph = saved_model_pb2.SavedModel.FromString(
            (output / "saved_model" / "saved_model.pb").read_bytes()
        )
        metadata = json.loads((output / "saved_model/assets/metadata.json").read_text())
        notes = (output / _NOTES).read_text()
    except Exception as error:  # Whatever the readers raise for damaged files.
        return 0, f"generation {found}: {type(error).__name__}: {error}"
    if any(not np.all(value == found) for value in values):
        return 0, f"generation {found} has weights of another one"
    if metadata["pipeline_config"] != str(found) or not graph.meta_graphs or notes != "mine":
        return 0, f"generation {found} is incomplete"
    if found < generation:
        return found, f"generation {found} in place of {generation}"
    return found, ""


def _config_of(output: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((output / "pipeline.config").read_text())
    return 0


def _stop_after(
    child: int, output: Path, generation: int, stage: Callable[[_State], bool], log: Path
) -> bool:
    """Stop an export as soon as its directories show a stage; return whether it did."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        _check_running(child, log)
        os.kill(child, signal.SIGSTOP)
        state = _State.read(output, generation)
        if stage(state):
            return True
        if _config_of(output) > generation:
            generation = _config_of(output) + 1  # Missed; the next one is watched.
        os.kill(child, signal.SIGCONT)
        time.sleep(_SLICE if state.names else 10 * _SLICE)
    return False


def _wait_for_export(child: int, output: Path, generation: int, log: Path) -> None:
    """Wait until an export has begun."""
    deadline = time.monotonic() + _PATIENCE
    while not _State.read(output, generation).names and time.monotonic() < deadline:
        _check_running(child, log)
        time.sleep(0.001)


def _wait(child: int, log: Path) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"an export failed: {log.read_text()[-2000:]}")


def _check_running(child: int, log: Path) -> None:
    if os.waitpid(child, os.WNOHANG) != (0, 0):
        raise RuntimeError(f"an export ended: {log.read_text()[-2000:]}")


def _fork(output: Path, generations: range, log: Path, can_exchange: bool) -> int:
    """Export generations in a process of its own; return the number of the process."""
    return faults_process.fork(lambda: _export(str(output), generations, can_exchange), log)


def _import_modules() -> None:
    """Import everything that an export imports, so that a fork need not."""
    from object_detection_mtl.export import saved_model

    del saved_model


def _export(output: str, generations: range, can_exchange: bool) -> None:
    import tensorflow as tf

    from object_detection_mtl.checkpoints import native
    from object_detection_mtl.export import directory_exchange, saved_model
    from object_detection_mtl.export.export_options import ExportOptions

    # The model is no detector; its variables need names.
    vars(native.tf1_detection)["name_map"] = lambda model: model.named_weights()
    if not can_exchange:
        vars(directory_exchange)["exchange"] = lambda first, second: False
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    model = _make_model()
    for generation in generations:
        model.ballast.assign(tf.fill([_SIZE], float(generation)))
        saved_model.export_detector(
            model, output, config_text=str(generation), options=ExportOptions(optimize=False)
        )


def _make_model() -> Any:
    """Return a model with the interface that an export needs, and one weight."""
    import keras
    import tensorflow as tf

    from object_detection_mtl.fields import Detections

    class BallastModel(keras.layers.Layer):
        """One detection per image, whose score is the mean weight."""

        def __init__(self) -> None:
            super().__init__()
            self.ballast = self.add_weight(name="ballast", shape=(_SIZE,), initializer="ones")
            self.num_classes = 1
            self.built = True

        def preprocess(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return images, tf.tile([[1, 1, 3]], [tf.shape(images)[0], 1])

        def predict(self, inputs: tf.Tensor, *_: Any, training: bool) -> tf.Tensor:
            return tf.reduce_mean(tf.cast(inputs, tf.float32)) + tf.reduce_mean(self.ballast.value)

        def postprocess(self, score: tf.Tensor, _: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                Detections.scores: tf.reshape(score, [1, 1]),
                Detections.classes: tf.zeros([1, 1]),
            }

        def named_weights(self) -> dict[str, keras.Variable]:
            return {"Ballast/weights": self.ballast}

    return BallastModel()
