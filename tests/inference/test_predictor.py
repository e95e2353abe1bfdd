"""Predictors of detectors, SavedModels and functions; groups of images of one size."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from object_detection_mtl.config import pipeline
from object_detection_mtl.data import image_files
from object_detection_mtl.export.serving_inputs import INPUT_TYPES
from object_detection_mtl.inference import model_files, predictor
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.sources import input_files
from tests.export import exported
from tests.models import tiny


@pytest.fixture(scope="module")
def expected():
    """Return the detector's detections of each image."""
    predict = predictor.from_detector(exported.detector())
    return [predict(image) for image in all_images()]


def all_images():
    files = input_files.find_input_files([str(exported.images())])
    return [image_files.read_image(file.path) for file in files]


@pytest.mark.slow
@pytest.mark.parametrize("input_type", INPUT_TYPES)
def test_saved_models_of_every_input_type_give_equal_detections(input_type, expected):
    predict = predictor.from_saved_model(str(exported.export(input_type)))
    for image, found in zip(all_images(), expected, strict=True):
        actual = predict(image)
        assert len(actual.scores) > 1
        np.testing.assert_array_equal(actual.classes, found.classes)
        np.testing.assert_allclose(actual.scores, found.scores, rtol=1e-4)
        np.testing.assert_allclose(actual.boxes, found.boxes, atol=1e-5)


def test_detections_are_sorted_and_without_padding(expected):
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


def test_the_directory_above_the_saved_model_is_accepted():
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

    @tf.function(input_signature=[tf.TensorSpec([None], name="x")], autograph=False)
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

# The model resizes all but the last to 64x80.
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
def test_a_batch_gives_each_image_its_own_detections(form):
    detector = staged(form)
    images = list(some_images())
    prepared = [detector.prepare(image) for image in images]
    together = [index for index, one in enumerate(prepared) if one.group == prepared[0].group]
    # Arrays share a batch only if they have one size; other forms resize each image alone.
    assert together == ([0, 1] if form.endswith("image_tensor") else [0, 1, 2, 3])
    found = detector.detect([prepared[index].value for index in together])
    for index, actual in zip(together, found, strict=True):
        alone = detector(images[index])
        assert len(alone.scores) > 1
        np.testing.assert_array_equal(actual.classes, alone.classes)
        np.testing.assert_allclose(actual.scores, alone.scores, atol=1e-4)
        np.testing.assert_allclose(actual.boxes, alone.boxes, atol=1e-4)


def test_padding_changes_the_detections_of_an_image():
    """So images of similar sizes do not share a batch."""
    detector = staged("encoded_image_string_tensor")
    first, *_, last = some_images()
    beside_another = detector.detect([detector.prepare(one).value for one in (last, first)])[0]
    number = min(len(beside_another.scores), len(detector(last).scores))
    difference = np.abs(beside_another.scores[:number] - detector(last).scores[:number])
    assert difference.max() > 1e-3


def test_a_saved_model_of_one_image_does_not_take_batches():
    detector = predictor.from_saved_model(str(exported.export("image_tensor")))
    predictor.check_batch_size(detector, 1)
    with pytest.raises(ValueError, match="batch_size is 2, but SavedModel .* takes 1 image at a"):
        predictor.check_batch_size(detector, 2)


def test_a_plain_function_predicts_single_images():
    def predict(image):
        return ImageDetections(np.zeros((1, 4)), np.ones(1), np.full(1, image.shape[0]))

    detector = predictor.as_staged_predictor(predict)
    assert predictor.as_staged_predictor(detector) is detector
    assert detector(np.zeros((7, 5, 3))).classes == [7]
    with pytest.raises(ValueError, match="batch_size is 3, but the model takes one image"):
        predictor.check_batch_size(detector, 3)


_RESIZER = "model.faster_rcnn.image_resizer"
_KEEP = f"{_RESIZER}.keep_aspect_ratio_resizer"


@pytest.mark.parametrize(
    ("overrides", "equal", "other"),
    [
        # To 600x800, by the shorter side; 900x1600 is limited by the longer one, to 576x1024.
        ([], [(300, 400), (600, 800), (1200, 1600)], (900, 1600)),
        ([f"{_KEEP}.pad_to_max_dimension=true"], [(300, 400), (9, 1)], None),
        (
            [f"{_RESIZER}.fixed_shape_resizer={{ height: 60 width: 80 }}"],
            [(300, 400), (9, 1)],
            None,
        ),
        ([f"{_RESIZER}.identity_resizer={{}}"], [(300, 400), (300, 400)], (600, 800)),
    ],
)
def test_images_of_one_size_after_resizing_have_equal_keys(overrides, equal, other):
    limits = [f"{_KEEP}.min_dimension=600", f"{_KEEP}.max_dimension=1024"]
    config = tiny.config(*limits, *overrides)
    size = predictor.size_key_of_resizer(config.model.faster_rcnn.image_resizer)
    assert len({size(one) for one in equal}) == 1
    assert other is None or size(other) != size(equal[0])


def write_metadata(directory, text):
    (directory / "assets").mkdir()
    (directory / "assets" / "metadata.json").write_text(text)


def test_the_size_key_of_a_saved_model_is_read_from_its_metadata(tmp_path):
    write_metadata(tmp_path, json.dumps({"pipeline_config": pipeline.to_text(tiny.config())}))
    size = predictor.size_key_of_saved_model(str(tmp_path))
    assert size((64, 80)) == size((128, 160)) != size((50, 40))


@pytest.mark.parametrize("metadata", [None, "no JSON", "[]", json.dumps({"pipeline_config": "x"})])
def test_without_metadata_only_images_of_equal_size_share_a_key(tmp_path, metadata):
    if metadata is not None:
        write_metadata(tmp_path, metadata)
    size = predictor.size_key_of_saved_model(str(tmp_path))
    assert size((64, 80)) == size((64, 80)) != size((128, 160))


def test_a_model_is_warmed_up_by_a_gray_image():
    seen = []

    def detect(images):
        seen.extend(images)
        raise ValueError("left to the first image of the user, which has a name")

    predict = predictor.StagedPredictor(predictor.PreparedImage, detect)
    assert predictor.warm_up(predict) is predict
    assert len(seen) == 1
    assert seen[0].shape == (48, 64, 3)
    assert seen[0].dtype == np.uint8
