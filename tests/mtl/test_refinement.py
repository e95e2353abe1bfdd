"""The refiner alone, with weights and logits made by hand."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.mtl.auxiliary_task import Context, RefinedProposals
from object_detection_mtl.mtl.refinement import Refiner
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams

MAIN = tf.constant([[[1.0, 2.0], [3.0, 0.0], [0.0, 5.0]]])  # K = 1, three proposals
EVIDENCE = tf.constant([[[10.0], [20.0], [30.0]]])


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
        np.testing.assert_allclose(layer.refine(MAIN, [EVIDENCE], context())[0], expected)


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
    np.testing.assert_allclose(layer.refine(MAIN, [EVIDENCE], context())[0], expected)


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
        tape.watch([MAIN, EVIDENCE])
        total = tf.reduce_sum(layer.refine(MAIN, [EVIDENCE], context()))
    main, auxiliary = tape.gradient(
        total, [MAIN, EVIDENCE], unconnected_gradients=tf.UnconnectedGradients.ZERO
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
        refined = layer.refine(MAIN, [chosen.of(EVIDENCE)], asked)
        np.testing.assert_allclose(refined, expected)
    assert layer.choose(MAIN, context(training=True)).rows is None
    assert refiner(top_k=3).choose(MAIN, context()).rows is None
