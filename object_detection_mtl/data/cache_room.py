"""Size of decoded images, and the memory or disk space that they may use."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import tensorflow as tf

from object_detection_mtl.data import encoded_size, record_contents
from object_detection_mtl.data.example_format import feature_values
from object_detection_mtl.data.record_files import RecordIndex
from object_detection_mtl.fields import TfExample

# Records whose image sizes are read; evenly spread.
_EXAMINED = 500
# Parts of the available memory and of the free disk space that images may use: training allocates
# its activations later, and checkpoints need space.
MEMORY_SHARE = 0.7
DISK_SHARE = 0.9
# Memory limit of a container, what it uses, and the part of it that is files: cgroups 2 and 1.
_CGROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def decoded_bytes(index: RecordIndex) -> int:
    """Return the bytes of all decoded images, estimated from the sizes of some.

    Args:
        index: the records.

    Returns:
        3 bytes per pixel, from height and width of the records, else from the images' headers.
        Corrupt records are ignored.
    """
    step = -(-len(index) // _EXAMINED)
    examples = record_contents.read_examples(index, range(0, len(index), step))
    pixels = [number for example in examples if (number := _num_pixels(example))]
    return round(3 * len(index) * sum(pixels) / len(pixels)) if pixels else 0


def _num_pixels(example: tf.train.Example | None) -> int:
    if example is None:
        return 0
    sides = [feature_values(example, key) for key in (TfExample.height, TfExample.width)]
    if all(side and isinstance(side[0], int) and side[0] > 0 for side in sides):
        return int(sides[0][0] * sides[1][0])
    for encoded in feature_values(example, TfExample.encoded):
        if isinstance(encoded, bytes):
            try:
                return int(encoded_size.num_pixels(tf.constant(encoded)))
            except tf.errors.InvalidArgumentError:  # The input pipeline reports it.
                return 0
    return 0


def available_bytes(kind: str, directory: str | None) -> int:
    """Return the bytes that decoded images may use.

    Args:
        kind: "memory" or "disk".
        directory: of the images on disk; it need not exist.
    """
    if kind == "memory":
        free = psutil.virtual_memory().available
        return round(MEMORY_SHARE * min([free, *container_room(Path("/sys/fs/cgroup"))]))
    path = os.path.abspath(str(directory))
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return round(DISK_SHARE * shutil.disk_usage(path).free)


def container_room(root: Path) -> list[int]:
    """Return the bytes up to the memory limit of the container, if there is one: [] or one number.

    Args:
        root: of the cgroup file system.
    """
    for limit_name, used_name, statistics_name, files_name in _CGROUPS:
        try:
            limit = (root / limit_name).read_text().strip()
            used = int((root / used_name).read_text())
            lines = (root / statistics_name).read_text().splitlines()
            # Cached files are counted as used, and are dropped when memory is needed.
            files = sum(int(line.split()[1]) for line in lines if line.split()[:1] == [files_name])
            return [] if limit == "max" else [max(0, int(limit) - used + files)]
        except (OSError, ValueError):
            continue
    return []


def gigabytes(number: int) -> str:
    """Return a number of bytes as text in GB or MB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
