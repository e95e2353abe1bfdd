"""What TensorFlow's errors of a step say to somebody who does not read graphs."""

from __future__ import annotations

import re

import tensorflow as tf

# What follows the message proper: names of nodes and functions, then how they were called.
_GRAPH_NAMES = re.compile(r"\{\{[^}]*\}\}\s*")
_PIPELINE = re.compile(r"Error in user-defined function passed to .*? with iterator: \S+: ")
_DETAILS = re.compile(r"\n?\s*\[\[|\[Op:|\n\s*(Original stack trace|Detected at node)")

# Bad data and bad numbers; whatever else TensorFlow raises is for developers.
EXPLAINED = (tf.errors.InvalidArgumentError, tf.errors.DataLossError)


def explain(error: tf.errors.OpError) -> str:
    """The message alone, without the graph's names.

    `{{function_node f}} assertion failed: [too big:] [7]\\n\\t [[{{node a}}]]` becomes
    `assertion failed: [too big:] [7]`.
    """
    text = _DETAILS.split(error.message, maxsplit=1)[0]
    return " ".join(_PIPELINE.sub("", _GRAPH_NAMES.sub("", text)).split())
