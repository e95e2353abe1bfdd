import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.ops.hard_example_miner import mine_hard_examples
from tests.golden.ops_cases import each_case
from tests.ops.graphs import call_with_unknown_sizes

# Two images of four examples; all boxes of an image are the same box unless a test says otherwise.
LOCATION = tf.constant([[100.0, 90, 80, 0], [0, 1, 2, 3]])
CLASS = tf.constant([[0.0, 10, 50, 110], [9, 6, 3, 0]])
SAME_BOXES = tf.tile(tf.constant([0.1, 0.1, 0.9, 0.9]), [8])
SAME_BOXES = tf.reshape(SAME_BOXES, [2, 4, 4])
APART = tf.tile(
    tf.constant([[[0.0, 0, 1, 1], [0, 2, 1, 3], [0, 4, 1, 5], [0, 6, 1, 7]]]), [2, 1, 1]
)


def mine(boxes=SAME_BOXES, location=LOCATION, classes=CLASS, **arguments):
    """(summed location loss, summed class loss) of the examples that are kept."""
    arguments = {"num_hard_examples": 1, "iou_threshold": 0.0, **arguments}
    mask = tf.cast(mine_hard_examples(location, classes, boxes, **arguments), tf.float32)
    return float(tf.reduce_sum(mask * location)), float(tf.reduce_sum(mask * classes))


@each_case("hard_example_miner")
def test_golden(case):
    params, inputs = case.params, case.inputs
    actual = mine(
        tf.constant(np.stack([inputs["boxes0"], inputs["boxes1"]])),
        tf.constant(inputs["location_losses"]),
        tf.constant(inputs["cls_losses"]),
        num_hard_examples=params["num_hard_examples"],
        iou_threshold=params["iou_threshold"],
        loss_type=params["loss_type"],
        location_loss_weight=params.get("loc_loss_weight", 0.06),
        class_loss_weight=params.get("cls_loss_weight", 0.05),
    )
    expected = (case.expected["mined_location_loss"], case.expected["mined_cls_loss"])
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_loss_types():
    assert mine(loss_type="loc") == (100 + 3, 0)
    assert mine(loss_type="cls") == (0 + 0, 110 + 9)
    assert mine(loss_type="both") == (80 + 0, 50 + 9)
    assert mine(loss_type="both", class_loss_weight=0.0) == (100 + 3, 0)


def test_the_best_of_boxes_that_do_not_overlap():
    assert mine(APART, loss_type="loc", num_hard_examples=2) == (190 + 5, 10 + 3)


def test_overlapping_examples_count_once():
    boxes = tf.concat([SAME_BOXES[:, :2], APART[:, 2:]], axis=1)
    assert mine(boxes, loss_type="loc", num_hard_examples=4) == (180 + 6, 160 + 9)


def test_no_limit():
    assert mine(APART, loss_type="loc", num_hard_examples=None) == (270 + 6, 170 + 18)


def test_losses_of_zero_may_be_taken():
    zeros = tf.zeros([2, 4])
    mask = mine_hard_examples(zeros, zeros, APART, num_hard_examples=2, iou_threshold=0.5)
    assert mask.numpy().tolist() == [[True, True, False, False]] * 2


@pytest.mark.parametrize(
    ("per_positive", "at_least", "expected"),
    [(0.0, 0, (100, 0)), (1.0, 0, (190, 10)), (2.5, 0, (270, 60)), (0.0, 1, (190, 16))],
)
def test_negatives_per_positive(per_positive, at_least, expected):
    """Image 0 has one positive and three negatives, image 1 only negatives."""
    actual = mine(
        APART[:, :, :],
        location=LOCATION * tf.constant([[1.0], [0]]),
        classes=tf.constant([[0.0, 10, 50, 110], [6, 0, 0, 0]]),
        loss_type="loc",
        num_hard_examples=4,
        is_positive=tf.constant([[True, False, False, False], [False] * 4]),
        max_negatives_per_positive=per_positive,
        min_negatives_per_image=at_least,
    )
    assert actual == expected


def test_padding_is_never_mined():
    mask = mine_hard_examples(
        LOCATION,
        CLASS,
        APART,
        num_hard_examples=4,
        iou_threshold=0.5,
        num_valid=tf.constant([2, 0]),
    )
    assert mask.numpy().tolist() == [[True, True, False, False], [False] * 4]


def test_the_same_in_a_graph_without_sizes():
    def run(location, classes, boxes):
        return mine_hard_examples(location, classes, boxes, num_hard_examples=3, iou_threshold=0.5)

    actual = call_with_unknown_sizes(run, LOCATION, CLASS, APART, known_axes=0)
    np.testing.assert_array_equal(actual, run(LOCATION, CLASS, APART))


def test_no_image():
    empty = tf.zeros([0, 4])
    mask = mine_hard_examples(
        empty, empty, tf.zeros([0, 4, 4]), num_hard_examples=2, iou_threshold=0.5
    )
    assert mask.shape == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"loss_type": "all"}, "'all'"), ({"max_negatives_per_positive": 3.0}, "is_positive")],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        mine(**arguments)
