"""model61 (Faster R-CNN, Inception-ResNet-v2, VOC) against the authors' own numbers."""

import pytest

from tests.golden.model_tests import InferenceTests, TrainingTests


class TestInference(InferenceTests):
    golden = "model61"
    config = "faster_rcnn_inception_resnet_v2_voc07.config"


@pytest.mark.slow
class TestTraining(TrainingTests):
    golden = "model61"
    config = "faster_rcnn_inception_resnet_v2_voc07.config"
