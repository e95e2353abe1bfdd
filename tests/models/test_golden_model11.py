"""model11 (Faster R-CNN, ResNet-101, VOC) against the authors' own numbers."""

import pytest

from tests.golden.model_tests import InferenceTests, TrainingTests


class TestInference(InferenceTests):
    golden = "model11"
    config = "faster_rcnn_resnet101_voc07.config"


@pytest.mark.slow
class TestTraining(TrainingTests):
    golden = "model11"
    config = "faster_rcnn_resnet101_voc07.config"
