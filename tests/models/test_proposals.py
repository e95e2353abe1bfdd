"""Which anchors count, in images alone and in padded ones."""

import numpy as np
import tensorflow as tf

from object_detection_mtl.models import proposals
from object_detection_mtl.ops.anchors import GridAnchorGenerator
from tests.training import tiny

# Images of 20x32 and 48x48, in inputs of 48x48.
WINDOWS = tf.constant([[0.0, 0, 20, 32], [0, 0, 48, 48]])


def generator(offset=(0.0, 0.0)):
    """An anchor of 30x30 for each cell of 16x16."""
    return GridAnchorGenerator((1.0,), (1.0,), (30.0, 30.0), (16, 16), offset)


def test_cells_in_the_padding_have_no_anchors():
    """That of row 32 begins at 17 and would reach into the image of 20 rows."""
    anchors, usable = proposals.select_usable_anchors(
        generator().generate(3, 3), WINDOWS, clip=True
    )
    usable = usable.numpy().reshape(2, 3, 3)
    assert usable[0].tolist() == [[True, True, False], [True, True, False], [False] * 3]
    assert usable[1].all()
    # Cell (16, 16): 1..31 in both directions, cut at row 20.
    np.testing.assert_array_equal(anchors[0, 4], [1, 1, 20, 31])
    np.testing.assert_array_equal(anchors[1, 4], [1, 1, 31, 31])


def test_an_offset_moves_anchors_not_cells():
    """Row 16 is on an image of 20 rows, though its anchors' centers at 24 are not."""
    offset = (8.0, 8.0)
    anchors = generator(offset).generate(3, 3)
    _, usable = proposals.select_usable_anchors(anchors, WINDOWS, clip=True, offset=offset)
    assert usable.numpy()[0].reshape(3, 3).tolist() == [
        [True, True, False],
        [True, True, False],
        [False] * 3,
    ]


def test_without_cutting_none_that_leaves_counts():
    small = GridAnchorGenerator((1.0,), (1.0,), (8.0, 8.0), (16, 16))
    anchors, usable = proposals.select_usable_anchors(small.generate(3, 3), WINDOWS, clip=False)
    assert anchors.shape == [9, 4]
    # Cell (16, 16) covers 12..20; those at the upper and left border leave the image.
    assert usable.numpy()[0].reshape(3, 3).tolist() == [
        [False] * 3,
        [False, True, False],
        [False] * 3,
    ]


def test_proposals_of_an_image_do_not_depend_on_its_padding():
    """The toy's features of padding are zero, like those beyond a border: nothing leaks."""
    detector = tiny.tiny_detector(is_training=False)
    batch = tiny.batch(3, height=32, width=32)
    shapes = batch["true_image_shapes"]
    alone = detector.predict(batch["inputs"], shapes)
    padded = detector.predict(tf.pad(batch["inputs"], [[0, 0], [0, 16], [0, 8], [0, 0]]), shapes)
    for key in ("num_proposals", "proposal_boxes", "proposal_scores", "proposal_boxes_normalized"):
        np.testing.assert_allclose(padded[key], alone[key], rtol=1e-5, atol=1e-5, err_msg=key)
