"""Files, commands and flags that the documents name exist."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest
from absl import flags

import object_detection_mtl
from scripts import generate_reference

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(object_detection_mtl.__file__).parent
ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if not {"_build", "generated"} & set(path.relative_to(ROOT).parts)
    ),
]
COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "scripts"
]
GENERATED = generate_reference.OUTPUT  # Exists where the documentation was built.
# Flags of absl that every command has.
COMMON_FLAGS = {"help", "helpfull", "verbosity"}

documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def defined_flags(name):
    module = importlib.import_module(COMMANDS[name].partition(":")[0])
    before = set(flags.FLAGS)
    module.define_flags()
    names = set(flags.FLAGS) - before
    for flag in names:
        delattr(flags.FLAGS, flag)
    return names | COMMON_FLAGS


def shell_lines(text):
    """Yield the lines of the sh blocks as lists of words, continued lines joined."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\$\{?\w+(\[@\])?\}?", "X", line)
            if line.count('"') % 2 == 0 and line.count("'") % 2 == 0:
                yield shlex.split(line, comments=True)


@documents
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if GENERATED.name in target.split("/"):
            assert Path(target).stem in generate_reference.PAGES_WRITTEN, target
        elif not target.startswith("http"):
            assert (path.parent / target).exists(), target


@documents
def test_commands_and_their_flags_exist(path):
    for words in shell_lines(path.read_text(encoding="utf-8")):
        for number, word in enumerate(words):
            if word in COMMANDS:
                given = {
                    re.split("[=;]", flag[2:])[0]
                    for flag in words[number + 1 :]
                    if flag.startswith("--")
                }
                assert given <= defined_flags(word), words
            elif number == 0 and word.startswith(("scripts/", "benchmarks/")):
                assert (ROOT / word).is_file(), words


@documents
def test_files_that_are_named_exist(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = re.findall(r"`((?:docs|samples|scripts|benchmarks|tests|protos)/[\w./-]*)`", text)
    names += re.findall(r"`((?:\w+/)+\w*\.py)`", text) + re.findall(r"`(\w+\.py)`", text)
    for name in names:
        places = [ROOT / name, PACKAGE / name, *PACKAGE.rglob(name)]
        assert any(place.exists() for place in places), name


def test_the_map_of_files_names_every_package_and_module_beside_them():
    packages = {item.name for item in PACKAGE.iterdir() if (item / "__init__.py").is_file()}
    page = ROOT / "docs" / "explanations" / "architecture.md"
    text = page.read_text(encoding="utf-8")
    missing = [name for name in sorted(packages - {"protos"}) if f"`{name}/`" not in text]
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    missing += [name for name in sorted(modules) if f"`{name}`" not in text]
    assert not missing


def test_every_command_is_mentioned():
    texts = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert not [name for name in COMMANDS if name not in texts]
