"""Label maps of data sets: reading one, writing one, and checking a data set against one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from object_detection_mtl import output_paths
from object_detection_mtl.config import label_map
from object_detection_mtl.dataset_tools.annotated_images import DataError, some

PASCAL = Path(__file__).parent.parent / "label_maps" / "pascal_label_map.pbtxt"


def text_of(labels: Mapping[str, int]) -> str:
    """A label map in text form: class name to number."""
    items = []
    for name, number in labels.items():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        items.append(f'item {{\n  id: {number}\n  name: "{escaped}"\n}}\n')
    return "\n".join(items)


def write(labels: Mapping[str, int], path: Path) -> None:
    """Writes a label map; the same again is no conflict.

    Raises:
      FileExistsError: another label map stands there already.
      IsADirectoryError: a folder does.
    """
    refuse_folder(path)
    text = text_of(labels)
    if path.exists() and path.read_bytes() != text.encode():
        raise FileExistsError(
            f"--output_label_map: {path} exists and holds something else; use it by "
            "--label_map_path, or delete it"
        )
    output_paths.make_directory(path.parent)
    temporary = path.with_name(f".incomplete-{path.name}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def refuse_folder(path: Path) -> None:
    """Raises IsADirectoryError if a label map cannot be written there because a folder is."""
    if path.is_dir():
        raise IsADirectoryError(
            f"--output_label_map: {str(path)!r} is a folder; give the name of the label map to "
            "write, such as " + repr(str(path / "label_map.pbtxt"))
        )


def load_labels(path: str | Path) -> dict[str, int]:
    """Class name to number; a display name serves where it is no other class's name."""
    return label_map.ids_by_name(label_map.load(path))


def check_classes(
    places: Mapping[str, str], labels: Mapping[str, int], label_map_name: str
) -> None:
    """Raises DataError if the label map lacks classes.

    Args:
      places: name of every class in use -> a place where it stands, for the message.
      labels: class name to number.
      label_map_name: what the message calls the label map.
    """
    unknown = {name: place for name, place in places.items() if name not in labels}
    if unknown:
        found = "\n".join(f"  class {name!r}, in {place}" for name, place in unknown.items())
        raise DataError(
            f"the label map {label_map_name} lacks classes that the annotations name:\n{found}\n"
            f"It has: {some(list(labels), 30)}.\nGive the label map of this data set with "
            "--label_map_path (one item for each class), or have one written by --output_label_map"
        )
