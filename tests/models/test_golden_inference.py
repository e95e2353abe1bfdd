"""Inference of eight models against numbers of the authors' code (`tests.golden.golden_models`).

One difference is deliberate and pinned here. `tf.image.crop_and_resize` reads zeros beyond the map,
and for a proposal that ends at the image border, rounding of the last sample's position decides
whether it lies beyond. Some proposals of the goldens lost the last row or column of their crop this
way. Here it never happens (docs/reference/differences.md); for such proposals the golden's numbers
are compared with a plain crop of the golden's own boxes (`Inference.plain`). With auxiliary tasks
the affected crops include those of windows around proposals, and through the mean of the closeness
logits they shift the refined logits of all proposals.
"""

from __future__ import annotations

import functools
import gzip
import json
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.fields import Detections, Groundtruth, Predictions
from object_detection_mtl.models import coordinate_frames
from object_detection_mtl.mtl.window_task import expanded_windows
from tests.golden import model_runner
from tests.golden.golden_models import (
    AUXILIARY,
    FIRST_STAGE,
    INCEPTION,
    INCEPTION_MTL,
    MOBILENET,
    MOBILENET_MTL,
    PREDICTION_TOLERANCE,
    RESNET,
    RESNET_MTL,
    RFCN,
    RFCN_MTL,
    SECOND_STAGE,
    GoldenModel,
    assert_close,
    in_tier,
    of_models,
)

# Variables that the authors' graph never uses: the last block of their first-stage ResNet.
UNUSED_SCOPES = ("FirstStageFeatureExtractor/resnet_v1_101/block4/",)


def lost_to_rounding(boxes: np.ndarray, height: int, width: int, crop: int) -> np.ndarray:
    """Return the mask [P] of boxes whose last sample float32 rounding puts beyond the map."""
    lost = np.zeros(len(boxes), bool)
    for low, high, cells in ((0, 2, height), (1, 3, width)):
        start, end = boxes[:, low], boxes[:, high]
        last_cell = np.float32(cells - 1)
        step = (end - start) * last_cell / np.float32(crop - 1)
        lost |= start * last_cell + np.float32(crop - 1) * step > last_cell
    return lost


class Inference(NamedTuple):
    """A detector, its predictions for the golden's image, and the golden.

    `plain` has the second stage on the golden's own boxes, cropped as in the authors' code.
    """

    golden: Any
    detector: Any
    true_image_shapes: tf.Tensor
    predictions: dict[str, tf.Tensor]
    plain: dict[str, tf.Tensor]


@functools.lru_cache(maxsize=1)  # the tests of a model are neighbors
def run_inference(model: GoldenModel) -> Inference:
    """Return the predictions for an inference golden; with tasks, for the golden's windows."""
    golden = np.load(model_runner.GOLDEN / f"{model.name}_infer.npz")
    detector = model_runner.build(model.config, is_training=False)
    inputs, shapes = detector.preprocess(golden["image_uint8"][np.newaxis])
    predictions = detector.predict(inputs, shapes)
    features = tf.constant(golden["rpn_features_to_crop"])
    if not model.has_tasks:
        boxes = tf.constant(golden["proposal_boxes_normalized"])
        plain = detector.second_stage(features, boxes)
        return Inference(golden, detector, shapes, predictions, plain)
    windows = {Groundtruth.window_boxes: tf.constant(golden["eval_windows_normalized"][np.newaxis])}
    first_stage = {
        **predictions,
        **{key: tf.constant(golden[key]) for key in FIRST_STAGE if "rpn" not in key},
        Predictions.rpn_features_to_crop: features,
    }
    with mock.patch.object(coordinate_frames, "LAST_ON_MAP", 1.0):
        plain = detector.classify(first_stage, windows)
    predictions = {**predictions, **detector.classify(predictions, windows)}
    return Inference(golden, detector, shapes, predictions, plain)


