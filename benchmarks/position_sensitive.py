"""Speed of R-FCN's position-sensitive pooling.

    python -m benchmarks.position_sensitive

Prints the median milliseconds of pooling box and class maps of a 600x800 image (38 x 50 cells)
for 300 proposals, 3x3 bins and 18x18 samples, with 20 and 90 classes, and of its gradient; and for
comparison of a whole detector (--detector) on such an image.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from absl import app, flags

from benchmarks.timing import interleaved_seconds

CONFIGS = Path(__file__).parents[1] / "samples" / "configs"

_ROUNDS = flags.DEFINE_integer("rounds", 10, "Timed calls of each function.")
_DETECTOR = flags.DEFINE_string(
    "detector", str(CONFIGS / "rfcn_resnet101_voc07.config"), "Pipeline config; empty for none."
)

HEIGHT, WIDTH, STRIDE, PROPOSALS = 600, 800, 16, 300
BINS, CROP = (3, 3), (18, 18)


def pooling_calls(num_classes: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Pooling of both maps, and its gradient towards them."""
    import numpy as np
    import tensorflow as tf

    from object_detection_mtl.ops import position_sensitive

    random = np.random.RandomState(0)
    corners = np.sort(random.uniform(0, 1, (1, PROPOSALS, 2, 2)), axis=2)
    boxes = tf.constant(corners.reshape(1, PROPOSALS, 4), tf.float32)
    size = (1, -(-HEIGHT // STRIDE), -(-WIDTH // STRIDE))
    maps = [
        tf.constant(random.standard_normal((*size, BINS[0] * BINS[1] * channels)), tf.float32)
        for channels in (4 * num_classes, num_classes + 1)
    ]

    @tf.function
    def pool(*maps: tf.Tensor) -> list[tf.Tensor]:
        weights = position_sensitive.bin_weights(boxes, CROP, BINS, tf.shape(maps[0]))
        return [position_sensitive.pool(part, weights) for part in maps]

    @tf.function
    def gradient(*maps: tf.Tensor) -> list[tf.Tensor]:
        return tf.gradients(pool(*maps), maps)

    return lambda: pool(*maps), lambda: gradient(*maps)


def detector_call(config_path: str) -> Callable[[], object]:
    """Image in, detections out."""
    import numpy as np
    import tensorflow as tf

    from object_detection_mtl.builders import model_builder
    from object_detection_mtl.config import pipeline

    detector = model_builder.build(pipeline.load(config_path).model, is_training=False)
    random = np.random.RandomState(0)
    image = tf.constant(random.randint(0, 256, (1, HEIGHT, WIDTH, 3)), tf.uint8)

    @tf.function
    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs, shapes = detector.preprocess(image)
        return detector.postprocess(detector.predict(inputs, shapes), shapes)

    return lambda: detect(image)


def main(_: list[str]) -> None:
    calls = {}
    for num_classes in (20, 90):
        forwards, backwards = pooling_calls(num_classes)
        calls[f"pooling, {num_classes} classes"] = forwards
        calls[f"gradient of pooling, {num_classes} classes"] = backwards
    if _DETECTOR.value:
        calls[f"whole detector {Path(_DETECTOR.value).stem}"] = detector_call(_DETECTOR.value)
    for name, seconds in interleaved_seconds(calls, rounds=_ROUNDS.value).items():
        print(f"{name}: {1000 * statistics.median(seconds):.1f} ms")


if __name__ == "__main__":
    app.run(main)
