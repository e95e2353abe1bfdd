import io

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.reporting.groundtruth_files import read_groundtruth
from tests.reporting.dataset_files import (
    HEIGHT,
    NAMES,
    WIDTH,
    write_coco,
    write_images,
    write_records,
    write_voc,
)


@pytest.fixture(params=["voc", "coco", "records"])
def dataset(request, tmp_path):
    if request.param == "voc":
        return read_groundtruth(write_voc(tmp_path / "voc"))
    if request.param == "coco":
        write_images(tmp_path / "images")
        return read_groundtruth(write_coco(tmp_path / "coco.json"), image_dir=tmp_path / "images")
    return read_groundtruth(write_records(tmp_path / "a.record"))


def test_every_format_gives_the_same_objects(dataset):
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "cat"), (2, "dog")]
    first, second, third = dataset.images
    np.testing.assert_allclose(first.groundtruth.boxes, [[4, 2, 24, 22], [10, 30, 30, 50]], 1e-6)
    assert first.groundtruth.classes.tolist() == [1, 2]
    ignored = first.groundtruth.difficult | first.groundtruth.is_crowd
    assert ignored.tolist() == [False, True]
    assert second.groundtruth.classes.tolist() == [2]
    assert third.groundtruth.boxes.shape == (0, 4)
    assert (first.height, first.width) == (HEIGHT, WIDTH)
    assert dataset.notes == ()


def test_every_format_reads_images_on_request(dataset):
    for item in dataset.images:
        with Image.open(io.BytesIO(item.read_bytes())) as image:
            assert image.size == (WIDTH, HEIGHT)
        assert "a" in dataset.images[0].aliases


@pytest.mark.parametrize("kind", ["voc", "coco", "records"])
def test_objects_outside_of_the_label_map_are_counted(kind, tmp_path):
    write = {"voc": write_voc, "coco": write_coco, "records": write_records}[kind]
    path = write(tmp_path / {"voc": "voc", "coco": "a.json", "records": "a.record"}[kind])
    (tmp_path / "map.pbtxt").write_text('item { id: 3 name: "dog" }')
    made = read_groundtruth(path, label_map_path=tmp_path / "map.pbtxt")
    assert [item.groundtruth.classes.tolist() for item in made.images] == [[3], [3], []]
    assert made.notes == ("Skipped 1 object of classes that are not in the label map.",)


def test_missing_image_files_are_counted(tmp_path):
    write_images(tmp_path / "images")
    (tmp_path / "images" / "a.jpg").unlink()
    made = read_groundtruth(write_coco(tmp_path / "coco.json"), image_dir=tmp_path / "images")
    assert made.notes == (f"{tmp_path}/images lacks the files of 1 of 3 images.",)


def test_options_of_other_formats_are_refused(tmp_path):
    coco, voc = write_coco(tmp_path / "coco.json"), write_voc(tmp_path / "voc")
    with pytest.raises(ValueError, match="--set=val: only PASCAL VOC directories have sets"):
        read_groundtruth(coco, set_name="val")
    with pytest.raises(ValueError, match="only COCO files need it; .*voc' has its images"):
        read_groundtruth(voc, image_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="--image_dir=nothing: no such directory"):
        read_groundtruth(coco, image_dir="nothing")


def test_numbers_need_no_image_files(tmp_path):
    made = read_groundtruth(write_coco(tmp_path / "coco.json"))
    assert {item.read_bytes for item in made.images} == {None}


def test_a_missing_file_is_named(tmp_path):
    for name in ("missing.json", "missing.record"):
        with pytest.raises((ValueError, FileNotFoundError), match=name):
            read_groundtruth(tmp_path / name)


def test_two_records_of_one_image_are_refused(tmp_path):
    write_records(tmp_path / "a-1.record")
    write_records(tmp_path / "a-2.record")
    with pytest.raises(ValueError, match=r"two records belong to image 'a\.jpg'"):
        read_groundtruth(tmp_path / "a-*.record")


def test_without_objects_classes_must_be_named(tmp_path):
    directory = write_voc(tmp_path / "voc")
    for name in ("a", "b"):
        (directory / f"Annotations/{name}.xml").unlink()
    with pytest.raises(ValueError, match="has no object; name the classes"):
        read_groundtruth(directory)
    (tmp_path / "map.pbtxt").write_text(
        "".join(f'item {{ id: {i} name: "{name}" }}' for i, name in enumerate(NAMES, start=1))
    )
    made = read_groundtruth(directory, label_map_path=tmp_path / "map.pbtxt")
    assert [len(item.groundtruth.classes) for item in made.images] == [0]
