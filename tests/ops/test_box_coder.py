import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.ops import box_coder
from tests.golden.ops_cases import each_case
from tests.ops.graphs import call_with_unknown_sizes, random_boxes

BOXES = tf.constant([[10.0, 10, 20, 15], [0.2, 0.1, 0.5, 0.4]])
ANCHORS = tf.constant([[15.0, 12, 30, 18], [0.1, 0, 0.7, 0.9]])


@each_case("faster_rcnn_box_encode")
def test_encode_golden(case):
    codes = box_coder.encode(
        case.inputs["boxes"], case.inputs["anchors"], case.params["scale_factors"]
    )
    np.testing.assert_allclose(codes, case.expected["encoded"], rtol=1e-5, atol=1e-5)


@each_case("faster_rcnn_box_decode")
def test_decode_golden(case):
    boxes = box_coder.decode(
        case.inputs["rel_codes"], case.inputs["anchors"], case.params["scale_factors"]
    )
    np.testing.assert_allclose(boxes, case.expected["boxes"], rtol=1e-5, atol=1e-5)


def test_by_hand():
    expected = [
        [-0.5, -0.416666, -0.405465, -0.182321],
        [-0.083333, -0.222222, -0.693147, -1.098612],
    ]
    np.testing.assert_allclose(box_coder.encode(BOXES, ANCHORS, None), expected, atol=1e-5)
    scaled = box_coder.encode(BOXES, ANCHORS, (2, 3, 4, 5))
    np.testing.assert_allclose(scaled, np.array(expected) * [2, 3, 4, 5], atol=1e-5)
    np.testing.assert_allclose(box_coder.decode(scaled, ANCHORS, (2, 3, 4, 5)), BOXES, atol=1e-5)


def test_default_factors_are_those_of_the_paper():
    np.testing.assert_allclose(
        box_coder.encode(BOXES, ANCHORS),
        box_coder.encode(BOXES, ANCHORS, None) * [10.0, 10, 5, 5],
        rtol=1e-6,
    )


def test_the_anchor_itself_is_all_zeros():
    np.testing.assert_array_equal(box_coder.encode(ANCHORS, ANCHORS), np.zeros([2, 4]))
    np.testing.assert_allclose(box_coder.decode(tf.zeros([2, 4]), ANCHORS), ANCHORS, atol=1e-6)


def test_empty_boxes_have_finite_codes():
    codes = box_coder.encode(tf.constant([[5.0, 5, 5, 5]]), tf.constant([[0.0, 0, 10, 10]]))
    assert np.isfinite(codes).all()
    assert np.isfinite(box_coder.encode(tf.zeros([1, 4]), tf.zeros([1, 4]))).all()


def test_boxes_of_every_class_share_a_proposal():
    rng = np.random.RandomState(0)
    codes = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    proposals = random_boxes(rng, 2, 3)
    decoded = call_with_unknown_sizes(
        lambda c, p: box_coder.decode(c, p[:, :, tf.newaxis]), codes, proposals
    )
    assert decoded.shape == (2, 3, 5, 4)
    np.testing.assert_allclose(
        decoded[1, 2, 4], box_coder.decode(codes[1, 2, 4], proposals[1, 2]), rtol=1e-5
    )


def test_no_box():
    assert box_coder.encode(tf.zeros([0, 4]), tf.zeros([0, 4])).shape == (0, 4)
    assert box_coder.decode(tf.zeros([2, 0, 4]), tf.zeros([2, 0, 4])).shape == (2, 0, 4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_decode_inverts_encode(seed):
    rng = np.random.RandomState(seed)
    boxes, anchors = random_boxes(rng, 7, size=600), random_boxes(rng, 7, size=600)
    decoded = box_coder.decode(box_coder.encode(boxes, anchors), anchors)
    np.testing.assert_allclose(decoded, boxes, atol=1e-2)


def test_gradient_towards_the_code_is_finite():
    codes = tf.zeros([2, 4])
    with tf.GradientTape() as tape:
        tape.watch(codes)
        total = tf.reduce_sum(box_coder.decode(codes, ANCHORS))
    # d(sum)/d(ty) = 2 anchor heights / 10; growing symmetrically does not move the sum.
    np.testing.assert_allclose(
        tape.gradient(total, codes), [[3.0, 1.2, 0, 0], [0.12, 0.18, 0, 0]], atol=1e-5
    )


@pytest.mark.parametrize("factors", [(1, 2, 3), (1, 2, 3, 0)])
def test_wrong_factors(factors):
    with pytest.raises(ValueError, match="scale_factors"):
        box_coder.encode(BOXES, ANCHORS, factors)
