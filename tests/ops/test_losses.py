import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.ops import losses
from tests.golden.ops_cases import cases
from tests.ops.graphs import call_with_unknown_sizes

GOLDEN = {
    "weighted_smooth_l1": losses.smooth_l1,
    "weighted_l2": losses.l2,
    "weighted_softmax": losses.softmax_cross_entropy,
    "weighted_sigmoid": losses.sigmoid_cross_entropy,
    "sigmoid_focal": losses.sigmoid_focal,
    "bootstrapped_sigmoid": losses.bootstrapped_sigmoid,
}
LN2 = np.log(2)
INFINITE = float("inf")


def check(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("function", "case"),
    [pytest.param(GOLDEN[op], case, id=case.id) for op in GOLDEN for case in cases(op)],
)
def test_golden(function, case):
    arguments = (tf.constant(case.inputs[name]) for name in ("prediction", "target", "weights"))
    loss = function(*arguments, **case.params)
    check(loss, case.expected["loss"])


def test_smooth_l1_by_hand():
    """|d| = 2.5 gives 2, 0.4 gives .08, 0.9 gives .405; times the weights; the sum is 7.695."""
    predictions = tf.constant(
        [
            [[2.5, 0, 0.4, 0], [0, 0, 0, 0], [0, 2.5, 0, 0.4]],
            [[3.5, 0, 0, 0], [0, 0.4, 0, 0.9], [0, 0, 1.5, 0]],
        ]
    )
    weights = tf.constant([[2.0, 1, 1], [0, 3, 0]])
    loss = losses.smooth_l1(predictions, tf.zeros([2, 3, 4]), weights)
    check(loss, [[2 * 2.08, 0, 2.08], [0, 3 * 0.485, 0]])
    check(tf.reduce_sum(loss), 7.695)


def test_smooth_l1_delta():
    """Beyond delta the slope is delta: d = 3 and delta = 2 give 2 * (3 - 1) = 4."""
    loss = losses.smooth_l1(
        tf.constant([[[3.0, 0, 0, 1]]]), tf.zeros([1, 1, 4]), tf.ones([1, 1]), 2
    )
    check(loss, [[4.5]])


def test_smooth_l1_sigma():
    """sigma = 3: (3 d)^2 / 2 up to 1/9, then |d| - 1/18; the two agree where they meet."""
    predictions = tf.constant([[[0.1, 0, 0, 0], [1 / 9, 0, 0, 0], [1, 0, 0, 0]]])
    loss = losses.smooth_l1_sigma(predictions, tf.zeros([1, 3, 4]), tf.ones([1, 3]), 3.0)
    check(loss, [[0.045, 1 / 18, 17 / 18]])


def test_l2_by_hand():
    """30 codes of 4 entries, all wrong by 1, weights 1/2: 30 * 4 / 2 / 4; and 10 per anchor row."""
    loss = losses.l2(tf.ones([3, 10, 4]), tf.zeros([3, 10, 4]), tf.fill([3, 10], 0.5))
    check(loss, np.full([3, 10], 0.5))


def test_softmax_by_hand():
    """Equal logits of two classes cost ln 2; the mean of weights over classes counts."""
    logits, targets = tf.zeros([1, 3, 2]), tf.constant([[[1.0, 0], [0, 1], [1, 0]]])
    check(
        losses.softmax_cross_entropy(logits, targets, tf.constant([[1.0, 0.5, 0]])),
        [[LN2, LN2 / 2, 0]],
    )
    weights = tf.constant([[[1.0, 1], [1, 0], [0, 0]]])
    check(losses.softmax_cross_entropy(logits, targets, weights), [[LN2, LN2 / 2, 0]])


def test_a_huge_logit_scale_flattens():
    logits = tf.constant([[[-100.0, 100, -100], [0, 0, 100]]])
    targets = tf.constant([[[1.0, 0, 0], [0, 0, 1]]])
    loss = losses.softmax_cross_entropy(logits, targets, tf.ones([1, 2]), logit_scale=1e8)
    check(loss, [[np.log(3), np.log(3)]])


