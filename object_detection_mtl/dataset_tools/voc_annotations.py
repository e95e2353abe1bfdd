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

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from object_detection_mtl.dataset_tools import text_encodings
from object_detection_mtl.dataset_tools.annotated_images import list_names
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes
from object_detection_mtl.dataset_tools.voc_xml import VocAnnotation, VocError

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
    return path.suffix.lower() == ".xml" and not path.name.startswith(".") and not path.is_dir()


def _annotations_below(directory: Path) -> list[Path]:
    """Return the annotation files of a directory and its subdirectories, in alphabetical order."""
    return sorted(path for path in _files_below(directory) if _is_annotation(path))


def _files_below(directory: Path) -> Iterator[Path]:
    """Yield the files of a directory and its subdirectories, without hidden ones.

    Hidden are names with a dot and what archives and file servers add: `__MACOSX`, `@eaDir`.
    """
    for place, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if not _is_hidden(name)]
        for name in names:
            if not _is_hidden(name):
                yield Path(place) / name


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


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
    on_disk = _by_name(annotations)
    readings = map(_lines, text_encodings.decode_list(listing.read_bytes()))
    located = min(
        ({line: _listed_file(on_disk, line) for line in lines} for lines in readings),
        key=lambda found: list(found.values()).count(None),
    )
    if not located:
        raise VocError(f"{listing} is empty, expected the name of an image on each line")
    absent = [f"{line}.xml" for line, path in located.items() if path is None]
    if absent:
        raise FileNotFoundError(
            f"{listing}: {len(absent)} of {len(located)} images have no annotation file in "
            f"{annotations}: {list_names(absent)}. Add them, or remove these lines"
        )
    return list(dict.fromkeys(path for path in located.values() if path is not None))


def _lines(text: str) -> list[str]:
    """Return the lines of a list that are not empty, each once."""
    lines = map(str.strip, text.splitlines())
    return list(dict.fromkeys(text_encodings.composed(line) for line in lines if line))


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
    extension or write paths. Names may contain spaces and dots, so the reading for which a file
    exists is used.
    """
    name, last = line.rsplit(maxsplit=1) if len(line.split()) > 1 else (line, "")
    readings = [line, name.strip() if last in ("-1", "0", "1") else ""]
    readings += [
        reading.rpartition(".")[0]
        for reading in readings
        if _is_image_name(reading) or reading.lower().endswith(".xml")
    ]
    readings += [reading.rpartition("/")[2] for reading in readings]
    return next((on_disk[reading] for reading in readings if reading in on_disk), None)


_AMBIGUOUS = "annotations that several images fit, the first was taken"


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
            _files_below(self.directory),
            key=lambda path: (len(path.parts), path.name),
            reverse=True,
        )
        self._by_name = {text_encodings.composed(path.name): path for path in paths}
        for path in paths:
            self._by_name[text_encodings.composed(path.relative_to(self.directory).as_posix())] = (
                path
            )
        self._by_stem: dict[str, list[Path]] = {}
        for path in reversed(paths):
            if _is_image_name(path.name):
                stem = text_encodings.composed(path.stem).lower()
                self._by_stem.setdefault(stem, []).append(path)

    def find(self, annotation: VocAnnotation, notes: EntryNotes | None = None) -> Path | None:
        """Return the image of an annotation, or None.

        The annotation's <filename> is searched first, then its last component, with any image
        extension; then the name of the annotation file. Where several images fit, the first in
        the alphabet is taken and the others are added to `notes`.
        """
        whole = text_encodings.composed(annotation.filename.replace("\\", "/"))
        filename = whole.rpartition("/")[2]
        for name in (whole, filename):
            if name in self._by_name:
                return self._by_name[name]
        for stem in (filename, Path(filename).stem, text_encodings.composed(annotation.path.stem)):
            found = self._by_stem.get(stem.lower(), []) if stem else []
            if len(found) > 1 and notes is not None:
                names = ", ".join(path.name for path in found)
                notes.add(_AMBIGUOUS, f"{annotation.path.name}: {names}")
            if found:
                return found[0]
        return None


def _is_image_name(name: str) -> bool:
    return Path(name).suffix.lower() in _IMAGE_SUFFIXES


def class_names(annotations: Iterable[VocAnnotation]) -> list[str]:
    """Return every class name in alphabetical order, the order of a derived label map."""
    return sorted({item.name for annotation in annotations for item in annotation.objects})
