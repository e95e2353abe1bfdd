"""Effect of the precision of an export on mAP, on the evaluation data of its config.

    python -m benchmarks.precision --model_dir=bccd_model
    python -m benchmarks.precision --model_dir=bccd_model --forms='fast,openvino,openvino bfloat16'
    python -m benchmarks.precision --model_dir=bccd_model --forms='openvino,openvino int8'

Exports the newest checkpoint of a run in float32 and in bfloat16 (forms of benchmarks/forms.py,
also of other engines), evaluates the models on the first eval_input_reader, and prints the metrics
in columns, then the 95 % intervals of the differences of mAP@0.5 by a paired bootstrap over the
images. Images are preprocessed by the models, as in serving. int8 is calibrated on the training
records, or on --calibration. With --exported_models, existing exports are evaluated instead; they
must take image_tensor.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

from absl import app, flags

_MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "Model directory of a training run.", required=True
)
_OVERRIDE = flags.DEFINE_multi_string("override", [], "A field of its config: a.b.c=value.")
_FORMS = flags.DEFINE_list(
    "forms", ["fast", "bfloat16"], "Forms to export; the others are compared with the first."
)
_EXPORTED = flags.DEFINE_list(
    "exported_models", [], "Directories with saved_model.pb, or files of other engines."
)
_CALIBRATION = flags.DEFINE_multi_string(
    "calibration", [], "Records or directories of images for int8. Default: the training records."
)
_CALIBRATION_IMAGES = flags.DEFINE_integer("calibration_images", 300, "Number of them.")
_MAX_DROP = flags.DEFINE_float("max_drop", None, "Limit of int8: see exporter_main_v2.")


def export_checkpoint(config: Any, root: str) -> dict[str, str]:
    """Export all forms; return form -> its SavedModel, or the file of another engine."""
    from benchmarks import forms
    from object_detection_mtl import jobs
    from object_detection_mtl.api.quantization import QuantizationRequest

    records = config.train_input_reader.tf_record_input_reader.input_path
    request = QuantizationRequest(
        _CALIBRATION.value or [*records], _CALIBRATION_IMAGES.value, _MAX_DROP.value
    )

    def write(directory: str, options: Any) -> None:
        quantization = request if options.precision == "int8" else None
        jobs.export(config, _MODEL_DIR.value, directory, options, quantization)

    return forms.export_forms(write, root, _FORMS.value)


def evaluate_export(config: Any, path: str) -> tuple[dict[str, float], Any]:
    """Return metrics of an export by their names in TensorBoard, and its EvaluationSet."""
    import tensorflow as tf

    from benchmarks import forms
    from object_detection_mtl.builders import eval_config_builder, input_reader_builder
    from object_detection_mtl.evaluation.evaluation_loop import evaluate_detections
    from object_detection_mtl.fields import Batch, Detections
    from object_detection_mtl.reporting.checkpoint_report import DetectionCollector

    reader, num_classes = config.eval_input_reader[0], config.model.faster_rcnn.num_classes
    dataset = input_reader_builder.build_dataset(
        reader,
        # The model preprocesses the original images; these are not used.
        preprocess_fn=lambda image: (tf.cast(image, tf.float32), tf.shape(image)),
        num_classes=num_classes,
        batch_size=1,
        is_training=False,
        retain_original_images=True,
    )
    categories = input_reader_builder.load_label_map(reader, num_classes)
    assert categories is not None
    evaluators = eval_config_builder.build_evaluators(config.eval_config, categories)
    run = forms.load_form(path)

    def infer(batch: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        outputs = run({"input_tensor": batch[Batch.original_images].numpy()})
        # Served classes start at 1.
        return outputs | {Detections.classes: outputs[Detections.classes] - 1.0}

    collector = DetectionCollector(categories)
    result = evaluate_detections(dataset, infer, [*evaluators, collector])
    print(f"{path}: {result.num_images} images, {result.num_detections} detections", flush=True)
    return result.metrics, collector.evaluation_set(path, categories, {})


def print_metrics(metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Print a row for each metric, with differences to the first model in points (hundredths)."""
    first, *others = metrics
    print("\n| metric |" + "".join(f" {name} |" for name in metrics) + " difference, points |")
    print("|---" * (len(metrics) + 2) + "|")
    for name, value in metrics[first].items():
        values = "".join(f" {each[name]:.4f} |" for each in metrics.values())
        differences = ", ".join(f"{100 * (metrics[other][name] - value):+.2f}" for other in others)
        print(f"| {name} |{values} {differences} |")


def print_intervals(sets: Mapping[str, Any]) -> None:
    """Print the interval of each model's difference in mAP@0.5 from the first, in points."""
    from object_detection_mtl.reporting import bootstrap
    from object_detection_mtl.reporting.object_matching import match_images

    first, *others = sets
    tables = {name: match_images(found.images) for name, found in sets.items()}
    classes = [category.id for category in sets[first].categories]
    print(f"\n| compared with {first} | mAP@0.5, points | 95 % interval |\n|---|---|---|")
    for name in others:
        _, mean = bootstrap.paired_differences(
            [tables[first]], [tables[name]], classes, len(sets[first].images)
        )
        low, high = 100 * mean.low, 100 * mean.high
        print(f"| {name} | {100 * mean.difference:+.2f} | {low:+.2f} to {high:+.2f} |")


def main(_: list[str]) -> None:
    """Evaluate and compare all exports."""
    from object_detection_mtl.config import pipeline

    config = pipeline.load(os.path.join(_MODEL_DIR.value, "pipeline.config"), _OVERRIDE.value)
    sets = config.eval_config.metrics_set
    for name in ("pascal_voc_detection_metrics", "coco_detection_metrics"):
        if name not in sets:
            sets.append(name)
    with tempfile.TemporaryDirectory() as root:
        paths = {path: path for path in _EXPORTED.value} or export_checkpoint(config, root)
        found = {name: evaluate_export(config, path) for name, path in paths.items()}
        print_metrics({name: metrics for name, (metrics, _) in found.items()})
        print_intervals({name: images for name, (_, images) in found.items()})


if __name__ == "__main__":
    app.run(main)