def lost_proposals(run: Inference, boxes: np.ndarray) -> np.ndarray:
    """Return the mask [P] of normalized boxes whose crop lost a row or column to rounding."""
    height, width = run.golden["rpn_features_to_crop"].shape[1:3]
    predictor = run.detector.second_stage.head.predictor
    if not hasattr(predictor, "num_bins"):
        return lost_to_rounding(boxes, height, width, run.detector.second_stage.crop_size)
    # Every bin of R-FCN is a crop; the last one ends where the proposal does.
    (bins,), (crop,) = set(predictor.num_bins), set(predictor.crop_size)
    step = (boxes[:, 2:] - boxes[:, :2]) * np.float32(1.0 / bins)
    starts = boxes[:, :2] + np.float32(bins - 1) * step
    ends = boxes[:, :2] + np.float32(bins) * step
    last_bins = np.concatenate([starts, ends], axis=1)
    return lost_to_rounding(last_bins, height, width, crop // bins)


class InferenceTests:
    """Predictions and detections of one model."""

    @pytest.fixture(autouse=True)
    def load(self, model):
        self.model = model
        self.run = run_inference(model)

    def test_variables(self):
        """All variables of the authors' model exist, with their shapes and trainability."""
        detector = self.run.detector
        trained = {id(variable) for variable in detector.trainable_variables}
        ours = {
            name: (tuple(variable.shape), id(variable) in trained)
            for name, variable in tf1_detection.name_map(detector).items()
        }
        with gzip.open(model_runner.GOLDEN / "variables.json.gz") as file:
            records = json.load(file)[self.model.name]
        theirs = {
            name: (tuple(shape), is_trained)
            for name, shape, is_trained in records
            if not name.startswith(UNUSED_SCOPES)
        }
        assert ours == theirs

    def test_preprocessed_input(self):
        ours = self.run.predictions[Predictions.preprocessed_inputs]
        assert_close(ours, self.run.golden["preprocessed_input"], "inputs")
        np.testing.assert_array_equal(self.run.true_image_shapes, [[160, 200, 3]])

    @pytest.mark.parametrize("key", FIRST_STAGE)
    def test_first_stage(self, key):
        assert_close(self.run.predictions[key], self.run.golden[key], key)

    def test_second_stage(self):
        golden, predictions = self.run.golden, self.run.predictions
        lost = lost_proposals(self.run, golden["proposal_boxes_normalized"][0])
        assert lost.sum() == self.model.lost
        for key in SECOND_STAGE:
            ours, theirs = predictions[key].numpy()[0], golden[key]
            assert_close(ours[~lost], theirs[~lost], key)
            assert not lost.any() or np.abs(ours - theirs)[lost].max() > PREDICTION_TOLERANCE

    def test_second_stage_with_the_authors_rounding(self):
        for key in SECOND_STAGE:
            assert_close(self.run.plain[key], self.run.golden[key], key)

    def test_in_a_batch(self):
        """Another image in the batch changes nothing."""
        golden, detector, _, alone, _ = self.run
        image = golden["image_uint8"]
        inputs, shapes = detector.preprocess(np.stack([image[::-1], image]))
        batch = detector.predict(inputs, shapes)
        for key in (*FIRST_STAGE, *SECOND_STAGE):
            if key != Predictions.anchors:  # those of a batch are the same
                assert_close(batch[key][1:], alone[key].numpy(), key)

    def test_detections(self):
        golden, detector, shapes, predictions, plain = self.run
        detections = detector.postprocess({**predictions, **plain}, shapes)
        count = int(golden["post/num_detections"][0])
        assert int(detections[Detections.num_detections][0]) == count
        scores = detections[Detections.scores].numpy()[0]
        assert_close(scores, golden["post/detection_scores"], "scores")
        ours, theirs = (
            np.column_stack([found["detection_boxes"][0], found["detection_classes"][0], scores])
            for found in (
                detections,
                {key: golden[f"post/{key}"] for key in ("detection_boxes", "detection_classes")},
            )
        )
        # Detections whose scores differ by less than 1e-4 may have another order (the
        # authors' own scores repeat to 1.5e-5), so each detection is compared with those of its
        # score.
        for row in ours[:count]:
            near = np.abs(theirs[:count, 5] - row[5]) < 1e-4
            assert np.abs(theirs[:count][near, :5] - row[:5]).max(axis=1).min() < 1e-4
        assert np.all(ours[count:, :4] == 0)


@pytest.mark.golden
@of_models(
    in_tier(MOBILENET),
    in_tier(RESNET, pytest.mark.long),
    in_tier(RFCN, pytest.mark.long),
    in_tier(INCEPTION, pytest.mark.long),
)
class TestInference(InferenceTests):
    """Models without auxiliary tasks; those with tasks have the same networks."""


@pytest.mark.golden
@of_models(
    in_tier(MOBILENET_MTL),
    in_tier(RESNET_MTL, pytest.mark.slow),
    in_tier(RFCN_MTL, pytest.mark.slow),
    in_tier(INCEPTION_MTL, pytest.mark.slow),
)
class TestInferenceWithTasks(InferenceTests):
    """Models with all tasks and the refinement."""

    @pytest.mark.parametrize("key", AUXILIARY)
    def test_auxiliary_predictions_with_the_authors_rounding(self, key):
        assert_close(self.run.plain[key], self.run.golden[key], key)

    def test_windows_and_mask(self):
        golden, predictions = self.run.golden, self.run.predictions
        lost = lost_proposals(self.run, golden["eval_windows_normalized"])
        ours = predictions[Predictions.windows].numpy()[0]
        assert_close(ours[~lost], golden[Predictions.windows][~lost], "windows")
        key = Predictions.edgemask
        assert_close(predictions[key], golden[key], key)

    def test_closeness(self):
        lost = lost_proposals(self.run, self.run.golden["proposal_boxes_normalized"][0])
        ours = self.run.predictions[Predictions.closeness].numpy()[0]
        assert_close(ours[~lost], self.run.golden[Predictions.closeness][~lost], "closeness")

    def test_expanded_windows(self):
        """Windows lose rows and columns independently of their proposal."""
        golden = self.run.golden
        windows = expanded_windows(golden["proposal_boxes_normalized"]).numpy()
        lost = lost_proposals(self.run, windows.reshape(-1, 4)).reshape(windows.shape[1:3])
        ours = self.run.predictions[Predictions.expanded_windows].numpy()[0]
        theirs = golden[Predictions.expanded_windows]
        assert_close(ours[~lost], theirs[~lost], "windows")

    def test_the_whole_image_is_one_window(self):
        logits = self.run.predictions[Predictions.expanded_windows][:, :, -1].numpy()
        assert np.ptp(logits, axis=1).max() == 0
