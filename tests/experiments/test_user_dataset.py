"""Split of a user's dataset."""

import pytest

from object_detection_mtl.experiments import experiment_files, user_dataset


def test_the_split_depends_on_the_ids_alone():
    ids = [f"{number}.jpg".encode() for number in range(100)]
    parts = user_dataset.split_by_hash(ids)
    assert {split: len(rows) for split, rows in parts.items()} == {
        "train": 70,
        "validation": 15,
        "test": 15,
    }
    assert sorted(sum(parts.values(), [])) == list(range(100))
    backwards = user_dataset.split_by_hash(ids[::-1])
    for split, rows in parts.items():
        assert {ids[row] for row in rows} == {ids[99 - row] for row in backwards[split]}


def test_images_of_one_id_are_all_kept():
    parts = user_dataset.split_by_hash([b""] * 10)
    assert sorted(sum(parts.values(), [])) == list(range(10))


def test_too_few_images():
    with pytest.raises(ValueError, match="has 3 images; expected at least 4"):
        user_dataset.split_by_hash([b"1", b"2", b"3"])


def test_other_annotations_in_the_directory(tmp_path):
    done = {"source": [user_dataset.VOC_TOOL, "--data_dir=a"], "sizes": {}}
    experiment_files.write_json(tmp_path / "dataset.json", done)
    with pytest.raises(ValueError, match=r"other annotations \(--data_dir=a\); give another"):
        user_dataset.prepare_user_dataset(user_dataset.VOC_TOOL, ["--data_dir=b"], tmp_path)


def test_annotations_that_cannot_be_converted(tmp_path, capfd):
    with pytest.raises(ValueError, match="the lines above say why"):
        user_dataset.prepare_user_dataset(
            user_dataset.COCO_TOOL, ["--annotations_file=none", "--image_dir=none"], tmp_path
        )
    assert "none" in capfd.readouterr().err
