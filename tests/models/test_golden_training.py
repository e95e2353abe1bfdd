"""Training of eight models against numbers of the authors' code (`tests.golden.golden_models`)."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from object_detection_mtl.fields import Predictions
from tests.golden import model_runner
from tests.golden.golden_models import (
    AUXILIARY,
    FIRST_STAGE,
    INCEPTION,
    INCEPTION_MTL,
    LOSS_TOLERANCE,
    MOBILENET,
    MOBILENET_MTL,
    RESNET,
    RESNET_MTL,
    RFCN,
    RFCN_MTL,
    SECOND_STAGE,
    GoldenModel,
    assert_close,
    in_tier,
    of_models,
)

GRADIENT_TOLERANCE = 1e-3  # relative
OF_ANCHORS = (Predictions.anchors, Predictions.rpn_box_encodings, Predictions.rpn_objectness)


@pytest.fixture(scope="module")
def run_training():
    """A function model -> its golden; predictions, losses and gradient norms without oneDNN."""

    @functools.lru_cache(maxsize=1)
    def run(model: GoldenModel) -> tuple[Any, dict[str, np.ndarray]]:
        name = f"{model.name}_train"
        options = ["--authors_rounding"] if model.authors_rounding else []
        with tempfile.TemporaryDirectory() as directory:
            output = f"{directory}/train.npz"
            print(model.config, name, output, *options, file=process.stdin, flush=True)
            assert process.stdout.readline() == f"{output}\n"
            with np.load(output) as outputs:
                return np.load(model_runner.GOLDEN / f"{name}.npz"), dict(outputs)

    # One process for all models: it imports TensorFlow once.
    with subprocess.Popen(
        [sys.executable, "-m", "tests.golden.model_runner"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield run


class TrainingTests:
    """Predictions, losses and gradients of one model."""

    @pytest.fixture(autouse=True)
    def load(self, model, run_training):
        self.model = model
        self.run = run_training(model)

    def test_predictions(self):
        golden, ours = self.run
        inside = ours[Predictions.anchors_inside][0]
        assert inside.sum() == len(golden["anchors"])
        for key in (*FIRST_STAGE, *SECOND_STAGE):
            value = ours[key]
            if key in OF_ANCHORS:  # the golden holds those inside the image
                value = value.reshape([len(inside), -1])[inside]
            assert_close(value, golden[key], key)

    def test_losses(self):
        golden, ours = self.run
        names = {key for key in golden.files if key.startswith("loss/")}
        assert names == {key for key in ours if key.startswith("loss/")}
        assert len(names) == (8 if self.model.has_tasks else 4)
        for key in (*names, "total_loss"):
            np.testing.assert_allclose(ours[key], golden[key], rtol=LOSS_TOLERANCE, err_msg=key)

    def test_regularization_loss(self):
        """The golden's sum includes unused layers that are not built here."""
        golden, ours = self.run
        ours_exact = ours["exact_regularization_loss"]
        np.testing.assert_allclose(ours["regularization_loss"], ours_exact, rtol=LOSS_TOLERANCE)
        # Added to ours: subtracting from the golden would add its error of 9e-6 or more.
        total = ours_exact + ours["unused_regularization_loss"]
        tolerance = self.model.regularization_tolerance
        np.testing.assert_allclose(total, golden["regularization_loss"], rtol=tolerance)

    def test_gradient_norms(self):
        golden, ours = self.run
        norms = dict(zip(golden["grad_var_names"], golden["grad_l2_norms"], strict=True))
        # -1: the variable is unused and has no gradient.
        norms = {f"grad/{name}": norm for name, norm in norms.items() if norm >= 0}
        assert set(norms) == {key for key in ours if key.startswith("grad/")}
        np.testing.assert_allclose(
            [ours[name] for name in norms], list(norms.values()), rtol=GRADIENT_TOLERANCE
        )


# With tasks the large models train the same parts as without. R-FCN also trains ResNet-101,
# and MobileNet the heads and tasks of Faster R-CNN.
@pytest.mark.golden
@of_models(
    in_tier(MOBILENET, pytest.mark.slow),
    in_tier(RESNET, pytest.mark.long),
    in_tier(RFCN, pytest.mark.long),
    in_tier(INCEPTION, pytest.mark.long),
)
class TestTraining(TrainingTests):
    """Models without auxiliary tasks."""


@pytest.mark.golden
@of_models(
    in_tier(MOBILENET_MTL, pytest.mark.slow),
    in_tier(RESNET_MTL, pytest.mark.long),
    in_tier(RFCN_MTL, pytest.mark.slow),
    in_tier(INCEPTION_MTL, pytest.mark.slow),
)
class TestTrainingWithTasks(TrainingTests):
    """Models with all tasks and the refinement."""

    @pytest.mark.parametrize("key", AUXILIARY)
    def test_auxiliary_predictions(self, key):
        golden, ours = self.run
        assert_close(ours[key], golden[key], key)
