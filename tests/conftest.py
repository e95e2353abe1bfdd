"""Settings shared by all tests."""

import gc
import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(autouse=True)
def _large_models_do_not_pile_up(request):
    """Models and their graphs are garbage in cycles, and Python sees only how few objects it is."""
    yield
    if request.node.get_closest_marker("slow"):
        gc.collect()
