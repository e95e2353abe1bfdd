"""Datasets as record files: records, VOC directories, COCO files, examples in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from object_detection_mtl.api import given_examples
from object_detection_mtl.config import label_map
from object_detection_mtl.config.errors import suggestion
from object_detection_mtl.config.label_map import Category

_KINDS = (
    "a record file or pattern (or a list of them), a VOC directory, a pair (VOC directory, name of "
    "a set), a pair (COCO instances file, directory of the images), or an iterable of dictionaries "
    "such as a tf.data.Dataset"
)
_INFINITE = -1  # Cardinality of a tf.data.Dataset that repeats endlessly.


@dataclass(frozen=True)
class RecordFiles:
    """A dataset as record files.

    Attributes:
        paths: paths or patterns.
        categories: its classes; None if they are not known: of records, and of examples without
            class names.
    """

    paths: list[str]
    categories: Sequence[Category] | None


def is_record_source(dataset: Any) -> bool:
    """Return whether a dataset is a path or pattern of record files, or a list of them."""
    if isinstance(dataset, list):
        return bool(dataset) and all(_is_path(item) for item in dataset)
    if not _is_path(dataset):
        return False
    path = Path(dataset).expanduser()
    return not path.is_dir() and path.suffix != ".json"


def to_record_files(
    dataset: Any,
    record_path: Path,
    *,
    num_classes: int,
    class_names: Mapping[int, str],
    label_map_path: str | None,
    default_set: str = "train",
) -> RecordFiles:
    """Return the record files of a dataset; other datasets than records are converted.

    Args:
        dataset: see `train_detector`.
        record_path: the record to write. It is replaced.
        num_classes: number of classes of the detector.
        class_names: class number -> name; empty if unknown.
        label_map_path: label map with these names, for VOC and COCO; None numbers the classes of
            the dataset.
        default_set: set of a VOC directory that has sets, if none is named.

    Raises:
        ValueError: the dataset is of no known kind, empty or infinite, or an example is unusable.
        FileNotFoundError: a file or directory does not exist.
    """
    if is_record_source(dataset):
        paths = [dataset] if isinstance(dataset, str | os.PathLike) else list(dataset)
        return RecordFiles([os.fspath(path) for path in paths], None)
    if _is_path(dataset) or isinstance(dataset, tuple):
        source = _annotated_source(dataset, label_map_path, default_set)
        label_map.check_num_classes(source.categories, num_classes, "the dataset")
        _write_record(source.examples, record_path)
        print("\n".join(source.report.lines()), flush=True)
        return RecordFiles([str(record_path)], source.categories)
    _check_iterable(dataset)
    _write_record(
        given_examples.serialized_examples(dataset, num_classes, class_names), record_path
    )
    categories = [Category(number, name, name) for number, name in sorted(class_names.items())]
    return RecordFiles([str(record_path)], categories or None)


def _annotated_source(dataset: Any, label_map_path: str | None, default_set: str) -> Any:
    """Return the `LabelSource` of a VOC directory or a COCO file."""
    from object_detection_mtl.dataset_tools import voc_annotations
    from object_detection_mtl.inspection import label_sources

    first, second = dataset if isinstance(dataset, tuple) else (dataset, None)
    path = Path(first).expanduser()
    if path.suffix == ".json":
        if second is None:
            raise ValueError(
                f"dataset {str(first)!r} is a JSON file; give a pair (COCO instances file, "
                "directory of the images)"
            )
        return label_sources.from_coco(
            str(path), os.path.expanduser(second), label_map_path=label_map_path
        )
    if not path.is_dir():
        names = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(
            f"dataset {str(first)!r} does not exist{suggestion(path.name, names) or ''}"
        )
    if not (path / voc_annotations.ANNOTATIONS).is_dir():
        raise FileNotFoundError(
            f"dataset {str(first)!r} has no directory {voc_annotations.ANNOTATIONS}; expected a "
            f"VOC directory, with {voc_annotations.ANNOTATIONS} and {voc_annotations.IMAGES}. For "
            "COCO annotations give a pair (instances file, directory of the images)"
        )
    return label_sources.from_voc(
        [path],
        _voc_set(path, default_set if second is None else os.fspath(second)),
        voc_annotations.ANNOTATIONS,
        voc_annotations.IMAGES,
        label_map_path=label_map_path,
    )


def _voc_set(directory: Path, name: str) -> str | None:
    """Return the name of an existing set; None for a directory without sets.

    Raises:
        FileNotFoundError: the directory has other sets.
    """
    from object_detection_mtl.dataset_tools import voc_annotations

    lists = directory / voc_annotations.SETS
    if not lists.is_dir():
        return None
    sets = sorted(path.stem for path in lists.glob("*.txt"))
    if name not in sets and f"aeroplane_{name}" not in sets:
        raise FileNotFoundError(
            f"the VOC directory {str(directory)!r} has no set {name!r}, but {', '.join(sets)}; "
            "give a pair (directory, name of the set)"
        )
    return name


def _write_record(examples: Iterable[bytes], path: Path) -> None:
    from object_detection_mtl.dataset_tools.shard_writer import ShardWriter

    with ShardWriter(path) as writer:
        for example in examples:
            writer.write(example)
        number = writer.num_examples
    if not number:
        raise ValueError("the dataset has no usable image; expected at least one")


def _is_path(dataset: Any) -> bool:
    return isinstance(dataset, str | os.PathLike)


def _check_iterable(dataset: Any) -> None:
    if isinstance(dataset, Mapping) or not hasattr(dataset, "__iter__"):
        raise ValueError(f"dataset has the type {type(dataset).__name__}; expected {_KINDS}")
    cardinality = getattr(dataset, "cardinality", None)
    if cardinality is not None and int(cardinality()) == _INFINITE:
        raise ValueError(
            "dataset is infinite; expected one pass over the examples (training repeats and "
            "shuffles them): remove repeat()"
        )
