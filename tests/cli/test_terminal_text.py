"""Control characters in names do not reach the terminal."""

import io
import sys
from types import ModuleType

import pytest
from absl import logging
from tqdm import tqdm

from object_detection_mtl.cli import command_line, terminal_text
from tests import command_line as in_process


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\tb\n", "a\tb\n"),
        ("Zoë 猫\n", "Zoë 猫\n"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("image\rerror: fine", "image\\rerror: fine"),
        ("\x9b2J \u202egnp.exe \x08\x7f", "\\x9b2J \\u202egnp.exe \\x08\\x7f"),
        ("\r 50%|##  | 1/2\r", "\r 50%|##  | 1/2\r"),
        ("\r\x1b[31m", "\r\\x1b[31m"),
        ("\x1b[A\x1b[A", "\x1b[A\x1b[A"),
    ],
)
def test_escaped_streams(text, written):
    stream = io.StringIO()
    assert terminal_text.EscapedStream(stream).write(text) == len(text)
    terminal_text.EscapedStream(stream).writelines([text, "x"])
    assert stream.getvalue() == written * 2 + "x"


def test_all_that_a_command_prints_is_escaped():
    name = "a\x1b[2J.jpg"

    def main():
        print(f"written: {name}")
        print(f"warning: {name}", file=sys.stderr)
        logging.warning("%s is skipped", name)
        for _ in tqdm(range(2), desc="images", mininterval=0.0):
            tqdm.write(f"{name}: unreadable", file=sys.stderr)
        raise ValueError(f"{name} cannot be read")

    module = ModuleType("tool")
    module.run = lambda: command_line.run_command(lambda: None, main, "What it does.")
    done = in_process.run(module)
    assert done.code == 1
    assert "written: a\\x1b[2J.jpg\n" in done.out
    assert "\x1b[2J" not in done.out + done.err
    assert "error: a\\x1b[2J.jpg cannot be read" in done.err
    assert done.err.count("a\\x1b[2J.jpg: unreadable\n") == 2
    assert "images: 100%" in done.err
    assert not isinstance(sys.stdout, terminal_text.EscapedStream)