def test_softmax_gradient_is_softmax_minus_targets():
    """Also for targets that sum to 0.97, which the derivative of the formula would scale by it."""
    logits = tf.constant([[[0.3, -1.2, 2.0]]])
    targets = tf.constant([[[0.2, 0.5, 0.27]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(losses.softmax_cross_entropy(logits, targets, tf.ones([1, 1])))
    check(tape.gradient(loss, logits), tf.nn.softmax(logits) - targets)


def test_sigmoid_by_hand():
    logits = tf.constant([[[0.0, 100], [-100, 0]]])
    targets = tf.constant([[[1.0, 1], [1, 0]]])
    check(
        losses.sigmoid_cross_entropy(logits, targets, tf.constant([[1.0, 0.5]])),
        [[[LN2, 0], [50, LN2 / 2]]],
    )


def test_focal_by_hand():
    """At p = 1/2 with gamma 2: ln 2 / 4, times alpha for positives and 1 - alpha for negatives."""
    logits, targets, weights = tf.zeros([1, 1, 2]), tf.constant([[[1.0, 0]]]), tf.ones([1, 1])
    check(losses.sigmoid_focal(logits, targets, weights), [[[LN2 / 16, LN2 * 3 / 16]]])
    plain = losses.sigmoid_focal(logits, targets, weights, gamma=0.0, alpha=None)
    check(plain, losses.sigmoid_cross_entropy(logits, targets, weights))


def test_focal_ratio_to_cross_entropy():
    """The loss is the cross-entropy times (1 - p)^gamma."""
    logits = tf.constant([[[3.0], [-2.0]]])
    targets, weights = tf.ones([1, 2, 1]), tf.ones([1, 2])
    focal = losses.sigmoid_focal(logits, targets, weights, gamma=3.0, alpha=None)
    plain = losses.sigmoid_cross_entropy(logits, targets, weights)
    check(focal / plain, (1 - tf.sigmoid(logits)) ** 3)


@pytest.mark.parametrize("bootstrap_type", ["soft", "hard"])
def test_bootstrapped_by_hand(bootstrap_type):
    """With logits of 0 every target has the loss ln 2."""
    logits, targets = tf.zeros([1, 2, 2]), tf.constant([[[1.0, 0], [0, 1]]])
    loss = losses.bootstrapped_sigmoid(logits, targets, tf.ones([1, 2]), 0.5, bootstrap_type)
    check(loss, np.full([1, 2, 2], LN2))


def test_bootstrapping_forgives_a_confident_contradiction():
    logits, targets = tf.constant([[[4.0]]]), tf.zeros([1, 1, 1])
    forgiving = losses.bootstrapped_sigmoid(logits, targets, tf.ones([1, 1]), 0.5, "hard")
    check(forgiving, 0.5 * np.log1p(np.exp(4)) + 0.5 * np.log1p(np.exp(-4)))


LOCALIZATION = [losses.smooth_l1, losses.l2]
CLASSIFICATION = [
    losses.softmax_cross_entropy,
    losses.sigmoid_cross_entropy,
    losses.sigmoid_focal,
    lambda *arguments: losses.bootstrapped_sigmoid(*arguments, 0.5),
]


@pytest.mark.parametrize("function", LOCALIZATION + CLASSIFICATION)
@pytest.mark.parametrize("bad", [INFINITE, -INFINITE, float("nan")])
def test_weight_zero_means_no_loss_and_no_gradient(function, bad):
    """Any value in the masked row: an infinite code, a box of NaNs."""
    predictions = tf.constant([[[0.1, 0.2, 0.3, 0.4], [bad] * 4]])
    targets = tf.constant([[[0.0, 0, 1, 1], [bad] * 4]])
    if function in CLASSIFICATION:
        targets = tf.constant([[[0.0, 0, 1, 0], [1, 0, 0, 0]]])
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        loss = function(predictions, targets, tf.constant([[1.0, 0]]))
    gradient = tape.gradient(loss, predictions)
    assert np.isfinite(loss).all()
    assert np.isfinite(gradient).all()
    assert not loss[0, 1].numpy().any()
    assert not gradient[0, 1].numpy().any()
    assert gradient[0, 0].numpy().any()


@pytest.mark.parametrize("function", LOCALIZATION + CLASSIFICATION)
def test_gradients_of_perfect_and_extreme_predictions_are_finite(function):
    rows = [[0.0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0], [-80, 80, -80, 80]]
    predictions = tf.constant([rows])
    targets = tf.constant([[[0.0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1]]])
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        loss = function(predictions, targets, tf.ones([1, 4]))
    assert np.isfinite(loss).all()
    assert np.isfinite(tape.gradient(loss, predictions)).all()


@pytest.mark.parametrize("function", LOCALIZATION + CLASSIFICATION)
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4)])
def test_nothing_costs_nothing(function, shape):
    loss = function(tf.zeros(shape), tf.zeros(shape), tf.ones(shape[:2]))
    assert loss.shape[:2] == shape[:2]
    assert float(tf.reduce_sum(loss)) == 0


@pytest.mark.parametrize("function", LOCALIZATION + CLASSIFICATION)
def test_a_graph_without_known_sizes_gives_the_same(function):
    rng = np.random.RandomState(0)
    predictions, targets = rng.rand(2, 2, 3, 4).astype(np.float32)
    weights = rng.rand(2, 3).astype(np.float32)
    actual = call_with_unknown_sizes(function, predictions, targets, weights, known_axes=0)
    expected = function(tf.constant(predictions), tf.constant(targets), tf.constant(weights))
    check(actual, expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 4))
def test_smooth_l1_equals_its_definition(seed, delta):
    rng = np.random.RandomState(seed)
    predictions, targets = rng.normal(size=(2, 1, 5, 4)).astype(np.float32)
    weights = rng.rand(1, 5).astype(np.float32)
    distance = np.abs(predictions - targets)
    huber = np.where(distance <= delta, distance**2 / 2, delta * (distance - delta / 2))
    check(
        losses.smooth_l1(tf.constant(predictions), targets, tf.constant(weights), delta),
        huber.sum(-1) * weights,
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, w: losses.smooth_l1(x, x, w, delta=0.0), "delta is 0.0"),
        (lambda x, w: losses.smooth_l1_sigma(x, x, w, sigma=-1.0), "sigma is -1.0"),
        (lambda x, w: losses.softmax_cross_entropy(x, x, w, logit_scale=0.0), "logit_scale"),
        (lambda x, w: losses.bootstrapped_sigmoid(x, x, w, 0.5, "medium"), "'medium'"),
    ],
)
def test_wrong_arguments(call, words):
    with pytest.raises(ValueError, match=words):
        call(tf.zeros([1, 2, 4]), tf.ones([1, 2]))
