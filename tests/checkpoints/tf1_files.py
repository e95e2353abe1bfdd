"""Real TF1 checkpoint files for tests, written by the TF1 Saver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf


def write_tf1(prefix: Path, arrays: Mapping[str, np.ndarray], *, version: int = 2) -> str:
    """Saves `arrays` under their names; returns the prefix (of V1: the file).

    Version 2 is written by the operation that the Saver runs, without a graph: its variables would
    hold every array three more times.
    """
    if version == 2:
        names = list(arrays)
        tensors = [tf.constant(array) for array in arrays.values()]
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=tensors,
        )
        return str(prefix)
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        variables = {
            name: v1.get_variable(name, initializer=tf.constant(array))
            for name, array in arrays.items()
        }
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver(variables, write_version=version)
        return saver.save(session, str(prefix), write_meta_graph=False, write_state=False)
