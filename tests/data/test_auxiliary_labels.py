"""Labels in the input pipeline: after augmentation, new every epoch, padded; or from the record."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data import augmentation, augmentation_crops, input_pipeline
from object_detection_mtl.data.example_format import WINDOW_KEYS, add_auxiliary_labels
from object_detection_mtl.fields import Batch, Groundtruth, TfExample
from object_detection_mtl.mtl import labels
from object_detection_mtl.mtl.closeness_task import ClosenessLabels
from object_detection_mtl.mtl.foreground_task import ForegroundLabels
from object_detection_mtl.mtl.task_labels import TaskLabelMaker
from object_detection_mtl.mtl.window_task import WindowLabels
from tests.data.record_files import example, with_floats, write

K = 3
WINDOWS_ONLY, CLOSENESS_ONLY = WindowLabels(num_windows=5), ClosenessLabels()
MASK_ONLY = ForegroundLabels(mask_size=8)
SMALL = TaskLabelMaker((WINDOWS_ONLY, CLOSENESS_ONLY, MASK_ONLY), K)
STORED = dataclasses.replace(SMALL, from_records=True)
SIZE = tf.constant([60, 80])
TWO = {"boxes": [[0, 0, 0.5, 0.5], [0.5, 0.25, 1, 0.75]], "classes": [1, 3]}


def dataset(path, options, **others):
    arguments = {
        "preprocess_fn": lambda image: (image / 255.0, tf.shape(image)),
        "batch_size": 1,
        "is_training": True,
        "num_classes": K,
        "labels": options,
    }
    return input_pipeline.make_dataset(str(path), **{**arguments, **others})


def first(batches):
    return {key: value.numpy() for key, value in next(iter(batches)).items()}


def decoded(boxes=TWO["boxes"], classes=TWO["classes"], **flags):
    number = len(boxes)
    return {
        Groundtruth.boxes: tf.reshape(tf.constant(boxes, tf.float32), [-1, 4]),
        Groundtruth.classes: tf.constant(classes, tf.int32),
        Groundtruth.is_crowd: tf.constant(flags.get("crowd", [False] * number), tf.bool),
        Groundtruth.difficult: tf.constant(flags.get("difficult", [False] * number), tf.bool),
    }


# On the fly ---------------------------------------------------------------------------------


def test_labels_are_those_of_the_flipped_boxes(tmp_path):
    path = write(tmp_path / "a", example("0", size=(80, 60), **TWO))
    flip = (augmentation.random_horizontal_flip(1.0),)
    batch = first(dataset(path, SMALL, augmentations=flip))
    boxes = np.float32([[0, 0.5, 0.5, 1], [0.5, 0.25, 1, 0.75]])
    np.testing.assert_allclose(batch[Groundtruth.boxes][0], boxes)
    windows = batch[Groundtruth.window_boxes][0]
    assert batch[Groundtruth.num_windows].tolist() == [5]
    expected = labels.window_labels(boxes, [1, 3], windows, K)
    np.testing.assert_allclose(batch[Groundtruth.window_classes][0], expected, atol=1e-6)
    expected = labels.closeness_labels(boxes, [1, 3], (60, 80), K)
    np.testing.assert_allclose(batch[Groundtruth.closeness][0], expected, atol=1e-6)
    expected = labels.foreground_mask(boxes, 8)
    np.testing.assert_allclose(batch[Groundtruth.edgemask][0], expected, atol=1e-6)


@pytest.mark.slow
def test_new_windows_every_epoch_and_the_same_after_a_resume(tmp_path):
    path = write(tmp_path / "a", example("0", size=(80, 60), **TWO))
    windows = TaskLabelMaker((WINDOWS_ONLY,), K)
    epochs = [batch[Groundtruth.window_boxes].numpy() for batch in dataset(path, windows).take(3)]
    assert not np.array_equal(epochs[0], epochs[1])
    resumed = first(dataset(path, windows, start_example=2))[Groundtruth.window_boxes]
    np.testing.assert_array_equal(resumed, epochs[2])
    other_seed = first(dataset(path, windows, seed=1))[Groundtruth.window_boxes]
    assert not np.array_equal(other_seed, epochs[0])


def test_a_batch_pads_rows_of_objects_and_an_empty_image_has_one_window(tmp_path):
    path = write(tmp_path / "a", example("0", **TWO), example("1", boxes=[], classes=[]))
    batch = first(dataset(path, SMALL, batch_size=2, shuffle=False))
    assert batch[Groundtruth.closeness].shape == (2, 2, K + 1)
    assert not batch[Groundtruth.closeness][1].any()
    assert batch[Groundtruth.num_windows].tolist() == [5, 1]
    np.testing.assert_allclose(batch[Groundtruth.window_classes][1, 0], [1, 0, 0, 0])
    mask, weight = batch[Groundtruth.edgemask][1]
    assert not mask.any()
    assert (weight == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("is_training", [True, False])
def test_no_image_of_a_chunk_has_a_box(tmp_path, is_training):
    path = write(tmp_path / "a", *[example(str(n), boxes=[], classes=[]) for n in range(3)])
    data = dataset(path, SMALL, is_training=is_training, shuffle=False, batch_size=3)
    batch = first(data)
    assert batch[Groundtruth.closeness].shape == (3, 1, K + 1)
    assert not batch[Groundtruth.closeness].any()
    assert batch[Groundtruth.num_windows].tolist() == [1, 1, 1]
    assert not batch[Groundtruth.edgemask][:, 0].any()


@pytest.mark.slow
def test_labels_do_not_depend_on_the_images_that_they_are_made_with(tmp_path):
    """Of 19 images with 0 to 18 boxes, in chunks, to the last bit; and a last chunk of three."""
    rng = np.random.default_rng(5)
    corners = [np.sort(rng.uniform(0, 1, [number, 2, 2]), axis=1) for number in range(19)]
    images = [
        example(
            str(number),
            boxes=corner.reshape(number, 4).tolist(),
            classes=rng.integers(1, K + 1, number).tolist(),
        )
        for number, corner in enumerate(corners)
    ]
    path = write(tmp_path / "a", *images)
    endless = list(dataset(path, SMALL, shuffle=False).take(19))
    once = list(dataset(path, SMALL, is_training=False))
    others = list(dataset(path, SMALL, shuffle=False, start_example=5).take(14))
    assert len(once) == 19
    for same in (*zip(endless, once, strict=True), *zip(endless[5:], others, strict=True)):
        for key in same[0]:
            np.testing.assert_array_equal(same[0][key], same[1][key])
    np.testing.assert_array_equal([int(batch["image_id"][0]) for batch in once], range(19))


@pytest.mark.slow
def test_surplus_boxes_still_make_labels(tmp_path):
    """max_number_of_boxes cuts the list; what lies in the image stays there."""
    path = write(tmp_path / "a", example("0", **TWO))
    batch = first(dataset(path, TaskLabelMaker((CLOSENESS_ONLY, MASK_ONLY), K), max_boxes=1))
    assert batch[Groundtruth.closeness].shape == (1, 1, K + 1)
    np.testing.assert_allclose(batch[Groundtruth.closeness][0, 0], [0, 0, 0, 1])
    assert batch[Groundtruth.edgemask][0, 0].sum() > 16


def test_only_requested_labels_are_made(tmp_path):
    path = write(tmp_path / "a", example("0", **TWO))
    everything = {
        Groundtruth.window_boxes,
        Groundtruth.window_classes,
        Groundtruth.num_windows,
        Groundtruth.closeness,
        Groundtruth.edgemask,
    }
    assert not everything & dataset(path, None).element_spec.keys()
    for task, keys in (
        (WINDOWS_ONLY, everything - {Groundtruth.closeness, Groundtruth.edgemask}),
        (CLOSENESS_ONLY, {Groundtruth.closeness}),
        (MASK_ONLY, {Groundtruth.edgemask}),
    ):
        made = TaskLabelMaker((task,), K).label(decoded(), SIZE, tf.constant([1, 2]))
        assert made.keys() == keys
    spec = dataset(path, TaskLabelMaker((CLOSENESS_ONLY,), K)).element_spec
    assert everything & spec.keys() == {Groundtruth.closeness}


@pytest.mark.parametrize("flag", ["crowd", "difficult"])
def test_crowd_and_difficult_objects_count_by_default(flag):
    flagged = decoded(**{flag: [False, True]})
    seed = tf.constant([1, 2])
    counted = SMALL.label(flagged, SIZE, seed)
    np.testing.assert_allclose(counted[Groundtruth.closeness], [[0, 0, 0, 1], [0, 1, 0, 0]])
    without = dataclasses.replace(SMALL, **{f"from_{flag}": False})
    ignored = without.label(flagged, SIZE, seed)
    np.testing.assert_allclose(ignored[Groundtruth.closeness], [[1, 0, 0, 0], [0, 0, 0, 0]])
    assert not ignored[Groundtruth.window_classes].numpy()[:, 3].any()
    assert ignored[Groundtruth.edgemask][0].numpy()[5:].sum() == 0


def test_transform_and_sizes():
    maker = TaskLabelMaker((WindowLabels(7, "AREA"), ForegroundLabels(mask_size=4)), K)
    made = maker.label(decoded(), SIZE, tf.constant([1, 2]))
    windows = made[Groundtruth.window_boxes]
    expected = labels.window_labels(
        TWO["boxes"], TWO["classes"], windows.numpy(), K, transform="AREA"
    )
    np.testing.assert_allclose(made[Groundtruth.window_classes], expected, atol=1e-6)
    assert windows.shape == (7, 4)
    assert made[Groundtruth.edgemask].shape == (2, 4, 4)


@pytest.mark.slow
def test_windows_around_objects(tmp_path):
    """The whole image, and twice each of the two boxes; then padding."""
    path = write(
        tmp_path / "a", example("0", size=(80, 60), **TWO), example("1", boxes=[], classes=[])
    )
    labels_of_objects = TaskLabelMaker((WindowLabels(num_windows=5, source="OBJECTS"),), K)
    batch = first(dataset(path, labels_of_objects, batch_size=2, shuffle=False))
    expected = [[0, 0, 1, 1], [0, 0, 0.75, 0.75], [0.25, 0, 1, 1]]
    np.testing.assert_allclose(batch[Groundtruth.window_boxes][0, :3], expected)
    assert batch[Groundtruth.num_windows].tolist() == [3, 1]
    expected = labels.window_labels(TWO["boxes"], TWO["classes"], expected, K)
    np.testing.assert_allclose(batch[Groundtruth.window_classes][0, :3], expected, atol=1e-6)
    np.testing.assert_allclose(batch[Groundtruth.window_classes][1, 0], [1, 0, 0, 0])


def test_an_unknown_source_of_windows_is_refused():
    with pytest.raises(ValueError, match="source is 'GRID'; expected one of"):
        TaskLabelMaker((WindowLabels(source="GRID"),), K).label(
            decoded(), SIZE, tf.constant([0, 0])
        )


BAD_BOXES = {
    "no width": [0.2, 0.3, 0.4, 0.3],
    "inverted": [0.4, 0.3, 0.2, 0.5],
    "outside": [1.1, 0.2, 1.3, 0.4],
    "at the border": [0.2, 1.0, 0.4, 1.2],
    "not a number": [0.2, float("nan"), 0.4, 0.5],
    "infinite": [0.2, 0.1, float("inf"), 0.5],
}
GOOD_BOX = [0.25, 0.25, 0.75, 0.5]
SMALL_SIZES = [(1, 1), (20, 20), (31, 200)]


@pytest.fixture(scope="module")
def unusual(tmp_path_factory):
    """Name -> example, of small images and of boxes that are no objects, from one pipeline."""
    items = [example("good", size=(80, 60), boxes=[GOOD_BOX], classes=[2])]
    for name, bad in BAD_BOXES.items():
        items.append(example(name, size=(80, 60), boxes=[bad, GOOD_BOX], classes=[1, 2]))
        items.append(example(f"{name} alone", size=(80, 60), boxes=[bad]))
    items += [example(f"{size}", size=size, boxes=[[0, 0, 1, 1]]) for size in SMALL_SIZES]
    for name, corner in (("inside", [0, 0]), ("beyond", [-0.5, -9])):
        items.append(example(name, size=(80, 60), boxes=[[*corner, 0.5, 0.25]], classes=[2]))
    path = write(tmp_path_factory.mktemp("unusual") / "a", *items)
    batches = [
        {key: value.numpy()[0] for key, value in batch.items()}
        for batch in dataset(path, SMALL, is_training=False)
    ]
    assert len(batches) == len(items)  # No image is lost.
    return {batch[Batch.image_id].decode(): batch for batch in batches}


@pytest.mark.parametrize("size", SMALL_SIZES)
def test_images_smaller_than_a_window(unusual, size):
    found = unusual[f"{size}"]
    for key in (Groundtruth.window_boxes, Groundtruth.window_classes, Groundtruth.edgemask):
        assert np.isfinite(found[key]).all()
    np.testing.assert_allclose(found[Groundtruth.window_classes], [[0, 1, 0, 0]] * 5)


@pytest.mark.parametrize("name", BAD_BOXES)
def test_rows_that_are_not_objects_make_no_label(unusual, name):
    """A bad box beside a good one changes nothing; alone it leaves an image without object."""
    beside, alone = unusual[name], unusual[f"{name} alone"]
    for key in (Groundtruth.boxes, Groundtruth.closeness, Groundtruth.edgemask):
        np.testing.assert_array_equal(beside[key], unusual["good"][key])
    assert beside[Groundtruth.num_windows] == 5
    expected = labels.window_labels([GOOD_BOX], [2], beside[Groundtruth.window_boxes], K)
    np.testing.assert_allclose(beside[Groundtruth.window_classes], expected, atol=1e-6)
    assert alone[Groundtruth.num_boxes] == 0
    assert alone[Groundtruth.num_windows] == 1
    np.testing.assert_array_equal(alone[Groundtruth.window_classes], [[1, 0, 0, 0]] * 5)
    assert not alone[Groundtruth.edgemask][0].any()


def test_a_box_that_reaches_beyond_the_image_counts_with_its_inside(unusual):
    for key in (Groundtruth.boxes, Groundtruth.closeness, Groundtruth.edgemask):
        np.testing.assert_array_equal(unusual["beyond"][key], unusual["inside"][key])


def test_a_class_out_of_range_is_named(tmp_path):
    path = write(tmp_path / "a", example("7", boxes=TWO["boxes"], classes=[1, K + 1]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"outside 1\.\.3(?s:.*)7"):
        first(dataset(path, TaskLabelMaker((CLOSENESS_ONLY,), K)))


@pytest.mark.slow
def test_labels_after_crops_are_those_of_what_is_left(tmp_path):
    path = write(tmp_path / "a", example("0", size=(80, 60), **TWO))
    options = augmentation_crops.CropOptions(min_object_covered=0.0, area_range=(0.05, 0.5))
    crops = (augmentation_crops.random_crop_image(options),)
    numbers = set()
    for batch in dataset(path, SMALL, augmentations=crops).take(25):
        batch = {key: value.numpy()[0] for key, value in batch.items()}
        number = batch[Groundtruth.num_boxes]
        numbers.add(int(number))
        boxes, classes = (batch[key][:number] for key in (Groundtruth.boxes, Groundtruth.classes))
        sums = batch[Groundtruth.window_classes].sum(axis=-1)
        np.testing.assert_allclose(sums, 1.0, atol=1e-6)
        expected = labels.window_labels(boxes, classes, batch[Groundtruth.window_boxes], K)
        np.testing.assert_allclose(batch[Groundtruth.window_classes], expected, atol=1e-6)
        size = batch[Batch.original_image_shapes][:2]
        expected = labels.closeness_labels(boxes, classes, size, K)
        np.testing.assert_allclose(batch[Groundtruth.closeness][:number], expected, atol=1e-6)
        expected = labels.foreground_mask(boxes, 8)
        np.testing.assert_allclose(batch[Groundtruth.edgemask], expected, atol=1e-5)
    assert numbers == {0, 1, 2}


# From the record ----------------------------------------------------------------------------


WINDOWS = np.float32([[0, 0, 1, 0.5], [0.25, 0.25, 0.75, 1]])


def with_labels(record, mask_size=8, num_classes=K):
    number = len(record.features.feature[TfExample.ymin].float_list.value)
    row = " ".join(["0.25"] * (num_classes + 1))
    closeness = [f"0 {i}" + " 0" * (num_classes - 1) for i in range(number)]
    mask = np.arange(2 * mask_size**2, dtype=np.float32).reshape(2, mask_size, mask_size)
    add_auxiliary_labels(
        record, windows=WINDOWS, window_labels=[row, row], closeness=closeness, edgemask=mask
    )
    return record


def test_stored_labels_come_as_they_are(tmp_path):
    path = write(tmp_path / "a", with_labels(example("0", **TWO)))
    batch = first(dataset(path, STORED))
    np.testing.assert_allclose(batch[Groundtruth.window_boxes][0], WINDOWS)
    np.testing.assert_allclose(batch[Groundtruth.window_classes][0], np.full([2, 4], 0.25))
    assert batch[Groundtruth.num_windows].tolist() == [2]
    np.testing.assert_allclose(batch[Groundtruth.closeness][0], [[0, 0, 0, 0], [0, 1, 0, 0]])
    np.testing.assert_allclose(batch[Groundtruth.edgemask][0].ravel(), np.arange(128))


def test_closeness_follows_its_object_where_another_is_ignored(tmp_path):
    """The first box has no area: its row goes with it."""
    record = with_labels(example("0", **TWO))
    with_floats(record, TfExample.ymax, [0.0, 1.0])
    batch = first(dataset(write(tmp_path / "a", record), STORED))
    np.testing.assert_allclose(batch[Groundtruth.closeness][0], [[0, 1, 0, 0]])


def test_a_flip_mirrors_windows_and_mask(tmp_path):
    path = write(tmp_path / "a", with_labels(example("0", **TWO)))
    batch = first(dataset(path, STORED, augmentations=(augmentation.random_horizontal_flip(1.0),)))
    np.testing.assert_allclose(
        batch[Groundtruth.window_boxes][0], [[0, 0.5, 1, 1], [0.25, 0, 0.75, 0.75]]
    )
    mask = np.arange(128).reshape(2, 8, 8)
    np.testing.assert_allclose(batch[Groundtruth.edgemask][0], mask[:, :, ::-1])


@pytest.mark.slow
def test_windows_of_records_are_padded_to_the_most_of_a_batch(tmp_path):
    no_window = with_labels(example("1", **TWO))
    for key in (TfExample.window_labels, *WINDOW_KEYS):
        del no_window.features.feature[key]
    path = write(tmp_path / "a", with_labels(example("0", **TWO)), no_window)
    batch = first(dataset(path, STORED, batch_size=2, shuffle=False))
    assert batch[Groundtruth.num_windows].tolist() == [2, 0]
    assert batch[Groundtruth.window_boxes].shape == (2, 2, 4)
    assert not batch[Groundtruth.window_boxes][1].any()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (example("7", **TWO), "mtl.label_source is RECORD, but image/"),
        (with_labels(example("7", **TWO), num_classes=2), "one text of 4 numbers"),
        (with_labels(example("7", **TWO), mask_size=4), "2 x 8 x 8 numbers"),
    ],
    ids=["none", "classes", "mask"],
)
def test_labels_that_do_not_fit_are_named(tmp_path, record, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        first(dataset(write(tmp_path / "a", record), STORED))
