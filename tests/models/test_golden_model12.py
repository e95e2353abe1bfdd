"""model12 (Faster R-CNN, ResNet-101, VOC, all tasks) against the authors' own numbers."""

import pytest

from tests.golden.auxiliary_tests import AuxiliaryInferenceTests, AuxiliaryTrainingTests

CONFIG = "faster_rcnn_resnet101_mtl_voc07.config"


@pytest.mark.slow
class TestInference(AuxiliaryInferenceTests):
    golden = "model12"
    config = CONFIG


@pytest.mark.slow
class TestTraining(AuxiliaryTrainingTests):
    golden = "model12"
    config = CONFIG
    regularization_tolerance = 2e-5
