#!/usr/bin/env python3
"""Check the language and the layout of the project; print counts and places.

    python scripts/check_language.py [--list] [path ...]

Every rule is a word of the "instead of" column with the word that the project uses. Names,
docstrings, comments, messages and documents are searched; `NAME_WORDS` holds for names and messages
alone. Without paths the whole project is checked. The exit status is 1 if anything is found.
"""

from __future__ import annotations

import argparse
import ast
import collections
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "object_detection_mtl"
DIRECTORIES = (
    "object_detection_mtl",
    "benchmarks",
    "tests",
    "scripts",
    "protos",
    "samples",
    "docs",
)
SUFFIXES = (".py", ".md", ".sh", ".proto", ".config", ".toml", ".cc")
MAX_LINES = 400
MEDIAN_LINES = (120, 250)
# The field's own names, which several packages may use for one of their modules.
SHARED_MODULE_NAMES = {"__init__", "rfcn", "coco"}
# The detections of an image in the Python API, and the keys of the exported signature.
SHARED_CLASS_NAMES = {"Detections"}
# Its modules have the names of the OD API.
COMPATIBILITY_PACKAGE = PACKAGE / "odapi"

# Pattern -> what to write; searched for in names, docstrings, comments, messages and documents.
WORDS = {
    r"pictures?": "image",
    r"folders?": "directory",
    r"data sets?": "dataset",
    r"ancestors?": "reference implementations: the OD API, the authors' code",
    r"narrow(?:ed|ing|s)?": "cast to bfloat16",
    r"processor time": "CPU time",
    r"by the clock": "wall-clock time",
    r"cut (?:short|off)": "truncated, clip",
    r"le(?:ft|ave|aves|aving) out": "skip, ignore or drop",
    r"hangs? on": "depends on",
}
# Searched for in names and messages alone, where the words have a better one.
NAME_WORDS = {
    r"cut": "clip, crop or truncate",
    r"evidence": "auxiliary logits",
    r"shares": "soft label",
    r"bars": "soft label",
    r"doubts?": "warning",
    r"ending": "extension",
    r"nothing acts on": "ignored",
    r"(?:is|are) no\b(?! (?:longer|more|such))": "is not a ..., is unsupported",
    r"(?:is|are) not built": "is unsupported",
    r"is damaged": "is corrupt",
    r"make smaller": "resize",
}


@dataclass(frozen=True)
class Finding:
    """One place that breaks a rule.

    Attributes:
        path: file, relative to the project.
        line: 1-based.
        rule: what was found, with what to write instead.
    """

    path: Path
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}"


def split_name(name: str) -> str:
    """Return `name` in lower-case words: `PictureFile`, `picture_file` -> `picture file`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).lower()


def search(words: dict[str, str], text: str, kind: str) -> Iterator[tuple[int, str]]:
    """Yield (line offset, rule) for every forbidden word of `text`."""
    for pattern, instead in words.items():
        # A word may be wrapped to the next line.
        spaced = pattern.replace(" ", r"\s+(?:#\s*)?")
        for match in re.finditer(rf"\b{spaced}\b", text, re.IGNORECASE):
            found = " ".join(match.group().split())
            yield text.count("\n", 0, match.start()), f'{kind} "{found}": write {instead}'


def docstring_nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.Constant]]:
    """Yield (owner, constant) of every docstring."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr):
            value = node.body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield node, value


def check_docstrings(path: Path, tree: ast.AST) -> Iterator[Finding]:
    """Yield docstrings that begin with "Args:" or indent their sections by other than 4 spaces."""
    for owner, constant in docstring_nodes(tree):
        text = constant.value
        if text.lstrip().startswith("Args:"):
            yield Finding(path, constant.lineno, 'docstring begins with "Args:"')
        margin = getattr(owner, "col_offset", -4) + 4
        lines = text.split("\n")
        for number, line in enumerate(lines[:-1]):
            if line.strip() in ("Args:", "Returns:", "Raises:", "Attributes:", "Yields:"):
                following = lines[number + 1]
                indent = len(following) - len(following.lstrip())
                if number and following.strip() and indent != margin + 4:
                    where = constant.lineno + number + 1
                    yield Finding(path, where, f"docstring section indented by {indent - margin}")


