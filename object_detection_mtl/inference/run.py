"""Runs a model over picture files and writes what it finds.

    <output_dir>/detections.json, images.json     see results.py
    <output_dir>/pictures/...                     the pictures with the boxes drawn on them

A file that cannot be read is named in one line and left out; the others go on. Until a run is
complete there is a journal beside its results: the same run started again goes on where it ended,
however that came about, and looks again only at what it has no result of.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from object_detection_mtl import visualization
from object_detection_mtl.inference import journal, pictures
from object_detection_mtl.inference.journal import Journal
from object_detection_mtl.inference.pictures import PictureError, PictureFile
from object_detection_mtl.inference.results import Results
from object_detection_mtl.inference.stages import Found, Predictor

PICTURES_FOLDER = "pictures"
# Longer sides do not fit into a JPEG file.
_LONGEST_SIDE_OF_JPEG = 65500


@dataclass(frozen=True)
class Options:
    """What to write.

    Attributes:
        output_dir: created where it does not exist.
        names: class number -> name.
        min_score: detections below are not drawn; the JSON has them all the same.
        max_detections: of one picture, the best ones, drawn and in the JSON.
        save_images: draw.
        apply_exif_orientation: see `pictures.read`.
        model: what detects. An interrupted run goes on only with the same.
    """

    output_dir: Path
    names: Mapping[int, str] = field(default_factory=dict)
    min_score: float = 0.5
    max_detections: int = 100
    save_images: bool = True
    apply_exif_orientation: bool = True
    model: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_score <= 1.0:
            raise ValueError(f"min_score is {self.min_score}, expected 0 to 1")
        if self.max_detections < 1:
            raise ValueError(f"max_detections is {self.max_detections}, expected at least 1")

    @property
    def pictures_dir(self) -> Path:
        return self.output_dir / PICTURES_FOLDER


@dataclass
class Summary:
    """What a run did.

    Attributes:
        num_files: all that were to be looked at.
        num_done: those that were.
        num_resumed: of these, those that an interrupted run had done.
        failures: path -> why it could not be.
        num_detections: in the JSON.
        seconds: for all of them.
    """

    num_files: int
    num_done: int = 0
    num_resumed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    num_detections: int = 0
    seconds: float = 0.0


def detect_files(predictor: Predictor, files: Sequence[PictureFile], options: Options) -> Summary:
    """Detects on every file; the JSON is written when the run is stopped half-way, too.

    Raises:
        ValueError: a drawn picture would overwrite one of the files.
        OSError: the output directory cannot be written.
    """
    targets = plan_targets(files, options.pictures_dir) if options.save_images else []
    options.output_dir.mkdir(parents=True, exist_ok=True)
    results, summary, start = Results(options.names), Summary(len(files)), time.monotonic()
    with Journal(options.output_dir, _identity(files, options)) as book:
        for entry in book.entries:
            results.restore(entry)
        done = {entry["image"]["id"] for entry in book.entries}
        summary.num_done = summary.num_resumed = len(done)
        waiting = [index for index in range(len(files)) if index + 1 not in done]
        try:
            _detect_waiting(predictor, files, waiting, targets, options, results, summary, book)
        finally:
            results.write(options.output_dir)
        book.remove()
    summary.num_detections = results.num_detections
    summary.seconds = time.monotonic() - start
    return summary


def _identity(files: Sequence[PictureFile], options: Options) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return journal.identity(
        options.model,
        [str(file.path) for file in files],
        max_detections=options.max_detections,
        apply_exif_orientation=options.apply_exif_orientation,
        drawn_from=options.min_score if options.save_images else None,
    )


def _detect_waiting(
    predictor: Predictor,
    files: Sequence[PictureFile],
    waiting: Sequence[int],
    targets: Sequence[Path],
    options: Options,
    results: Results,
    summary: Summary,
    book: Journal,
) -> None:
    """Detects on the files at the places `waiting`; a picture's id is its place, from 1."""
    chosen = [files[index] for index in waiting]
    bar = tqdm(total=len(files), initial=summary.num_done, unit="picture", disable=None)
    with pictures.large_pictures_without_warning(), contextlib.closing(bar):
        for index, picture in zip(waiting, _read_ahead(chosen, options), strict=True):
            path = files[index].path
            try:
                if isinstance(picture, Exception):
                    raise picture
                found = _predict(predictor, picture).best(options.max_detections)
            except (PictureError, OSError) as error:
                summary.failures[str(path)] = str(error)
                bar.write(f"{path}: left out, {error}", file=sys.stderr)
            else:
                height, width = picture.shape[:2]
                entry = results.add(index + 1, path.as_posix(), height, width, found)
                if targets:
                    _draw(picture, found, targets[index], options)
                book.add(entry)
                summary.num_done += 1
            bar.update()


def _predict(predictor: Predictor, picture: np.ndarray) -> Found:
    try:
        return predictor(picture)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        raise PictureError(f"there is not enough memory to detect on {size} pixels") from error


def _draw(picture: np.ndarray, found: Found, target: Path, options: Options) -> None:
    drawn = visualization.draw_boxes(
        picture,
        found.boxes,
        found.classes,
        found.scores,
        names=options.names,
        min_score=options.min_score,
    )
    if max(drawn.shape) > _LONGEST_SIDE_OF_JPEG:
        target = target.with_suffix(".png")
    visualization.save(drawn, target)


def _read_ahead(files: Sequence[PictureFile], options: Options) -> Iterator[np.ndarray | Exception]:
    """The pictures in order, the next being decoded meanwhile; an error in place of a bad one."""

    def read(file: PictureFile) -> np.ndarray | Exception:
        try:
            return pictures.read(file.path, apply_exif_orientation=options.apply_exif_orientation)
        except (PictureError, OSError) as error:
            return error

    with ThreadPoolExecutor(max_workers=1) as executor:
        following = executor.submit(read, files[0]) if files else None
        for index in range(len(files)):
            assert following is not None
            current = following.result()
            if index + 1 < len(files):
                following = executor.submit(read, files[index + 1])
            yield current


def plan_targets(files: Sequence[PictureFile], directory: Path) -> list[Path]:
    """Where each drawn picture goes: names of their own, as below the folders that were searched.

    Raises:
        ValueError: a target is one of the files.
    """
    targets: list[Path] = []
    taken: set[Path] = set()
    sources = {file.path.resolve() for file in files}
    for file in files:
        plain = directory / file.name.with_suffix(".jpg")
        target, number = plain, 1
        while target in taken:
            number += 1
            target = plain.with_name(f"{plain.stem}-{number}.jpg")
        if target.resolve() in sources:
            raise ValueError(
                f"drawing on {str(file.path)!r} would overwrite the picture {str(target)!r}; give "
                "another --output_dir"
            )
        taken.add(target)
        targets.append(target)
    return targets
