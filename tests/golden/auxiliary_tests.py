"""The tests of a golden of a model with auxiliary tasks, to be inherited as those of `model_tests`.

The proposals whose crops lost a row or column to the ancestors' rounding (see there) do so in the
windows around them too, and through the mean of the closeness logits they shift the refined logits
of all proposals. `plain` runs tasks and refinement on the golden's own boxes and crops them as the
ancestors did; there everything must agree.
"""

from __future__ import annotations

import functools
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Predictions
from object_detection_mtl.models import coordinate_frames
from object_detection_mtl.mtl.window_task import expanded_windows
from tests.golden import model_tests
from tests.golden.model_tests import InferenceTests, TrainingTests, assert_close

AUXILIARY = (
    Predictions.windows,
    Predictions.edgemask,
    Predictions.closeness,
    Predictions.expanded_windows,
    Predictions.refined_classes,
)
NUM_LOSSES = 8


@functools.lru_cache(maxsize=1)
def run_inference(golden_name: str, config: str) -> model_tests.Inference:
    """As that of `model_tests`, with the golden's windows; all of `plain` is on its own boxes."""
    run = model_tests.run_inference(golden_name, config)
    golden, detector = run.golden, run.detector
    windows = {Groundtruth.window_boxes: tf.constant(golden["eval_windows_normalized"][np.newaxis])}
    first_stage = {
        **run.predictions,
        **{key: tf.constant(golden[key]) for key in model_tests.FIRST_STAGE if "rpn" not in key},
        Predictions.rpn_features_to_crop: tf.constant(golden["rpn_features_to_crop"]),
    }
    with mock.patch.object(coordinate_frames, "LAST_ON_MAP", 1.0):
        plain = detector.classify(first_stage, windows)
    predictions = {**run.predictions, **detector.classify(run.predictions, windows)}
    return run._replace(predictions=predictions, plain=plain)


class AuxiliaryInferenceTests(InferenceTests):
    """Predictions and detections of one golden with all tasks and the refinement."""

    @property
    def run(self) -> Any:
        return run_inference(self.golden, self.config)

    @pytest.mark.parametrize("key", AUXILIARY)
    def test_auxiliary_predictions_with_the_ancestors_rounding(self, key):
        assert_close(self.run.plain[key], self.run.golden[key], key)

    def test_windows_and_mask(self):
        golden, predictions = self.run.golden, self.run.predictions
        windows = golden["eval_windows_normalized"][np.newaxis]
        lost = self.lost_proposals({**golden, "proposal_boxes_normalized": windows})
        ours = predictions[Predictions.windows].numpy()[0]
        assert_close(ours[~lost], golden[Predictions.windows][~lost], "windows")
        key = Predictions.edgemask
        assert_close(predictions[key], golden[key], key)

    def test_closeness(self):
        lost = self.lost_proposals(self.run.golden)
        ours = self.run.predictions[Predictions.closeness].numpy()[0]
        assert_close(ours[~lost], self.run.golden[Predictions.closeness][~lost], "closeness")

    def test_expanded_windows(self):
        """Each window by itself: on its way to the border another coordinate is rounded."""
        golden = self.run.golden
        windows = expanded_windows(golden["proposal_boxes_normalized"]).numpy()
        golden_of = {**golden, "proposal_boxes_normalized": windows.reshape(1, -1, 4)}
        lost = self.lost_proposals(golden_of).reshape(windows.shape[1:3])
        ours = self.run.predictions[Predictions.expanded_windows].numpy()[0]
        theirs = golden[Predictions.expanded_windows]
        assert_close(ours[~lost], theirs[~lost], "windows")

    def test_the_whole_image_is_one_window(self):
        logits = self.run.predictions[Predictions.expanded_windows][:, :, -1].numpy()
        assert np.ptp(logits, axis=1).max() == 0


class AuxiliaryTrainingTests(TrainingTests):
    """Predictions, losses and gradients of one golden with all tasks and the refinement."""

    losses = NUM_LOSSES

    @pytest.mark.parametrize("key", AUXILIARY)
    def test_auxiliary_predictions(self, key):
        golden, ours = self.run
        assert_close(ours[key], golden[key], key)
