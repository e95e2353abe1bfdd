"""Label maps of datasets: read, write, compare with the classes of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from object_detection_mtl import output_paths
from object_detection_mtl.config import label_map
from object_detection_mtl.dataset_tools.annotated_images import DataError, list_names

PASCAL = Path(__file__).parent.parent / "label_maps" / "pascal_label_map.pbtxt"


def to_text(labels: Mapping[str, int]) -> str:
    """Return a label map, given as class name -> number, in text form."""
    items = []
    for name, number in labels.items():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        items.append(f'item {{\n  id: {number}\n  name: "{escaped}"\n}}\n')
    return "\n".join(items)


def write_label_map(labels: Mapping[str, int], path: Path) -> None:
    """Write a label map; a file of the same content is accepted.

    Args:
        labels: class name -> number.
        path: the file to write.

    Raises:
        FileExistsError: a file of other content exists.
        IsADirectoryError: the path is a directory.
    """
    raise_if_directory(path)
    text = to_text(labels)
    if path.exists() and path.read_bytes() != text.encode():
        raise FileExistsError(
            f"--output_label_map: {path} exists and has other content; use it with "
            "--label_map_path, or delete it"
        )
    output_paths.make_directory(path.parent)
    temporary = path.with_name(f".incomplete-{path.name}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def raise_if_directory(path: Path) -> None:
    """Raise an IsADirectoryError if a label map cannot be written to a path that is a directory."""
    if path.is_dir():
        raise IsADirectoryError(
            f"--output_label_map: {str(path)!r} is a directory; give the name of the label map to "
            "write, such as " + repr(str(path / "label_map.pbtxt"))
        )


def load_labels(path: str | Path) -> dict[str, int]:
    """Return class name -> number of a label map.

    A display name is included unless it is the name of another class.
    """
    return label_map.ids_by_name(label_map.load(path))


def check_classes(
    places: Mapping[str, str], labels: Mapping[str, int], label_map_name: str
) -> None:
    """Check that a label map has all classes of a dataset.

    Args:
        places: name of every class of the dataset -> a place where it occurs, for the message.
        labels: class name -> number.
        label_map_name: name of the label map in the message.

    Raises:
        DataError: the label map lacks classes.
    """
    unknown = {name: place for name, place in places.items() if name not in labels}
    if unknown:
        found = "\n".join(
            f"  class {name!r:.100}, in {place}" for name, place in list(unknown.items())[:50]
        )
        if len(unknown) > 50:
            found += f"\n  and {len(unknown) - 50} more"
        raise DataError(
            f"the label map {label_map_name} lacks classes that the annotations name:\n{found}\n"
            f"It has: {list_names(list(labels), 30)}.\nGive the label map of this dataset with "
            "--label_map_path (one item for each class), or write one with --output_label_map"
        )
