"""Fixtures of the training tests."""

import pytest

from object_detection_mtl.checkpoints import native


@pytest.fixture
def linear_names(monkeypatch):
    """Lets checkpoints name the variables of a `LinearDetector`."""
    monkeypatch.setattr(
        native.tf1_detection, "name_map", lambda detector: detector.tf1_variable_names()
    )
