import json

import pytest

from object_detection_mtl import extras


def test_a_package_that_is_there():
    assert extras.load("json", "any", "this") is json


def test_one_that_is_not_names_its_extra():
    message = r"^dreams need it \(No module named 'no_such'\); pip install '.*_mtl\[dreaming\]'$"
    with pytest.raises(ValueError, match=message):
        extras.load("no_such", "dreaming", "dreams need it")
