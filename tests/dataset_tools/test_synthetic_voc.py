"""Synthetic dataset: determinism, format, properties of its scenes."""

import filecmp
import subprocess
import sys

import numpy as np
import pytest

from object_detection_mtl.dataset_tools import (
    dataset_label_map,
    record_conversion,
    synthetic_shapes,
    synthetic_voc,
    voc_annotations,
    voc_conversion,
    voc_xml,
)


@pytest.fixture(scope="module")
def drawn():
    return [synthetic_voc.draw_image(index, seed=0, height=128, width=160) for index in range(120)]


def test_the_same_seed_gives_the_same_files_byte_for_byte(tmp_path):
    for name in ("one", "two"):
        synthetic_voc.write_dataset(tmp_path / name, {"train": 3, "val": 2}, seed=5)
    files = sorted(
        str(path.relative_to(tmp_path / "one"))
        for path in (tmp_path / "one").rglob("*")
        if path.is_file()
    )
    assert len(files) == 5 + 5 + 2 + 1
    same, different, missing = filecmp.cmpfiles(
        tmp_path / "one", tmp_path / "two", files, shallow=False
    )
    assert (len(same), different, missing) == (13, [], [])


def test_an_image_depends_on_seed_and_index_alone():
    first, objects = synthetic_voc.draw_image(3, seed=1)
    again, same_objects = synthetic_voc.draw_image(3, seed=1)
    other, _ = synthetic_voc.draw_image(3, seed=2)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(again))
    assert objects == same_objects
    assert (np.asarray(first) != np.asarray(other)).any()


def test_boxes_lie_inside_and_are_of_a_learnable_size(drawn):
    for image, objects in drawn:
        assert image.size == (160, 128)
        for item in objects:
            assert 0 <= item.ymin < item.ymax <= 128
            assert 0 <= item.xmin < item.xmax <= 160
            longer = max(item.ymax - item.ymin, item.xmax - item.xmin)
            assert 0.15 * 128 <= longer <= 0.8 * 128


def test_boxes_fit_what_is_drawn_to_a_pixel():
    rng = np.random.default_rng(0)
    for drawing, aspect in synthetic_shapes.DRAWINGS.values():
        height = 100
        image = drawing(round(height * aspect), height, rng)
        assert image.mode == "RGBA"
        assert image.size == (round(height * aspect), height)
        left, top, right, bottom = image.getchannel("A").getbbox()
        assert top <= 1
        assert bottom >= height - 1
        assert left <= 1
        assert right >= image.width - 2


def test_some_images_are_empty_some_crowded_and_every_class_is_frequent(drawn):
    counts = [len(objects) for _, objects in drawn]
    assert 3 <= counts.count(0) <= 20
    assert 3 <= sum(count >= 5 for count in counts) <= 25
    for name in synthetic_voc.CLASSES:
        assert sum(name in {item.name for item in objects} for _, objects in drawn) >= 15


def test_classes_co_occur_as_in_the_world(drawn):
    def share(name, other):
        scenes = [{item.name for item in objects} for _, objects in drawn if len(objects) < 5]
        with_name = [scene for scene in scenes if name in scene]
        return sum(other in scene for scene in with_name) / len(with_name)

    assert share("cup", "table") == 1.0
    assert share("sign", "car") == 1.0
    assert share("ball", "racket") > 0.6
    assert share("ball", "car") == 0.0
    assert share("cup", "sign") == 0.0


def test_difficult_and_truncated_flags(drawn):
    objects = [item for _, objects in drawn for item in objects]
    assert any(item.truncated for item in objects)
    assert any(item.difficult for item in objects)
    for item in objects:
        at_border = item.ymin == 0 or item.xmin == 0 or item.ymax == 128 or item.xmax == 160
        assert at_border or not item.truncated
    assert sum(item.difficult for item in objects) < 0.1 * len(objects)


def test_the_converter_reads_it_without_a_complaint(tmp_path):
    label_map = synthetic_voc.write_dataset(
        tmp_path, {"train": 6, "val": 2}, seed=3, height=96, width=128
    )
    labels = dataset_label_map.load_labels(label_map)
    assert labels == {name: number for number, name in enumerate(synthetic_voc.CLASSES, start=1)}
    total = 0
    for split, number in (("train", 6), ("val", 2)):
        located = voc_conversion.locate_annotations(
            voc_annotations.find_directories(tmp_path), split
        )
        voc_conversion.check_classes(located, labels, str(label_map))
        images = voc_conversion.to_annotated_images(located, labels)
        summary = record_conversion.create_records(images, tmp_path / f"{split}.record")
        assert summary.images == number
        assert not summary.issues
        total += summary.objects
    expected = [synthetic_voc.draw_image(index, 3, 96, 128)[1] for index in range(8)]
    assert total == sum(len(objects) for objects in expected)
    read = voc_xml.parse_annotation(tmp_path / "Annotations" / "synthetic_000001.xml")
    assert list(read.objects) == expected[1]


def test_sizes_that_are_too_small_are_refused(tmp_path):
    with pytest.raises(ValueError, match="32x64 pixels are too small"):
        synthetic_voc.write_dataset(tmp_path, {"train": 1}, height=64, width=32)
    with pytest.raises(ValueError, match="at least one image"):
        synthetic_voc.write_dataset(tmp_path, {"train": 0})


@pytest.mark.parametrize("place", ["Annotations/mine.xml", "JPEGImages/mine.jpg"])
def test_another_dataset_is_not_overwritten(tmp_path, place):
    synthetic_voc.write_dataset(tmp_path, {"train": 1}, height=64, width=64)
    synthetic_voc.write_dataset(tmp_path, {"train": 1}, height=64, width=64)  # Its own it replaces.
    (tmp_path / place).write_bytes(b"")
    with pytest.raises(FileExistsError, match=f"another dataset .*{place}"):
        synthetic_voc.write_dataset(tmp_path, {"train": 1}, height=64, width=64)


def test_the_command_writes_the_directory_and_loads_no_tensorflow(tmp_path):
    program = (
        "import sys; from object_detection_mtl.dataset_tools import synthetic_voc; "
        f"sys.argv = ['x', '--output_dir={tmp_path}', '--num_train=1', '--num_val=1', "
        "'--height=64', '--width=64']\n"
        "try: synthetic_voc.run()\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "2 images in" in result.stdout
    assert (tmp_path / "ImageSets" / "Main" / "val.txt").read_text() == "synthetic_000001\n"
