"""Records, label map and split of a user's dataset, from a VOC directory or a COCO file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from object_detection_mtl.config import label_map
from object_detection_mtl.experiments import experiment_files
from object_detection_mtl.experiments.dataset_splits import TEST, TRAIN, VALIDATION, Dataset

VOC_TOOL = "object_detection_mtl.dataset_tools.create_pascal_tf_record"
COCO_TOOL = "object_detection_mtl.dataset_tools.create_coco_tf_record"
# Of the images; the rest is for training.
VALIDATION_PERCENT = TEST_PERCENT = 15
_ALL, _LABEL_MAP, _DONE = "all.record", "label_map.pbtxt", "dataset.json"


def prepare_user_dataset(tool: str, arguments: Sequence[str], work_dir: Path) -> Dataset:
    """Return a dataset that is ready for training, with records made where they are missing.

    The split depends on the images' ids alone: those with the lowest hashes are test, the next
    validation.

    Args:
        tool: VOC_TOOL or COCO_TOOL.
        arguments: its arguments that name the annotations.
        work_dir: gets records and label map.

    Raises:
        ValueError: the directory holds another dataset, the annotations cannot be converted, or
            there are too few images.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    source = [tool, *arguments]
    with experiment_files.lock(work_dir / "lock", wait=True):
        done = experiment_files.read_json(work_dir / _DONE)
        if done is None:
            _convert(tool, arguments, work_dir)
            done = {"source": source, "sizes": _split(work_dir)}
            experiment_files.write_json(work_dir / _DONE, done)
    if done["source"] != source:
        raise ValueError(
            f"{work_dir} has the records of other annotations ({' '.join(done['source'][1:])}); "
            "give another --output_dir"
        )
    names = {item.id: item.name for item in label_map.load(work_dir / _LABEL_MAP)}
    return Dataset(
        name="dataset",
        # A detector has an output for every number up to the largest.
        classes=tuple(names.get(number, "") for number in range(1, max(names) + 1)),
        label_map=work_dir / _LABEL_MAP,
        records={split: work_dir / f"{split}.record" for split in done["sizes"]},
        sizes=done["sizes"],
    )


def _convert(tool: str, arguments: Sequence[str], work_dir: Path) -> None:
    outputs = [f"--output_path={work_dir / _ALL}", f"--output_label_map={work_dir / _LABEL_MAP}"]
    command = [sys.executable, "-m", tool, *arguments, *outputs]
    if subprocess.run(command, check=False).returncode:
        raise ValueError("the annotations could not be converted; the lines above say why")


def _split(work_dir: Path) -> dict[str, int]:
    """Write the records of each split, remove the record of all; return the splits' sizes."""
    import tensorflow as tf

    from object_detection_mtl.fields import TfExample

    records = [bytes(record.numpy()) for record in tf.data.TFRecordDataset(str(work_dir / _ALL))]

    def source_id(record: bytes) -> bytes:
        features = tf.train.Example.FromString(record).features.feature
        return features[TfExample.source_id].bytes_list.value[0]

    parts = split_by_hash([source_id(record) for record in records])
    for split, rows in parts.items():
        with tf.io.TFRecordWriter(str(work_dir / f"{split}.record")) as writer:
            for row in rows:
                writer.write(records[row])
    (work_dir / _ALL).unlink()
    return {split: len(rows) for split, rows in parts.items()}


def split_by_hash(ids: Sequence[bytes]) -> dict[str, list[int]]:
    """Return split -> rows of its images, ascending.

    Args:
        ids: ids of the images.

    Raises:
        ValueError: too few images for three splits.
    """
    order = sorted(range(len(ids)), key=lambda row: (hashlib.sha256(ids[row]).hexdigest(), row))
    num_test = round(len(ids) * TEST_PERCENT / 100)
    num_validation = round(len(ids) * VALIDATION_PERCENT / 100)
    if not num_test or not num_validation:
        raise ValueError(
            f"the dataset has {len(ids)} images; expected at least 4, and some hundred for a "
            "comparison that means something"
        )
    ends = num_test, num_test + num_validation
    parts = {TRAIN: order[ends[1] :], VALIDATION: order[ends[0] : ends[1]], TEST: order[: ends[0]]}
    return {split: sorted(rows) for split, rows in parts.items()}
