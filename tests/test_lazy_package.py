"""The public names of the package, and when they are imported."""

import subprocess
import sys
from pathlib import Path

import pytest

import object_detection_mtl as odm

PACKAGE = Path(odm.__file__).parent


@pytest.mark.parametrize("name", odm.__all__)
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(odm, name)
    assert value.__name__ == name
    assert value.__doc__
    assert name in dir(odm)


def test_no_public_name_is_a_module_of_the_package():
    """Importing the module would replace the function in the package's namespace."""
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & set(odm.__all__)


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'load_detectors'"):
        odm.load_detectors  # noqa: B018


def test_importing_imports_no_other_module_and_reading_a_config_no_tensorflow():
    code = (
        "import sys; import object_detection_mtl as odm; "
        "print([m for m in sys.modules if m.startswith('object_detection_mtl')]); "
        "print('numpy' in sys.modules); "
        "odm.load_config('faster_rcnn_mobilenet_v1_voc07'); odm.Detections; odm.load_detector; "
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['object_detection_mtl']\nFalse\n"
