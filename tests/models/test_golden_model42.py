"""model42 (R-FCN, ResNet-101, VOC, all tasks) against the authors' own numbers."""

import pytest

from tests.golden.auxiliary_tests import AuxiliaryInferenceTests, AuxiliaryTrainingTests
from tests.golden.model_tests import LostInBins

CONFIG = "rfcn_resnet101_mtl_voc07.config"


@pytest.mark.slow
class TestInference(LostInBins, AuxiliaryInferenceTests):
    golden = "model42"
    config = CONFIG


@pytest.mark.slow
class TestTraining(AuxiliaryTrainingTests):
    golden = "model42"
    config = CONFIG
    ancestors_rounding = True
    regularization_tolerance = 2e-5
