"""model41 (R-FCN, ResNet-101, VOC) against the authors' own numbers."""

import pytest

from tests.golden.model_tests import InferenceTests, LostInBins, TrainingTests


class TestInference(LostInBins, InferenceTests):
    golden = "model41"
    config = "rfcn_resnet101_voc07.config"


@pytest.mark.slow
class TestTraining(TrainingTests):
    golden = "model41"
    config = "rfcn_resnet101_voc07.config"
