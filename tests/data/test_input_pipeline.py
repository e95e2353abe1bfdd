"""Input pipeline: content, order and shape of batches; resuming; corrupt records."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data import (
    augmentation,
    example_decoder,
    example_issues,
    example_order,
    input_pipeline,
)
from object_detection_mtl.fields import Batch, Groundtruth
from tests.data.record_files import example, numbered, with_floats, write
from tests.dataset_tools.voc_files import block_image, encoded


def as_it_is(image):
    """A preprocessing that shows what it was given: 0..255 to 1..2, so padding stands out."""
    return image / 255.0 + 1.0, tf.shape(image)


def dataset(path, **options):
    defaults = {
        "preprocess_fn": as_it_is,
        "batch_size": 2,
        "is_training": True,
        "num_classes": 3,
    }
    return input_pipeline.make_dataset(str(path), **{**defaults, **options})


def pipeline(path, **options):
    defaults = {"preprocess_fn": as_it_is, "batch_size": 2, "is_training": True, "num_classes": 3}
    return input_pipeline.make_pipeline(str(path), **{**defaults, **options})


def ids(batches):
    return [int(name) for batch in batches for name in batch[Batch.image_id].numpy()]


# Evaluation ---------------------------------------------------------------------------------


def test_evaluation_passes_once_in_order_and_loses_nothing(tmp_path):
    numbered(tmp_path / "a-0", 3)
    numbered(tmp_path / "a-1", 4, start=3)
    batches = list(dataset(tmp_path / "a-*", is_training=False, batch_size=3))
    assert ids(batches) == list(range(7))
    assert [len(batch[Batch.image_id]) for batch in batches] == [3, 3, 1]


def test_every_nth_record(tmp_path):
    path = numbered(tmp_path / "a", 7)
    assert ids(dataset(path, is_training=False, sample_1_of_n=3)) == [0, 3, 6]


def test_images_of_different_sizes_are_padded_with_zeros_after_preprocessing(tmp_path):
    path = write(
        tmp_path / "a",
        example("0", size=(20, 16), boxes=[[0, 0, 1, 1], [0, 0, 0.5, 0.5]], classes=[2, 3]),
        example("1", size=(10, 24), boxes=[], classes=[]),
    )
    [batch] = dataset(path, is_training=False, retain_original_images=True)
    assert batch[Batch.inputs].shape == (2, 24, 20, 3)
    for row, (width, height) in enumerate([(20, 16), (10, 24)]):
        pixels = np.asarray(block_image(width, height))
        inputs = batch[Batch.inputs][row].numpy()
        np.testing.assert_allclose(inputs[:height, :width], pixels / 255.0 + 1.0, rtol=1e-6)
        assert inputs.sum() == pytest.approx((pixels / 255.0 + 1.0).sum())
        kept = batch[Batch.original_images][row].numpy()
        np.testing.assert_array_equal(kept[:height, :width], pixels)
        assert kept.dtype == np.uint8
        assert kept.sum() == pixels.sum()
    shapes = [[16, 20, 3], [24, 10, 3]]
    assert batch[Batch.true_image_shapes].numpy().tolist() == shapes
    assert batch[Batch.original_image_shapes].numpy().tolist() == shapes
    assert batch[Groundtruth.num_boxes].numpy().tolist() == [2, 0]
    assert batch[Groundtruth.classes].numpy().tolist() == [[2, 3], [0, 0]]
    assert batch[Groundtruth.weights].numpy().tolist() == [[1, 1], [0, 0]]
    assert batch[Groundtruth.boxes].numpy()[1].tolist() == [[0] * 4] * 2
    assert batch[Groundtruth.area].numpy().tolist() == [[320, 80], [0, 0]]


def test_types_of_a_batch(tmp_path):
    spec = dataset(numbered(tmp_path / "a", 2), max_boxes=5).element_spec
    assert {key: (value.shape.as_list(), value.dtype) for key, value in spec.items()} == {
        Batch.inputs: ([2, None, None, 3], tf.float32),
        Batch.true_image_shapes: ([2, 3], tf.int32),
        Batch.original_image_shapes: ([2, 3], tf.int32),
        Batch.image_id: ([2], tf.string),
        Batch.example_number: ([2], tf.int64),
        Batch.issues: ([2, 5], tf.int64),
        Groundtruth.boxes: ([2, 5, 4], tf.float32),
        Groundtruth.classes: ([2, 5], tf.int32),
        Groundtruth.num_boxes: ([2], tf.int32),
        Groundtruth.weights: ([2, 5], tf.float32),
        Groundtruth.is_crowd: ([2, 5], tf.bool),
        Groundtruth.difficult: ([2, 5], tf.bool),
        Groundtruth.group_of: ([2, 5], tf.bool),
        Groundtruth.area: ([2, 5], tf.float32),
    }


def test_a_batch_without_any_box_keeps_one_row_of_padding(tmp_path):
    path = write(tmp_path / "a", *[example(boxes=[], classes=[])] * 2)
    [batch] = dataset(path, is_training=False)
    assert batch[Groundtruth.boxes].shape == (2, 1, 4)
    assert batch[Groundtruth.num_boxes].numpy().tolist() == [0, 0]
    assert batch[Groundtruth.classes].numpy().tolist() == [[0], [0]]
    assert batch[Groundtruth.weights].numpy().tolist() == [[0], [0]]


def test_surplus_boxes_are_dropped_counted_and_described_once(tmp_path):
    boxes = [[0, 0, 1, share / 4] for share in (1, 2, 3)]
    path = write(tmp_path / "a", *[example("7", boxes=boxes, classes=[1, 2, 3])] * 2)
    made = pipeline(path, is_training=False, max_boxes=2)
    [batch] = made.dataset
    assert batch[Groundtruth.classes].numpy().tolist() == [[1, 2], [1, 2]]
    assert batch[Groundtruth.num_boxes].numpy().tolist() == [2, 2]
    assert batch[Batch.issues].numpy().tolist() == [[0, 0, 0, 1, 0]] * 2
    message = made.describe(example_issues.SURPLUS_BOX, 0)
    assert f"Image 7 ({path}, record 0, at byte 0) has 3 boxes, max_number_of_boxes is 2" in message
    assert made.describe(example_issues.SURPLUS_BOX, 1) == ""


# Training -----------------------------------------------------------------------------------


def order(count, *args):
    """The first `count` (example number, record number)."""
    numbers, places = example_order.training_places(*args).batch(count).take(1).get_single_element()
    return list(zip(numbers.numpy().tolist(), places.numpy().tolist(), strict=True))


def test_every_epoch_is_another_permutation_of_all_records():
    first = order(30, 10, True, 0, 0)
    assert [number for number, _ in first] == list(range(30))
    epochs = [[record for _, record in first[start : start + 10]] for start in (0, 10, 20)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert order(30, 10, True, 1, 0) != first
    assert order(4, 3, False, 0, 0) == [(0, 0), (1, 1), (2, 2), (3, 0)]
    assert order(3, 1, True, 0, 0) == [(0, 0), (1, 0), (2, 0)]


def test_permutations_are_fair():
    seen = np.array([record for _, record in order(400 * 5, 5, True, 7, 0)]).reshape(400, 5)
    for position in range(5):
        counts = np.bincount(seen[:, position], minlength=5)
        assert (np.abs(counts - 80) < 40).all()  # Five standard deviations.


@pytest.mark.parametrize("start", [1, 9, 10, 14, 10_000_003])
def test_a_resumed_run_continues_at_its_example_without_reading_earlier_ones(start):
    resumed = order(25, 10, True, 3, start)
    assert [number for number, _ in resumed] == list(range(start, start + 25))
    if start < 100:
        assert resumed == order(start + 25, 10, True, 3, 0)[start:]


def flat(batches):
    """Every example of the batches: its name, its pixels and its boxes, without padding."""
    result = []
    for batch in batches:
        for row in range(len(batch[Batch.image_id])):
            number = int(batch[Groundtruth.num_boxes][row])
            boxes = batch[Groundtruth.boxes][row, :number].numpy()
            result.append(
                (
                    batch[Batch.image_id][row].numpy(),
                    batch[Batch.inputs][row].numpy().tobytes(),
                    boxes.tobytes(),
                )
            )
    return result


FLIPS = (augmentation.random_horizontal_flip(),)


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """A file of five images."""
    return numbered(tmp_path_factory.mktemp("records") / "five", 5)


@pytest.fixture(scope="module")
def run(five):
    """The first twelve examples of a run."""
    return flat(dataset(five, augmentations=FLIPS, num_readers=1).take(6))


def test_a_run_sees_every_record_flipped_and_not(run):
    assert {name for name, _, _ in run[:5]} == {b"0", b"1", b"2", b"3", b"4"}
    assert len({pixels for _, pixels, _ in run}) == 2
    assert len({(pixels, boxes) for _, pixels, boxes in run}) == 2  # The boxes go along.


def test_neither_threads_nor_batch_size_change_what_a_run_sees(five, run):
    batches = dataset(five, augmentations=FLIPS, num_readers=64, batch_size=3)
    assert flat(batches.take(4)) == run


def test_another_seed_sees_another_run(five, run):
    assert flat(dataset(five, augmentations=FLIPS, seed=9).take(6)) != run


def test_a_resumed_run_sees_what_the_uninterrupted_one_would(five, run):
    assert flat(dataset(five, augmentations=FLIPS, start_example=4).take(4)) == run[4:]


@pytest.mark.slow
def test_workers_share_the_examples_between_them(five, run):
    for worker in (0, 1):
        context = tf.distribute.InputContext(
            num_input_pipelines=2, input_pipeline_id=worker, num_replicas_in_sync=2
        )
        share = dataset(five, augmentations=FLIPS, start_example=3, input_context=context)
        # Example n belongs to worker n modulo 2, wherever the run starts.
        assert flat(share.take(2)) == [
            run[number] for number in range(3, 11) if number % 2 == worker
        ]


def test_a_strategy_may_distribute_it(five, run):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    distributed = strategy.distribute_datasets_from_function(
        lambda context: dataset(five, augmentations=FLIPS, input_context=context)
    )
    assert flat([next(iter(distributed))]) == run[:2]


# Errors ----------------------------------------------------------------------------


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    broken = example("lost.jpg", data=encoded(block_image())[:300])
    path = write(tmp_path / "a", example("0"), broken)
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)cannot be decoded.*lost.jpg"):
        list(dataset(path, is_training=False))


@pytest.mark.parametrize("kind", ["flipped bit", "other types"])
def test_a_damaged_record_is_named_by_file_and_byte(tmp_path, kind):
    second = example("1")
    if kind == "other types":
        second.features.feature["image/object/class/label"].float_list.value.append(1.0)
    path = write(tmp_path / "a.record", example("0"), second)
    start = len(example("0").SerializeToString()) + 16
    if kind == "flipped bit":
        data = bytearray(path.read_bytes())
        data[start + 40] ^= 1
        path.write_bytes(data)
    says = f"(?s)corrupt, or not a tf.train.Example.*a.record, record 1, at byte {start}"
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        list(dataset(path, is_training=False))


# Corrupt examples that are skipped --------------------------------------------------------------

CLASS_TEXT, XMAX = "image/object/class/text", "image/object/bbox/xmax"


def large_png():
    """Return a PNG of a kilobyte whose header states 100 million pixels."""
    data = bytearray(encoded(block_image(), "PNG"))
    data[16:24] = (10_000).to_bytes(4, "big") * 2
    return bytes(data)


CORRUPT = {
    "undecodable": (lambda: example("x", data=b"\xff\xd8no image"), "cannot be decoded"),
    "truncated": (lambda: example("x", data=encoded(block_image())[:300]), "cannot be decoded"),
    "empty image": (lambda: example("x", data=b""), "cannot be decoded"),
    "oversized": (lambda: example("x", data=large_png()), "too large, max_image_pixels is 50000"),
    "class out of range": (lambda: example("x", classes=[4]), "outside 1..3"),
    "lengths differ": (lambda: with_floats(example("x"), XMAX, [0.5, 0.6]), "differ in length"),
    "too many boxes": (
        lambda: example("x", boxes=[[0, 0, 1, 1]] * 6, classes=[1] * 6),
        "too many boxes, max_boxes_per_example is 5",
    ),
    "garbage": (lambda: b"\xff\xfe garbage", "corrupt, or not a tf.train.Example"),
    "checksum": (lambda: example("x"), "corrupt, or not a tf.train.Example"),
}
LIMITS = example_decoder.ExampleLimits(max_image_pixels=50_000, max_boxes=5)


def with_corrupt(path, *kinds):
    """Write corrupt examples, each before an image named by its number; return the path."""
    records = []
    for number, kind in enumerate(kinds):
        made = CORRUPT[kind][0]()
        records.append(made if isinstance(made, bytes) else made.SerializeToString())
        records.append(example(str(number)).SerializeToString())
    write(path, *records)
    if "checksum" in kinds:
        data = bytearray(path.read_bytes())
        before = records[: 2 * kinds.index("checksum")]
        data[sum(len(record) + 16 for record in before) + 40] ^= 1
        path.write_bytes(data)
    return path


@pytest.mark.slow
def test_corrupt_examples_are_skipped_counted_and_described(tmp_path):
    path = with_corrupt(tmp_path / "a.record", *CORRUPT)
    made = pipeline(
        path, is_training=False, limits=LIMITS, batch_size=9, max_corrupt_examples=len(CORRUPT)
    )
    [batch] = made.dataset
    assert ids([batch]) == list(range(9))
    assert batch[Batch.example_number].numpy().tolist() == list(range(1, 18, 2))
    assert batch[Batch.issues].numpy().tolist() == [[1, 0, 0, 0, 0]] * 9
    assert batch[Batch.skipped].numpy().tolist() == [[1 + n] for n in range(0, 18, 2)]
    for number, (_, reason) in enumerate(CORRUPT.values()):
        message = made.describe(example_issues.SKIPPED, 2 * number)
        assert reason in message
        assert f"{path}, record {2 * number}, at byte " in message
        assert "{{" not in message
    assert "can be read now" in made.describe(example_issues.SKIPPED, 1)


@pytest.mark.slow
def test_more_corrupt_records_than_allowed_stop_the_run(tmp_path):
    path = write(tmp_path / "a.record", *[b"garbage"] * 3, example("0"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)more than 2 corrupt .*a.record"):
        next(iter(dataset(path, shuffle=False, max_corrupt_examples=2)))
    made = pipeline(path, is_training=False, max_corrupt_examples=3)
    assert (ids(made.dataset), made.num_examples) == ([0], 4)


@pytest.mark.slow
def test_a_dataset_of_corrupt_records_alone_is_an_error(tmp_path):
    path = write(tmp_path / "a.record", *[b"garbage"] * 3)
    for is_training in (True, False):
        made = pipeline(path, is_training=is_training, max_corrupt_examples=3)
        with pytest.raises(tf.errors.InvalidArgumentError, match="all 3 records are corrupt"):
            next(iter(made.dataset))


@pytest.mark.slow
def test_a_corrupt_record_is_allowed_once_for_all_epochs_and_batches_stay_full(tmp_path):
    path = with_corrupt(tmp_path / "a.record", "undecodable")
    batches = list(dataset(path, batch_size=3, max_corrupt_examples=1, seed=5).take(4))
    numbers = np.concatenate([batch[Batch.example_number] for batch in batches])
    skipped = np.concatenate([batch[Batch.issues] for batch in batches])[:, example_issues.SKIPPED]
    assert len(numbers) == 12
    skipped_numbers = np.concatenate([example_issues.skipped_numbers(one) for one in batches])
    assert sorted({*range(numbers[-1] + 1)} - {*numbers}) == sorted(skipped_numbers)
    assert skipped.sum() in (11, 12)  # once in each epoch
    middle = int(batches[1][Batch.example_number][-1]) + 1
    resumed = dataset(
        path, batch_size=3, max_corrupt_examples=1, seed=5, start_example=middle
    ).take(2)
    assert flat(resumed) == flat(batches[2:])


def test_arguments_out_of_range_are_refused(tmp_path):
    path = numbered(tmp_path / "a", 1)
    for name, value in (
        ("batch_size", 0),
        ("start_example", -1),
        ("max_boxes", 0),
        ("sample_1_of_n", 0),
    ):
        with pytest.raises(ValueError, match=f"{name}.* is {value}, expected at least"):
            dataset(path, **{name: value})
    with pytest.raises(ValueError, match="augmentations are given for evaluation"):
        dataset(path, is_training=False, augmentations=FLIPS)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        dataset(tmp_path / "b")
