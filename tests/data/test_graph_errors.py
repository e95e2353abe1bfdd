"""TensorFlow's own errors, raised for real."""

import pytest
import tensorflow as tf

from object_detection_mtl.data import graph_errors


def message(function):
    try:
        function()
    except graph_errors.EXPLAINED as error:
        return graph_errors.explain(error)
    raise AssertionError("nothing was raised")


def test_an_assertion_inside_a_dataset():
    def check(x):
        with tf.control_dependencies([tf.debugging.Assert(x < 2, ["image is broken:", x])]):
            return tf.identity(x)

    data = tf.data.Dataset.range(5).map(check)
    assert message(lambda: list(data)) == "image is broken: 2"


def test_an_assertion_inside_a_function():
    @tf.function
    def inner(x):
        return tf.debugging.check_numerics(x, "the loss")

    outer = tf.function(lambda x: inner(x) + 1.0)
    text = message(lambda: outer(tf.constant(float("nan"))))
    assert text.startswith("the loss : Tensor had NaN values")
    assert "{{" not in text
    assert "[[" not in text
    assert "Op:" not in text


def test_an_assertion_that_starts_with_its_source():
    text = graph_errors.explain(
        tf.errors.InvalidArgumentError(
            None,
            None,
            "Graph execution error:\n\n"
            "Detected at node Assert defined at (most recent call last):\n"
            '  File "a.py", line 3, in <module>\n\n  File "b.py", line 5, in f\n\n'
            "<stack traces unavailable>\n2 root error(s) found.\n"
            "  (0) INVALID_ARGUMENT:  assertion failed: [too big:] [7]\n"
            "\t [[{{node Assert}}]]\n  (1) INVALID_ARGUMENT:  assertion failed: [too big:] [7]\n"
            "0 successful operations. [Op:__inference_f_1]",
        )
    )
    assert text == "too big: 7"


def test_truncated_records(tmp_path):
    path = tmp_path / "short.record"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"x" * 100)
    path.write_bytes(path.read_bytes()[:60])
    text = message(lambda: list(tf.data.TFRecordDataset(str(path))))
    assert text.startswith("truncated record at 0")
    assert "{{" not in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"\xff\xfe", "??"),
        (b"a\x1b[2Jb\nc", "a?[2Jb?c"),
        (b"x" * 1000, "x" * 200),
        ("ä".encode(), "ä"),
    ],
)
def test_names_in_messages_are_short_valid_text(name, shown):
    assert graph_errors.printable(tf.constant(name)).numpy().decode() == shown
