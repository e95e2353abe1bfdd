"""Decoded-image cache: equal examples, no second decoding, corrupt and incomplete entries, room."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data import augmentation, cache_room, example_issues, record_files
from object_detection_mtl.data.image_cache import DISK, KINDS, MEMORY, DecodedImageCache
from object_detection_mtl.fields import Batch
from tests.data.record_files import example, numbered, without, write
from tests.data.test_input_pipeline import pipeline

MAX_PIXELS = 10_000


def cache_of(kind, tmp_path, **options):
    return DecodedImageCache(kind, str(tmp_path / "decoded_images"), **options)


def flips():
    return [augmentation.random_horizontal_flip()]


def sizes(path, count=5):
    """Records of images of different sizes, so that each image differs."""
    return write(path, *[example(str(n), size=(20 + n, 16 + 2 * n)) for n in range(count)])


def assert_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for key, values in batch.items():
            np.testing.assert_array_equal(values, other[key], err_msg=key)


def first(made, count):
    return [
        {key: value.numpy() for key, value in batch.items()} for batch in made.dataset.take(count)
    ]


def with_garbage(path):
    """Write the records again with images that cannot be decoded, as large as before.

    The files look the same to the cache: their lengths and times of change are kept.
    """
    stat = path.stat()
    records = [tf.train.Example.FromString(data.numpy()) for data in tf.data.TFRecordDataset(path)]
    for record in records:
        images = record.features.feature["image/encoded"].bytes_list.value
        images[0] = b"x" * len(images[0])
    write(path, *records)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MEMORY, pytest.param(DISK, marks=pytest.mark.long)])
def test_examples_are_equal_and_images_are_decoded_once(tmp_path, kind):
    path = sizes(tmp_path / "a")
    plain = first(pipeline(path, augmentations=flips(), retain_original_images=True), 8)
    cache = cache_of(kind, tmp_path)

    def cached(**options):
        options = {"augmentations": flips(), "retain_original_images": True, **options}
        return pipeline(path, image_cache=cache, **options)

    assert cache.num_stored() == 0
    assert_equal(first(cached(), 8), plain)
    assert cache.num_stored() == 5
    with_garbage(path)
    assert_equal(first(cached(), 8), plain)
    # A resumed run, in another order of the epochs, and with corrupt examples allowed.
    assert_equal(first(cached(start_example=6), 5), plain[3:])
    allowed = first(cached(max_corrupt_examples=1), 8)
    assert not any(batch.pop(Batch.skipped).size for batch in allowed)
    assert_equal(allowed, plain)


def test_images_on_disk_are_used_by_the_next_process(tmp_path):
    path = sizes(tmp_path / "a")
    plain = first(pipeline(path, image_cache=cache_of(DISK, tmp_path)), 5)
    with_garbage(path)
    lines = []
    cache = cache_of(DISK, tmp_path, report=lines.append, available=lambda *_: 1)
    assert_equal(first(pipeline(path, image_cache=cache), 5), plain)
    # Widths 20..24, heights 16, 18, ..24: 3 * (320 + 378 + 440 + 506 + 576) bytes.
    assert lines == [
        "cache: 5 decoded images take about 0.0 MB, 5 are there; 0.0 MB can be used in "
        f"{tmp_path / 'decoded_images'}"
    ]


@pytest.mark.long
def test_images_of_changed_records_are_decoded_again(tmp_path):
    path = sizes(tmp_path / "a")
    first(pipeline(path, image_cache=cache_of(DISK, tmp_path)), 3)
    [old] = (tmp_path / "decoded_images").iterdir()
    write(path, *[example(str(n), size=(16 + n, 20)) for n in range(5)])
    cache = cache_of(DISK, tmp_path)
    assert_equal(first(pipeline(path, image_cache=cache), 3), first(pipeline(path), 3))
    assert not old.exists()
    cache.open(record_files.index_records(str(path)), MAX_PIXELS * 12_000)
    with pytest.raises(ValueError, match="decoded images of other records"):
        cache.open(record_files.index_records(str(path)), MAX_PIXELS)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_corrupt_examples_are_as_without_a_cache(tmp_path, kind):
    records = [example(str(n)) for n in range(4)]
    records[1] = example("1", data=b"no image")
    records[2] = example("2", classes=(9,))
    path = write(tmp_path / "a", *records)
    plain = pipeline(path, max_corrupt_examples=2, shuffle=False)
    cache = cache_of(kind, tmp_path)
    cached = pipeline(path, max_corrupt_examples=2, shuffle=False, image_cache=cache)
    assert_equal(first(cached, 6), first(plain, 6))
    for number in (1, 2):
        wanted = plain.describe(example_issues.SKIPPED, number)
        assert cached.describe(example_issues.SKIPPED, number) == wanted
    assert cache.num_stored() in (2, 3)  # The image of record 2 may be decoded before its check.
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be decoded") as error:
        first(pipeline(path, image_cache=cache, shuffle=False), 2)
    assert str(path) in str(error.value)


@pytest.mark.long
def test_a_worker_of_several_has_its_own_cache(tmp_path):
    path = sizes(tmp_path / "a")
    context = tf.distribute.InputContext(2, 1, 2)
    cached = pipeline(path, image_cache=cache_of(MEMORY, tmp_path), input_context=context)
    assert_equal(first(cached, 6), first(pipeline(path, input_context=context), 6))


@pytest.mark.slow
def test_incomplete_and_corrupt_entries_are_decoded_again(tmp_path):
    path = sizes(tmp_path / "a")
    plain = first(pipeline(path, image_cache=cache_of(DISK, tmp_path)), 5)
    [images] = (tmp_path / "decoded_images").glob("*/0")
    assert len(list(images.iterdir())) == 10
    (images / "0.index").unlink()  # A run that was killed between the two files of an entry,
    (images / "1.index").rename(images / "1.index.tempstate123")  # while it wrote one,
    data = images / "2.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-7])  # and corrupt files.
    flipped = images / "3.data-00000-of-00001"
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\x01")
    cache = cache_of(DISK, tmp_path)
    cached = pipeline(path, image_cache=cache)
    assert cache.num_stored() == 3
    assert {entry.name for entry in images.iterdir()} == {
        f"{number}{suffix}" for number in (2, 3, 4) for suffix in (".index", ".data-00000-of-00001")
    }
    assert_equal(first(cached, 5), plain)
    assert len(list(images.iterdir())) == 10
    for entry in images.iterdir():  # Someone removes the files during the run.
        entry.unlink()
    assert_equal(first(cached, 5), plain)
    assert len(list(images.iterdir())) == 10


@pytest.mark.slow
def test_failed_writes_are_reported_once_and_change_nothing(tmp_path, capfd):
    path = sizes(tmp_path / "a")
    cache = cache_of(DISK, tmp_path)
    cached = pipeline(path, image_cache=cache)
    [images] = (tmp_path / "decoded_images").iterdir()
    (images / "0").write_text("a file in the place of the directory")
    assert_equal(first(cached, 5), first(pipeline(path), 5))
    assert cache.num_stored() == 0
    assert capfd.readouterr().err.count("cannot be written, the disk may be full") == 1


# Room ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "place", "other"), [(MEMORY, "memory", DISK), (DISK, "decoded_images", MEMORY)]
)
def test_a_cache_that_does_not_fit_is_refused_with_numbers(tmp_path, kind, place, other):
    path = write(tmp_path / "a", *[example(size=(200, 100))] * 50)  # 50 * 60 kB
    cache = cache_of(kind, tmp_path, available=lambda *_: 2_900_000)
    wanted = (
        rf"cache is '{kind}', but 50 decoded images take about 3.0 MB; 2.9 MB can be used in "
        rf".*{place}. Give cache '{other}' if"
    )
    with pytest.raises(ValueError, match=wanted):
        pipeline(path, image_cache=cache)
    assert not (tmp_path / "decoded_images").exists()


def test_sizes_are_estimated_from_some_records(tmp_path):
    lacking = without(example(size=(30, 20)), "image/height", "image/width")
    records = [example(size=(10, 20)), lacking, b"garbage", example(data=b"no image")]
    without(records[3], "image/height")
    path = write(tmp_path / "a", *records)
    # 200 and 600 pixels are known of four images: the mean is 400.
    assert cache_room.decoded_bytes(record_files.index_records(str(path))) == 4 * 3 * 400
    many = write(tmp_path / "b", *[example(size=(10, 20))] * 501, *[example(size=(10, 40))] * 501)
    # Every third record is read, 167 of each kind.
    index = record_files.index_records(str(many))
    assert cache_room.decoded_bytes(index) == 1002 * 3 * 300


def test_available_bytes(tmp_path):
    assert cache_room.available_bytes(MEMORY, None) > 0
    assert cache_room.available_bytes(DISK, str(tmp_path / "not" / "yet")) > 0


def test_the_memory_limit_of_a_container(tmp_path):
    assert cache_room.container_room(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 300\n")
    assert cache_room.container_room(tmp_path) == [400]
    (tmp_path / "memory.max").write_text("max\n")
    assert cache_room.container_room(tmp_path) == []


def test_arguments(tmp_path):
    with pytest.raises(ValueError, match="cache is 'ram', expected one of memory, disk"):
        DecodedImageCache("ram")
    with pytest.raises(ValueError, match=r"'gs://run/images': they need a local directory"):
        DecodedImageCache(DISK, "gs://run/images")
    path = numbered(tmp_path / "a", 2)
    with pytest.raises(ValueError, match="image_cache is for training without data_service"):
        pipeline(path, image_cache=DecodedImageCache(MEMORY), is_training=False)
    with pytest.raises(ValueError, match="image_cache is for training without data_service"):
        pipeline(path, image_cache=DecodedImageCache(MEMORY), data_service="grpc://a:1")


# A killed process ---------------------------------------------------------------------------

WRITER = """
import sys
import tensorflow as tf
from object_detection_mtl.data import input_pipeline
from object_detection_mtl.data.image_cache import DecodedImageCache

made = input_pipeline.make_pipeline(
    sys.argv[1], preprocess_fn=lambda image: (image, tf.shape(image)), batch_size=1,
    is_training=True, num_classes=3, image_cache=DecodedImageCache("disk", sys.argv[2]),
)
for batch in made.dataset:
    print("read", flush=True)
"""


@pytest.mark.long
def test_a_killed_process_leaves_complete_entries_alone(tmp_path):
    path = write(tmp_path / "a", *[example(str(n), size=(640, 480)) for n in range(300)])
    directory = tmp_path / "decoded_images"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path), str(directory)],
        stdout=subprocess.PIPE,
    )
    for _ in range(50):
        assert process.stdout.readline() == b"read\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    cache = cache_of(DISK, tmp_path)
    cached = pipeline(path, image_cache=cache, batch_size=1)
    assert 40 < cache.num_stored() < 300
    for batch, other in zip(
        cached.dataset.take(300), pipeline(path, batch_size=1).dataset, strict=False
    ):
        np.testing.assert_array_equal(batch[Batch.inputs], other[Batch.inputs])
