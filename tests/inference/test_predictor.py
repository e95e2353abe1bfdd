"""A model as a function of one picture, whatever form the model has."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.export.inputs import INPUT_TYPES
from object_detection_mtl.inference import pictures, predictor
from tests.export import exported


@pytest.fixture(scope="module")
def expected():
    """What the detector says of each picture."""
    predict = predictor.from_detector(exported.detector())
    return [predict(picture) for picture in all_pictures()]


def all_pictures():
    files = pictures.find([str(exported.pictures())])
    return [pictures.read(file.path) for file in files]


@pytest.mark.parametrize("input_type", INPUT_TYPES)
def test_saved_models_of_every_input_type_answer_the_same(input_type, expected):
    predict = predictor.from_saved_model(str(exported.export(input_type)))
    for picture, found in zip(all_pictures(), expected, strict=True):
        actual = predict(picture)
        assert len(actual.scores) > 1
        np.testing.assert_array_equal(actual.classes, found.classes)
        np.testing.assert_allclose(actual.scores, found.scores, rtol=1e-4)
        np.testing.assert_allclose(actual.boxes, found.boxes, atol=1e-5)


def test_detections_come_without_padding_and_best_first(expected):
    for found in expected:
        number = len(found.scores)
        assert 1 < number < exported.MAX_DETECTIONS
        assert found.boxes.shape == (number, 4) and found.classes.shape == (number,)
        assert found.classes.dtype == np.int64 and set(found.classes) <= set(exported.NAMES)
        assert (np.diff(found.scores) <= 0).all() and found.scores[-1] > 0
        np.testing.assert_array_equal(found.best(1).scores, found.scores[:1])


def test_the_saved_model_may_be_named_by_the_folder_above_it():
    folder = exported.export("image_tensor")
    inner = str(folder / "saved_model")
    assert predictor.saved_model_directory(str(folder)) == inner
    assert predictor.saved_model_directory(inner) == inner


def test_folders_without_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such directory; give the folder saved_model"):
        predictor.from_saved_model(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="it has no saved_model.pb"):
        predictor.from_saved_model(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be read; it is damaged"):
        predictor.from_saved_model(str(tmp_path))


class Other(tf.Module):
    """A SavedModel that is no detector."""

    @tf.function(input_signature=[tf.TensorSpec([None], name="x")])
    def double(self, x):
        return {"y": 2.0 * x, "num_detections": x}


def test_models_that_are_no_detectors(tmp_path):
    module = Other()
    tf.saved_model.save(module, str(tmp_path / "other"), signatures=module.double)
    with pytest.raises(ValueError, match="inputs are x .*lacks the outputs detection_boxes, "):
        predictor.from_saved_model(str(tmp_path / "other"))
    tf.saved_model.save(module, str(tmp_path / "named"), signatures={"train": module.double})
    with pytest.raises(ValueError, match=r"no signature 'serving_default' \(it has train\)"):
        predictor.from_saved_model(str(tmp_path / "named"))
