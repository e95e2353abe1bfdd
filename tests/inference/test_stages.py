"""The forms of a predictor."""

import numpy as np
import pytest

from object_detection_mtl.inference import stages
from object_detection_mtl.inference.stages import Found


def test_a_bare_function_is_a_predictor_of_single_pictures():
    def predict(picture):
        return Found(np.zeros((1, 4)), np.ones(1), np.full(1, picture.shape[0]))

    detector = stages.staged(predict)
    assert stages.staged(detector) is detector
    assert detector(np.zeros((7, 5, 3))).classes == [7]
    with pytest.raises(ValueError, match="batch_size is 3, but the model takes one picture"):
        stages.require_batches(detector, 3)
