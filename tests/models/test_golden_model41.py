"""model41 (R-FCN, ResNet-101, VOC) against the authors' own numbers."""

import numpy as np
import pytest

from tests.golden.model_tests import InferenceTests, TrainingTests, lost_to_rounding


class TestInference(InferenceTests):
    golden = "model41"
    config = "rfcn_resnet101_voc07.config"

    def lost_proposals(self, golden):
        """Here every bin is a crop; the last one ends where the proposal does."""
        predictor = self.run.detector.second_stage.head.predictor
        height, width = golden["rpn_features_to_crop"].shape[1:3]
        boxes = golden["proposal_boxes_normalized"][0]
        (bins,), (crop,) = set(predictor.num_bins), set(predictor.crop_size)
        step = (boxes[:, 2:] - boxes[:, :2]) / np.float32(bins)
        starts = boxes[:, :2] + np.float32(bins - 1) * step
        ends = boxes[:, :2] + np.float32(bins) * step
        last_bins = np.concatenate([starts, ends], axis=1)
        return lost_to_rounding(last_bins, height, width, crop // bins)


@pytest.mark.slow
class TestTraining(TrainingTests):
    golden = "model41"
    config = "rfcn_resnet101_voc07.config"
