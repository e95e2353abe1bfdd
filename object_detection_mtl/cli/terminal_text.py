"""Output streams that escape control characters.

Names of files and classes come from datasets; ESC and other control characters in them would act
on the terminal.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from object_detection_mtl.config.errors import printable

# Control sequences of progress bars: line starts, and steps to the line above.
_CURSOR = re.compile(r"(\x1b\[A|\r)+")


class EscapedStream:
    """Text stream that escapes control characters, and is the wrapped stream in all else.

    A carriage return stays at both ends of a text, where progress bars have theirs and where it
    hides nothing of the text.
    """

    def __init__(self, stream: Any) -> None:
        """Wrap a stream.

        Args:
            stream: such as sys.stdout.
        """
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, escaped; return its length."""
        if _CURSOR.fullmatch(text):
            self._stream.write(text)
            return len(text)
        inner = text.strip("\r")
        start = len(text) - len(text.lstrip("\r"))
        end = len(text) - len(inner) - start
        self._stream.write("\r" * start + printable(inner, breaks=True) + "\r" * end)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, escaped."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the wrapped stream."""
        return getattr(self._stream, name)


@contextlib.contextmanager
def escape_output() -> Iterator[None]:
    """Escape control characters of standard output and error within a `with` block."""
    out: Any = EscapedStream(sys.stdout)
    error: Any = EscapedStream(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        yield
