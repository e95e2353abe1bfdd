"""The check of language and layout finds what it is for, and only that."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_SPEC = importlib.util.spec_from_file_location(
    "check_language", ROOT / "scripts" / "check_language.py"
)
check = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = check  # dataclasses look their module up
_SPEC.loader.exec_module(check)

# Forbidden words in pieces: this file is checked, too.
WORD = "pic" + "ture"
NAME_WORD = "c" + "ut"


def rules(text):
    """Return the rules that a Python text breaks, without what to write instead."""
    findings = check.check_python(Path("module.py"), text)
    return [(finding.line, finding.rule.split(":")[0]) for finding in findings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{WORD}_size = 1\n", [(1, f'name "{WORD}"')]),
        (f"class Big{WORD.title()}s: pass\n", [(1, f'name "{WORD}s"')]),
        (f"x = 1\ny = 2  # a {WORD}\n", [(2, f'text "{WORD}"')]),
        (f'"""First.\n\nOne {WORD}.\n"""\n', [(3, f'text "{WORD}"')]),
        (f'raise ValueError("bad {WORD}")\n', [(1, f'message "{WORD}"')]),
        (f"picturesque = '{WORD}sque'\n", []),
        (f"{NAME_WORD}_anchors = 1\n", [(1, f'name "{NAME_WORD}"')]),
        (f"# where it was {NAME_WORD}\n", []),
    ],
)
def test_words_are_found_in_names_comments_docstrings_and_messages(text, expected):
    assert rules(text) == expected


def test_a_forbidden_phrase_may_be_wrapped():
    text = "# one data\n# set\n".replace("data", "da" + "ta")
    assert [line for line, _ in rules(text)] == [1]


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Args:\n        x: one.", 1),
        ("Return one.\n\n    Args:\n        x: one.", 0),
        ("Return one.\n\n    Args:\n      x: one.", 1),
    ],
)
def test_docstrings_have_one_form(docstring, expected):
    assert len(rules(f'def f(x):\n    """{docstring}\n    """\n')) == expected


def test_module_names_and_lengths_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "PACKAGE", tmp_path / "package")
    for name, lines in (("a/loop", 150), ("b/loop", 150), ("a/coco", 150), ("b/coco", 401)):
        path = tmp_path / "package" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n" * lines)
    (tmp_path / "tests").mkdir()
    for name, lines in (("loop", 402), ("test_loop", 400)):
        (tmp_path / "tests" / f"{name}.py").write_text("x = 1\n" * lines)
    found = [str(finding) for finding in check.check_layout()]
    assert len(found) == 3
    assert "package/b/coco.py:1: 401 lines" in found[0]
    assert "tests/loop.py:1: 402 lines" in found[1]
    assert 'module name "loop" 2 times' in found[2]


def test_public_class_names_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "PACKAGE", tmp_path)
    text = "class Source: ...\nclass _Own: ...\nclass Detections: ...\n" + "x = 1\n" * 147
    (tmp_path / "a.py").write_text(text)
    (tmp_path / "b.py").write_text(text)
    [found] = check.check_layout()
    assert found.rule == 'class name "Source" 2 times: a.py, b.py'
