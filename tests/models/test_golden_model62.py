"""model62 (Faster R-CNN, Inception-ResNet-v2, VOC, all tasks) against the authors' own numbers."""

import pytest

from tests.golden.auxiliary_tests import AuxiliaryInferenceTests, AuxiliaryTrainingTests

CONFIG = "faster_rcnn_inception_resnet_v2_mtl_voc07.config"


@pytest.mark.slow
class TestInference(AuxiliaryInferenceTests):
    golden = "model62"
    config = CONFIG


@pytest.mark.slow
class TestTraining(AuxiliaryTrainingTests):
    golden = "model62"
    config = CONFIG
