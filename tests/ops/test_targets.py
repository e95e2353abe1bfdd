import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.ops import box_coder, targets
from tests.golden.ops_cases import cases, with_cases
from tests.ops.graphs import call_with_unknown_sizes, random_boxes

ANCHORS = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 0.8], [0, 0.5, 0.5, 1]], np.float32)
GROUNDTRUTH = np.array([[[0, 0, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9]]], np.float32)


def check(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def each_case_of(stage):
    return with_cases([case for case in cases("target_assign") if case.params["stage"] == stage])


@each_case_of("proposal")
def test_proposal_golden(case):
    groundtruth = case.inputs["groundtruth_boxes"]
    weights = case.inputs.get("groundtruth_weights")
    assigned = targets.assign_proposal_targets(
        tf.constant(case.inputs["anchors"]),
        tf.constant(groundtruth[np.newaxis]),
        tf.constant([len(groundtruth)]),
        None if weights is None else tf.constant(weights[np.newaxis]),
    )
    check(assigned.class_targets[0, :, tf.newaxis], case.expected["cls_targets"])
    check(assigned.class_weights[0, :, tf.newaxis], case.expected["cls_weights"])
    check_boxes_and_matches(assigned, case)


@each_case_of("detection")
def test_detection_golden(case):
    groundtruth = case.inputs["groundtruth_boxes"]
    weights = case.inputs.get("groundtruth_weights")
    assigned = targets.assign_detection_targets(
        tf.constant(case.inputs["anchors"][np.newaxis]),
        tf.constant(groundtruth[np.newaxis]),
        tf.constant([len(groundtruth)]),
        tf.constant(case.inputs["groundtruth_labels"][np.newaxis]),
        None if weights is None else tf.constant(weights[np.newaxis]),
    )
    check(assigned.class_targets[0], case.expected["cls_targets"])
    # The API repeats the weight of an anchor for each class.
    repeated = np.repeat(assigned.class_weights[0, :, tf.newaxis], 21, axis=1)
    check(repeated, case.expected["cls_weights"])
    check_boxes_and_matches(assigned, case)


def check_boxes_and_matches(assigned, case):
    check(assigned.box_targets[0], case.expected["reg_targets"])
    check(assigned.box_weights[0], case.expected["reg_weights"])
    np.testing.assert_array_equal(assigned.matches[0], case.expected["match_results"])


def test_proposal_targets_by_hand():
    """IoU of anchor 1 with box 1 is .12 / .19 = .63: positive only because the box forces it."""
    assigned = targets.assign_proposal_targets(ANCHORS, GROUNDTRUTH, [2])
    assert assigned.matches.numpy().tolist() == [[0, 1, -1]]
    assert assigned.class_targets.numpy().tolist() == [[1, 1, 0]]
    assert assigned.class_weights.numpy().tolist() == [[1, 1, 1]]
    assert assigned.box_weights.numpy().tolist() == [[1, 1, 0]]
    check(assigned.box_targets[0, 0], np.zeros(4))
    check(assigned.box_targets[0, 1], box_coder.encode(GROUNDTRUTH[0, 1], ANCHORS[1]))
    check(assigned.box_targets[0, 2], np.zeros(4))


def test_anchors_between_the_thresholds_are_ignored():
    assigned = targets.assign_proposal_targets(ANCHORS, GROUNDTRUTH, [2], force_match=False)
    assert assigned.matches.numpy().tolist() == [[0, -2, -1]]
    assert assigned.class_weights.numpy().tolist() == [[1, 0, 1]]
    assert assigned.class_targets.numpy().tolist() == [[1, 0, 0]]


def test_a_box_of_weight_zero_is_neither_positive_nor_negative():
    weights = tf.constant([[0.0, 0.5]])
    assigned = targets.assign_proposal_targets(ANCHORS, GROUNDTRUTH, [2], weights)
    assert assigned.matches.numpy().tolist() == [[0, 1, -1]]
    assert assigned.class_weights.numpy().tolist() == [[0, 0.5, 1]]
    assert assigned.box_weights.numpy().tolist() == [[0, 0.5, 0]]
    # Of weight 0, box 1 forces nothing: its anchor is merely ignored.
    assigned = targets.assign_proposal_targets(ANCHORS, GROUNDTRUTH, [2], tf.constant([[1.0, 0]]))
    assert assigned.matches.numpy().tolist() == [[0, -2, -1]]


def test_detection_targets_by_hand():
    classes = tf.constant([[[0.0, 1, 0], [0, 0, 1]]])
    assigned = targets.assign_detection_targets(
        ANCHORS[np.newaxis], GROUNDTRUTH, [2], classes, tf.constant([[0.25, 1]])
    )
    assert assigned.matches.numpy().tolist() == [[0, 1, -1]]
    assert assigned.class_targets.numpy().tolist() == [[[0, 1, 0], [0, 0, 1], [1, 0, 0]]]
    assert assigned.class_weights.numpy().tolist() == [[0.25, 1, 1]]
    assert assigned.box_weights.numpy().tolist() == [[0.25, 1, 0]]
    strict = targets.assign_detection_targets(
        ANCHORS[np.newaxis], GROUNDTRUTH, [2], classes, threshold=0.7
    )
    assert strict.matches.numpy().tolist() == [[0, -1, -1]]


@pytest.mark.parametrize("padding", [0, 3])
def test_no_groundtruth(padding):
    """Not even padding that looks like a perfect box counts."""
    groundtruth = np.tile(ANCHORS[:1], [2, padding, 1])
    assigned = call_with_unknown_sizes(
        targets.assign_proposal_targets, ANCHORS, groundtruth, np.int32([0, 0])
    )
    assert (assigned.matches.numpy() == -1).all()
    assert (assigned.class_weights.numpy() == 1).all()
    assert not assigned.class_targets.numpy().any()
    assert not assigned.box_weights.numpy().any()
    classes = np.ones([2, padding, 3], np.float32)
    proposals = np.stack([ANCHORS, ANCHORS])
    assigned = call_with_unknown_sizes(
        targets.assign_detection_targets, proposals, groundtruth, np.int32([0, 0]), classes
    )
    assert (assigned.class_targets.numpy() == [1, 0, 0]).all()
    assert not assigned.box_targets.numpy().any()


def test_no_proposal():
    assigned = targets.assign_detection_targets(
        tf.zeros([2, 0, 4]), tf.zeros([2, 3, 4]), tf.constant([3, 0]), tf.zeros([2, 3, 5])
    )
    assert assigned.class_targets.shape == (2, 0, 5)
    assert assigned.matches.shape == (2, 0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_padding_and_batching_change_nothing(seed):
    """Two images of 4 and 2 boxes, padded to 6, give what each gives alone."""
    rng = np.random.RandomState(seed)
    anchors, groundtruth = random_boxes(rng, 12), random_boxes(rng, 2, 6)
    weights = rng.choice([0.0, 0.5, 1.0], (2, 6)).astype(np.float32)
    numbers = [4, 2]
    batched = targets.assign_proposal_targets(anchors, groundtruth, numbers, tf.constant(weights))
    classes = np.eye(4, dtype=np.float32)[rng.randint(1, 4, (2, 6))]
    proposals = random_boxes(rng, 2, 8)
    detections = targets.assign_detection_targets(
        proposals, groundtruth, numbers, classes, tf.constant(weights)
    )
    for image, number in enumerate(numbers):
        own = slice(image, image + 1), slice(number)
        alone = targets.assign_proposal_targets(
            anchors, groundtruth[own], [number], tf.constant(weights[own])
        )
        for of_batch, of_one in zip(batched, alone, strict=True):
            check(of_batch[image], of_one[0])
        alone = targets.assign_detection_targets(
            proposals[image : image + 1],
            groundtruth[own],
            [number],
            classes[own],
            tf.constant(weights[own]),
        )
        for of_batch, of_one in zip(detections, alone, strict=True):
            check(of_batch[image], of_one[0])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_masked_anchors_are_as_if_they_were_not_there(seed):
    rng = np.random.RandomState(seed)
    anchors, groundtruth = random_boxes(rng, 12), random_boxes(rng, 1, 5)
    valid = rng.rand(12) < 0.5
    valid[0] = True
    masked = targets.assign_proposal_targets(
        anchors, groundtruth, [5], valid_anchors=tf.constant(valid)
    )
    pruned = targets.assign_proposal_targets(anchors[valid], groundtruth, [5])
    for of_masked, of_pruned in zip(masked, pruned, strict=True):
        check(of_masked.numpy()[:, valid], of_pruned)
    assert not masked.class_weights.numpy()[:, ~valid].any()
    assert not masked.box_weights.numpy()[:, ~valid].any()


def test_each_image_may_mask_other_anchors():
    groundtruth = np.tile(GROUNDTRUTH, [2, 1, 1])
    valid = tf.constant([[True, True, True], [False, True, True]])
    assigned = targets.assign_proposal_targets(ANCHORS, groundtruth, [2, 2], valid_anchors=valid)
    # In the second image box 0 forces its next best anchor: none overlaps, so the first valid one,
    # where box 1, coming later, has precedence.
    assert assigned.matches.numpy().tolist() == [[0, 1, -1], [-2, 1, -1]]


def test_targets_are_finite_for_empty_boxes_and_anchors():
    groundtruth = tf.zeros([1, 2, 4])
    for anchors in (tf.zeros([3, 4]), ANCHORS):
        assigned = targets.assign_proposal_targets(anchors, groundtruth, [2])
        for tensor in assigned:
            assert np.isfinite(tensor).all()


def test_no_gradient_reaches_the_proposals():
    proposals = tf.Variable(ANCHORS[np.newaxis])
    with tf.GradientTape() as tape:
        assigned = targets.assign_detection_targets(
            proposals, GROUNDTRUTH, [2], tf.constant([[[0.0, 1], [0, 1]]])
        )
        total = tf.reduce_sum(assigned.box_targets)
    assert tape.gradient(total, proposals) is None


def test_xla():
    rng = np.random.RandomState(5)
    arguments = (
        tf.constant(random_boxes(rng, 9)),
        tf.constant(random_boxes(rng, 2, 3)),
        tf.constant([3, 1]),
    )
    compiled = tf.function(targets.assign_proposal_targets, jit_compile=True, autograph=False)(
        *arguments
    )
    for actual, expected in zip(compiled, targets.assign_proposal_targets(*arguments), strict=True):
        check(actual, expected)


def test_scale_factors_reach_the_codes():
    arguments = (ANCHORS, GROUNDTRUTH, [2])
    scaled = targets.assign_proposal_targets(*arguments).box_targets
    plain = targets.assign_proposal_targets(*arguments, scale_factors=(1, 1, 1, 1)).box_targets
    assert plain.numpy().any()
    check(plain * [10.0, 10, 5, 5], scaled)
