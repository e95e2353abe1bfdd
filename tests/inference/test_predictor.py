"""A model as a function of one image, whatever form the model has."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from object_detection_mtl.data import image_files
from object_detection_mtl.export.serving_inputs import INPUT_TYPES
from object_detection_mtl.inference import model_files, predictor
from object_detection_mtl.inference.sources import input_files
from tests.export import exported


@pytest.fixture(scope="module")
def expected():
    """What the detector says of each image."""
    predict = predictor.from_detector(exported.detector())
    return [predict(image) for image in all_images()]


def all_images():
    files = input_files.find_input_files([str(exported.images())])
    return [image_files.read_image(file.path) for file in files]


@pytest.mark.slow
@pytest.mark.parametrize("input_type", INPUT_TYPES)
def test_saved_models_of_every_input_type_answer_the_same(input_type, expected):
    predict = predictor.from_saved_model(str(exported.export(input_type)))
    for image, found in zip(all_images(), expected, strict=True):
        actual = predict(image)
        assert len(actual.scores) > 1
        np.testing.assert_array_equal(actual.classes, found.classes)
        np.testing.assert_allclose(actual.scores, found.scores, rtol=1e-4)
        np.testing.assert_allclose(actual.boxes, found.boxes, atol=1e-5)


def test_detections_come_without_padding_and_best_first(expected):
    for found in expected:
        number = len(found.scores)
        assert 1 < number < exported.MAX_DETECTIONS
        assert found.boxes.shape == (number, 4)
        assert found.classes.shape == (number,)
        assert found.classes.dtype == np.int64
        assert set(found.classes) <= set(exported.NAMES)
        assert (np.diff(found.scores) <= 0).all()
        assert found.scores[-1] > 0
        np.testing.assert_array_equal(found.best(1).scores, found.scores[:1])


def test_the_saved_model_may_be_named_by_the_directory_above_it():
    directory = exported.export("image_tensor")
    inner = str(directory / "saved_model")
    assert model_files.find_saved_model(str(directory)) == inner
    assert model_files.find_saved_model(inner) == inner


def test_directories_without_a_model(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="the directory does not exist; give the directory saved_model"
    ):
        predictor.from_saved_model(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="it has no saved_model.pb"):
        predictor.from_saved_model(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"corrupt")
    with pytest.raises(ValueError, match="cannot be read; it is corrupt"):
        predictor.from_saved_model(str(tmp_path))


class Other(tf.Module):
    """A SavedModel that is not a detector."""

    @tf.function(input_signature=[tf.TensorSpec([None], name="x")])
    def double(self, x):
        return {"y": 2.0 * x, "num_detections": x}


def test_models_that_are_not_detectors(tmp_path):
    module = Other()
    tf.saved_model.save(module, str(tmp_path / "other"), signatures=module.double)
    with pytest.raises(ValueError, match="inputs are x .*lacks the outputs detection_boxes, "):
        predictor.from_saved_model(str(tmp_path / "other"))
    tf.saved_model.save(module, str(tmp_path / "named"), signatures={"train": module.double})
    with pytest.raises(ValueError, match=r"no signature 'serving_default' \(it has train\)"):
        predictor.from_saved_model(str(tmp_path / "named"))


# Batches ----------------------------------------------------------------------------------------

# The model makes all but the last 64x80.
SIZES = [(64, 80), (64, 80), (128, 160), (32, 40), (50, 40)]
FORMS = {
    "image_tensor": {"dynamic_batch": True},
    "float_image_tensor": {},
    "encoded_image_string_tensor": {},
    "tf_example": {},
    "config and checkpoint": {},
}


def some_images():
    random = np.random.RandomState(3)
    for height, width in SIZES:
        small = Image.fromarray(random.randint(0, 256, (12, 15, 3)).astype(np.uint8))
        yield np.array(small.resize((width, height)))


def staged(form):
    if form == "config and checkpoint":
        return predictor.from_detector(exported.detector())
    return predictor.from_saved_model(str(exported.export(form, **FORMS[form])))


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_gives_each_image_what_it_gets_alone(form):
    detector = staged(form)
    images = list(some_images())
    prepared = [detector.prepare(image) for image in images]
    together = [index for index, one in enumerate(prepared) if one.group == prepared[0].group]
    # Arrays can share a batch only as they come; all other forms resize each image by itself.
    assert together == ([0, 1] if form.endswith("image_tensor") else [0, 1, 2, 3])
    found = detector.detect([prepared[index].value for index in together])
    for index, actual in zip(together, found, strict=True):
        alone = detector(images[index])
        assert len(alone.scores) > 1
        np.testing.assert_array_equal(actual.classes, alone.classes)
        np.testing.assert_allclose(actual.scores, alone.scores, atol=1e-4)
        np.testing.assert_allclose(actual.boxes, alone.boxes, atol=1e-4)


def test_with_padding_an_image_gets_something_else():
    """Why images of merely similar sizes do not share a batch."""
    detector = staged("encoded_image_string_tensor")
    first, *_, last = some_images()
    beside_another = detector.detect([detector.prepare(one).value for one in (last, first)])[0]
    number = min(len(beside_another.scores), len(detector(last).scores))
    difference = np.abs(beside_another.scores[:number] - detector(last).scores[:number])
    assert difference.max() > 1e-3


def test_a_saved_model_of_one_image_takes_no_batches():
    detector = predictor.from_saved_model(str(exported.export("image_tensor")))
    predictor.check_batch_size(detector, 1)
    with pytest.raises(ValueError, match="batch_size is 2, but SavedModel .* takes 1 image at a"):
        predictor.check_batch_size(detector, 2)
