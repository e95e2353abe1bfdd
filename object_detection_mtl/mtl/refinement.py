"""Refiner: class logits from main and auxiliary logits.

Shape letters: B batch, P proposals, R refined proposals, K classes without background,
D inputs per proposal.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import Losses
from object_detection_mtl.mtl.auxiliary_task import Context, RefinedProposals
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams, linear_names


class Refiner(keras.layers.Layer):
    """Linear layer, or a perceptron, from main and auxiliary logits to K + 1 logits."""

    def __init__(
        self,
        *,
        num_classes: int,
        auxiliary_width: int,
        num_hidden_layers: int = 0,
        hyperparams: LayerHyperparams | None = None,
        keep_probability: float = 1.0,
        residue: bool = False,
        stop_gradient_of_residue: bool = False,
        top_k: int = 0,
        standardize_inputs: bool = False,
        main_logits_dropout: float = 0.0,
        learning_rate_multiplier: float = 1.0,
        loss_weight: float = 1.0,
        name: str = "MTLClassRefiner",
    ) -> None:
        """Initialize the refiner.

        Args:
            num_classes: K.
            auxiliary_width: values per proposal of all tasks together.
            num_hidden_layers: each as wide as the input, with the hyperparams' activation.
            hyperparams: hyperparameters of all layers.
            keep_probability: keep probability of dropout after each hidden layer.
            residue: add the main logits to the result.
            stop_gradient_of_residue: the refined loss does not train the main logits.
            top_k: in inference, refine this many proposals of an image, those with the greatest
                foreground score; the others keep their main logits. 0: all.
            standardize_inputs: subtract each input's running mean and divide by its running
                standard deviation; see `RunningMoments`.
            main_logits_dropout: in training, the probability that the network reads zeros, or the
                means if inputs are standardized, in place of all main logits of a proposal. The
                other logits keep their scale. The residue is not affected.
            learning_rate_multiplier: factor on the learning rate of the trained variables.
            loss_weight: weight of the refined classification loss.
            name: name of the layer.
        """
        super().__init__(name=name)
        self.width = num_classes + 1 + auxiliary_width
        hyperparams = hyperparams or LayerHyperparams()
        self.activation = hyperparams.activation
        self.residue = residue
        self.stop_gradient_of_residue = stop_gradient_of_residue
        self.top_k = top_k
        self.learning_rate_multiplier = learning_rate_multiplier
        self.loss_weights = {Losses.refined_classification: loss_weight}
        outputs = [self.width] * num_hidden_layers + [num_classes + 1]
        self.linear_layers = [
            keras.layers.Dense(units, name=f"fc{i}", **hyperparams.kernel_options())
            for i, units in enumerate(outputs, start=1)
        ]
        for layer in self.linear_layers:
            layer.build((None, None, self.width))
        self.moments = RunningMoments(self.width) if standardize_inputs else None
        self.dropout = None
        if num_hidden_layers and keep_probability < 1.0:
            self.dropout = keras.layers.Dropout(1.0 - keep_probability, name="dropout")
        self.main_dropout = None
        if main_logits_dropout > 0.0:
            self.main_dropout = keras.layers.Dropout(main_logits_dropout, name="main_dropout")
        self.built = True

    def choose(self, class_logits: tf.Tensor, context: Context) -> RefinedProposals:
        """Return the proposals to refine: all, or the best `top_k` in inference.

        Args:
            class_logits: main [B, P, K + 1].
            context: without the refined proposals.
        """
        proposals = context.proposals
        if context.training or not 0 < self.top_k < proposals.shape[1]:
            return RefinedProposals(proposals)
        scores = tf.reduce_max(tf.nn.softmax(class_logits)[..., 1:], axis=-1)
        exists = tf.sequence_mask(context.num_proposals, tf.shape(scores)[1])
        rows = tf.math.top_k(tf.where(exists, scores, -1.0), self.top_k).indices
        return RefinedProposals(tf.gather(proposals, rows, batch_dims=1), rows)

    def refine(
        self, class_logits: tf.Tensor, auxiliary: Sequence[tf.Tensor], context: Context
    ) -> tf.Tensor:
        """Return refined logits [B, P, K + 1].

        Args:
            class_logits: main [B, P, K + 1].
            auxiliary: logits of the tasks, each [B, R, D_task], in the order of the tasks.
            context: with the refined proposals, which the auxiliary logits are of.
        """
        refined = context.refined
        assert refined is not None
        main = refined.of(class_logits)
        inputs = tf.stop_gradient(tf.concat([main, *auxiliary], axis=-1))
        logits = self._transform(inputs, main.shape[-1], context)
        if self.residue:
            logits += tf.stop_gradient(main) if self.stop_gradient_of_residue else main
        if refined.rows is None:
            return logits
        return _replace_rows(class_logits, refined.rows, logits)

    def require_linear(self) -> None:
        """Raise ValueError if the refiner has hidden layers."""
        if len(self.linear_layers) > 1:
            raise ValueError(
                f"the refiner has {len(self.linear_layers) - 1} hidden layers "
                "(mtl.refine_num_fc_layers); only a refiner of one linear layer (0) can be fitted"
            )

    def set_linear(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Set the weights so that inference adds `inputs @ kernel + bias` to the main logits.

        Moments of standardized inputs stay as they are.

        Args:
            kernel: [D, K + 1].
            bias: [K + 1].

        Raises:
            ValueError: the refiner has hidden layers.
        """
        self.require_linear()
        kernel, bias = np.array(kernel, np.float64), np.array(bias, np.float64)
        if not self.residue:
            kernel[: kernel.shape[1]] += np.eye(kernel.shape[1])
        if self.moments is not None:
            bias = bias + self.moments.mean.numpy() @ kernel
            kernel = kernel / self.moments.factors().numpy()[:, np.newaxis]
        self.linear_layers[0].kernel.assign(kernel)
        self.linear_layers[0].bias.assign(bias)

    def _transform(self, inputs: tf.Tensor, num_main: int, context: Context) -> tf.Tensor:
        """Return the network's output for inputs [B, R, D], the first num_main are main logits."""
        first, *others = self.linear_layers
        if self.moments is not None and not context.training:
            hidden = self.moments.folded(first, inputs)
        else:
            if self.moments is not None:
                self.moments.update(inputs, context.num_proposals)
                inputs = self.moments.standardize(inputs)
            if self.main_dropout is not None:
                inputs = self._drop_main(inputs, num_main, context)
            hidden = first(inputs)
        for layer in others:
            if self.activation is not None:
                hidden = self.activation(hidden)
            if self.dropout is not None:
                hidden = self.dropout(hidden, training=context.training)
            hidden = layer(hidden)
        return hidden

    def _drop_main(self, inputs: tf.Tensor, num_main: int, context: Context) -> tf.Tensor:
        """Return inputs with 0 in place of the main logits of randomly chosen proposals."""
        assert self.main_dropout is not None
        chosen = self.main_dropout(tf.ones_like(inputs[..., :1]), training=context.training)
        kept = tf.where(chosen > 0.0, inputs[..., :num_main], 0.0)
        return tf.concat([kept, inputs[..., num_main:]], axis=-1)

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in TF1 graphs -> variable; the moments' names are this package's."""
        names = linear_names(self.name, tuple(self.linear_layers))
        if self.moments is not None:
            names |= {
                f"{self.name}/input_{variable.name}": variable
                for variable in self.moments.variables
            }
        return names


class RunningMoments(keras.layers.Layer):
    """Running mean and variance of every input, over the valid proposals of training batches.

    Training standardizes with the running moments too, after their update with the batch, so that
    training and inference compute the same function. In inference they are folded into the linear
    layer that follows, which therefore costs nothing.
    """

    def __init__(
        self, width: int, momentum: float = 0.99, epsilon: float = 1e-3, name: str = "moments"
    ) -> None:
        """Initialize the moments.

        Args:
            width: D.
            momentum: largest part of the old moments that stays in an update. Early updates keep
                less: after n updates n / (n + 9).
            epsilon: added to the variances.
            name: name of the layer.
        """
        super().__init__(name=name)
        self.momentum = momentum
        self.epsilon = epsilon
        options = {"trainable": False, "aggregation": "mean"}
        self.mean = self.add_weight(name="mean", shape=(width,), initializer="zeros", **options)
        self.variance = self.add_weight(
            name="variance", shape=(width,), initializer="ones", **options
        )
        self.updates = self.add_weight(name="updates", shape=(), initializer="zeros", **options)
        self.built = True

    def update(self, inputs: tf.Tensor, count: tf.Tensor) -> None:
        """Update the moments with inputs [B, N, D], of which the first count [B] rows are valid."""
        valid = tf.sequence_mask(count, tf.shape(inputs)[1])[..., tf.newaxis]
        number = tf.reduce_sum(tf.cast(valid, inputs.dtype))
        total = tf.reduce_sum(tf.where(valid, inputs, 0.0), axis=[0, 1])
        mean = tf.math.divide_no_nan(total, number)
        squares = tf.reduce_sum(tf.where(valid, tf.square(inputs - mean), 0.0), axis=[0, 1])
        variance = tf.math.divide_no_nan(squares, number)
        updates = tf.convert_to_tensor(self.updates)
        keep = tf.minimum(self.momentum, updates / (updates + 9.0))
        keep = tf.where(number > 0.0, keep, 1.0)  # A batch without proposals changes nothing.
        # Of the mixture of both: the difference of the means is part of its variance.
        difference = mean - self.mean
        variance = keep * self.variance + (1.0 - keep) * variance
        variance += keep * (1.0 - keep) * tf.square(difference)
        self.variance.assign(variance)
        self.mean.assign(self.mean + (1.0 - keep) * difference)
        self.updates.assign(updates + tf.cast(number > 0.0, updates.dtype))

    def standardize(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return inputs [..., D] minus the means, divided by the standard deviations."""
        return (inputs - self.mean) * self.factors()

    def folded(self, layer: keras.layers.Dense, inputs: tf.Tensor) -> tf.Tensor:
        """Return layer(standardize(inputs)), with the moments folded into kernel and bias."""
        kernel = layer.kernel * self.factors()[:, tf.newaxis]
        bias = layer.bias - tf.linalg.matvec(kernel, self.mean, transpose_a=True)
        return tf.tensordot(inputs, kernel, axes=1) + bias

    def factors(self) -> tf.Tensor:
        """Return 1 / standard deviation of every input, [D]."""
        return tf.math.rsqrt(self.variance + self.epsilon)


def _replace_rows(values: tf.Tensor, rows: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """Return values [B, P, D] with `new` [B, R, D] in the rows [B, R]."""
    images = tf.broadcast_to(tf.range(tf.shape(rows)[0])[:, tf.newaxis], tf.shape(rows))
    return tf.tensor_scatter_nd_update(values, tf.stack([images, rows], axis=-1), new)
