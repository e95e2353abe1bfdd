"""From VOC annotations to TFRecords: what is kept, what is repaired, and the report of it.

Shape letters: N objects of one picture.

Loads TensorFlow only when records are written.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from object_detection_mtl.dataset_tools import images, voc


@dataclasses.dataclass
class Summary:
    """What a conversion did: counts, and for each kind of trouble the files it was met in."""

    pictures: int = 0
    objects: int = 0
    pictures_without_objects: int = 0
    troubles: dict[str, list[str]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )

    def note(self, trouble: str, name: str) -> None:
        self.troubles[trouble].append(name)

    def lines(self) -> list[str]:
        """The report, one line per fact; each kind of trouble is said once."""
        first = f"{self.pictures} pictures with {self.objects} objects written"
        if self.pictures_without_objects:
            first += f" ({self.pictures_without_objects} pictures without object)"
        return [first] + [
            f"{trouble}: {len(names)} ({_some(list(dict.fromkeys(names)))})"
            for trouble, names in self.troubles.items()
        ]


MISSING = "pictures left out, no such file"
UNREADABLE = "pictures left out"
CLIPPED = "boxes clipped to the picture"
EMPTY = "boxes left out, nothing of them inside the picture (empty, inverted or outside)"
DIFFICULT = "objects left out as difficult"
REENCODED = "pictures of other formats stored as PNG"
RESIZED = "annotations made on a copy of another size, boxes scaled"
UPRIGHT = "pictures turned upright as their EXIF header and annotation say"
CONTRADICTION = "annotations whose <size> contradicts the picture, the picture's size was used"


@dataclasses.dataclass(frozen=True)
class Job:
    """One annotation and where its picture is (None: nowhere)."""

    annotation: voc.VocAnnotation
    image_path: Path | None


def collect_jobs(
    folders: Iterable[Path],
    set_name: str | None = None,
    annotations_dir: str = voc.ANNOTATIONS,
    images_dir: str = voc.IMAGES,
) -> list[Job]:
    """Reads every annotation of a set and finds its picture.

    Raises:
      VocError: annotations that cannot be read (all of them are named), or two of one picture.
      FileNotFoundError: a folder, a set, or an annotation file that is not there.
    """
    jobs = []
    for folder in folders:
        finder = voc.ImageFinder(folder, images_dir)
        files = voc.annotation_files(folder, set_name, annotations_dir)
        annotations = parse_all(files)
        jobs += [Job(annotation, finder.find(annotation)) for annotation in annotations]
    owners: dict[str, Path] = {}
    for job in jobs:
        if job.image_path is None:
            continue
        owner = owners.setdefault(job.image_path.name, job.annotation.path)
        if owner != job.annotation.path:
            raise voc.VocError(
                f"{owner} and {job.annotation.path} both belong to a picture named "
                f"{job.image_path.name}. Evaluation tells pictures apart by their names: correct "
                "<filename>, or convert folders that share names into records of their own"
            )
    return jobs


def parse_all(files: Sequence[Path]) -> list[voc.VocAnnotation]:
    """Parses annotation files; one VocError names all that cannot be read."""
    annotations, errors = [], []
    for path in tqdm(files, desc="annotations", unit="file", disable=None):
        try:
            annotations.append(voc.parse_annotation(path))
        except voc.VocError as error:
            errors.append(str(error))
    if errors:
        rest = f"\n... and {len(errors) - 10} more" if len(errors) > 10 else ""
        raise voc.VocError("\n".join(errors[:10]) + rest)
    return annotations


def check_classes(jobs: Iterable[Job], labels: Mapping[str, int], label_map_name: str) -> None:
    """Raises VocError if the label map lacks classes, naming each with a file that has it."""
    unknown: dict[str, Path] = {}
    for job in jobs:
        for item in job.annotation.objects:
            if item.name not in labels:
                unknown.setdefault(item.name, job.annotation.path)
    if unknown:
        found = "\n".join(f"  class {name!r}, in {path}" for name, path in unknown.items())
        raise voc.VocError(
            f"the label map {label_map_name} lacks classes that the annotations name:\n{found}\n"
            f"It has: {_some(list(labels), 30)}.\nGive the label map of this data set with "
            "--label_map_path (one item for each class), or have one written by --output_label_map"
        )


def create_records(
    jobs: Sequence[Job],
    labels: Mapping[str, int],
    output_path: str | Path,
    *,
    num_shards: int = 1,
    ignore_difficult_instances: bool = False,
    verify_images: bool = False,
) -> Summary:
    """Writes the records of `jobs`; the shards appear when all is written, or not at all.

    Args:
      jobs: from `collect_jobs`, checked by `check_classes`.
      labels: class name to number, 1..K.
      output_path: name of the record; with several shards -00000-of-000NN is appended.
      num_shards: number of files, filled in turn.
      ignore_difficult_instances: leave out objects marked as difficult.
      verify_images: decode every picture, to find damage that headers do not show.

    Raises:
      VocError: no picture could be used; nothing is written then.
    """
    from object_detection_mtl.dataset_tools.records import ShardWriter

    summary = Summary()
    with ShardWriter(output_path, num_shards) as writer:
        for job in tqdm(jobs, desc="pictures", unit="picture", disable=None):
            picture = _read_picture(job, summary, verify_images)
            if picture is not None:
                writer.write(_serialize(job, picture, labels, ignore_difficult_instances, summary))
    if not summary.pictures:
        raise voc.VocError("nothing was written. " + "; ".join(summary.lines()[1:]))
    return summary


def _read_picture(job: Job, summary: Summary, verify: bool) -> images.EncodedImage | None:
    annotation = job.annotation
    if job.image_path is None:
        summary.note(MISSING, annotation.filename or annotation.path.stem)
        return None
    try:
        picture = images.read_image(job.image_path, verify)
        if picture.sideways and (annotation.height, annotation.width) == (
            picture.width,
            picture.height,
        ):
            picture = images.turned_upright(picture)
            summary.note(UPRIGHT, job.image_path.name)
    except images.ImageError as error:
        summary.note(UNREADABLE, f"{job.image_path}: {error}")
        return None
    if picture.reencoded:
        summary.note(REENCODED, job.image_path.name)
    return picture


def _serialize(
    job: Job,
    picture: images.EncodedImage,
    labels: Mapping[str, int],
    ignore_difficult: bool,
    summary: Summary,
) -> bytes:
    from object_detection_mtl.data.example import build_example

    assert job.image_path is not None
    objects, boxes = _usable_objects(job.annotation, picture, ignore_difficult, summary)
    summary.pictures += 1
    summary.objects += len(objects)
    summary.pictures_without_objects += not objects
    return build_example(
        encoded=picture.data,
        image_format=picture.format,
        height=picture.height,
        width=picture.width,
        filename=job.image_path.name,
        source_id=job.image_path.name,
        boxes=boxes,
        class_texts=[item.name for item in objects],
        class_labels=[labels[item.name] for item in objects],
        difficult=[item.difficult for item in objects],
        truncated=[item.truncated for item in objects],
        view=[item.pose for item in objects],
    ).SerializeToString()


def _usable_objects(
    annotation: voc.VocAnnotation,
    picture: images.EncodedImage,
    ignore_difficult: bool,
    summary: Summary,
) -> tuple[list[voc.VocObject], np.ndarray]:
    """The objects that stay and their boxes [N, 4], clipped and normalised."""
    objects = [item for item in annotation.objects if not (ignore_difficult and item.difficult)]
    for _ in range(len(annotation.objects) - len(objects)):
        summary.note(DIFFICULT, annotation.path.name)
    height, width = _frame_size(annotation, picture, summary)
    corners = np.array(
        [[item.ymin, item.xmin, item.ymax, item.xmax] for item in objects], np.float64
    ).reshape(-1, 4)
    normalized = (corners / [height, width, height, width]).astype(np.float32)
    boxes = np.clip(normalized, 0.0, 1.0)
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    clipped = kept & (boxes != normalized).any(axis=1)
    for trouble, number in ((CLIPPED, clipped.sum()), (EMPTY, (~kept).sum())):
        for _ in range(number):
            summary.note(trouble, annotation.path.name)
    return [item for item, keep in zip(objects, kept, strict=True) if keep], boxes[kept]


def _frame_size(
    annotation: voc.VocAnnotation, picture: images.EncodedImage, summary: Summary
) -> tuple[int, int]:
    """Height and width of the frame that the annotation's coordinates are measured in.

    The picture's own size, unless <size> tells another one of the same shape (within 2 %): then the
    boxes were drawn on a scaled copy.
    """
    own = (picture.height, picture.width)
    if annotation.height is None or annotation.width is None:
        return own
    stated = (annotation.height, annotation.width)
    if stated == own:
        return own
    shape = stated[0] * own[1] / (stated[1] * own[0])
    same_shape = 0.98 < shape < 1.02
    summary.note(RESIZED if same_shape else CONTRADICTION, annotation.path.name)
    return stated if same_shape else own


def _some(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
