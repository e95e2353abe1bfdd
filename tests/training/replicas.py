"""Steps on one device and on two, for tests in a process of its own: devices are set once.

    python -m tests.training.replicas PART

The part is SUM or PROJECT, how auxiliary gradients are added, or SAMPLING. The last line has the
numbers of one device and of two, or of other data on two. The parts do not share a process:
TensorFlow numbers collective operations, and expects equal shapes for equal numbers.
"""

import json
import sys

import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import Batch
from object_detection_mtl.training import distribution, summary_names
from object_detection_mtl.training.optimizers import Momentum
from object_detection_mtl.training.schedules import Schedule
from object_detection_mtl.training.training_step import TrainingStep
from tests.training import linear, tiny


def make_strategy(count):
    return tf.distribute.MirroredStrategy([f"/cpu:{index}" for index in range(count)])


def three_linear_steps(count, form):
    """Return scalars, weights, their averages and the number of steps; four images a step."""
    more = form != "SUM"
    strategy = make_strategy(count)
    with strategy.scope():
        momentum = Momentum(Schedule("constant", learning_rate=0.1), momentum=0.9, use_ema=True)
        model = linear.make_model(
            {"auxiliary": (-2.0, 0.0, 1.0)},
            optimizer=momentum,
            clip_norm=2.0,
            auxiliary_gradients=form,
            skip_nonfinite=more,
        )
        trained = list(model.trained.values())
        momentum.build(trained)
    step_fn = TrainingStep(model.detector, momentum, trained, model.step_options)
    share = distribution.per_replica_batch_size(strategy, 4)
    batches = iter(distribution.distribute(strategy, lambda context: linear.dataset(share)))

    @tf.function(autograph=False)
    def step():
        arguments = (next(batches), tf.constant(0, tf.int64))
        scalars = strategy.run(step_fn, args=arguments, kwargs={"measure": more})
        return {k: strategy.reduce("SUM", v, axis=None) for k, v in scalars.items()}

    for _ in range(3):
        scalars = step()
    numbers = [float(v) for v in scalars.values()] + model.detector.w.numpy().tolist()
    averages = momentum.slots["average"][0].numpy().tolist()
    return numbers + averages + [float(momentum.iterations.numpy())]


def numbered(batch_size):
    """Return the batches with numbers of their examples."""
    rows = tf.range(batch_size, dtype=tf.int64)
    batches = tiny.dataset(batch_size).enumerate()
    return batches.map(
        lambda step, batch: {**batch, Batch.example_number: step * batch_size + rows}
    )


def three_sampling_steps(count, make_dataset):
    """Return losses and weights; two images a step."""
    strategy = make_strategy(count)
    with strategy.scope():
        detector = tiny.tiny_detector()
        optimizer = linear.make_model(rate=0.05).optimizer
        optimizer.build(detector.trainable_variables)
    options = linear.make_model().step_options
    step_fn = TrainingStep(detector, optimizer, detector.trainable_variables, options)
    batches = iter(distribution.distribute(strategy, lambda context: make_dataset(2 // count)))

    @tf.function(autograph=False)
    def step(number):
        scalars = strategy.run(step_fn, args=(next(batches), number))
        return strategy.reduce("SUM", scalars[summary_names.TOTAL], axis=None)

    totals = [float(step(tf.constant(number, tf.int64))) for number in range(3)]
    weights = np.concatenate([variable.numpy().ravel() for variable in detector.variables])
    return totals + weights.tolist()


def main() -> None:
    """Print the results of the part that is named."""
    [part] = sys.argv[1:]
    [device] = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(device, two)
    if part == "SAMPLING":
        cases = [(1, tiny.dataset), (2, tiny.dataset), (2, numbered)]
        results = [three_sampling_steps(*case) for case in cases]
    else:
        results = [three_linear_steps(count, part) for count in (1, 2)]
    print("RESULT", json.dumps(results))


if __name__ == "__main__":
    main()
