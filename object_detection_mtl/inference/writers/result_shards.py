"""The detections of a run in several files, which workers write at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from object_detection_mtl import output_paths
from object_detection_mtl.inference.detection_options import Options
from object_detection_mtl.inference.writers import coco_results, detection_records
from object_detection_mtl.output_paths import shard_paths


@dataclass(frozen=True)
class Done:
    """What a picture gave.

    Attributes:
        entry: of `results.entry`.
        serialized: the example with the detections, where a record is wanted.
    """

    entry: dict[str, Any]
    serialized: bytes | None


def suffix(shard: int, num_shards: int) -> str:
    """What follows the names of a shard's files; nothing for a single one."""
    return "" if num_shards == 1 else f"-{shard:05d}-of-{num_shards:05d}"


def prepare(options: Options, num_shards: int) -> None:
    """Makes the directory.

    Raises:
        ValueError: num_shards is out of range.
        FileExistsError: see `refuse_others`.
        OSError: it cannot be made.
    """
    refuse_others(options.output_dir, num_shards)
    output_paths.make_directory(options.output_dir)


def refuse_others(directory: Path, num_shards: int) -> None:
    """Refuses a directory that would hold the results of two runs, of which one is out of date.

    Raises:
        ValueError: num_shards is out of range.
        FileExistsError: results in another number of files are there, which this run would not
            replace and a pattern would read as well.
    """
    wanted = shard_paths(directory / detection_records.NAME, num_shards)
    endings = {path.name.removeprefix(detection_records.NAME) for path in wanted}
    for before, after in (
        ("detections", ".json"),
        ("images", ".json"),
        (detection_records.NAME, ""),
    ):
        others = directory.glob(f"{before}-?????-of-?????{after}")
        for path in [directory / f"{before}{after}", *sorted(others)]:
            ending = path.name.removeprefix(before).removesuffix(after)
            if ending not in endings and path.exists():
                raise FileExistsError(
                    f"{path} and perhaps more of an earlier run with another --num_shards are "
                    "there; a pattern would read them, too. Delete them or choose another "
                    "--output_dir"
                )


def write(done: Iterable[Done | None], options: Options, ending: str) -> None:
    """Writes one shard, each of its files complete or not at all.

    Args:
        done: can be gone through several times; None is left out.
        ending: of `suffix`.
    """
    if options.writes_json:
        entries = (one.entry for one in done if one is not None)
        coco_results.write(entries, options.names, options.output_dir, ending)
    if options.writes_record:
        _write_record(done, options.output_dir / f"{detection_records.NAME}{ending}")


def _write_record(done: Iterable[Done | None], path: Path) -> None:
    incomplete = path.with_name(f".incomplete-{path.name}")
    with tf.io.TFRecordWriter(str(incomplete)) as writer:
        for one in done:
            if one is not None:
                assert one.serialized is not None
                writer.write(one.serialized)
    os.replace(incomplete, path)
