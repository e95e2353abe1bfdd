"""model52 (Faster R-CNN, MobileNet v1, VOC, all tasks) against the authors' own numbers."""

from tests.golden.auxiliary_tests import AuxiliaryInferenceTests, AuxiliaryTrainingTests

CONFIG = "faster_rcnn_mobilenet_v1_mtl_voc07.config"


class TestInference(AuxiliaryInferenceTests):
    golden = "model52"
    config = CONFIG
    lost = 1


class TestTraining(AuxiliaryTrainingTests):
    golden = "model52"
    config = CONFIG
