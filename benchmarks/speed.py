"""Speed of a detector against the bare convolutions and matrix products it contains.

    python -m benchmarks.speed

Prints, for a config's model at 600x800 and 300 proposals, the median time of an inference call
and of a training step, and their ratio to the bare products (benchmarks/bare_products.py) timed in
turn in the same process.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags

CONFIGS = Path(__file__).parents[1] / "samples" / "configs"

_CONFIG = flags.DEFINE_string(
    "config", str(CONFIGS / "faster_rcnn_mobilenet_v1_voc07.config"), "Pipeline config."
)
_HEIGHT = flags.DEFINE_integer("height", 600, "Height of the picture.")
_WIDTH = flags.DEFINE_integer("width", 800, "Width of the picture.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Timed calls of each function.")
_MODES = flags.DEFINE_list("modes", ["inference", "training"], "What to time.")


def inference_call(config: Any, image: Any) -> tuple[Any, Callable[[], object]]:
    """(concrete function, call): picture in, detections out."""
    import tensorflow as tf

    from object_detection_mtl.builders import model_builder

    detector = model_builder.build(config.model, is_training=False)

    @tf.function
    def detect(images: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs, shapes = detector.preprocess(images)
        inputs = tf.ensure_shape(inputs, image.shape)
        return detector.postprocess(detector.predict(inputs, shapes), shapes)

    return detect.get_concrete_function(image), lambda: detect(image)


def training_call(config: Any, image: Any) -> tuple[Any, Callable[[], object]]:
    """(concrete function, call): one step on one picture with eight boxes."""
    import numpy as np
    import tensorflow as tf

    from object_detection_mtl.builders import model_builder, optimizer_builder
    from object_detection_mtl.fields import Batch, Groundtruth
    from object_detection_mtl.training.step import StepOptions, TrainingStep

    detector = model_builder.build(config.model, is_training=True)
    variables = detector.trainable_variables
    optimizer = optimizer_builder.build(config.train_config.optimizer)
    optimizer.build(variables)
    options = StepOptions(clip_norm=10.0, clip_per_variable=True)
    training_step = TrainingStep(detector, optimizer, variables, options)
    random = np.random.RandomState(0)
    corners = random.uniform(0.0, 0.6, (1, 8, 2))
    boxes = np.concatenate([corners, corners + random.uniform(0.1, 0.4, (1, 8, 2))], axis=-1)
    inputs, shapes = detector.preprocess(image)
    batch = {
        Batch.inputs: inputs,
        Batch.true_image_shapes: shapes,
        Groundtruth.boxes: tf.constant(boxes, tf.float32),
        Groundtruth.classes: tf.constant(random.randint(1, 21, (1, 8)), tf.int32),
        Groundtruth.num_boxes: tf.constant([8]),
    }
    train = tf.function(lambda: training_step(batch, tf.constant(0, tf.int64)))
    return train.get_concrete_function(), train


def report(name: str, concrete: Any, call: Callable[[], object]) -> None:
    """Times one function against its bare products and prints a line."""
    from benchmarks import bare_products, timing

    products = bare_products.find_products(concrete)
    bare = bare_products.bare_function(products)
    seconds = timing.interleaved_seconds({"real": call, "bare": bare}, rounds=_ROUNDS.value)
    real, products_only = (1e3 * statistics.median(seconds[key]) for key in ("real", "bare"))
    ratio = timing.median_ratio(seconds["real"], seconds["bare"])
    print(f"{name}: {real:.0f} ms, bare products {products_only:.0f} ms, ratio {ratio:.2f}")
    print(f"  {bare_products.describe(products)}")
    print(f"  peak memory of the process so far: {timing.peak_memory_gib():.2f} GiB", flush=True)


def main(_: list[str]) -> None:
    import numpy as np
    import tensorflow as tf

    from object_detection_mtl.config import pipeline

    config = pipeline.load(_CONFIG.value)
    shape = (1, _HEIGHT.value, _WIDTH.value, 3)
    image = tf.constant(np.random.RandomState(0).randint(0, 256, shape), tf.uint8)
    calls = {"inference": inference_call, "training": training_call}
    for mode in _MODES.value:
        report(mode, *calls[mode](config, image))


if __name__ == "__main__":
    app.run(main)
