"""Writing TFRecord shards that appear under their names only when they are complete."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import tensorflow as tf


def shard_paths(output_path: str | Path, num_shards: int) -> list[Path]:
    """`output_path` itself for one shard, else name-00000-of-000NN as the OD API names them.

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


class ShardWriter:
    """Writes serialised examples to shards in turn; a context manager.

    The shards are written under hidden names (which no `name*` pattern finds) and renamed when the
    `with` block ends well. After an error or Ctrl-C nothing new stands under the final names and
    the unfinished files are removed.

    Raises:
      FileNotFoundError: the folder of `output_path` does not exist and cannot be made.
      FileExistsError: shards of another count are there, which a pattern would read as well.
    """

    def __init__(self, output_path: str | Path, num_shards: int = 1):
        self.paths = shard_paths(output_path, num_shards)
        self.num_examples = 0
        folder = Path(output_path).parent
        folder.mkdir(parents=True, exist_ok=True)
        self._refuse_leftovers(Path(output_path))
        self._temporary = [path.with_name(f".incomplete-{path.name}") for path in self.paths]
        self._writers: list[tf.io.TFRecordWriter] = []

    def __enter__(self) -> ShardWriter:
        self._writers = [tf.io.TFRecordWriter(str(path)) for path in self._temporary]
        return self

    def write(self, serialized: bytes) -> None:
        self._writers[self.num_examples % len(self._writers)].write(serialized)
        self.num_examples += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers:
            writer.close()
        if kind is None and self.num_examples:
            for temporary, path in zip(self._temporary, self.paths, strict=True):
                temporary.replace(path)
        else:
            for temporary in self._temporary:
                temporary.unlink(missing_ok=True)

    def _refuse_leftovers(self, output_path: Path) -> None:
        own = set(self.paths)
        others = sorted(
            path
            for path in output_path.parent.glob(f"{_escaped(output_path.name)}-?????-of-?????")
            if path not in own
        )
        if others:
            raise FileExistsError(
                f"{others[0]} and {len(others) - 1} more shards of an earlier run with another "
                "--num_shards are there; a pattern would read both. Delete them or choose "
                "another --output_path"
            )


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
