"""Messages of TensorFlow's errors in a graph, without names of nodes."""

from __future__ import annotations

import re
from typing import Any

import tensorflow as tf

# Bad data and bad numbers; other errors of TensorFlow are for developers.
EXPLAINED = (tf.errors.InvalidArgumentError, tf.errors.DataLossError)

# End of the message itself; names of nodes, functions and operations follow.
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


def printable(text: tf.Tensor) -> tf.Tensor:
    """Return a text for messages: valid UTF-8 (Python decodes them), a line of 200 characters."""
    valid = tf.strings.unicode_transcode(
        text, "UTF-8", "UTF-8", replacement_char=ord("?"), replace_control_characters=True
    )
    return tf.strings.substr(valid, 0, 200, unit="UTF8_CHAR")


def first_or(attempt: tf.data.Dataset, fallback: Any) -> Any:
    """Return the first element of `attempt`, or `fallback` if it raises an error.

    TensorFlow's errors name the operation that failed but not the image; with this function the
    caller can name it. It costs about 0.2 ms.
    """
    otherwise = tf.data.Dataset.from_tensors(fallback)
    return attempt.ignore_errors().concatenate(otherwise).take(1).get_single_element()
