"""Folders in the format of PASCAL VOC: which pictures, which objects.

    <folder>/Annotations/<name>.xml          one picture each: <filename>, <size>, <object>...
    <folder>/JPEGImages/<name>.jpg           or .png; the content decides, not the extension
    <folder>/ImageSets/Main/<set>.txt        names of a set, one per line (may be absent)

Coordinates are pixels of the picture, (xmin, ymin) upper left; they may be fractions. A box spans
xmax - xmin pixels, as in the OD API's converter, which leaves VOC's one-based corners as they are.

This module reads annotation files from strangers and loads neither TensorFlow nor pictures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from object_detection_mtl.dataset_tools.annotated_images import DataError, some

ANNOTATIONS = "Annotations"
IMAGES = "JPEGImages"
SETS = Path("ImageSets") / "Main"
DEFAULT_SET = "train"
YEARS = ("VOC2007", "VOC2012", "merged")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


class VocError(DataError):
    """A folder or annotation file that is not what it should be; the message names the file."""


@dataclasses.dataclass(frozen=True)
class VocObject:
    """One <object>. Coordinates as written in the file: pixels, possibly outside the picture."""

    name: str
    ymin: float
    xmin: float
    ymax: float
    xmax: float
    difficult: bool = False
    truncated: bool = False
    pose: str = "Unspecified"


@dataclasses.dataclass(frozen=True)
class VocAnnotation:
    """One annotation file. `width` and `height` are None where <size> is absent or zero."""

    path: Path
    filename: str
    width: int | None
    height: int | None
    objects: tuple[VocObject, ...]


def parse_annotation(path: str | Path) -> VocAnnotation:
    """Reads one annotation file.

    Raises:
      VocError: the file is not well-formed XML, declares entities (which can expand without end or
        read other files), or is not a VOC annotation; the message names the file and the place.
    """
    path = Path(path)
    try:
        root = defusedxml.ElementTree.fromstring(path.read_bytes())
    except ParseError as error:
        raise VocError(f"{path} is not well-formed XML: {error}") from error
    except DefusedXmlException as error:
        raise VocError(
            f"{path} was refused: it declares XML entities or external references "
            f"({type(error).__name__}), which annotation files have no use for"
        ) from error
    except (ValueError, LookupError) as error:
        raise VocError(f"{path} cannot be read as XML: {error}") from error
    if root.tag != "annotation":
        raise VocError(
            f"{path} is not a VOC annotation: its root element is <{root.tag}>, "
            "expected <annotation>"
        )
    try:
        size = root.find("size")
        return VocAnnotation(
            path=path,
            filename=(root.findtext("filename") or "").strip(),
            width=_size(size, "width"),
            height=_size(size, "height"),
            objects=tuple(
                _object(element, number)
                for number, element in enumerate(root.findall("object"), start=1)
            ),
        )
    except VocError as error:
        raise VocError(f"{path}: {error}") from None


def _object(element: Element, number: int) -> VocObject:
    where = f"<object> number {number}"
    name = (element.findtext("name") or "").strip()
    if not name:
        raise VocError(f"{where} has no <name>")
    where += f" ({name!r})"
    box = element.find("bndbox")
    if box is None:
        raise VocError(f"{where} has no <bndbox>")
    ymin, xmin, ymax, xmax = (_number(box, key, where) for key in ("ymin", "xmin", "ymax", "xmax"))
    return VocObject(
        name=name,
        ymin=ymin,
        xmin=xmin,
        ymax=ymax,
        xmax=xmax,
        difficult=_flag(element, "difficult", where),
        truncated=_flag(element, "truncated", where),
        pose=(element.findtext("pose") or "").strip() or "Unspecified",
    )


def _number(parent: Element, key: str, where: str) -> float:
    text = (parent.findtext(key) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise VocError(f"{where}: <{key}> is {text!r}, expected a number of pixels")
    return value


def _flag(parent: Element, key: str, where: str) -> bool:
    """An absent or empty flag is off; some tools write words instead of 0 and 1."""
    text = (parent.findtext(key) or "").strip().lower()
    if text in ("", "0", "0.0", "false", "no", "unspecified"):
        return False
    if text in ("1", "1.0", "true", "yes"):
        return True
    raise VocError(f"{where}: <{key}> is {text!r}, expected 0 or 1")


def _size(size: Element | None, key: str) -> int | None:
    if size is None or not (size.findtext(key) or "").strip():
        return None
    value = _number(size, key, "<size>")
    return int(value) if value > 0 else None


def find_folders(data_dir: str | Path, year: str = "VOC2007") -> list[Path]:
    """The VOC folders that `data_dir` and `year` mean.

    `data_dir` is either the parent of VOC2007 and VOC2012 (as the OD API takes it) or itself a VOC
    folder, which then needs no year.

    Raises:
      FileNotFoundError: there is no such folder, or it holds none of them.
      ValueError: an unknown year.
    """
    root = Path(data_dir)
    if year not in YEARS:
        raise ValueError(f"--year is {year!r}, expected one of {', '.join(YEARS)}")
    if not root.is_dir():
        raise FileNotFoundError(f"--data_dir: there is no folder {str(data_dir)!r}")
    wanted = [root / name for name in (YEARS[:2] if year == "merged" else (year,))]
    present = [folder for folder in wanted if folder.is_dir()]
    if len(present) == len(wanted):
        return present
    if year != "merged" and _looks_like_voc(root):
        return [root]
    missing = ", ".join(str(folder) for folder in wanted if folder not in present)
    raise FileNotFoundError(
        f"--data_dir {str(data_dir)!r} is no VOC folder (it has no {ANNOTATIONS}) and for "
        f"--year={year} these are missing: {missing}"
    )


def _looks_like_voc(folder: Path) -> bool:
    return (folder / ANNOTATIONS).is_dir() or (folder / SETS).is_dir() or _has_xml(folder)


def _has_xml(folder: Path) -> bool:
    return any(True for _ in folder.glob("*.xml"))


def annotation_files(
    folder: Path, set_name: str | None = None, annotations_dir: str = ANNOTATIONS
) -> list[Path]:
    """Annotation files of a set, each once, in the order of the set's list.

    Without `set_name`: the set `train` where the folder has ImageSets, else every annotation file
    in alphabetical order.

    Raises:
      FileNotFoundError: no annotations folder, no such set, or a name without annotation file.
    """
    if set_name is None and not (folder / SETS).is_dir():
        return all_annotation_files(folder, annotations_dir)
    annotations = _annotations_folder(folder, annotations_dir)
    listing = _set_file(folder, set_name or DEFAULT_SET)
    names = dict.fromkeys(
        line.strip()
        for line in listing.read_text(encoding="utf-8-sig").splitlines()
        if line.strip()
    )
    if not names:
        raise VocError(f"{listing} lists no picture")
    on_disk = {path.name for path in annotations.glob("*.xml")}
    files = [_listed_file(annotations, on_disk, line) for line in names]
    absent = [path.name for path in files if path.name not in on_disk]
    if absent:
        raise FileNotFoundError(
            f"{listing} has {len(absent)} of {len(files)} pictures without annotation file in "
            f"{annotations}: {some(absent)}"
        )
    return list(dict.fromkeys(files))


def all_annotation_files(folder: Path, annotations_dir: str = ANNOTATIONS) -> list[Path]:
    """Every annotation file of the folder, in alphabetical order.

    Raises:
      FileNotFoundError: there is none.
    """
    annotations = _annotations_folder(folder, annotations_dir)
    files = sorted(annotations.glob("*.xml"))
    if not files:
        raise FileNotFoundError(f"{annotations} holds no .xml file")
    return files


def _annotations_folder(folder: Path, annotations_dir: str) -> Path:
    annotations = folder / annotations_dir
    if annotations.is_dir():
        return annotations
    if annotations_dir == ANNOTATIONS and _has_xml(folder):
        return folder  # A flat folder: pictures and XML files side by side.
    raise FileNotFoundError(
        f"there is no folder {str(annotations)!r}; name the folder of the .xml files with "
        "--annotations_dir"
    )


def _set_file(folder: Path, set_name: str) -> Path:
    # The OD API reads the class list `aeroplane_<set>.txt`; folders made for it may have no other.
    for candidate in (f"{set_name}.txt", f"aeroplane_{set_name}.txt"):
        if (folder / SETS / candidate).is_file():
            return folder / SETS / candidate
    sets = sorted(path.stem for path in (folder / SETS).glob("*.txt"))
    raise FileNotFoundError(
        f"there is no set {set_name!r}: {folder / SETS / (set_name + '.txt')} does not exist; "
        f"--set may be {some(sets) if sets else 'left out to take every annotation file'}"
    )


def _listed_file(annotations: Path, on_disk: set[str], line: str) -> Path:
    """`2007_000027`; `2007_000027 -1` in the lists of one class; some tools keep the extension.

    Names may hold spaces and dots, so what is on disk decides how a line is read.
    """
    name, _, last = line.rpartition(" ")
    readings = [line, name.strip() if last in ("-1", "0", "1") else ""]
    readings += [Path(reading).stem for reading in readings if _is_image_name(reading)]
    for reading in readings:
        if reading and f"{reading}.xml" in on_disk:
            return annotations / f"{reading}.xml"
    return annotations / f"{line}.xml"


class ImageFinder:
    """Finds the picture of an annotation in one folder, reading the folder once."""

    def __init__(self, folder: Path, images_dir: str = IMAGES):
        self.directory = folder / images_dir
        if not self.directory.is_dir():
            if images_dir != IMAGES or not any(_is_image_name(p.name) for p in folder.iterdir()):
                raise FileNotFoundError(
                    f"there is no folder {str(self.directory)!r}; name the folder of the pictures "
                    "with --images_dir"
                )
            self.directory = folder
        names = sorted(path.name for path in self.directory.iterdir() if not path.is_dir())
        self._names = set(names)
        self._by_stem = {
            Path(name).stem.lower(): name for name in reversed(names) if _is_image_name(name)
        }

    def find(self, annotation: VocAnnotation) -> Path | None:
        """The picture, or None.

        First the <filename> of the annotation (its last part: the folders of the author's machine
        mean nothing here), with any picture extension; then the name of the annotation file.
        """
        filename = annotation.filename.replace("\\", "/").rpartition("/")[2]
        if filename in self._names:
            return self.directory / filename
        for stem in (filename, Path(filename).stem, annotation.path.stem):
            if stem and stem.lower() in self._by_stem:
                return self.directory / self._by_stem[stem.lower()]
        return None


def _is_image_name(name: str) -> bool:
    return Path(name).suffix.lower() in _IMAGE_SUFFIXES


def class_names(annotations: Iterable[VocAnnotation]) -> list[str]:
    """Every class name, sorted: the order of a derived label map."""
    return sorted({item.name for annotation in annotations for item in annotation.objects})
