"""`int(tensor)` and `float(tensor)` for eager tensors of one element.

NumPy 2.4 converts only arrays without dimensions to Python numbers. Scripts for the OD API write
`int(detections.pop("num_detections"))` for a tensor of shape [1], which TensorFlow passes on to
NumPy. Limiting NumPy's version would limit everyone who installs this package, so the conversion
is extended where the OD API's names are imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _from_item(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def converted(tensor: Any) -> Any:
        # Not reduced: a tensor with several elements remains an error. A string scalar is bytes.
        value = tensor.numpy()
        return convert(value if isinstance(value, bytes) else value.item())

    return converted


def allow_one_element() -> None:
    """Let eager tensors of one element convert to int and float, whatever their rank."""
    import tensorflow as tf

    eager_tensor: Any = type(tf.constant(0))
    eager_tensor.__int__ = _from_item(int)
    eager_tensor.__float__ = _from_item(float)
