"""Checkpoints of a run in its directory: names, number and roots as the OD API writes them.

`ckpt-1` is written before the first step; the number counts checkpoints, not steps. What stands
below `model` and `optimizer` is described in `checkpoints/native.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.checkpoints import checkpoint_files, native
from object_detection_mtl.training import distribution
from object_detection_mtl.training.optimizers import DetectionOptimizer

MAX_TO_KEEP = 7


class RunCheckpoints:
    """Saves and restores step, model and optimizer of one run."""

    def __init__(
        self,
        model_dir: str,
        *,
        step: tf.Variable,
        model: Mapping[str, keras.Variable],
        trained: Mapping[str, keras.Variable],
        optimizer: DetectionOptimizer,
        strategy: tf.distribute.Strategy,
        max_to_keep: int = MAX_TO_KEEP,
        keep_every_n_hours: float | None = None,
    ) -> None:
        """Args:
        model_dir: directory of the run.
        step: the global step.
        model: name -> variable, all of the model's (`native.named_variables`).
        trained: those of them that the optimizer was built for, in its order.
        optimizer: built.
        strategy: decides which process writes into `model_dir`.
        max_to_keep: number of newest checkpoints that stay.
        keep_every_n_hours: besides, one checkpoint stays for every so many hours of training.
        """
        self._model_dir = model_dir
        self._strategy = strategy
        self._step = step
        self._model = dict(model)
        self._slots = {
            slot: dict(zip(trained, variables, strict=True))
            for slot, variables in optimizer.slots.items()
        }
        self._iterations = optimizer.iterations
        tree: dict[str, Any] = {"iterations": self._iterations}
        tree |= {slot: native.tree(names) for slot, names in self._slots.items()}
        self._checkpoint = tf.train.Checkpoint(
            step=step, model=native.tree(self._model), optimizer=tree
        )
        self._is_chief = distribution.is_chief(strategy)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint,
            model_dir if self._is_chief else _scratch_directory(model_dir, strategy),
            max_to_keep=max_to_keep,
            keep_checkpoint_every_n_hours=keep_every_n_hours,
        )
        self._saved_step: int | None = None

    def newest(self) -> str | None:
        """Prefix of the directory's newest checkpoint; None if it never had one.

        Raises:
            FileNotFoundError: it had one, and files are missing.
        """
        state = os.path.join(self._model_dir, "checkpoint")
        if not tf.io.gfile.exists(state) and not checkpoint_files.prefixes_in(self._model_dir):
            return None
        return checkpoint_files.newest_in(self._model_dir)

    def restore(self, prefix: str) -> int:
        """Continues from a checkpoint; returns its step.

        Raises:
            ValueError: it was written by another model or optimizer, or is damaged.
        """
        self._refuse_other_model(prefix)
        with self._strategy.scope():
            self._checkpoint.restore(prefix).assert_consumed()
        self._saved_step = int(self._step.numpy())
        return self._saved_step

    def save(self) -> str:
        """Writes a checkpoint of this step, unless there is one; returns the newest's prefix."""
        step = int(self._step.numpy())
        if step != self._saved_step:
            self._manager.save()
            self._saved_step = step
        return str(self._manager.latest_checkpoint or self.newest())

    def close(self) -> None:
        """Removes what only the other processes of a cluster needed."""
        if not self._is_chief and tf.io.gfile.exists(self._manager.directory):
            tf.io.gfile.rmtree(self._manager.directory)

    def _refuse_other_model(self, prefix: str) -> None:
        """Compares names and shapes first: TensorFlow would load what fits and keep the rest."""
        found = {
            key: shape
            for key, shape in checkpoint_files.open_checkpoint(prefix).shapes.items()
            if key.startswith(("model/", "optimizer/"))
        }
        expected = self._expected()
        differences = [
            f"{key.removesuffix(checkpoint_files.VALUE_SUFFIX)}: {_shape(found.get(key))} there, "
            f"{_shape(expected.get(key))} here"
            for key in sorted(found.keys() | expected.keys())
            if found.get(key) != expected.get(key)
        ]
        if differences:
            more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
            raise ValueError(
                f"the model directory holds {prefix!r}, a checkpoint of another model or "
                f"optimizer: {'; '.join(differences[:3])}{more}. Give another --model_dir, or the "
                "config that this one was trained with"
            )

    def _expected(self) -> dict[str, tuple[int, ...]]:
        trees = {"model": self._model, "optimizer": {"iterations": self._iterations}}
        trees |= {f"optimizer/{slot}": names for slot, names in self._slots.items()}
        return {
            native.checkpoint_key(root, name): tuple(variable.shape)
            for root, names in trees.items()
            for name, variable in names.items()
        }


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(list(shape))


def _scratch_directory(model_dir: str, strategy: tf.distribute.Strategy) -> str:
    """Where a process that is not the chief saves: all have to take part, one result counts."""
    resolver = strategy.cluster_resolver
    name = f"temp_worker_{resolver.task_type}_{resolver.task_id:03d}"
    return os.path.join(model_dir, name)
