"""PASCAL VOC directories: annotation files, sets, images.

    <directory>/Annotations/<name>.xml          one image: <filename>, <size>, <object>...
    <directory>/JPEGImages/<name>.jpg           or .png; the format is detected from the content
    <directory>/ImageSets/Main/<set>.txt        names of a set, one per line (optional)

Coordinates are pixels of the image, (xmin, ymin) upper left; they may be fractions. The width of a
box is xmax - xmin pixels, as in the OD API's converter, which keeps VOC's one-based corners.

File names are compared in Unicode's composed form; hidden files (`._a.xml`) are ignored.

Annotation files may come from untrusted sources. Loads neither TensorFlow nor images.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from object_detection_mtl.dataset_tools import text_encodings
from object_detection_mtl.dataset_tools.annotated_images import DataError, list_names

ANNOTATIONS = "Annotations"
IMAGES = "JPEGImages"
SETS = Path("ImageSets") / "Main"
DEFAULT_SET = "train"
YEARS = ("VOC2007", "VOC2012", "merged")
# HEIC files are found too, so that the report counts them as unreadable and not as missing.
_IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
    + (".heic", ".heif", ".hif", ".avif")
)


class VocError(DataError):
    """A VOC directory or annotation file is invalid; the message names the file."""


@dataclasses.dataclass(frozen=True)
class VocObject:
    """One <object>. Coordinates are those of the file: pixels, possibly outside the image."""

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
    """Parse an annotation file.

    Args:
        path: the file.

    Returns:
        The annotation.

    Raises:
        VocError: the file is not well-formed XML, declares entities (which can expand without limit
            or read other files), or is not a VOC annotation; the message names the file and the
            place.
    """
    path = Path(path)
    try:
        root = defusedxml.ElementTree.fromstring(text_encodings.xml_in_utf8(path.read_bytes()))
    except ParseError as error:
        raise VocError(f"{path} is not well-formed XML: {error}") from error
    except DefusedXmlException as error:
        raise VocError(
            f"{path} is rejected: it declares XML entities or external references "
            f"({type(error).__name__}), which annotation files do not need. Remove them"
        ) from error
    except (ValueError, LookupError) as error:
        raise VocError(f"{path} is not readable as XML: {error}") from error
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
    """Return a flag; absent and empty mean False, and some tools write words for 0 and 1."""
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


def find_directories(data_dir: str | Path, year: str = "VOC2007") -> list[Path]:
    """Return the VOC directories that `data_dir` and `year` select.

    Args:
        data_dir: the parent directory of VOC2007 and VOC2012 (as in the OD API), or a VOC
            directory.
        year: one of YEARS; ignored if `data_dir` is a VOC directory.

    Returns:
        The VOC directories.

    Raises:
        FileNotFoundError: the directory does not exist, or it has none of the directories of the
            year.
        ValueError: the year is unknown.
    """
    root = Path(data_dir)
    if year not in YEARS:
        raise ValueError(f"--year is {year!r}, expected one of {', '.join(YEARS)}")
    if not root.is_dir():
        raise FileNotFoundError(f"--data_dir: the directory {str(data_dir)!r} does not exist")
    wanted = [root / name for name in (YEARS[:2] if year == "merged" else (year,))]
    present = [directory for directory in wanted if directory.is_dir()]
    if len(present) == len(wanted):
        return present
    if year != "merged" and _looks_like_voc(root):
        return [root]
    missing = ", ".join(str(directory) for directory in wanted if directory not in present)
    raise FileNotFoundError(
        f"--data_dir {str(data_dir)!r} is not a VOC directory (it has no {ANNOTATIONS}), and for "
        f"--year={year} it lacks {missing}"
    )


def _looks_like_voc(directory: Path) -> bool:
    return (directory / ANNOTATIONS).is_dir() or (directory / SETS).is_dir() or _has_xml(directory)


def _has_xml(directory: Path) -> bool:
    return any(_is_annotation(path) for path in directory.iterdir())


def _is_annotation(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and not path.name.startswith(".")


def _annotations_below(directory: Path) -> list[Path]:
    """Return the annotation files of a directory and its subdirectories, in alphabetical order."""
    return sorted(path for path in directory.rglob("*") if _is_annotation(path))


def annotation_files(
    directory: Path, set_name: str | None = None, annotations_dir: str = ANNOTATIONS
) -> list[Path]:
    """Return the annotation files of a set, each once.

    Args:
        directory: a VOC directory.
        set_name: name of a list in ImageSets/Main; None: `train` if the directory has ImageSets,
            else every annotation file in alphabetical order.
        annotations_dir: directory of the .xml files, relative to the VOC directory.

    Returns:
        The files in the order of the set's list.

    Raises:
        FileNotFoundError: the annotations directory, the set or an annotation file is missing.
        VocError: the list is empty.
    """
    if set_name is None and not (directory / SETS).is_dir():
        return all_annotation_files(directory, annotations_dir)
    annotations = _annotations_directory(directory, annotations_dir)
    listing = _set_file(directory, set_name or DEFAULT_SET)
    lines = map(str.strip, text_encodings.decode_list(listing.read_bytes()).splitlines())
    names = dict.fromkeys(text_encodings.composed(line) for line in lines if line)
    if not names:
        raise VocError(f"{listing} is empty, expected the name of an image on each line")
    on_disk = _by_name(annotations)
    located = [_listed_file(on_disk, line) for line in names]
    absent = [f"{line}.xml" for line, path in zip(names, located, strict=True) if path is None]
    if absent:
        raise FileNotFoundError(
            f"{listing}: {len(absent)} of {len(located)} images have no annotation file in "
            f"{annotations}: {list_names(absent)}"
        )
    return list(dict.fromkeys(path for path in located if path is not None))


def _by_name(annotations: Path) -> dict[str, Path]:
    """Return the annotation files by their path below a directory, and by name if it is unique."""
    by_path: dict[str, Path] = {}
    by_name: dict[str, list[Path]] = {}
    for path in _annotations_below(annotations):
        by_path[
            text_encodings.composed(path.relative_to(annotations).with_suffix("").as_posix())
        ] = path
        by_name.setdefault(text_encodings.composed(path.stem), []).append(path)
    unique = {name: paths[0] for name, paths in by_name.items() if len(paths) == 1}
    return {**unique, **by_path}


def all_annotation_files(directory: Path, annotations_dir: str = ANNOTATIONS) -> list[Path]:
    """Return every annotation file of a VOC directory, in alphabetical order.

    Args:
        directory: a VOC directory.
        annotations_dir: directory of the .xml files, relative to the VOC directory.

    Returns:
        The files.

    Raises:
        FileNotFoundError: there is none.
    """
    annotations = _annotations_directory(directory, annotations_dir)
    files = _annotations_below(annotations)
    if not files:
        raise FileNotFoundError(f"{annotations} has no .xml file")
    return files


def _annotations_directory(directory: Path, annotations_dir: str) -> Path:
    annotations = directory / annotations_dir
    if annotations.is_dir():
        return annotations
    if annotations_dir == ANNOTATIONS and _has_xml(directory):
        return directory  # images and XML files in one directory
    raise FileNotFoundError(
        f"the directory {str(annotations)!r} does not exist; give the directory of the .xml files "
        "with --annotations_dir"
    )


def _set_file(directory: Path, set_name: str) -> Path:
    # The OD API reads the class list `aeroplane_<set>.txt`; some directories have no other list.
    for candidate in (f"{set_name}.txt", f"aeroplane_{set_name}.txt"):
        if (directory / SETS / candidate).is_file():
            return directory / SETS / candidate
    sets = sorted(path.stem for path in (directory / SETS).glob("*.txt"))
    advice = f"--set may be {list_names(sets)}" if sets else "omit --set to use every .xml file"
    path = directory / SETS / f"{set_name}.txt"
    raise FileNotFoundError(f"the set {set_name!r} does not exist: {path} is missing; {advice}")


def _listed_file(on_disk: Mapping[str, Path], line: str) -> Path | None:
    """Return the annotation file that a line of a set's list names, or None.

    A line is `2007_000027`, or `2007_000027 -1` in the lists of one class; some tools keep the
    extension. Names may contain spaces and dots, so the reading for which a file exists is used.
    """
    name, _, last = line.rpartition(" ")
    readings = [line, name.strip() if last in ("-1", "0", "1") else ""]
    readings += [
        reading.rpartition(".")[0]
        for reading in readings
        if _is_image_name(reading) or reading.lower().endswith(".xml")
    ]
    return next((on_disk[reading] for reading in readings if reading in on_disk), None)


class ImageFinder:
    """Finder of the images of annotations in one VOC directory, which it lists once.

    Args:
        directory: a VOC directory.
        images_dir: directory of the images, relative to the VOC directory.

    Raises:
        FileNotFoundError: the directory of the images does not exist.
    """

    def __init__(self, directory: Path, images_dir: str = IMAGES):
        self.directory = directory / images_dir
        if not self.directory.is_dir():
            if images_dir != IMAGES or not any(_is_image_name(p.name) for p in directory.iterdir()):
                raise FileNotFoundError(
                    f"the directory {str(self.directory)!r} does not exist; give the directory of "
                    "the images with --images_dir"
                )
            self.directory = directory
        # Of equal names, the last one is kept: the highest in the tree, the first in the alphabet.
        paths = sorted(
            (
                path
                for path in self.directory.rglob("*")
                if not path.name.startswith(".") and not path.is_dir()
            ),
            key=lambda path: (len(path.parts), path.name),
            reverse=True,
        )
        self._by_name = {text_encodings.composed(path.name): path for path in paths}
        for path in paths:
            self._by_name[text_encodings.composed(path.relative_to(self.directory).as_posix())] = (
                path
            )
        self._by_stem = {
            text_encodings.composed(path.stem).lower(): path
            for path in paths
            if _is_image_name(path.name)
        }

    def find(self, annotation: VocAnnotation) -> Path | None:
        """Return the image of an annotation, or None.

        The annotation's <filename> is searched first, then its last component, with any image
        extension; then the name of the annotation file.
        """
        whole = text_encodings.composed(annotation.filename.replace("\\", "/"))
        filename = whole.rpartition("/")[2]
        for name in (whole, filename):
            if name in self._by_name:
                return self._by_name[name]
        for stem in (filename, Path(filename).stem, text_encodings.composed(annotation.path.stem)):
            if stem and stem.lower() in self._by_stem:
                return self._by_stem[stem.lower()]
        return None


def _is_image_name(name: str) -> bool:
    return Path(name).suffix.lower() in _IMAGE_SUFFIXES


def class_names(annotations: Iterable[VocAnnotation]) -> list[str]:
    """Return every class name in alphabetical order, the order of a derived label map."""
    return sorted({item.name for annotation in annotations for item in annotation.objects})
