"""Small model and data of the trainings that `benchmarks.faults` kills.

The functions import TensorFlow themselves; the trainings are forks of a process that has
not used it.
"""

from __future__ import annotations

from typing import Any

STEPS_PER_SAVE = 5
MAX_TO_KEEP = 2
_BALLAST = 500_000  # floats, so that writing a checkpoint takes some time


def import_modules() -> None:
    """Import everything that a training imports, so that a fork need not."""
    from object_detection_mtl.checkpoints import native
    from object_detection_mtl.training import training_loop

    del native, training_loop


def train(run: str, num_steps: int) -> None:
    import tensorflow as tf

    from object_detection_mtl.checkpoints import native
    from object_detection_mtl.training import training_loop
    from object_detection_mtl.training.run_options import LoopOptions

    # The model is no detector; its variables need names.
    vars(native.tf1_detection)["name_map"] = lambda model: model.named_weights()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)

    training_loop.run_training(
        run,
        strategy=tf.distribute.MirroredStrategy(["/cpu:0"]),
        make_model=_make_model,
        initialize=lambda model: None,
        make_dataset=lambda model, context, batch_size, start: _make_dataset(batch_size, start),
        batch_size=2,
        options=LoopOptions(
            num_steps,
            checkpoint_every_n=STEPS_PER_SAVE,
            log_every_n=1,
            record_summaries=False,
            max_to_keep=MAX_TO_KEEP,
        ),
    )


def _make_dataset(batch_size: int, start_example: int) -> Any:
    """Return endless batches of images whose color depends on the number of the example."""
    import tensorflow as tf

    from object_detection_mtl.data import example_issues
    from object_detection_mtl.fields import Batch

    def example(number: tf.Tensor) -> dict[str, tf.Tensor]:
        color = tf.cast(number % tf.constant([7, 5, 3], tf.int64), tf.float32) / 7.0
        return {
            Batch.inputs: tf.broadcast_to(color, [2, 2, 3]),
            Batch.true_image_shapes: tf.constant([2, 2, 3]),
            Batch.example_number: number,
            Batch.issues: tf.zeros([example_issues.NUM_ISSUES], tf.int64),
        }

    numbers = tf.data.Dataset.range(start_example, 2**62)
    return numbers.map(example).batch(batch_size, drop_remainder=True)


def _make_model() -> Any:
    """Return a model of one weight per color with random noise in its loss."""
    import keras
    import tensorflow as tf

    from object_detection_mtl.fields import Losses
    from object_detection_mtl.training.optimizers import Momentum
    from object_detection_mtl.training.run_options import TrainableModel
    from object_detection_mtl.training.schedules import Schedule
    from object_detection_mtl.training.training_step import StepOptions

    class ColorModel(keras.layers.Layer):
        """Squared response to the mean color."""

        def __init__(self) -> None:
            super().__init__()
            self.color = self.add_weight(name="color", shape=(3,), initializer="ones")
            self.ballast = self.add_weight(name="ballast", shape=(_BALLAST,), initializer="ones")
            self.num_classes = 1
            self.loss_balance = None
            self.loss_weights = {Losses.rpn_localization: 1.0}
            self.built = True

        def predict(self, inputs: tf.Tensor, *_: Any, seed: Any, training: bool) -> tf.Tensor:
            response = tf.linalg.matvec(tf.reduce_mean(inputs, axis=[1, 2]), self.color.value)
            noise = tf.random.stateless_normal([], seed.seed, alg="philox")
            return tf.reduce_mean((response + noise) ** 2)

        def loss(
            self, predictions: tf.Tensor, *_: Any, seed: Any, training: bool
        ) -> dict[str, tf.Tensor]:
            del seed
            return {Losses.rpn_localization: predictions}

        def regularization_loss(self) -> tf.Tensor:
            return 1e-6 * tf.reduce_sum(self.ballast.value**2)

        def named_weights(self) -> dict[str, keras.Variable]:
            return {"Color/weights": self.color, "Ballast/weights": self.ballast}

    model = ColorModel()
    optimizer = Momentum(Schedule("constant", learning_rate=0.01), momentum=0.9)
    return TrainableModel(model, optimizer, model.named_weights(), StepOptions(seed=3))
