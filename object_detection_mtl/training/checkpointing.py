"""Checkpoints of a run in its directory: names, numbers and roots as the OD API writes them.

`ckpt-1` is written before the first step; the number counts checkpoints, not steps.
`checkpoints/native.py` describes what is below `model` and `optimizer`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.checkpoints import checkpoint_files, checkpoint_search, native
from object_detection_mtl.checkpoints.checkpoint_search import NewestCheckpoint
from object_detection_mtl.training import distribution, run_directory
from object_detection_mtl.training.optimizers import DetectionOptimizer

MAX_TO_KEEP = 7
COUNTERS = "counters"


class RunCheckpoints:
    """Saves and restores step, model, optimizer and counters of one run."""

    def __init__(
        self,
        model_dir: str,
        *,
        step: tf.Variable,
        model: Mapping[str, keras.Variable],
        trained: Mapping[str, keras.Variable],
        optimizer: DetectionOptimizer,
        strategy: tf.distribute.Strategy,
        counters: Mapping[str, tf.Variable] | None = None,
        max_to_keep: int = MAX_TO_KEEP,
        keep_every_n_hours: float | None = None,
    ) -> None:
        """Prepare to save; nothing is written yet.

        Args:
            model_dir: directory of the run.
            step: the global step.
            model: name -> variable, all of the model's (`native.named_variables`).
            trained: those of them that the optimizer was built for, in its order.
            optimizer: built.
            strategy: decides which process writes into `model_dir`.
            counters: name -> further number of the run. A checkpoint without one leaves it as
                it is.
            max_to_keep: number of newest checkpoints that stay.
            keep_every_n_hours: besides, one checkpoint stays for every so many hours of training.
        """
        self._model_dir = model_dir
        self._strategy = strategy
        self._step = step
        self._model = dict(model)
        self._counters = dict(counters or {})
        self._slots = {
            slot: dict(zip(trained, variables, strict=True))
            for slot, variables in optimizer.slots.items()
        }
        self._iterations = optimizer.iterations
        tree: dict[str, Any] = {"iterations": self._iterations}
        tree |= {slot: native.tree(names) for slot, names in self._slots.items()}
        self._checkpoint = tf.train.Checkpoint(
            step=step,
            model=native.tree(self._model),
            optimizer=tree,
            **({COUNTERS: self._counters} if self._counters else {}),
        )
        self._is_chief = distribution.is_chief(strategy)
        self._max_to_keep = max_to_keep
        self._keep_every_n_hours = keep_every_n_hours
        self._manager: tf.train.CheckpointManager | None = None
        self._restored: NewestCheckpoint | None = None
        self._saved_step: int | None = None

    @property
    def newest(self) -> str | None:
        """Prefix of the newest checkpoint that was restored or written; None if there is none.

        For a worker that is not the chief it is the chief's checkpoint of the same number: what the
        worker writes is removed when it ends.
        """
        if self._manager is not None and self._manager.latest_checkpoint:
            name = os.path.basename(self._manager.latest_checkpoint)
            return os.path.join(self._model_dir, name)
        return self._restored.prefix if self._restored else None

    def restore_newest(self, on_damaged: str = checkpoint_search.FALLBACK) -> int | None:
        """Continue from the newest complete checkpoint of the directory.

        Args:
            on_damaged: one of `checkpoint_search.ON_DAMAGED`.

        Returns:
            Its step; None if the directory holds no checkpoint.

        Raises:
            FileNotFoundError: there was one, and files are missing.
            ValueError: it was written by another model or optimizer, or all are corrupt.
        """
        newest = checkpoint_search.find_newest(self._model_dir, on_damaged=on_damaged)
        if newest is None:
            return None
        stored = checkpoint_files.read_checkpoint(newest.prefix).shapes
        self._refuse_other_model(newest.prefix, stored)
        with self._strategy.scope():
            status = self._checkpoint.restore(newest.prefix)
            if self._has_all_counters(stored):
                status.assert_existing_objects_matched()
            else:
                status.expect_partial()
        self._restored = newest
        self._saved_step = int(self._step.numpy())
        return self._saved_step

    def restored_counters(self) -> dict[str, int]:
        """Return name -> number of the counters in the restored checkpoint; empty without one.

        Those that are lists are not among them.
        """
        if self._restored is None:
            return {}
        contents = checkpoint_files.read_checkpoint(self._restored.prefix)
        reader = tf.compat.v1.train.NewCheckpointReader(self._restored.prefix)
        return {
            key.split("/")[1]: int(reader.get_tensor(key))
            for key, shape in contents.shapes.items()
            if key.startswith(f"{COUNTERS}/") and not shape
        }

    def prepare(self) -> None:
        """Repair the directory after a run that was killed, and get ready to save."""
        directory = self._model_dir
        if self._is_chief:
            run_directory.repair(directory, self._restored)
        else:
            directory = _scratch_directory(directory, self._strategy)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint,
            directory,
            max_to_keep=self._max_to_keep,
            keep_checkpoint_every_n_hours=self._keep_every_n_hours,
        )

    def save(self) -> str:
        """Write a checkpoint of this step, unless there is one; return the newest's prefix."""
        assert self._manager is not None, "prepare() comes first"
        step = int(self._step.numpy())
        if step != self._saved_step:
            self._manager.save()
            self._saved_step = step
        return str(self.newest)

    def close(self) -> None:
        """Remove the temporary directory of a worker that is not the chief."""
        if self._is_chief or self._manager is None:
            return
        if tf.io.gfile.exists(self._manager.directory):
            tf.io.gfile.rmtree(self._manager.directory)

    def _has_all_counters(self, stored: Mapping[str, tuple[int, ...]]) -> bool:
        return all(native.checkpoint_key(COUNTERS, name) in stored for name in self._counters)

    def _refuse_other_model(self, prefix: str, stored: Mapping[str, tuple[int, ...]]) -> None:
        """Compare names and shapes; TensorFlow would load only the matching variables."""
        found = {
            key: shape for key, shape in stored.items() if key.startswith(("model/", "optimizer/"))
        }
        expected = self._expected()
        differences = [
            f"{key.removesuffix(checkpoint_files.VALUE_SUFFIX)}: {_shape(found.get(key))} in the "
            f"checkpoint, {_shape(expected.get(key))} in the model"
            for key in sorted(found.keys() | expected.keys())
            if found.get(key) != expected.get(key)
        ]
        if differences:
            more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
            raise ValueError(
                f"the model directory holds {prefix!r}, a checkpoint of another model or "
                f"optimizer: {'; '.join(differences[:3])}{more}. Give another --model_dir, or the "
                "config that the checkpoint was trained with"
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
    return "missing" if shape is None else str(list(shape))


def _scratch_directory(model_dir: str, strategy: tf.distribute.Strategy) -> str:
    """Return the temporary directory where a worker other than the chief saves."""
    resolver = strategy.cluster_resolver
    name = f"temp_worker_{resolver.task_type}_{resolver.task_id:03d}"
    return os.path.join(model_dir, name)
