"""What will run the operations being traced, where that is not TensorFlow's own executor.

Some of TensorFlow's kernels have no counterpart elsewhere: XLA has none for
`tf.image.crop_and_resize`, sparse products and the combined non-maximum suppression, and other
runtimes know suppression only as ONNX or OpenVINO define it. What replaces them is slower in
TensorFlow. Which one a part uses is no matter of the model: it depends on who traces it. So the
caller says it, around the trace:

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
    """Everything traced inside uses only operations that XLA compiles."""
    return _tracing_for(_XLA)


def for_onnx() -> contextlib.AbstractContextManager[None]:
    """Everything traced inside uses only operations that ONNX has, or that convert to some."""
    return _tracing_for(_ONNX)


def for_openvino() -> contextlib.AbstractContextManager[None]:
    """Traces for OpenVINO (`openvino_conversion`); TensorFlow cannot run what is traced inside."""
    return _tracing_for(_OPENVINO)


def is_for_tensorflow() -> bool:
    """Whether TensorFlow's own executor will run this: it is traced inside none of the others."""
    return _target.get() is None


def is_for_xla() -> bool:
    """Whether this is traced inside `for_xla`."""
    return _target.get() == _XLA


def is_for_onnx() -> bool:
    """Whether this is traced inside `for_onnx`."""
    return _target.get() == _ONNX


def is_for_openvino() -> bool:
    """Whether this is traced inside `for_openvino`."""
    return _target.get() == _OPENVINO
