"""model51 (Faster R-CNN, MobileNet v1, VOC) against the authors' own numbers."""

from tests.golden.model_tests import InferenceTests, TrainingTests


class TestInference(InferenceTests):
    golden = "model51"
    config = "faster_rcnn_mobilenet_v1_voc07.config"
    lost = 1


class TestTraining(TrainingTests):
    golden = "model51"
    config = "faster_rcnn_mobilenet_v1_voc07.config"