def check_python(path: Path, text: str) -> Iterator[Finding]:
    """Yield what a Python file's names, comments, docstrings and strings break."""
    tree = ast.parse(text)
    yield from check_docstrings(path, tree)
    docstrings = {constant.lineno for _, constant in docstring_nodes(tree)}
    fstring = getattr(tokenize, "FSTRING_MIDDLE", None)
    comments: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT:
            comments.append((line, token.string))
            continue
        if token.type == tokenize.NAME:
            found = search(WORDS | NAME_WORDS, split_name(token.string), "name")
        elif token.type == tokenize.STRING and line in docstrings:
            found = search(WORDS, token.string, "text")
        elif token.type in (tokenize.STRING, fstring):
            found = search(WORDS | NAME_WORDS, split_name(token.string), "message")
        else:
            continue
        for offset, rule in found:
            yield Finding(path, line + offset, rule)
    for line, block in comment_blocks(comments):
        for offset, rule in search(WORDS, block, "text"):
            yield Finding(path, line + offset, rule)


def comment_blocks(comments: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield (first line, text) of comments, those on consecutive lines together."""
    block: list[str] = []
    first = 0
    for line, text in comments:
        if block and line != first + len(block):
            yield first, "\n".join(block)
            block = []
        first = first if block else line
        block.append(text)
    if block:
        yield first, "\n".join(block)


def check_file(path: Path) -> Iterator[Finding]:
    """Yield what one file breaks, its name included."""
    relative = path.relative_to(ROOT)
    for _, rule in search(WORDS | NAME_WORDS, split_name(path.stem), "file name"):
        yield Finding(relative, 1, rule)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from check_python(relative, text)
        return
    for offset, rule in search(WORDS, text, "text"):
        yield Finding(relative, 1 + offset, rule)


def package_modules() -> list[Path]:
    """Return the hand-written modules of the package."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.stem.endswith("_pb2")]


def class_names(path: Path) -> list[str]:
    """Return the public classes of a module."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    names = [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    return [name for name in names if not name.startswith("_")]


def repeated(kind: str, places: dict[str, list[Path]]) -> Iterator[Finding]:
    """Yield the names that several modules have."""
    for name, paths in places.items():
        if len(paths) > 1:
            listed = ", ".join(map(str, paths))
            yield Finding(paths[0], 1, f'{kind} name "{name}" {len(paths)} times: {listed}')


def num_lines(path: Path) -> int:
    """Return the number of lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def check_lengths() -> Iterator[Finding]:
    """Yield the modules of the package and of the tests that are too long."""
    for path in (*package_modules(), *sorted((ROOT / "tests").rglob("*.py"))):
        count = num_lines(path)
        if count > MAX_LINES:
            yield Finding(path.relative_to(ROOT), 1, f"{count} lines; at most {MAX_LINES}")


def check_layout() -> Iterator[Finding]:
    """Yield long files, names of modules and classes that occur twice, a median out of range."""
    yield from check_lengths()
    by_name = collections.defaultdict(list)
    by_class = collections.defaultdict(list)
    lengths = []
    for path in package_modules():
        relative = path.relative_to(ROOT)
        if COMPATIBILITY_PACKAGE not in path.parents:
            by_name[path.stem].append(relative)
            for name in class_names(path):
                by_class[name].append(relative)
        if path.stem != "__init__":
            lengths.append(num_lines(path))
    for name in SHARED_MODULE_NAMES:
        by_name.pop(name, None)
    for name in SHARED_CLASS_NAMES:
        by_class.pop(name, None)
    yield from repeated("module", by_name)
    yield from repeated("class", by_class)
    median = statistics.median(lengths)
    if not MEDIAN_LINES[0] <= median <= MEDIAN_LINES[1]:
        yield Finding(Path("object_detection_mtl"), 1, f"median module has {median:.0f} lines")


def project_files(paths: list[str]) -> list[Path]:
    """Return the files to check: those of `paths`, or of the whole project."""
    roots = [Path(path).resolve() for path in paths] or [
        *(ROOT / name for name in DIRECTORIES),
        *(path for path in ROOT.iterdir() if path.is_file()),
    ]
    files: list[Path] = []
    for root in roots:
        files.extend(sorted(root.rglob("*")) if root.is_dir() else [root])
    return [
        path
        for path in files
        if path.suffix in SUFFIXES
        and not path.stem.endswith("_pb2")
        and path.resolve() != Path(__file__).resolve()
        and path.name != "CHANGELOG.md"  # it lists former names
        and path.is_file()
    ]


def main() -> int:
    """Print the counts and, with --list, every place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print every place")
    parser.add_argument("paths", nargs="*", help="files or directories; default: the project")
    arguments = parser.parse_args()
    findings = [finding for path in project_files(arguments.paths) for finding in check_file(path)]
    if not arguments.paths:
        findings.extend(check_layout())
    if arguments.list:
        for finding in findings:
            print(finding)
    counts = collections.Counter(finding.rule.split(": write")[0].lower() for finding in findings)
    for rule, count in counts.most_common(None if arguments.list else 30):
        print(f"{count:6d}  {rule}")
    modules = package_modules()
    print(f"{len(findings)} findings; {len(modules)} modules in the package")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
