"""Messages of TensorFlow's errors in a graph, without names of nodes."""

from __future__ import annotations

import re

import tensorflow as tf

# Bad data and bad numbers; other errors of TensorFlow are for developers.
EXPLAINED = (tf.errors.InvalidArgumentError, tf.errors.DataLossError)

# Where the message proper ends: names of nodes, of functions, of the operation that was run.
_END = re.compile(r"\n?\s*\[\[|\[Op:|\nOriginal stack trace")
# Lines before it that name the source line of the failing node.
_ORIGIN = re.compile(
    r"Graph execution error:|Detected at node|<stack traces unavailable>|\d+ root error|\s|$"
)
_NOISE = re.compile(
    r"\{\{[^}]*\}\}\s*"
    r"|Error in user-defined function passed to .*? with iterator: \S+: "
    r"|^\s*\(\d\) [A-Z_]+:\s*"
)

_ASSERTION = "assertion failed: ["


def explain(error: tf.errors.OpError) -> str:
    r"""Return the message alone, without the graph's names.

    `{{function_node f}} assertion failed: [too big:] [7]\n\t [[{{node a}}]]` becomes
    `too big: 7`.
    """
    lines = [_NOISE.sub("", line) for line in _END.split(error.message, 1)[0].splitlines()]
    message = [line for line in lines if not _ORIGIN.match(line)]
    text = " ".join(" ".join(message or lines).split())
    if text.startswith(_ASSERTION) and text.endswith("]"):
        return text[len(_ASSERTION) : -1].replace("] [", " ")
    return text
