"""Trained weights of the auxiliary losses, by hand."""

import math

import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import native
from object_detection_mtl.fields import Losses
from object_detection_mtl.mtl.loss_balance import UncertaintyBalance
from tests.models import tiny

WEIGHTS = {Losses.window: 0.5, Losses.closeness: 0.0}


def test_the_start_is_the_plain_sum():
    balance = UncertaintyBalance(WEIGHTS)
    assert float(balance.weigh(Losses.window, tf.constant(1.5))) == 1.5
    assert {key: float(value) for key, value in balance.factors().items()} == {Losses.window: 1.0}


def test_a_log_variance_by_hand():
    balance = UncertaintyBalance(WEIGHTS)
    balance.log_variances[Losses.window].assign(math.log(2.0))
    weighed = float(balance.weigh(Losses.window, tf.constant(1.5)))
    assert weighed == pytest.approx(1.5 / 2 + math.log(2.0) / 2)
    assert float(balance.factors()[Losses.window]) == pytest.approx(0.5)
    # A main loss, and one of weight 0, stay as they are.
    for key in (Losses.box_classification, Losses.closeness):
        assert float(balance.weigh(key, tf.constant(0.0))) == 0.0


@pytest.mark.parametrize("loss", [0.1, 0.5, 4.0])
def test_at_its_minimum_a_weighted_loss_is_one_half(loss):
    balance = UncertaintyBalance(WEIGHTS)
    variable = balance.log_variances[Losses.window]
    for _ in range(200):
        with tf.GradientTape() as tape:
            total = balance.weigh(Losses.window, tf.constant(loss))
        variable.assign_sub(0.5 * tape.gradient(total, variable.value))
    assert float(variable.value) == pytest.approx(math.log(2 * loss), abs=1e-3)
    assert loss * float(balance.factors()[Losses.window]) == pytest.approx(0.5, abs=1e-3)


def test_only_a_detector_in_training_has_it():
    settings = (
        "model.mtl.edgemask=true",
        "model.mtl.edgemask_loss_weight=1.0",
        "model.mtl.edgemask_predictor.kernel_size=1",
        "model.mtl.loss_balance=UNCERTAINTY",
    )
    name = "AuxiliaryLossBalance/edgemask_loss"
    trained = tiny.detector(*settings, is_training=True)
    assert list(trained.loss_balance.log_variances) == [Losses.edgemask]
    variable = native.named_variables(trained)[name]
    assert any(variable is other for other in trained.trainable_variables)
    assert tiny.detector(*settings, is_training=False).loss_balance is None
    assert tiny.detector(*settings[:3], is_training=True).loss_balance is None
    baseline = tiny.detector(settings[3], is_training=True)
    assert baseline.loss_balance is None
