"""Splits, label map and records of a dataset in the format of PASCAL VOC.

Validation is a fixed 15 % of `trainval`, chosen by a hash of the image ids; the rest is `train`.
Lists that lie in a directory of lists replace that choice.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from object_detection_mtl.experiments import experiment_files

TRAIN, VALIDATION, TEST = "train", "validation", "test"
VALIDATION_SHARE = 0.15
_LABEL_MAP = "label_map.pbtxt"
_CLASSES = "classes.json"


@dataclass(frozen=True)
class Dataset:
    """A dataset that is ready for training.

    Attributes:
        name: of the dataset.
        classes: in the order of the label map.
        label_map: its path.
        records: split -> record file.
        sizes: split -> number of images in its list.
    """

    name: str
    classes: tuple[str, ...]
    label_map: Path
    records: dict[str, Path]
    sizes: dict[str, int]


def prepare(name: str, data_dir: Path, work_dir: Path, lists_dir: Path | None = None) -> Dataset:
    """Return the dataset, with records and label map made where they are missing.

    Args:
        name: of the dataset.
        data_dir: VOC directory with Annotations, ImageSets/Main and JPEGImages.
        work_dir: gets the records.
        lists_dir: its lists of that name, if there are some, are used.

    Raises:
        FileNotFoundError: `data_dir` lacks a list.
        subprocess.CalledProcessError: the records cannot be made; the command said why.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    lists = split_lists(name, data_dir, lists_dir)
    with experiment_files.lock(work_dir / "lock", wait=True):
        classes = _prepare_label_map(data_dir, lists, work_dir)
        records = {split: _prepare_record(split, data_dir, lists, work_dir) for split in lists}
    sizes = {split: len(ids) for split, ids in lists.items()}
    return Dataset(name, classes, work_dir / _LABEL_MAP, records, sizes)


def split_lists(name: str, data_dir: Path, lists_dir: Path | None = None) -> dict[str, list[str]]:
    """Return the image ids of train, validation and test.

    Raises:
        FileNotFoundError: `data_dir` lacks a list.
        ValueError: a list of `lists_dir` names an image that trainval lacks.
    """
    trainval = read_list(data_dir / "ImageSets" / "Main" / "trainval.txt")
    train, validation = choose_validation(trainval)
    paths = split_paths(name, lists_dir) if lists_dir else {}
    if paths and all(path.exists() for path in paths.values()):
        train, validation = (read_list(paths[split]) for split in (TRAIN, VALIDATION))
        unknown = {*train, *validation} - set(trainval)
        if unknown:
            raise ValueError(
                f"{len(unknown)} images of {lists_dir}/{name}_*.txt are not in trainval of "
                f"{data_dir}, such as {min(unknown)}; give another --dataset or the directory "
                "that the lists are of"
            )
    test = read_list(data_dir / "ImageSets" / "Main" / "test.txt")
    return {TRAIN: train, VALIDATION: validation, TEST: test}


def choose_validation(ids: list[str]) -> tuple[list[str], list[str]]:
    """Return train and validation, each sorted: validation has the lowest hashes.

    Args:
        ids: images of trainval, in any order.
    """
    by_hash = sorted(set(ids), key=lambda image: hashlib.sha256(image.encode()).hexdigest())
    count = round(VALIDATION_SHARE * len(by_hash))
    return sorted(by_hash[count:]), sorted(by_hash[:count])


def split_paths(name: str, lists_dir: Path) -> dict[str, Path]:
    """Return split -> path of its list."""
    return {split: lists_dir / f"{name}_{split}.txt" for split in (TRAIN, VALIDATION)}


def write_splits(name: str, data_dir: Path, lists_dir: Path) -> list[Path]:
    """Write the lists of train and validation to `lists_dir` and return their paths."""
    trainval = read_list(data_dir / "ImageSets" / "Main" / "trainval.txt")
    paths = split_paths(name, lists_dir)
    for path, ids in zip(paths.values(), choose_validation(trainval), strict=True):
        write_list(path, ids)
    return list(paths.values())


def read_list(path: Path) -> list[str]:
    """Return the image ids of a list in ImageSets/Main; further columns are ignored."""
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


def write_list(path: Path, ids: list[str]) -> None:
    """Write one image id a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{image}\n" for image in ids))


def _prepare_label_map(
    data_dir: Path, lists: dict[str, list[str]], work_dir: Path
) -> tuple[str, ...]:
    """Write the label map of the classes that trainval has, in alphabetical order."""
    path = work_dir / _CLASSES
    if not path.exists():
        classes = sorted(_classes(data_dir, [*lists[TRAIN], *lists[VALIDATION]]))
        items = [f'item {{ id: {i} name: "{name}" }}\n' for i, name in enumerate(classes, start=1)]
        (work_dir / _LABEL_MAP).write_text("".join(items))
        path.write_text(json.dumps(classes))
    return tuple(json.loads(path.read_text()))


def _classes(data_dir: Path, ids: list[str]) -> set[str]:
    """Return the names of the classes of all objects."""
    from defusedxml import ElementTree

    names: set[str] = set()
    for image in ids:
        annotation = ElementTree.parse(data_dir / "Annotations" / f"{image}.xml")
        names.update((name.text or "").strip() for name in annotation.findall("object/name"))
    return names


def _prepare_record(
    split: str, data_dir: Path, lists: dict[str, list[str]], work_dir: Path
) -> Path:
    """Make the record of a split from a VOC directory that has its list."""
    record = work_dir / f"{split}.record"
    if record.exists():
        return record
    voc = work_dir / "voc"
    voc.mkdir(exist_ok=True)
    for name in ("Annotations", "JPEGImages"):
        if not (voc / name).exists():
            (voc / name).symlink_to((data_dir / name).resolve())
    write_list(voc / "ImageSets" / "Main" / f"{split}.txt", lists[split])
    arguments = [
        f"--data_dir={voc}",
        f"--set={split}",
        f"--label_map_path={work_dir / _LABEL_MAP}",
        f"--output_path={record}",
    ]
    tool = "object_detection_mtl.dataset_tools.create_pascal_tf_record"
    subprocess.run([sys.executable, "-m", tool, *arguments], check=True)
    return record
