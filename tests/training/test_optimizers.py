"""Updates by hand, and the names of what an optimizer keeps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.training.optimizers import Adam, Momentum, RMSProp


def variables():
    return [keras.Variable([1.0, 2.0]), keras.Variable([[3.0]])]


@pytest.mark.parametrize(
    ("optimizer", "slots"),
    [
        (Momentum(0.1, momentum=0.9), {"momentum"}),
        (Momentum(0.1, momentum=0.0), set()),
        (Momentum(0.1, momentum=0.9, use_ema=True), {"momentum", "average"}),
        (Adam(0.1), {"momentum", "velocity"}),
        (RMSProp(0.1, momentum=0.5, use_ema=True), {"momentum", "velocity", "average"}),
    ],
)
def test_slots_are_named_and_in_order(optimizer, slots):
    trained = variables()
    optimizer.build(trained)
    assert set(optimizer.slots) == slots
    for created in optimizer.slots.values():
        assert [tuple(v.shape) for v in created] == [(2,), (1, 1)]
    named = {id(v) for created in optimizer.slots.values() for v in created}
    assert named <= {id(v) for v in optimizer.variables}
    # Nothing but the step count, and a rate without a schedule, has no slot.
    assert len(optimizer.variables) - len(named) == 2


def test_momentum_by_hand():
    trained = variables()
    optimizer = Momentum(0.1, momentum=0.5)
    optimizer.build(trained)
    for _ in range(2):
        optimizer.apply([tf.constant([1.0, -2.0]), tf.constant([[0.0]])], trained)
    # v1 = -0.1 g, v2 = 0.5 v1 - 0.1 g; x = 1 - 0.1 - 0.15.
    np.testing.assert_allclose(trained[0], [0.75, 2.5], rtol=1e-6)
    np.testing.assert_allclose(optimizer.slots["momentum"][0], [-0.15, 0.3], rtol=1e-6)


@pytest.mark.parametrize(
    ("decay", "second"),
    [
        # At step 1 the decay is at most 2 / 11.
        (0.75, 9 / 11 * -1.0),
        (0.125, 0.875 * -1.0),
    ],
)
def test_moving_average_by_hand(decay, second):
    trained = variables()
    optimizer = Momentum(1.0, momentum=0.0, use_ema=True, ema_momentum=decay)
    optimizer.build(trained)
    average = optimizer.slots["average"][0]
    gradients = [tf.constant([1.0, 0.0]), tf.constant([[0.0]])]
    optimizer.apply(gradients, trained)  # 1 -> 0, and the average begins there
    np.testing.assert_allclose(average, [0.0, 2.0])
    optimizer.apply(gradients, trained)  # 0 -> -1
    np.testing.assert_allclose(trained[0], [-1.0, 2.0])
    np.testing.assert_allclose(average, [second, 2.0], rtol=1e-6)


def test_rmsprop_by_hand():
    trained = variables()
    optimizer = RMSProp(0.1, rho=0.5, momentum=0.0, epsilon=1.0)
    optimizer.build(trained)
    optimizer.apply([tf.constant([2.0, 0.0]), tf.constant([[0.0]])], trained)
    np.testing.assert_allclose(trained[0], [1.0 - 0.1 * 2.0 / np.sqrt(0.5 * 4.0 + 1.0), 2.0])


@pytest.mark.parametrize("optimizer", [Momentum, Adam, RMSProp])
def test_a_rate_multiplier_is_a_learning_rate_of_its_own(optimizer):
    """Two optimizers with rates 0.1 and 0.3, and one with rate 0.1 and multipliers 1 and 3."""
    gradients = [tf.constant([1.0, -2.0]), tf.constant([[0.5]])]
    together, first, second = variables(), variables(), variables()
    multiplied, *alone = optimizer(0.1), optimizer(0.1), optimizer(0.3)
    multiplied.rate_multipliers = (1.0, 3.0)
    for one, trained in ((multiplied, together), (alone[0], first), (alone[1], second)):
        one.build(trained)
        for _ in range(3):
            one.apply(gradients, trained)
    np.testing.assert_allclose(together[0], first[0], rtol=1e-6)
    np.testing.assert_allclose(together[1], second[1], rtol=1e-6)
    assert not np.allclose(together[1], first[1])
