"""Run `tf.function`s eagerly: two steps of a toy detector take less time than their graph.

For tests of what others show of graphs too. tf.data keeps its graphs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def eagerly(value: bool = True) -> Iterator[None]:
    """Run functions eagerly, or with False as graphs again."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(value)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
