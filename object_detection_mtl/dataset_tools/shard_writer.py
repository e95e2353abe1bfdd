"""Writer of TFRecord shards, renamed when they are complete."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType

import tensorflow as tf

from object_detection_mtl import output_lock, output_paths


def prepare_output(output_path: str | Path, num_shards: int) -> list[Path]:
    """Create the directory of the record and return the paths of its shards.

    Args:
        output_path: name of the record.
        num_shards: number of files.

    Returns:
        The paths of the shards.

    Raises:
        OSError: the directory cannot be created.
        IsADirectoryError: a directory has the name of a shard.
        FileExistsError: there are shards of an earlier run with another number of shards; a pattern
            would read both.
    """
    path = Path(output_path)
    paths = output_paths.shard_paths(path, num_shards)
    output_paths.make_directory(path.parent)
    for shard in paths:
        if shard.is_dir():
            raise IsADirectoryError(
                f"--output_path: {str(shard)!r} is a directory; give the name of the record to "
                "write, such as " + repr(str(shard / "train.record"))
            )
    others = sorted(
        other
        for other in path.parent.glob(f"{_escaped(path.name)}-?????-of-?????")
        if other not in paths
    )
    if others:
        raise FileExistsError(
            f"{others[0]} and {len(others) - 1} more shards of an earlier run with another "
            "--num_shards exist; a pattern would read both. Delete them or choose another "
            "--output_path"
        )
    return paths


class ShardWriter:
    """A context manager that writes serialized examples to shards in turn.

    The shards are written under hidden names (which no `name*` pattern finds) and renamed when the
    `with` block ends without an error. After an error or Ctrl-C no new file has a final name, and
    the incomplete files are removed; those of a killed process are removed by the next run. One
    process at a time writes to an output.

    Args:
        output_path: name of the record.
        num_shards: number of files.

    Attributes:
        paths: final paths of the shards.
        num_examples: number of examples written.

    Raises:
        OSError: the output cannot be written (see also `prepare_output`); it is raised before
            anything is computed.
        OutputInUseError: another process writes to it (raised by the `with` statement).
    """

    def __init__(self, output_path: str | Path, num_shards: int = 1):
        self.paths = prepare_output(output_path, num_shards)
        self.num_examples = 0
        self._temporary = [path.with_name(f".incomplete-{path.name}") for path in self.paths]
        self._writers: list[tf.io.TFRecordWriter] = []
        self._output_path = Path(output_path)
        self._lock = contextlib.ExitStack()

    def __enter__(self) -> ShardWriter:
        self._lock.enter_context(
            output_lock.hold_lock(
                output_lock.beside(self._output_path), f"--output_path {str(self._output_path)!r}"
            )
        )
        try:
            self._open()
        except BaseException:
            self._lock.close()
            raise
        return self

    def _open(self) -> None:
        """Remove what a killed process left, and open the hidden files."""
        name = _escaped(self._output_path.name)
        for pattern in (f".incomplete-{name}", f".incomplete-{name}-?????-of-?????"):
            for leftover in self._output_path.parent.glob(pattern):
                if leftover not in self._temporary:
                    leftover.unlink()
        for path in self._temporary:
            path.touch()  # Python's errors are clearer than TensorFlow's.
        self._writers = [tf.io.TFRecordWriter(str(path)) for path in self._temporary]

    def write(self, serialized: bytes) -> None:
        """Write an example to the next shard."""
        number = self.num_examples % len(self._writers)
        try:
            self._writers[number].write(serialized)
        except tf.errors.OpError as error:
            raise _cannot_write(self.paths[number], error) from error
        self.num_examples += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            failure = self._close()
            if kind is None and failure is not None:
                raise failure
            if kind is None and self.num_examples:
                for temporary, path in zip(self._temporary, self.paths, strict=True):
                    temporary.replace(path)
        finally:
            for temporary in self._temporary:
                temporary.unlink(missing_ok=True)
            self._lock.close()

    def _close(self) -> OSError | None:
        """Close every writer; return the error of one whose buffered data could not be written."""
        failure = None
        for writer, path in zip(self._writers, self.paths, strict=True):
            try:
                writer.close()
            except tf.errors.OpError as error:
                failure = _cannot_write(path, error)
        return failure


def _cannot_write(path: Path, error: tf.errors.OpError) -> OSError:
    return OSError(f"{str(path)!r} cannot be written: {error.message}; is the disk full?")


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
