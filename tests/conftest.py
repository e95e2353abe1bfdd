"""Settings of all tests."""

import gc
import os

import pytest

from object_detection_mtl.cli import process_settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The test processes share the cores; more threads than cores only wait for each other.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
process_settings.use_onednn()  # as the commands that train do
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


# Files of which a test takes a minute or more. They start first: of those that start last, one test
# process works for minutes while the other has nothing left.
_LONGEST_FILES = (
    "benchmarks/test_positive_control.py",
    "benchmarks/test_ablation_command.py",
    "training/test_two_workers.py",
    "models/test_golden_training.py",
    "models/test_golden_inference.py",
    "test_jobs.py",
    "test_documentation.py",
    "test_refiner_refit.py",
    "test_notebooks.py",
)


def pytest_collection_modifyitems(items):
    """Sort the files of the slow tier, stably."""
    items.sort(key=lambda item: not str(item.path).endswith(_LONGEST_FILES))


def pytest_collection_finish():
    """Exclude the imported modules, some million objects, from every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _free_large_models(request):
    """Collect models and their graphs, which are few objects in cycles but much memory."""
    yield
    if request.node.get_closest_marker("slow") or request.node.get_closest_marker("long"):
        gc.collect()
