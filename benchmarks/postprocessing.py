"""Speed of what follows the networks: from raw outputs to proposals and to detections.

    python -m benchmarks.postprocessing

Prints, on one thread, the median milliseconds of `select_proposals` for the anchors of a 600x800
image (38 x 50 cells, 12 each) and of `select_detections` for 300 proposals of 20 and 90 classes.

The outputs are random with the clusters that real ones have: proposals and boxes crowd around
thirty objects, so that suppression has something to suppress.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks.timing import interleaved_seconds

_ROUNDS = flags.DEFINE_integer("rounds", 20, "Timed calls of each function.")

HEIGHT, WIDTH, STRIDE, ANCHORS_PER_CELL = 600, 800, 16, 12
PROPOSALS, OBJECTS = 300, 30


def detections_call(num_classes: int) -> Callable[[], object]:
    """A compiled `select_detections` on clustered proposals, softmax scores, VOC's thresholds."""
    import numpy as np
    import tensorflow as tf

    from object_detection_mtl.models.postprocess import DetectionSelection, select_detections

    random = np.random.RandomState(num_classes)
    proposals = clustered_boxes(random, PROPOSALS)
    encodings = random.normal(0, 0.5, (1, PROPOSALS, num_classes, 4))
    logits = random.normal(0, 3, (1, PROPOSALS, num_classes + 1))
    arguments = [tf.constant(array, tf.float32) for array in (encodings, logits, proposals)]
    windows = tf.constant([[0.0, 0.0, HEIGHT, WIDTH]])
    selection = DetectionSelection(clip_before_nms=True)
    select = tf.function(
        lambda e, c, p: select_detections(e, c, p, tf.constant([PROPOSALS]), windows, selection)
    )
    return lambda: select(*arguments)


def proposals_call() -> Callable[[], object]:
    """A compiled `select_proposals` on the anchors of the image."""
    import numpy as np
    import tensorflow as tf

    from object_detection_mtl.models.proposals import ProposalSelection, select_proposals
    from object_detection_mtl.ops.anchors import GridAnchorGenerator

    random = np.random.RandomState(0)
    generator = GridAnchorGenerator(
        (0.25, 0.5, 1.0, 2.0), (0.5, 1.0, 2.0), (256.0, 256.0), (STRIDE, STRIDE)
    )
    anchors = generator.generate(-(-HEIGHT // STRIDE), -(-WIDTH // STRIDE))
    count = int(anchors.shape[0])
    encodings = tf.constant(random.normal(0, 0.5, (1, count, 4)), tf.float32)
    logits = tf.constant(random.normal(0, 3, (1, count, 2)), tf.float32)
    windows = tf.constant([[0.0, 0.0, HEIGHT, WIDTH]])
    usable = tf.ones([1, count], tf.bool)
    select = tf.function(
        lambda e, o: select_proposals(
            e, o, anchors, windows, usable, ProposalSelection(clip_before_nms=True)
        )
    )
    return lambda: select(encodings, logits)


def clustered_boxes(random: Any, number: int) -> Any:
    """[1, number, 4] boxes that scatter around OBJECTS objects, inside the image."""
    import numpy as np

    corners = random.uniform(0, 0.7, (OBJECTS, 2))
    objects = np.concatenate([corners, corners + random.uniform(0.05, 0.3, (OBJECTS, 2))], axis=1)
    boxes = objects[random.randint(OBJECTS, size=number)] + random.normal(0, 0.02, (number, 4))
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    boxes = np.clip(np.concatenate([low, high], axis=1), 0, 1)
    return boxes[np.newaxis] * [HEIGHT, WIDTH, HEIGHT, WIDTH]


def main(_: list[str]) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    calls = {
        "proposals of 600x800": proposals_call(),
        "detections, 20 classes": detections_call(20),
        "detections, 90 classes": detections_call(90),
    }
    for name, seconds in interleaved_seconds(calls, rounds=_ROUNDS.value).items():
        print(f"{name}: {1000 * statistics.median(seconds):.1f} ms")


if __name__ == "__main__":
    app.run(main)
