"""Label maps of data sets: reading one, and deriving one from annotations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from object_detection_mtl.config import label_map
from object_detection_mtl.dataset_tools import voc
from object_detection_mtl.dataset_tools.pascal_records import parse_all

PASCAL = Path(__file__).parent.parent / "label_maps" / "pascal_label_map.pbtxt"


def label_map_text(names: Iterable[str]) -> str:
    """A label map in text form that numbers the names from 1 on."""
    items = []
    for number, name in enumerate(names, start=1):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        items.append(f'item {{\n  id: {number}\n  name: "{escaped}"\n}}\n')
    return "\n".join(items)


def derive(folders: Iterable[Path], annotations_dir: str, path: Path) -> None:
    """Writes a label map of every class of the folders, whatever their set, in alphabetical order.

    Raises:
      FileExistsError: another label map stands there already.
      IsADirectoryError: a folder does.
      VocError: the annotations name no class at all, or cannot be read.
    """
    if path.is_dir():
        raise IsADirectoryError(
            f"--output_label_map: {str(path)!r} is a folder; give the name of the label map to "
            "write, such as " + repr(str(path / "label_map.pbtxt"))
        )
    annotations = [
        annotation
        for folder in folders
        for annotation in parse_all(voc.all_annotation_files(folder, annotations_dir))
    ]
    names = voc.class_names(annotations)
    if not names:
        raise voc.VocError("no annotation names an object: there is no label map to derive")
    text = label_map_text(names)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise FileExistsError(
            f"--output_label_map: {path} exists and holds something else; use it by "
            "--label_map_path, or delete it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".incomplete-{path.name}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def load_labels(path: str | Path) -> dict[str, int]:
    """Class name to number; a display name serves where it is no other class's name."""
    return label_map.ids_by_name(label_map.load(path))
