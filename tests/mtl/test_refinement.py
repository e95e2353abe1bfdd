"""The refiner alone, with weights and logits made by hand."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.mtl.auxiliary_task import Context, RefinedProposals
from object_detection_mtl.mtl.refinement import Refiner, RunningMoments
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams

MAIN = tf.constant([[[1.0, 2.0], [3.0, 0.0], [0.0, 5.0]]])  # K = 1, three proposals
AUXILIARY = tf.constant([[[10.0], [20.0], [30.0]]])


def context(training=False, num_proposals=3):
    boxes = tf.zeros([1, 3, 4])
    return Context(
        features=tf.zeros([1, 1, 1, 1]),
        regions=None,
        proposals=boxes,
        num_proposals=tf.constant([num_proposals]),
        to_map=lambda boxes: boxes,
        groundtruth={},
        training=training,
        refined=RefinedProposals(boxes),
    )


def refiner(**options):
    return Refiner(num_classes=1, auxiliary_width=1, **options)


def set_weights(layer, kernel, bias):
    layer.set_weights([np.array(kernel, np.float32), np.array(bias, np.float32)])


def test_one_linear_layer_and_the_residue():
    kernel = [[1, 0], [0, 2], [0.1, 0]]  # main background, main class, auxiliary
    for residue, expected in (
        (False, [[2.5, 3.5], [5.5, -0.5], [3.5, 9.5]]),
        (True, [[3.5, 5.5], [8.5, -0.5], [3.5, 14.5]]),
    ):
        layer = refiner(residue=residue)
        set_weights(layer.linear_layers[0], kernel, [0.5, -0.5])
        np.testing.assert_allclose(layer.refine(MAIN, [AUXILIARY], context())[0], expected)


def test_hidden_layers_are_as_wide_as_their_input_and_have_an_activation():
    layer = refiner(num_hidden_layers=2, hyperparams=LayerHyperparams(activation=tf.nn.relu))
    assert [dense.kernel.shape for dense in layer.linear_layers] == [(3, 3), (3, 3), (3, 2)]
    assert set(layer.tf1_variables()) == {
        f"MTLClassRefiner/fc{i}/{part}" for i in (1, 2, 3) for part in ("weights", "biases")
    }
    set_weights(layer.linear_layers[0], np.eye(3), [-2, 0, 0])
    set_weights(layer.linear_layers[1], np.eye(3), [0, 0, 0])
    set_weights(layer.linear_layers[2], [[1, 0], [0, 1], [0, 0]], [0, 0])
    # Background minus 2, not below 0.
    expected = [[0, 2], [1, 0], [0, 5]]
    np.testing.assert_allclose(layer.refine(MAIN, [AUXILIARY], context())[0], expected)


def test_the_dropout_rate_is_a_probability_to_keep_and_acts_in_training_alone():
    layer = Refiner(num_classes=1, auxiliary_width=998, num_hidden_layers=1, keep_probability=0.75)
    set_weights(layer.linear_layers[0], np.eye(1000), np.zeros(1000))
    set_weights(layer.linear_layers[1], np.full([1000, 2], 0.001), [0, 0])
    main, auxiliary = tf.ones([1, 3, 2]), tf.ones([1, 3, 998])
    np.testing.assert_allclose(layer.refine(main, [auxiliary], context()), 1.0, rtol=1e-5)
    outputs = layer.refine(main, [auxiliary], context(training=True)).numpy()
    # A sum of 1000 values, each 0 or 1 / 0.75: mean 1, standard deviation 0.018.
    np.testing.assert_allclose(outputs, 1.0, atol=0.1)
    assert np.ptp(outputs) > 0
    kept = np.round(outputs * 0.75 * 1000)
    np.testing.assert_allclose(outputs, kept / 750, rtol=1e-4)
    assert refiner(keep_probability=0.5).dropout is None  # without a hidden layer there is none


@pytest.mark.parametrize(("stopped", "reaches"), [(False, 1.0), (True, 0.0)])
def test_the_refined_loss_reaches_the_main_logits_through_the_residue_alone(stopped, reaches):
    layer = refiner(residue=True, stop_gradient_of_residue=stopped)
    with tf.GradientTape() as tape:
        tape.watch([MAIN, AUXILIARY])
        total = tf.reduce_sum(layer.refine(MAIN, [AUXILIARY], context()))
    main, auxiliary = tape.gradient(
        total, [MAIN, AUXILIARY], unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    np.testing.assert_allclose(main, reaches * np.ones([1, 3, 2]))
    np.testing.assert_allclose(auxiliary, np.zeros([1, 3, 1]))


def test_the_best_are_refined_and_the_rest_keep_their_main_logits():
    """Foreground scores 0.73, 0.05, 0.99: with two of three existing, the first is the best."""
    layer = refiner(top_k=1)
    set_weights(layer.linear_layers[0], np.zeros([3, 2]), [7, 8])
    for num_proposals, best in ((3, 2), (2, 0)):
        chosen = layer.choose(MAIN, context(num_proposals=num_proposals))
        assert chosen.rows.numpy().tolist() == [[best]]
        asked = Context(**{**vars(context()), "refined": chosen})
        expected = MAIN.numpy()
        expected[0, best] = [7, 8]
        refined = layer.refine(MAIN, [chosen.of(AUXILIARY)], asked)
        np.testing.assert_allclose(refined, expected)
    assert layer.choose(MAIN, context(training=True)).rows is None
    assert refiner(top_k=3).choose(MAIN, context()).rows is None


def test_running_moments_by_hand():
    """Two valid rows of three; the second update keeps 1 / 10 of the first."""
    moments = RunningMoments(2)
    inputs = tf.constant([[[1.0, 10.0], [3.0, 10.0], [99.0, 99.0]]])
    moments.update(inputs, tf.constant([2]))
    np.testing.assert_allclose(moments.mean, [2, 10])
    np.testing.assert_allclose(moments.variance, [1, 0])
    moments.update(inputs + 2.0, tf.constant([2]))
    np.testing.assert_allclose(moments.mean, [3.8, 11.8], rtol=1e-6)
    # Of a mixture, 1/10 around 2 and 9/10 around 4: 1 + 0.1 * 0.9 * 2^2.
    np.testing.assert_allclose(moments.variance, [1.36, 0.36], rtol=1e-5)
    moments.update(inputs, tf.constant([0]))  # no proposal: no change
    np.testing.assert_allclose(moments.mean, [3.8, 11.8], rtol=1e-6)
    assert float(moments.updates) == 2


def test_old_moments_keep_at_most_the_momentum():
    moments = RunningMoments(1, momentum=0.5)
    for value in (4.0, 4.0, 4.0, 4.0):
        moments.update(tf.fill([1, 1, 1], value), tf.constant([1]))
    moments.updates.assign(1000.0)
    moments.update(tf.fill([1, 1, 1], 8.0), tf.constant([1]))
    np.testing.assert_allclose(moments.mean, [6.0], rtol=1e-6)


def test_standardized_inputs_by_hand_and_folded():
    """Mean 2 and variance 4: an input of 6 is 2. Inference gives the same, and updates nothing."""
    layer = refiner(standardize_inputs=True)
    layer.moments.epsilon = 0.0
    layer.moments.updates.assign(1e9)
    layer.moments.momentum = 1.0  # training's update changes nothing either
    layer.moments.mean.assign([0.0, 0.0, 10.0])
    layer.moments.variance.assign([1.0, 4.0, 25.0])
    set_weights(layer.linear_layers[0], [[1, 0], [0, 1], [1, 10]], [0.5, -0.5])
    # (1, 1, 0), (3, 0, 2), (0, 2.5, 4)
    expected = [[1.5, 0.5], [5.5, 19.5], [4.5, 42.0]]
    for training in (False, True):
        found = layer.refine(MAIN, [AUXILIARY], context(training=training))
        np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    assert float(layer.moments.updates) > 1e8


def test_training_updates_the_moments_and_inference_reads_them():
    layer = refiner(standardize_inputs=True)
    trained = layer.refine(MAIN, [AUXILIARY], context(training=True)).numpy()
    np.testing.assert_allclose(layer.moments.mean, [4 / 3, 7 / 3, 20], rtol=1e-5)
    np.testing.assert_allclose(layer.refine(MAIN, [AUXILIARY], context()), trained, atol=1e-5)
    assert float(layer.moments.updates) == 1
    assert {variable.name for variable in layer.trainable_variables} == {"kernel", "bias"}
    assert set(layer.tf1_variables()) == {
        f"MTLClassRefiner/{name}"
        for name in (
            "fc1/weights",
            "fc1/biases",
            "input_mean",
            "input_variance",
            "input_updates",
        )
    }


def test_dropout_of_main_logits_takes_all_of_a_proposal_and_scales_nothing():
    layer = refiner(main_logits_dropout=0.25)
    set_weights(layer.linear_layers[0], [[1, 0], [1, 0], [0, 1]], [0, 0])
    main, auxiliary = tf.ones([1, 4000, 2]), tf.ones([1, 4000, 1])
    found = layer.refine(main, [auxiliary], context(training=True)).numpy()[0]
    np.testing.assert_array_equal(found[:, 1], np.ones(4000))
    assert set(found[:, 0]) == {0.0, 2.0}
    assert np.mean(found[:, 0] == 0.0) == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(
        layer.refine(main, [auxiliary], context())[0], np.tile([2.0, 1.0], [4000, 1])
    )


@pytest.mark.parametrize("residue", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
def test_a_linear_function_that_is_set_is_added_to_the_main_logits(residue, standardize):
    layer = refiner(residue=residue, standardize_inputs=standardize)
    if standardize:
        layer.moments.mean.assign([1.0, -2.0, 20.0])
        layer.moments.variance.assign([4.0, 1.0, 50.0])
    kernel, bias = np.array([[1.0, 0.0], [0.5, 2.0], [0.1, -0.3]]), np.array([0.5, -1.5])
    layer.set_linear(kernel, bias)
    inputs = np.concatenate([MAIN, AUXILIARY], axis=-1)
    expected = inputs @ kernel + bias + MAIN
    np.testing.assert_allclose(layer.refine(MAIN, [AUXILIARY], context()), expected, atol=2e-5)


def test_hidden_layers_cannot_be_set():
    with pytest.raises(ValueError, match="has 1 hidden layers"):
        refiner(num_hidden_layers=1).set_linear(np.zeros((3, 2)), np.zeros(2))
