"""Fixtures of the tests of operations."""

import pytest

from tests.ops.nms_cases import LOWERINGS


@pytest.fixture(params=LOWERINGS.values(), ids=LOWERINGS.keys())
def every_way(request):
    """The test runs once for each implementation."""
    with request.param():
        yield
