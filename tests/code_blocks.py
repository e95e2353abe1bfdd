"""Code blocks of the README and the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "CONTRIBUTING.md",
    *(
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if not {"_build", "generated"} & set(path.relative_to(ROOT).parts)
    ),
    ROOT / "README.md",
]
EXECUTED = ("sh", "python")
# Parsed as a part of a config.
CONFIG = "pbtxt"
# Output, diagrams, references: nothing to execute.
SHOWN = ("text", "bibtex")
_FENCE = re.compile(r"^( *)```(.*)$")
_MARK = re.compile(r"^ *<!-- no-run: (.+) -->$")


class CodeBlock(NamedTuple):
    """A block of a document.

    Attributes:
        path: the document.
        line: number of its first line, from 1.
        language: the word after the fence.
        code: its text.
        reason: why it is not executed; "" if it is.
    """

    path: Path
    line: int
    language: str
    code: str
    reason: str

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def code_blocks(path: Path) -> list[CodeBlock]:
    """Return the blocks of a document, directives such as {toctree} not included."""
    blocks = []
    lines = path.read_text(encoding="utf-8").splitlines()
    before, start, language = "", None, ""
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if fence and start is None:
            start, language = number, fence[2]
            mark = _MARK.match(before)
        elif fence:
            indent = len(fence[1])
            code = "\n".join(text[indent:] for text in lines[start : number - 1]) + "\n"
            if not language.startswith("{"):
                blocks.append(CodeBlock(path, start + 1, language, code, mark[1] if mark else ""))
            start = None
        if line.strip():
            before = line
    assert start is None, f"{path}: a block does not end"
    return blocks


def all_blocks() -> list[CodeBlock]:
    return [block for path in DOCUMENTS for block in code_blocks(path)]
