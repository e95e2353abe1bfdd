"""Contents of a checkpoint, read without a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from object_detection_mtl.checkpoints import native, tf1_detection
from object_detection_mtl.checkpoints.checkpoint_files import VALUE_SUFFIX, CheckpointFile
from object_detection_mtl.checkpoints.checkpoint_search import open_checkpoint
from object_detection_mtl.checkpoints.checkpoint_sources import source_of

STEP_KEY = f"step{VALUE_SUFFIX}"
Shapes = dict[str, tuple[int, ...]]
# Roots of object graphs; the names follow them.
ROOTS = (f"{native.MODEL_ROOT}/",)


@dataclass(frozen=True)
class CheckpointContents:
    """Kind and contents of a checkpoint.

    Attributes:
        prefix: prefix of its files.
        kind: title of the `CheckpointSource`; empty if no detector can load it.
        networks: known feature extractors in it.
        is_detector: whether it holds a whole detector.
        is_object_based: written by TensorFlow 2's `tf.train.Checkpoint`.
        step: global step; None if it stores none.
        weights: variables of the model.
        of_training: optimizer slots, moving averages, counters.
        has_averages: whether `of_training` includes moving averages.
    """

    prefix: str
    kind: str
    networks: tuple[str, ...]
    is_detector: bool
    is_object_based: bool
    step: int | None
    weights: Shapes
    of_training: Shapes
    has_averages: bool

    def table(self, *, full: bool = False) -> str:
        """Return a line for each part of the model; with `full` for each variable."""
        kind = self.kind or "checkpoint of an unsupported kind"
        form = "object-based" if self.is_object_based else "name-based"
        lines = [
            f"{self.prefix}: {kind} ({form})",
            f"  network          {', '.join(self.networks) or 'unknown'}",
            f"  step             {'unknown' if self.step is None else self.step}",
            f"  moving averages  {'yes' if self.has_averages else 'no'}",
            f"  weights          {_sum(self.weights.values())}",
        ]
        lines += [f"    {part:<45} {_sum(shapes)}" for part, shapes in self.parts().items()]
        if self.of_training:
            lines.append(f"  of training      {_sum(self.of_training.values())}")
        if full:
            everything = {**self.weights, **self.of_training}
            lines += [f"  {key} {list(shape)}" for key, shape in sorted(everything.items())]
        return "\n".join(lines)

    def parts(self) -> dict[str, list[tuple[int, ...]]]:
        """Return outermost scope -> shapes of the weights in it."""
        parts: dict[str, list[tuple[int, ...]]] = {}
        for key, shape in sorted(self.weights.items()):
            for root in ROOTS:
                key = key.removeprefix(root)
            parts.setdefault(key.split("/")[0], []).append(shape)
        return parts

    def to_json(self) -> dict[str, Any]:
        """Return all contents, for `json.dumps`."""
        return {
            "prefix": self.prefix,
            "kind": self.kind,
            "networks": list(self.networks),
            "is_detector": self.is_detector,
            "is_object_based": self.is_object_based,
            "step": self.step,
            "has_averages": self.has_averages,
            "weights": {key: list(shape) for key, shape in sorted(self.weights.items())},
            "of_training": {key: list(shape) for key, shape in sorted(self.of_training.items())},
        }


def describe_checkpoint(checkpoint: CheckpointFile) -> CheckpointContents:
    """Return kind and contents of a checkpoint, also of an unknown one."""
    try:
        source = source_of(checkpoint)
    except ValueError:
        source = None
    weights = {k: s for k, s in checkpoint.shapes.items() if not is_of_training(k)}
    return CheckpointContents(
        prefix=checkpoint.prefix,
        kind=source.title if source else "",
        networks=tuple(sorted(source.networks(checkpoint))) if source else (),
        is_detector=bool(source and source.is_detector(checkpoint)),
        is_object_based=checkpoint.is_object_based,
        step=global_step_of(checkpoint),
        weights=weights,
        of_training={k: s for k, s in checkpoint.shapes.items() if k not in weights},
        has_averages=any(_is_average(key) for key in checkpoint.shapes),
    )


def global_step_of(checkpoint: CheckpointFile) -> int | None:
    """Return the global step of a checkpoint; None if it stores none."""
    for key in (STEP_KEY, "global_step"):  # TensorFlow 2's and TensorFlow 1's.
        if checkpoint.shapes.get(key) == ():
            return int(checkpoint.read(key))
    return None


def global_step_at(prefix: str) -> int:
    """Return the global step of a checkpoint; 0 if it stores none (an exported one)."""
    return global_step_of(open_checkpoint(prefix)) or 0


def is_of_training(key: str) -> bool:
    """Return whether a variable belongs to an optimizer or a loop, not to a model."""
    counters = (STEP_KEY, f"save_counter{VALUE_SUFFIX}")
    return (
        key.startswith(("optimizer/", "counters/"))
        or ".OPTIMIZER_SLOT" in key
        or key in counters
        or bool(tf1_detection.OF_TRAINING.search(key))
    )


def _is_average(key: str) -> bool:
    return (
        key.startswith(f"{native.AVERAGE_ROOT}/")
        or key.endswith(tf1_detection.AVERAGE_SUFFIX)
        or ".OPTIMIZER_SLOT/optimizer/average/" in key
    )


def _sum(shapes: Iterable[tuple[int, ...]]) -> str:
    shapes = list(shapes)
    numbers = sum(int(np.prod(shape)) for shape in shapes)
    return f"{len(shapes):5d} variables {numbers:12,d} numbers"
