"""Whether the operations being traced will be compiled by XLA.

Some of TensorFlow's kernels have no XLA counterpart (`tf.image.crop_and_resize`, the combined
non-maximum suppression) and what replaces them is slower elsewhere. Which one a part uses is no
matter of the model: it depends on who traces it. So the caller says it, around the trace:

    with lowering.for_xla():
        losses = detector.loss(detector.predict(...), ...)
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

_for_xla: contextvars.ContextVar[bool] = contextvars.ContextVar("for_xla", default=False)


@contextlib.contextmanager
def for_xla() -> Iterator[None]:
    """Everything traced inside uses only operations that XLA compiles."""
    token = _for_xla.set(True)
    try:
        yield
    finally:
        _for_xla.reset(token)


def is_for_xla() -> bool:
    """Whether this is traced inside `for_xla`."""
    return _for_xla.get()
