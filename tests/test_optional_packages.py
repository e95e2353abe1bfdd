import json

import pytest

from object_detection_mtl import optional_packages


def test_installed_package_is_imported():
    assert optional_packages.import_package("json", "any", "this") is json


def test_error_of_a_missing_package_names_its_extra():
    message = r"^dreams need it \(No module named 'no_such'\); pip install '.*_mtl\[dreaming\]'$"
    with pytest.raises(ValueError, match=message):
        optional_packages.import_package("no_such", "dreaming", "dreams need it")
