"""Time of an evaluation relative to a plain loop of detection over the same images.

    python -m benchmarks.evaluation_speed --model_dir=bccd_model --engine=openvino

The loop calls the detector for batches that are already in memory; the evaluation also reads and
decodes them, keeps its journal, and computes the metrics; in TensorFlow also the losses, and those
of auxiliary tasks. Both run in turn, in the same engine. Conversion for an engine is not counted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import timing

_MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "Model directory of a training run.", required=True
)
_OVERRIDE = flags.DEFINE_multi_string("override", [], "A field of its config: a.b.c=value.")
_ENGINE = flags.DEFINE_string("engine", "tensorflow", "Runtime of the detector.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Measured rounds.", lower_bound=1)


def _measured(config: Any, prefix: str, directory: str) -> dict[str, list[float]]:
    """Return name -> seconds of each round; prints the number of images."""
    from object_detection_mtl.builders import (
        evaluation_builder,
        input_reader_builder,
        model_builder,
    )
    from object_detection_mtl.checkpoints import loading
    from object_detection_mtl.evaluation import evaluation_step

    # The loop gets what evaluation gives its detector: resized batches with labels.
    detector = model_builder.build(config.model, is_training=False)
    loading.load_detector_weights(detector, prefix)
    dataset = input_reader_builder.build_dataset(
        config.eval_input_reader[0],
        preprocess_fn=input_reader_builder.preprocess_one(detector),
        num_classes=detector.num_classes,
        batch_size=config.eval_config.batch_size,
        is_training=False,
    )
    batches = list(dataset)
    infer: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    if _ENGINE.value == "tensorflow":
        infer = evaluation_step.make_infer_fn(detector, dataset.element_spec)
    else:
        _, infer = evaluation_step.make_engine_infer_fn(detector, dataset, _ENGINE.value, "float32")
    evaluation = evaluation_builder.build_evaluation(config, directory, engine=_ENGINE.value)
    print(f"{sum(len(batch['inputs']) for batch in batches)} images", flush=True)
    seconds: dict[str, list[float]] = {"evaluation": [], "loop": []}
    for _ in range(_ROUNDS.value + 1):
        with contextlib.redirect_stdout(io.StringIO()):
            step, _ = evaluation.evaluate(prefix)
        name = config.eval_input_reader[0].name
        path = Path(directory) / "eval" / name / f"metrics-{step}.json"
        written = json.loads(path.read_text())
        seconds["evaluation"].append(written["seconds"] + written["metric_seconds"])
        start = time.perf_counter()
        for batch in batches:
            infer(batch)
        seconds["loop"].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in seconds.items()}


def main(_: list[str]) -> None:
    """Print the ratio."""
    from object_detection_mtl.checkpoints import checkpoint_search
    from object_detection_mtl.cli import process_settings
    from object_detection_mtl.config import pipeline

    process_settings.quiet_tensorflow()
    config = pipeline.load(os.path.join(_MODEL_DIR.value, "pipeline.config"), _OVERRIDE.value)
    prefix = checkpoint_search.resolve_checkpoint(_MODEL_DIR.value)
    with tempfile.TemporaryDirectory() as directory:
        seconds = _measured(config, prefix, directory)
    for name, values in seconds.items():
        print(f"{name}: {statistics.median(values):.2f} s")
    ratio = timing.median_ratio(seconds["evaluation"], seconds["loop"])
    print(f"evaluation / loop: {ratio:.2f}")


if __name__ == "__main__":
    app.run(main)
