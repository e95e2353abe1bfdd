"""The forms of a predictor."""

import numpy as np
import pytest

from object_detection_mtl.inference import predictor
from object_detection_mtl.inference.predictor import ImageDetections


def test_a_bare_function_is_a_predictor_of_single_images():
    def predict(image):
        return ImageDetections(np.zeros((1, 4)), np.ones(1), np.full(1, image.shape[0]))

    detector = predictor.as_staged_predictor(predict)
    assert predictor.as_staged_predictor(detector) is detector
    assert detector(np.zeros((7, 5, 3))).classes == [7]
    with pytest.raises(ValueError, match="batch_size is 3, but the model takes one image"):
        predictor.check_batch_size(detector, 3)
