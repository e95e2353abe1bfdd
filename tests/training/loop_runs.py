"""Whole runs of the smallest model, and what they leave."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from object_detection_mtl.training import training_loop
from object_detection_mtl.training.optimizers import Momentum
from object_detection_mtl.training.run_options import LoopOptions
from object_detection_mtl.training.schedules import Schedule
from tests.training.linear import dataset, make_model


def scheduled(optimizer=Momentum):
    """0.1, then 0.01 from step 4 on; momentum; moving averages."""
    schedule = Schedule("manual_steps", boundaries=[4], learning_rates=[0.1, 0.01])
    options = {"momentum": 0.9} if optimizer is Momentum else {}
    return optimizer(schedule, use_ema=True, ema_momentum=0.9, **options)


def train(
    model_dir,
    num_steps,
    *,
    data=dataset,
    initialize=lambda _: None,
    model=None,
    on_checkpoint=None,
    **options,
):
    """Runs the loop; returns (result, the model, start examples asked for)."""
    made, starts = [], []

    def make():
        made.append(model() if model else make_model({"noise": 0.1}, optimizer=scheduled(), seed=3))
        return made[0]

    def make_dataset(detector, context, batch_size, start_example):
        assert detector is made[0].detector
        assert context.num_input_pipelines == 1
        starts.append(start_example)
        return data(batch_size, start_example)

    result = training_loop.run_training(
        model_dir,
        strategy=tf.distribute.MirroredStrategy(["/cpu:0"]),
        make_model=make,
        initialize=initialize,
        make_dataset=make_dataset,
        batch_size=2,
        options=LoopOptions(num_steps, **options),
        on_checkpoint=on_checkpoint,
    )
    return result, made[0], starts


def state(model):
    """Every number of a run."""
    variables = [*model.detector.variables, *model.optimizer.variables]
    return [variable.numpy() for variable in variables]


def assert_same_state(found, expected):
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def checkpoint_steps(model_dir):
    """Name of each checkpoint -> step in it."""
    return {
        Path(prefix).name: int(tf.train.load_variable(prefix, "step/.ATTRIBUTES/VARIABLE_VALUE"))
        for prefix in (str(path)[: -len(".index")] for path in Path(model_dir).glob("*.index"))
    }


def scalars(model_dir):
    """TensorBoard tag -> {step: value}; of images their shape."""
    found = {}
    for path in sorted(Path(model_dir, "train").glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                array = tf.make_ndarray(value.tensor)
                number = array.size if array.dtype == object else float(array)
                found.setdefault(value.tag, {})[event.step] = number
    return found


def averaging(**options):
    """A model whose forward pass updates a moving average, as batch norm does."""

    def make():
        model = make_model({"noise": 0.1, "averages": True}, optimizer=scheduled(), seed=3)
        return model

    return {"model": make, **options}
