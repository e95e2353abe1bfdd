"""The smallest thing with a detector's interface: losses that fit on paper.

One weight vector w [3], started at (1, 2, 0), sees the mean color x of an image:
the "localisation" loss is mean((w.x)^2) / 2, the "classification" loss mean(b), b [1] a bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import Batch, Losses
from object_detection_mtl.training.optimizers import Momentum
from object_detection_mtl.training.run_options import TrainableModel
from object_detection_mtl.training.schedules import Schedule
from object_detection_mtl.training.training_step import StepOptions

WEIGHTS = "FirstStageFeatureExtractor/Linear/w/weights"
BIASES = "SecondStageBoxPredictor/b/biases"
FROZEN = "FirstStageFeatureExtractor/Linear/f/weights"
AVERAGE = "FirstStageFeatureExtractor/Linear/BatchNorm/moving_mean"


class LinearDetector(keras.layers.Layer):
    """See above. `f` is frozen and regularized; `noise` adds a random number per step.

    With `averages` the forward pass updates a moving average, as batch norm does. With `auxiliary`
    an auxiliary loss is the product of these numbers and w.
    """

    def __init__(
        self,
        size: int = 3,
        noise: float = 0.0,
        is_training: bool = True,
        averages: bool = False,
        auxiliary: tuple[float, ...] = (),
    ) -> None:
        super().__init__()
        self.auxiliary = auxiliary
        self.batch_norm_trainable = averages
        if averages:
            self.moving_mean = self.add_weight(
                name="m", shape=(3,), initializer="zeros", trainable=False
            )
        self.noise = noise
        self.w = self.add_weight(
            name="w", shape=(size,), initializer=keras.initializers.Constant([1.0, 2.0, 0.0][:size])
        )
        self.b = self.add_weight(name="b", shape=(1,), initializer="zeros")
        self.f = self.add_weight(name="f", shape=(2,), initializer="ones", trainable=False)
        self.num_classes = 2
        self.second_stage = "a detector that has one"
        self.loss_balance = None
        self.loss_weights = {Losses.rpn_localization: 2.0, Losses.box_classification: 3.0}
        self.loss_weights |= {Losses.window: 1.0} if auxiliary else {}
        self.built = True

    def preprocess(self, images):
        shape = tf.shape(images)
        return images / 255.0, tf.tile([[shape[1], shape[2], 3]], [shape[0], 1])

    def predict(self, inputs, true_image_shapes, groundtruth=None, seed=None, training=None):
        del true_image_shapes, groundtruth, training
        color = tf.reduce_mean(inputs, axis=[1, 2])
        score = tf.linalg.matvec(color[:, : self.w.shape[0]], tf.convert_to_tensor(self.w))
        if self.batch_norm_trainable:
            self.moving_mean.assign(0.5 * (self.moving_mean + tf.reduce_mean(color, axis=0)))
        if self.noise:
            score += self.noise * tf.random.stateless_normal([], seed.seed, alg="philox")
        return {"score": score}

    def loss(self, predictions, groundtruth, seed=None, training=None):
        del groundtruth, seed, training
        losses = {
            Losses.rpn_localization: tf.reduce_mean(predictions["score"] ** 2) / 2.0,
            Losses.box_classification: tf.reduce_mean(self.b),
        }
        if self.auxiliary:
            losses[Losses.window] = tf.reduce_sum(self.w * tf.constant(self.auxiliary))
        return losses

    def regularization_loss(self):
        return 0.25 * tf.reduce_sum(tf.convert_to_tensor(self.f) ** 2)

    def tf1_variable_names(self):
        names = {WEIGHTS: self.w, BIASES: self.b, FROZEN: self.f}
        return names | ({AVERAGE: self.moving_mean} if self.batch_norm_trainable else {})


@contextmanager
def one_device() -> Iterator[tf.distribute.Strategy]:
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        yield strategy


def make_model(
    detector_options: dict | None = None, *, rate: float = 0.1, optimizer=None, **step_options
) -> TrainableModel:
    """A model with momentum 0.9 at a constant rate."""
    detector = LinearDetector(**(detector_options or {}))
    optimizer = optimizer or Momentum(Schedule("constant", learning_rate=rate), momentum=0.9)
    return TrainableModel(
        detector, optimizer, {WEIGHTS: detector.w, BIASES: detector.b}, StepOptions(**step_options)
    )


def image(index: int, height: int = 2, width: int = 2) -> np.ndarray:
    """Image `index`: every pixel is (index + 1, 1, 0) / 2."""
    return np.broadcast_to(
        np.array([index + 1.0, 1.0, 0.0], np.float32) / 2.0, (height, width, 3)
    ).copy()


def batch(*indices: int) -> dict[str, tf.Tensor]:
    """Images `indices` as one batch."""
    return {
        Batch.inputs: tf.constant(np.stack([image(index) for index in indices])),
        Batch.true_image_shapes: tf.constant([[2, 2, 3]] * len(indices)),
    }


def dataset(
    batch_size: int, start_example: int = 0, *, num_examples: int = 5, sizes: tuple[int, ...] = (2,)
) -> tf.data.Dataset:
    """Endless images in a fixed order; batch n is `sizes[n % len(sizes)]` pixels wide."""
    first = start_example // batch_size

    def batches():
        number = first
        while True:
            side = sizes[number % len(sizes)]
            rows = [(number * batch_size + row) % num_examples for row in range(batch_size)]
            yield {
                Batch.inputs: np.stack([image(row, side, side) for row in rows]),
                Batch.true_image_shapes: np.array([[side, side, 3]] * batch_size, np.int32),
                Batch.image_id: np.array([str(row).encode() for row in rows]),
            }
            number += 1

    return tf.data.Dataset.from_generator(
        batches,
        output_signature={
            Batch.inputs: tf.TensorSpec([batch_size, None, None, 3], tf.float32),
            Batch.true_image_shapes: tf.TensorSpec([batch_size, 3], tf.int32),
            Batch.image_id: tf.TensorSpec([batch_size], tf.string),
        },
    )
