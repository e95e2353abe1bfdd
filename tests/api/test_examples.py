"""The examples of the docstrings run."""

import doctest
import importlib

import pytest
from PIL import Image

import object_detection_mtl as odm
from tests.api import tiny_detectors

# These build graphs: they detect, train, evaluate or export.
SLOW = (
    "Detector.detect_files",
    "Detector.predict",
    "evaluate_checkpoints",
    "evaluate_detector",
    "export_detector",
    "train_detector",
)
NAMES = [*odm.__all__, "Detector.predict", "Detector.detect_files"]


class SilentChecker(doctest.OutputChecker):
    """Accepts the progress that functions print, where an example shows no output."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The files that the examples name."""
    path = tmp_path_factory.mktemp("examples")
    tiny_detectors.write_run(path / "run")
    Image.fromarray(tiny_detectors.image()).save(path / "image.png")
    return path


def examples_of(name):
    value = odm
    for part in name.split("."):
        value = getattr(value, part)
    module = importlib.import_module(value.__module__)
    found = doctest.DocTestFinder(recurse=False).find(value, name, module, globs={})
    return [test for test in found if test.examples]


def run(name, directory, monkeypatch):
    monkeypatch.chdir(directory)
    runner = doctest.DocTestRunner(SilentChecker(), optionflags=doctest.ELLIPSIS)
    messages = []
    for test in examples_of(name):
        runner.run(test, out=messages.append)
    assert not runner.failures, "".join(messages)


@pytest.mark.parametrize("name", [name for name in odm.__all__ if name != "Detector"])
def test_every_public_name_has_an_example(name):
    assert examples_of(name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_examples_run(name, directory, monkeypatch):
    run(name, directory, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_slow_examples_run(name, directory, monkeypatch):
    run(name, directory, monkeypatch)
