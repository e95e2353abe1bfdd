"""Best checkpoint of a run, by a metric of its evaluations; early stopping.

<model_dir>/best/ckpt-<n>.*     copy of the best checkpoint
<model_dir>/best/checkpoint     state file, so that the directory is a checkpoint directory
<model_dir>/best/best.json      metric, value, step, evaluations without improvement since
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from object_detection_mtl import output_paths

DIRECTORY = "best"
STATE = "best.json"
# Metrics of which a smaller value is better.
_LOSS = "Loss/"
_MEAN_AP = "Precision/mAP"


@dataclass(frozen=True)
class PeriodicEvaluation:
    """Evaluation during training.

    Attributes:
        every_n: steps between evaluations.
        metric: metric that selects the best checkpoint; None for the first mAP.
        patience: evaluations without improvement after which the run ends; None for no end.
        at_end: also evaluate the last checkpoint of a run that is not interrupted.
    """

    every_n: int
    metric: str | None = None
    patience: int | None = None
    at_end: bool = False

    def check(self, checkpoint_every_n: int, num_workers: int) -> None:
        """Check that the run can be evaluated.

        Raises:
            ValueError: there is no checkpoint to evaluate, or the run has several workers.
        """
        if self.every_n < 1 or self.every_n % checkpoint_every_n:
            raise ValueError(
                f"--eval_every_n={self.every_n}: checkpoints are evaluated, so it must be a "
                f"multiple of --checkpoint_every_n={checkpoint_every_n}"
            )
        if num_workers > 1:
            raise ValueError(
                f"--eval_every_n with --num_workers={num_workers} is unsupported; evaluate in a "
                "separate process: --checkpoint_dir"
            )


class BestCheckpoint:
    """Best checkpoint of a run, and the number of evaluations without improvement.

    Args:
        model_dir: directory of the run.
        metric: TensorBoard name; None takes the first mAP. Losses are better the smaller they are.
        patience: evaluations without improvement after which the run ends; None for no end.

    Raises:
        ValueError: the patience is less than 1, or the directory is on a remote file system.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike[str],
        metric: str | None = None,
        patience: int | None = None,
    ) -> None:
        if patience is not None and patience < 1:
            raise ValueError(f"patience is {patience} evaluations, expected at least 1")
        output_paths.require_local(model_dir)  # Paths and renames below are those of Python.
        self._directory = Path(model_dir) / DIRECTORY
        self._metric = metric
        self._patience = patience

    @property
    def is_exhausted(self) -> bool:
        """Whether the run has to end: too many evaluations without improvement."""
        waited = self._state().get("evaluations_since", 0)
        return self._patience is not None and waited >= self._patience

    def consider(self, prefix: str, step: int, metrics: Mapping[str, float]) -> bool:
        """Keep a checkpoint if it is the best so far; return whether it is.

        Args:
            prefix: prefix of the checkpoint.
            step: its global step.
            metrics: metrics of its evaluation.

        Raises:
            ValueError: there is no such metric.
        """
        name = self._name(metrics)
        value = metrics[name]
        best = self._state()
        if best.get("metric") == name and not _is_better(name, value, best["value"]):
            self._write({**best, "evaluations_since": best["evaluations_since"] + 1})
            return False
        if math.isnan(value):
            return False
        self._copy(prefix)
        self._write({"metric": name, "value": value, "step": step, "evaluations_since": 0})
        print(f"best checkpoint: {name} {value:.4f} at step {step}, {self._directory}", flush=True)
        return True

    def _name(self, metrics: Mapping[str, float]) -> str:
        if self._metric is None:
            found = [name for name in metrics if _MEAN_AP in name]
            if found:
                return found[0]
        elif self._metric in metrics:
            return self._metric
        known = ", ".join(name for name in metrics if "ByCategory" not in name)
        raise ValueError(
            f"metric {self._metric or _MEAN_AP!r} is not a metric of the evaluation; it has {known}"
        )

    def _state(self) -> dict[str, Any]:
        try:
            return json.loads((self._directory / STATE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}

    def _write(self, state: Mapping[str, Any]) -> None:
        temporary = self._directory / f"{STATE}.incomplete"
        temporary.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self._directory / STATE)

    def _copy(self, prefix: str) -> None:
        """Replace the checkpoint of the directory, then delete the earlier one."""
        self._directory.mkdir(parents=True, exist_ok=True)
        source = Path(prefix)
        files = sorted(source.parent.glob(f"{source.name}.*"))
        for file in files:
            temporary = self._directory / f"{file.name}.incomplete"
            shutil.copyfile(file, temporary)
            os.replace(temporary, self._directory / file.name)
        state = f'model_checkpoint_path: "{source.name}"\n'
        (self._directory / "checkpoint").write_text(state, encoding="utf-8")
        current = {file.name for file in files}
        for file in self._directory.glob("*-[0-9]*.*"):
            if file.name not in current:
                file.unlink()


def _is_better(name: str, value: float, best: float) -> bool:
    """Return whether a value improves on the best; NaN never does."""
    return value < best if name.startswith(_LOSS) else value > best
