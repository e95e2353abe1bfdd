"""model51 (Faster R-CNN, MobileNet v1, VOC) against the authors' own numbers.

tests/golden/model51_{infer,train}.npz hold every tensor that the authors' TensorFlow 1.7 code gave
for one picture; weights come from tests/golden/weight_rule.py through the TF1 name map.

One exception, pinned below. `tf.image.crop_and_resize` reads zeros beyond the map, and for a
proposal that ends at the image's border the rounding of the last sample's position decides by
chance whether it lies beyond. In the golden that happens to one proposal, whose crop lost its last
row. Here it never happens (docs/differences.md); for such proposals the golden's numbers are
compared with a plain crop of the golden's own boxes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Detections, Predictions
from tests.golden import model_runner

CONFIG = "faster_rcnn_mobilenet_v1_voc07.config"
PREDICTION_TOLERANCE = 1e-4  # of the golden's largest absolute value
LOSS_TOLERANCE = 1e-5  # relative
GRADIENT_TOLERANCE = 1e-3  # relative

pytestmark = pytest.mark.golden


def assert_close(actual: np.ndarray, expected: np.ndarray, name: str) -> None:
    """Same shape once batch axes of 1 are dropped, and close to the largest expected value."""
    actual = np.asarray(actual, np.float64).reshape(expected.shape)
    largest = np.abs(expected).max()
    error = np.abs(actual - expected).max() / largest
    assert error <= PREDICTION_TOLERANCE, f"{name}: {error:.2e} of {largest:.4g}"


def lost_to_rounding(boxes: np.ndarray, height: int, width: int, crop: int) -> np.ndarray:
    """bool [P]: the ancestor's float32 arithmetic puts the last sample beyond the map."""
    lost = np.zeros(len(boxes), bool)
    for low, high, cells in ((0, 2, height), (1, 3, width)):
        start, end = boxes[:, low], boxes[:, high]
        last_cell = np.float32(cells - 1)
        step = (end - start) * last_cell / np.float32(crop - 1)
        lost |= start * last_cell + np.float32(crop - 1) * step > last_cell
    return lost


@pytest.fixture(scope="module")
def inference():
    golden = np.load(model_runner.GOLDEN / "model51_infer.npz")
    detector = model_runner.build(CONFIG, is_training=False)
    inputs, shapes = detector.preprocess(golden["image_uint8"][np.newaxis])
    return golden, detector, detector.predict(inputs, shapes), shapes


@pytest.mark.parametrize(
    "key",
    [
        Predictions.rpn_features_to_crop,
        Predictions.rpn_box_predictor_features,
        Predictions.rpn_box_encodings,
        Predictions.rpn_objectness,
        Predictions.anchors,
        Predictions.proposal_boxes,
        Predictions.proposal_boxes_normalized,
        Predictions.num_proposals,
    ],
)
def test_first_stage(inference, key):
    golden, _, predictions, _ = inference
    assert_close(predictions[key].numpy(), golden[key], key)


def test_preprocessed_input(inference):
    golden, _, predictions, shapes = inference
    key = Predictions.preprocessed_inputs
    assert_close(predictions[key].numpy(), golden["preprocessed_input"], key)
    np.testing.assert_array_equal(shapes.numpy(), [[160, 200, 3]])


def test_second_stage(inference):
    golden, _, predictions, _ = inference
    height, width = golden["rpn_features_to_crop"].shape[1:3]
    lost = lost_to_rounding(golden["proposal_boxes_normalized"][0], height, width, crop=7)
    assert lost.sum() == 1, "the golden's one proposal whose crop lost a row"
    for key in (Predictions.refined_box_encodings, Predictions.class_predictions):
        ours, theirs = predictions[key].numpy()[0], golden[key]
        assert_close(ours[~lost], theirs[~lost], key)
        assert np.abs(ours[lost] - theirs[lost]).max() > PREDICTION_TOLERANCE


@pytest.fixture(scope="module")
def plain_second_stage(inference):
    """The second stage on the golden's own boxes, cropped as the ancestor did."""
    golden, detector, _, _ = inference
    features = tf.constant(golden["rpn_features_to_crop"])
    return detector.second_stage(features, tf.constant(golden["proposal_boxes_normalized"]))


def test_second_stage_with_the_ancestors_rounding(inference, plain_second_stage):
    golden = inference[0]
    for key in (Predictions.refined_box_encodings, Predictions.class_predictions):
        assert_close(plain_second_stage[key].numpy(), golden[key], key)


def test_detections(inference, plain_second_stage):
    golden, detector, predictions, shapes = inference
    detections = detector.postprocess({**predictions, **plain_second_stage}, shapes)
    count = int(golden["post/num_detections"][0])
    assert int(detections[Detections.num_detections][0]) == count
    scores = detections[Detections.scores].numpy()[0]
    assert_close(scores, golden["post/detection_scores"], "scores")
    ours = np.column_stack(
        [detections[Detections.boxes][0], detections[Detections.classes][0], scores]
    )
    theirs = np.column_stack(
        [golden[f"post/{key}"][0] for key in ("detection_boxes", "detection_classes")] + [scores]
    )
    # Neighbours whose scores differ by less than 1e-4 may stand in another order (the ancestor's
    # own scores repeat to 1.5e-5), so each detection is looked up among those of its score.
    for row in ours[:count]:
        near = np.abs(theirs[:count, 5] - row[5]) < 1e-4
        assert np.abs(theirs[:count][near, :5] - row[:5]).max(axis=1).min() < 1e-4
    assert np.all(ours[count:, :4] == 0)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """Predictions, losses and gradients from a process without oneDNN; see model_runner."""
    output = tmp_path_factory.mktemp("golden") / "train.npz"
    subprocess.run(
        [sys.executable, "-m", "tests.golden.model_runner", CONFIG, "model51_train", str(output)],
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
    )
    return np.load(model_runner.GOLDEN / "model51_train.npz"), np.load(output)


def test_training_predictions(training):
    golden, ours = training
    inside = ours[Predictions.anchors_inside][0]
    assert inside.sum() == len(golden["anchors"])
    assert_close(ours["anchors"][inside], golden["anchors"], "anchors")
    for key in (Predictions.rpn_box_encodings, Predictions.rpn_objectness):
        assert_close(ours[key][0][inside], golden[key][0], key)
    for key in (
        Predictions.rpn_features_to_crop,
        Predictions.rpn_box_predictor_features,
        Predictions.proposal_boxes,
        Predictions.proposal_boxes_normalized,
        Predictions.num_proposals,
        Predictions.refined_box_encodings,
        Predictions.class_predictions,
    ):
        assert_close(ours[key], golden[key], key)


def test_losses(training):
    golden, ours = training
    names = [key for key in golden.files if key.startswith("loss/")]
    assert len(names) == 4
    for key in (*names, "total_loss", "regularization_loss"):
        np.testing.assert_allclose(ours[key], golden[key], rtol=LOSS_TOLERANCE, err_msg=key)


def test_gradient_norms(training):
    golden, ours = training
    names = [f"grad/{name}" for name in golden["grad_var_names"]]
    assert set(names) == {key for key in ours.files if key.startswith("grad/")}
    np.testing.assert_allclose(
        [ours[name] for name in names], golden["grad_l2_norms"], rtol=GRADIENT_TOLERANCE
    )
