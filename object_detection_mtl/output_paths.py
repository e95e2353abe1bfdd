"""Output directories and the file names of shards."""

from __future__ import annotations

import os
import re
from pathlib import Path

# gs://bucket; pathlib makes gs:/bucket of it. One letter is a drive of Windows.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(/|$)")

_ROOT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LOCAL_SCHEME = "file://"


def split_path(path: str) -> tuple[str, str]:
    """Return directory and name of a path, without slashes at its end.

    `os.path.split` makes `gs:` of the directory of `gs://bucket`, here it is `gs://`.
    """
    match = _ROOT.match(path)
    root = match[0] if match else ""
    directory, name = os.path.split(strip_slashes(path)[len(root) :])
    return root + directory, name


def directory_of(path: str) -> str:
    """Return the directory of a path; "." for a bare name."""
    return split_path(path)[0] or "."


def strip_slashes(path: str) -> str:
    """Return a path without slashes at its end; `/` and `gs://` stay as they are."""
    match = _ROOT.match(path)
    root = match[0] if match else ""
    rest = path[len(root) :]
    return root + (rest.rstrip("/") or rest[:1])


def is_top_level(path: str) -> bool:
    """Return whether a path has no directory above it, as `gs://bucket`."""
    match = _ROOT.match(path)
    return match is not None and "/" not in strip_slashes(path)[match.end() :]


def without_file_scheme(path: str) -> str:
    """Return a path as the operating system knows it: `/a` for `file:///a`, others unchanged."""
    return path.removeprefix(_LOCAL_SCHEME) if path.startswith(f"{_LOCAL_SCHEME}/") else path


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Return whether a path has a scheme such as gs://, so that only TensorFlow can open it."""
    return _SCHEME.match(os.fspath(path)) is not None


def require_local(path: str | os.PathLike[str]) -> None:
    """Refuse an output that only TensorFlow could write.

    Raises:
        ValueError: the path has a scheme such as gs://.
    """
    if is_remote(path):
        raise ValueError(
            f"{os.fspath(path)!r} is on a remote file system, expected a local path; write to a "
            "local directory and copy the files. Training, evaluation and export write to remote "
            "file systems"
        )


def write_remote_text(path: str, text: str) -> None:
    """Write or replace a text file on any file system of TensorFlow; it appears complete.

    Args:
        path: the file; missing directories are created.
        text: its content.
    """
    import tensorflow as tf

    tf.io.gfile.makedirs(split_path(path)[0])
    temporary = f"{path}.{os.getpid()}.tmp"
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(text)
    tf.io.gfile.rename(temporary, path, overwrite=True)


def make_directory(path: str | Path) -> None:
    """Create a directory and its parents unless they exist.

    Args:
        path: the directory; an empty path means the current one.

    Raises:
        ValueError: it is on a remote file system.
        OSError: it cannot be created. Where the parent accepts no new directories (such as /proc),
            the system reports "no such file", which would suggest creating it first; the message
            names the parent instead.
    """
    require_local(path)
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        parent = next(parent for parent in path.absolute().parents if parent.exists())
        raise PermissionError(
            f"the directory {str(path)!r} cannot be created: {str(parent)!r} accepts no new "
            "directories; choose another path"
        ) from error


def check_output_directory(flag: str, path: str | Path | None) -> None:
    """Raise an error before work starts if nothing can be written to the directory of a flag.

    Args:
        flag: name of the flag, without dashes.
        path: the directory; None passes.

    Raises:
        ValueError: the path or its parent is a file, or has no permission to write.
    """
    if path is None or is_remote(path):
        return
    directory = Path(path).expanduser().absolute()
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"--{flag}={path} is a file; give a directory")
    place = next(place for place in (directory, *directory.parents) if os.path.lexists(place))
    if not place.is_dir():
        raise ValueError(f"--{flag}={path}: {str(place)!r} is not a directory; give another path")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(
            f"--{flag}={path}: no permission to write to {str(place)!r}; choose another directory "
            "or change the permissions"
        )


def shard_paths(output_path: str | Path, num_shards: int) -> list[Path]:
    """Return the paths of the shards of one output file.

    Args:
        output_path: name of the output.
        num_shards: number of files.

    Returns:
        `output_path` itself for one shard, else name-00000-of-000NN as the OD API names them.

    Raises:
        ValueError: num_shards is not in 1..99999.
    """
    if not 1 <= num_shards <= 99999:
        raise ValueError(f"--num_shards is {num_shards}, expected 1 to 99999")
    path = Path(output_path)
    if num_shards == 1:
        return [path]
    return [
        path.with_name(f"{path.name}-{shard:05d}-of-{num_shards:05d}")
        for shard in range(num_shards)
    ]
