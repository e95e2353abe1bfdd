"""Journal of an evaluation: an interrupted evaluation continues where it stopped.

Shape letters: B batch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl import output_paths
from object_detection_mtl.data.record_files import encode_record
from object_detection_mtl.fields import Batch

Tensors = Mapping[str, Any]


class InferenceJournal:
    """File with what a detector returned for each batch, in the order of the dataset.

    The first record is the identity, every other one the arrays of a batch. A truncated or damaged
    record is ignored, with all that follow.

    Args:
        path: of the file; missing directories are created. The journal of a remote file system is
            in the directory for temporary files of this machine.
        identity: text that differs wherever recorded results would be wrong: checkpoint, model,
            data, runtime. A journal with another identity is replaced.

    Attributes:
        num_recorded: batches that an earlier evaluation left in the file.
    """

    def __init__(self, path: str, identity: str) -> None:
        if output_paths.is_remote(path):
            # Appending to a remote file would write all of it again for each batch.
            name = hashlib.sha256(path.encode()).hexdigest()[:16]
            path = os.path.join(tempfile.gettempdir(), f"evaluation-{name}.journal")
        self._path = path
        output_paths.make_directory(os.path.dirname(path))
        records = list(_intact_records(path))
        if records[:1] != [identity.encode()]:
            records = [identity.encode()]
        self._recorded = deque(records[1:])
        self.num_recorded = len(self._recorded)
        temporary = f"{path}.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            file.writelines(map(encode_record, records))
        os.replace(temporary, path)
        self._file = open(path, "r+b")  # noqa: SIM115  closed by `close`
        self._file.seek(len(encode_record(records[0])))

    def record(
        self,
        infer: Callable[[Tensors], Tensors],
        *,
        is_needed: Callable[[], bool] = lambda: False,
        skip: frozenset[str] = frozenset(),
    ) -> Callable[[Tensors], Tensors]:
        """Return `infer` with the results of recorded batches taken from the file.

        Batches must come in the order of the dataset. From the first batch whose images are not
        those that were recorded, everything is computed.

        Args:
            infer: batch -> key -> tensor.
            is_needed: return whether the next batch is computed even if it is recorded.
            skip: keys that are not recorded.
        """

        def infer_or_read(batch: Tensors) -> Tensors:
            ids = np.asarray(batch[Batch.image_id]).astype("S")
            found = self._read(ids)
            if found is not None:
                return infer(batch) if is_needed() else found
            result = infer(batch)
            kept = {key: np.asarray(value) for key, value in result.items() if key not in skip}
            self._file.write(encode_record(_encode({**kept, Batch.image_id: ids})))
            self._file.flush()
            return result

        return infer_or_read

    def _read(self, ids: np.ndarray) -> dict[str, np.ndarray] | None:
        """Return the next recorded batch if it has these images; drop all that is left if not."""
        if self._recorded:
            data = self._recorded.popleft()
            found = _decode(data)
            if np.array_equal(found.pop(Batch.image_id), ids):
                self._file.seek(len(encode_record(data)), os.SEEK_CUR)
                return found
            self._recorded.clear()
            self._file.truncate()
        return None

    def close(self) -> None:
        """Close the file; it stays for the next evaluation."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file: the evaluation is complete."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._path)


def describe_files(paths: Iterable[str]) -> list[str]:
    """Return a line for each file, which differs if the file was written again."""
    stats = [(path, tf.io.gfile.stat(path)) for path in paths]
    return [f"{path} {stat.length} {stat.mtime_nsec}" for path, stat in stats]


def _intact_records(path: str) -> Iterator[bytes]:
    if not os.path.isfile(path):
        return
    try:
        yield from tf.data.TFRecordDataset(path).as_numpy_iterator()
    except tf.errors.DataLossError:
        return


def _encode(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _decode(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)
