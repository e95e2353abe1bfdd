"""Detections in several files, which workers write in parallel."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from object_detection_mtl import output_paths
from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.writers import coco_results
from object_detection_mtl.inference.writers.detection_records import RECORD_FILE
from object_detection_mtl.output_paths import shard_paths


@dataclass(frozen=True)
class FinishedImage:
    """The result of one image.

    Attributes:
        entry: From `coco_results.image_result`.
        serialized: The example with detections, if a TFRecord is written.
    """

    entry: dict[str, Any]
    serialized: bytes | None


def shard_suffix(shard: int, num_shards: int) -> str:
    """Return the suffix of a shard's file names; empty for a single shard."""
    return "" if num_shards == 1 else f"-{shard:05d}-of-{num_shards:05d}"


def prepare_directory(options: DetectionOptions, num_shards: int) -> None:
    """Check and make the output directory.

    Raises:
        ValueError: num_shards is out of range.
        FileExistsError: See `check_directory`.
        OSError: The directory cannot be made.
    """
    check_directory(options.output_dir, num_shards)
    output_paths.make_directory(options.output_dir)


def check_directory(directory: Path, num_shards: int) -> None:
    """Check that a directory would not mix the results of two runs.

    Raises:
        ValueError: num_shards is out of range.
        FileExistsError: The directory has results in another number of files, which this run would
            not replace and a pattern would read as well.
    """
    expected = shard_paths(directory / RECORD_FILE, num_shards)
    suffixes = {path.name.removeprefix(RECORD_FILE) for path in expected}
    for before, after in (("detections", ".json"), ("images", ".json"), (RECORD_FILE, "")):
        others = directory.glob(f"{before}-?????-of-?????{after}")
        for path in [directory / f"{before}{after}", *sorted(others)]:
            suffix = path.name.removeprefix(before).removesuffix(after)
            if suffix not in suffixes and path.exists():
                raise FileExistsError(
                    f"{path} and perhaps more files of an earlier run with another --num_shards "
                    "exist; a pattern would read them, too. Delete them or choose another "
                    "--output_dir"
                )


def write_shard(
    results: Iterable[FinishedImage | None], options: DetectionOptions, suffix: str
) -> None:
    """Write the files of one shard, each of them atomically.

    Args:
        results: Iterated several times; None is skipped.
        options: Options of the run.
        suffix: From `shard_suffix`.
    """
    if options.writes_json:
        entries = (result.entry for result in results if result is not None)
        coco_results.write_results(entries, options.class_names, options.output_dir, suffix)
    if options.writes_record:
        _write_record(results, options.output_dir / f"{RECORD_FILE}{suffix}")


def _write_record(results: Iterable[FinishedImage | None], path: Path) -> None:
    incomplete = path.with_name(f".incomplete-{path.name}")
    with tf.io.TFRecordWriter(str(incomplete)) as writer:
        for result in results:
            if result is not None:
                assert result.serialized is not None
                writer.write(result.serialized)
    os.replace(incomplete, path)
