"""What the precision of an export costs in mAP, on the data that its config evaluates on.

    python -m benchmarks.precision --model_dir=bccd_model
    python -m benchmarks.precision --model_dir=bccd_model --forms='fast,openvino,openvino bfloat16'

Exports the newest checkpoint of a run as users do, in float32 and in bfloat16 (forms of
benchmarks/forms.py, those of other engines as well), evaluates the models on the first
eval_input_reader, and prints the metrics side by side. The pictures go through the models' own
preprocessing, as they do when a model is served. With --exported_models, models that were exported
before are evaluated instead; they must take image_tensor.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from absl import app, flags

_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Of a training run.", required=True)
_OVERRIDE = flags.DEFINE_multi_string("override", [], "A field of its config: a.b.c=value.")
_FORMS = flags.DEFINE_list("forms", ["fast", "bfloat16"], "What to export; the first is compared.")
_EXPORTED = flags.DEFINE_list(
    "exported_models", [], "Folders with saved_model.pb, or files of other engines."
)


def export(config: Any, root: str) -> dict[str, str]:
    """Form -> its SavedModel, or the file of another engine."""
    from benchmarks import forms
    from object_detection_mtl import jobs

    write = functools.partial(jobs.export, config, _MODEL_DIR.value)
    return forms.export(write, root, _FORMS.value)


def evaluate(config: Any, path: str) -> dict[str, float]:
    """Metrics of an exported model of image_tensor, by their names in TensorBoard."""
    import tensorflow as tf

    from benchmarks import forms
    from object_detection_mtl.builders import eval_config_builder, input_reader_builder
    from object_detection_mtl.evaluation.evaluation_loop import evaluate_detections
    from object_detection_mtl.fields import Batch, Detections

    reader, num_classes = config.eval_input_reader[0], config.model.faster_rcnn.num_classes
    dataset = input_reader_builder.build_dataset(
        reader,
        # The model preprocesses; what the pipeline makes of the pictures is not used.
        preprocess_fn=lambda image: (tf.cast(image, tf.float32), tf.shape(image)),
        num_classes=num_classes,
        batch_size=1,
        is_training=False,
        retain_original_images=True,
    )
    categories = input_reader_builder.load_label_map(reader, num_classes)
    evaluators = eval_config_builder.build_evaluators(config.eval_config, categories)
    run = forms.load(path)

    def infer(batch: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        outputs = run({"input_tensor": batch[Batch.original_images].numpy()})
        # Served classes start at 1.
        return outputs | {Detections.classes: outputs[Detections.classes] - 1.0}

    result = evaluate_detections(dataset, infer, evaluators)
    print(f"{path}: {result.num_images} images, {result.num_detections} detections", flush=True)
    return result.metrics


def report(metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Prints a row for each metric; differences in points, that is hundredths, to the first."""
    first, *others = metrics
    print("\n| metric |" + "".join(f" {name} |" for name in metrics) + " difference, points |")
    print("|---" * (len(metrics) + 2) + "|")
    for name, value in metrics[first].items():
        values = "".join(f" {each[name]:.4f} |" for each in metrics.values())
        differences = ", ".join(f"{100 * (metrics[other][name] - value):+.2f}" for other in others)
        print(f"| {name} |{values} {differences} |")


def main(_: list[str]) -> None:
    from object_detection_mtl.config import pipeline

    config = pipeline.load(os.path.join(_MODEL_DIR.value, "pipeline.config"), _OVERRIDE.value)
    sets = config.eval_config.metrics_set
    for name in ("pascal_voc_detection_metrics", "coco_detection_metrics"):
        if name not in sets:
            sets.append(name)
    with tempfile.TemporaryDirectory() as root:
        paths = {path: path for path in _EXPORTED.value} or export(config, root)
        report({name: evaluate(config, path) for name, path in paths.items()})


if __name__ == "__main__":
    app.run(main)
