"""Accuracy control of a quantization: mAP of a model on the evaluation records."""

import numpy as np
import pytest

from object_detection_mtl.builders import accuracy_builder
from object_detection_mtl.fields import Batch, Groundtruth
from tests import records


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    records.write(directory)
    return accuracy_builder.build_accuracy_control(records.load(directory), 0.003)


def model_of(examples, classes_added=0):
    """Return a model that finds the objects of the images that it is given, in their order."""
    remaining = list(examples)

    def run(inputs):
        example = remaining.pop(0)
        np.testing.assert_array_equal(inputs["input_tensor"], example[Batch.original_images])
        boxes = example[Groundtruth.boxes].numpy()
        return {
            "detection_boxes": boxes,
            "detection_scores": np.ones(boxes.shape[:2], np.float32),
            "detection_classes": example[Groundtruth.classes].numpy() + classes_added,
            "num_detections": example[Groundtruth.num_boxes].numpy(),
        }

    return run


def test_score_is_the_mean_average_precision(control):
    examples = list(control.examples)
    assert control.max_drop == 0.003
    assert len(examples) == 3
    assert control.score(model_of(examples), examples) == pytest.approx(1.0)
    assert control.score(model_of(examples, classes_added=5), examples) == 0.0
    # NNCF also scores the images one by one.
    assert control.score(model_of(examples[1:2]), examples[1:2]) == pytest.approx(1.0)
