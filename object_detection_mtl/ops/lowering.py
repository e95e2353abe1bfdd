"""Selection of operations for the runtime that a graph is traced for.

Some of TensorFlow's kernels have no counterpart: XLA cannot compile `tf.image.crop_and_resize`,
sparse products and the combined non-maximum suppression, and other runtimes have suppression only
as ONNX or OpenVINO define it. The replacements are slower in TensorFlow. The caller selects them
around the trace, so the model has no option for it:

    with lowering.for_xla():
        losses = detector.loss(detector.predict(...), ...)
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

_XLA, _ONNX, _OPENVINO = "xla", "onnx", "openvino"
_target: contextvars.ContextVar[str | None] = contextvars.ContextVar("target", default=None)


@contextlib.contextmanager
def _tracing_for(target: str) -> Iterator[None]:
    token = _target.set(target)
    try:
        yield
    finally:
        _target.reset(token)


def for_xla() -> contextlib.AbstractContextManager[None]:
    """Trace with operations that XLA compiles."""
    return _tracing_for(_XLA)


def for_onnx() -> contextlib.AbstractContextManager[None]:
    """Trace with operations that convert to ONNX."""
    return _tracing_for(_ONNX)


def for_openvino() -> contextlib.AbstractContextManager[None]:
    """Trace for OpenVINO (`openvino_conversion`); TensorFlow cannot run the graph."""
    return _tracing_for(_OPENVINO)


def is_for_tensorflow() -> bool:
    """Return whether TensorFlow's own executor will run the traced graph."""
    return _target.get() is None


def is_for_xla() -> bool:
    """Return whether this is traced inside `for_xla`."""
    return _target.get() == _XLA


def is_for_onnx() -> bool:
    """Return whether this is traced inside `for_onnx`."""
    return _target.get() == _ONNX


def is_for_openvino() -> bool:
    """Return whether this is traced inside `for_openvino`."""
    return _target.get() == _OPENVINO
