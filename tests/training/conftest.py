"""Fixtures of the training tests."""

import functools
import shutil

import pytest

from object_detection_mtl.checkpoints import native
from tests.training.linear import make_model
from tests.training.loop_runs import scheduled, state, train


@pytest.fixture(scope="module")
def linear_names():
    """Let checkpoints name the variables of a `LinearDetector`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            native.tf1_detection, "name_map", lambda detector: detector.tf1_variable_names()
        )
        yield


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, linear_names):
    """The state of an uninterrupted run after each of nine steps: {step: state}."""
    models, states = [], {}

    def model():
        models.append(make_model({"noise": 0.1}, optimizer=scheduled(), seed=3))
        return models[-1]

    def record(step, _):
        states[step] = state(models[-1])
        return False

    directory = tmp_path_factory.mktemp("uninterrupted")
    train(directory, 9, model=model, checkpoint_every_n=1, on_checkpoint=record)
    return states


@pytest.fixture(scope="module")
def copy_run(tmp_path_factory, linear_names):
    """Return a function that gives a directory the files of a run, made once for all tests."""

    @functools.cache
    def made(num_steps, checkpoint_every_n):
        directory = tmp_path_factory.mktemp("made")
        train(directory, num_steps, checkpoint_every_n=checkpoint_every_n)
        return directory

    def copy(directory, num_steps, checkpoint_every_n=1000):
        shutil.copytree(made(num_steps, checkpoint_every_n), directory)

    return copy
