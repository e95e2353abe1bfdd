"""Evaluation of one run in a separate process.

    python -m object_detection_mtl.experiments.run_evaluation MODEL_DIR RECORD OUTPUT [VALIDATION]

evaluates the newest checkpoint of MODEL_DIR on RECORD. OUTPUT gets `evaluation.json`: the metrics,
once as trained, for a model with refinement again from the main logits of the same checkpoint, and
with its refiner refitted to images of the training (`refiner_refit`); and what training logged. A
model without refinement gets a refiner for the last of them. Detections lie beside it.

With VALIDATION, another record, the refiner is refitted to its images instead, and reads only two
windows of a proposal, itself and the image, which cost little in detection.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from object_detection_mtl import refiner_refit
from object_detection_mtl.builders import (
    input_reader_builder,
    label_builder,
    model_builder,
)
from object_detection_mtl.checkpoints import checkpoint_search, loading
from object_detection_mtl.config import pipeline
from object_detection_mtl.evaluation import metrics_sets
from object_detection_mtl.evaluation.evaluation_loop import evaluate_detections
from object_detection_mtl.evaluation.evaluation_step import make_infer_fn
from object_detection_mtl.experiments import experiment_files, stored_detections
from object_detection_mtl.experiments.experiment_files import (
    GROUNDTRUTH,
    OUTPUT,
    detections_file,
)
from object_detection_mtl.experiments.paired_runs import TASKS
from object_detection_mtl.fields import Batch, ScoreSource
from object_detection_mtl.mtl.window_task import IMAGE_WINDOW, PROPOSAL_WINDOW

# Whatever the config asks for.
METRICS_SETS = ("pascal_voc_detection_metrics", "coco_detection_metrics", "error_analysis")
# Images of the training that a refiner is refitted to.
REFIT_IMAGES = 500


def evaluate(model_dir: Path, record: Path, output: Path, validation: Path | None = None) -> None:
    """Evaluate a run and write what is found to `output`; see the module."""
    path = model_dir / "pipeline.config"
    reader = f"eval_input_reader[0].tf_record_input_reader.input_path={record}"
    config = pipeline.load(path, [reader])
    prefix = checkpoint_search.resolve_checkpoint(model_dir)
    output.mkdir(parents=True, exist_ok=True)
    detector = _load_detector(config, prefix)
    source = ScoreSource.as_trained
    evaluations = {source: _evaluate_detector(config, detector, output, source)}
    if config.model.mtl.refine:
        off = [f"model.mtl.{task}=false" for task in TASKS]
        main = pipeline.load(path, [reader, *off])
        evaluations[ScoreSource.main_logits] = _evaluate_detector(
            main, _load_detector(main, prefix), output, ScoreSource.main_logits
        )
    request = refiner_refit.RefitRequest(num_images=REFIT_IMAGES)
    source = ScoreSource.refitted
    if validation is not None:
        request = refiner_refit.RefitRequest([str(validation)])
        source = ScoreSource.refitted_to_validation
        if config.model.mtl.window:
            config.model.mtl.refine_windows[:] = [PROPOSAL_WINDOW, IMAGE_WINDOW]
    config = refiner_refit.with_refiner(config)
    refit, refining = _refit(config, prefix, request)
    if refining is not None:
        evaluations[source] = _evaluate_detector(config, refining, output, source)
    content = {
        "evaluations": evaluations,
        "refit": refit,
        "curves": read_curves(model_dir / "train"),
    }
    experiment_files.write_json(output / OUTPUT, content)


def _load_detector(config: Any, prefix: str) -> Any:
    detector = model_builder.build(config.model, is_training=False)
    loading.load_detector_weights(detector, prefix)
    return detector


def _refit(
    config: Any, prefix: str, request: refiner_refit.RefitRequest
) -> tuple[dict[str, Any], Any]:
    """Refit the refiner, whether or not that helps on images held out.

    Returns:
        A description of the fit, and the detector. A refiner that cannot be refitted is described
        by the "error"; the detector is None then.
    """
    try:
        detector, _ = refiner_refit.load_refining_detector(config, prefix)
        fit = refiner_refit.fit_detector(config, detector, request)
    except ValueError as error:
        return {"error": str(error)}, None
    detector.refiner.set_linear(fit.linear.kernel, fit.linear.bias)
    return refiner_refit.describe_fit(fit), detector


def _evaluate_detector(config: Any, detector: Any, output: Path, source: str) -> dict[str, Any]:
    """Return a detector's metrics; write its detections and the ground truth."""
    reader = config.eval_input_reader[0]
    categories = input_reader_builder.load_label_map(reader, detector.num_classes)
    assert categories is not None

    dataset = input_reader_builder.build_dataset(
        reader,
        preprocess_fn=input_reader_builder.preprocess_one(detector),
        num_classes=detector.num_classes,
        batch_size=config.eval_config.batch_size,
        is_training=False,
        labels=label_builder.build(config.model),
    )
    collector = stored_detections.Collector(categories)
    evaluators = [*metrics_sets.make_evaluators(METRICS_SETS, categories), collector]
    start = time.process_time()
    infer = make_infer_fn(detector, dataset.element_spec)
    times: list[float] = []

    def timed(batch: Mapping[str, tf.Tensor]) -> Mapping[str, Any]:
        begin = time.perf_counter()
        found = infer(batch)
        times.append((time.perf_counter() - begin) / batch[Batch.inputs].shape[0])
        return found

    result = evaluate_detections(dataset, timed, evaluators)
    images = collector.images()
    stored_detections.save_groundtruth(output / GROUNDTRUTH, images)
    stored_detections.save_detections(output / detections_file(source), images)
    by_count = stored_detections.mean_ap_by_class_count(images, categories)
    return {
        "metrics": {name: rounded(value) for name, value in result.metrics.items()},
        "by_number_of_classes": {
            name: {key: rounded(value) for key, value in numbers.items()}
            for name, numbers in by_count.items()
        },
        "images": result.num_images,
        # The median: the first call traces the graph.
        "seconds_per_image": rounded(statistics.median(times)),
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def read_curves(directory: Path) -> dict[str, Any]:
    """Return what training logged: its steps, and TensorBoard name -> value per step or None.

    A step that a resumed training logged again has its last value.
    """
    values: dict[str, dict[int, float]] = {}
    for path in sorted(directory.glob("events.out.tfevents.*"), key=lambda p: p.stat().st_mtime):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                array = tf.make_ndarray(value.tensor)
                if array.ndim == 0 and array.dtype.kind == "f":
                    values.setdefault(value.tag, {})[event.step] = float(array)
    steps = sorted({step for by_step in values.values() for step in by_step})
    curves = {
        tag: [rounded(by_step.get(step, math.nan)) for step in steps]
        for tag, by_step in values.items()
    }
    return {"steps": steps, "values": curves}


def rounded(value: float) -> float | None:
    """Return a number of six digits; None for NaN, which JSON lacks."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def main(arguments: list[str]) -> int:
    """Evaluate the run that the arguments name."""
    evaluate(*map(Path, arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
