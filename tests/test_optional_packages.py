import json

import pytest

from object_detection_mtl import optional_packages


def test_a_package_that_is_there():
    assert optional_packages.import_package("json", "any", "this") is json


def test_one_that_is_not_names_its_extra():
    message = r"^dreams need it \(No module named 'no_such'\); pip install '.*_mtl\[dreaming\]'$"
    with pytest.raises(ValueError, match=message):
        optional_packages.import_package("no_such", "dreaming", "dreams need it")
