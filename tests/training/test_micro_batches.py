"""A batch in parts gives the update of the whole batch."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Batch
from object_detection_mtl.ops import sampler
from object_detection_mtl.training import micro_batches, summary_names
from object_detection_mtl.training.optimizers import Momentum
from object_detection_mtl.training.training_step import StepOptions, TrainingStep
from tests.models import test_auxiliary_stage as auxiliary
from tests.models import tiny as small
from tests.training import tiny
from tests.training.linear import one_device
from tests.training.test_xla_step import Recorder


def trained(num_parts, **options):
    """Return scalars and weights of the tiny detector after two steps on four images."""
    with one_device() as strategy:
        detector = tiny.tiny_detector()
        optimizer = Momentum(0.05, momentum=0.9)
        variables = detector.trainable_variables
        optimizer.build(variables)
        step = TrainingStep(
            detector, optimizer, variables, StepOptions(num_micro_batches=num_parts, **options)
        )
        compiled = tf.function(
            lambda number, data: strategy.run(step, args=(data, number)), autograph=False
        )
        for number in range(2):
            scalars = compiled(tf.constant(number, tf.int64), tiny.batch(0, 1, 2, 3))
    return {k: float(v) for k, v in scalars.items()}, [v.numpy() for v in variables]


@pytest.fixture(scope="module")
def whole():
    return trained(1)


@pytest.mark.slow
@pytest.mark.parametrize("num_parts", [4])
def test_the_update_is_that_of_the_whole_batch(num_parts, whole):
    scalars, weights = trained(num_parts)
    assert scalars.keys() == whole[0].keys()
    assert scalars[summary_names.TOTAL] > 0.1
    for name, value in whole[0].items():
        assert scalars[name] == pytest.approx(value, rel=1e-4), name
    for value, wanted in zip(weights, whole[1], strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_recomputed_stage2_and_parts_give_the_gradients_of_the_whole_batch():
    """All tasks at once; `Recorder` turns the variables into their gradients."""

    def gradients(*overrides, **options):
        with one_device() as strategy:
            detector = small.detector(
                small.FEW_CHANNELS,
                *auxiliary.ALL,
                *auxiliary.WEIGHTS,
                *auxiliary.NO_CHANCE,
                *overrides,
                is_training=True,
            )
            inputs, shapes = detector.preprocess(small.images(2))
            batch = {Batch.inputs: inputs, Batch.true_image_shapes: shapes}
            variables = detector.trainable_variables
            step = TrainingStep(detector, Recorder(), variables, StepOptions(**options))
            compiled = tf.function(functools.partial(strategy.run, step), autograph=False)
            compiled(args=(batch | auxiliary.groundtruth(0, 1), tf.constant(0, tf.int64)))
        return [variable.numpy() for variable in variables]

    found = gradients("model.mtl.recompute_stage2=true", num_micro_batches=2)
    for value, wanted in zip(found, gradients(), strict=True):
        assert np.linalg.norm(value - wanted) <= 1e-4 * np.linalg.norm(wanted)


def test_structure_of_a_result_with_nothing_in_places():
    batch = {"x": tf.constant([[1.0], [2.0], [3.0], [6.0]])}
    seed = sampler.BatchSeed(tf.constant([1, 2]), tf.constant([0, 1, 2, 3]), 4)

    @tf.function(autograph=False)
    def mean():
        return micro_batches.mean_over_parts(
            lambda part, seed: (
                {"x": tf.reduce_mean(part["x"])},
                [None, tf.reduce_mean(tf.cast(seed.rows, tf.float32))],
            ),
            batch,
            seed,
            2,
        )

    values, (nothing, row) = mean()
    assert float(values["x"]) == 3.0
    assert nothing is None
    assert float(row) == 1.5


@pytest.mark.parametrize("num_parts", [0, 3, 8])
def test_parts_of_different_sizes_are_refused(num_parts):
    with pytest.raises(ValueError, match=f"num_micro_batches is {num_parts}.* divide the 4 images"):
        micro_batches.check_divisible(4, num_parts)
