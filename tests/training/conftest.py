"""Fixtures of the training tests."""

import pytest

from object_detection_mtl.checkpoints import native


@pytest.fixture(scope="module")
def linear_names():
    """Let checkpoints name the variables of a `LinearDetector`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            native.tf1_detection, "name_map", lambda detector: detector.tf1_variable_names()
        )
        yield
