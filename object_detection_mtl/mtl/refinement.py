"""Refiner: class logits from main and auxiliary logits.

Shape letters: B batch, P proposals, R refined proposals, K classes without background,
D inputs per proposal.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
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
        loss_weight: float = 1.0,
        name: str = "MTLClassRefiner",
    ) -> None:
        """Initialize the refiner.

        Args:
            num_classes: K.
            auxiliary_width: values per proposal of all tasks together.
            num_hidden_layers: each as wide as the input, with the hyperparams' activation.
            hyperparams: of all layers.
            keep_probability: of the dropout after each hidden layer.
            residue: add the main logits to the result.
            stop_gradient_of_residue: the refined loss does not train the main logits.
            top_k: in inference, refine this many proposals of an image, those with the greatest
                foreground score; the others keep their main logits. 0: all.
            loss_weight: of the refined classification loss.
            name: of the layer.
        """
        super().__init__(name=name)
        width = num_classes + 1 + auxiliary_width
        hyperparams = hyperparams or LayerHyperparams()
        self.activation = hyperparams.activation
        self.residue = residue
        self.stop_gradient_of_residue = stop_gradient_of_residue
        self.top_k = top_k
        self.loss_weights = {Losses.refined_classification: loss_weight}
        outputs = [width] * num_hidden_layers + [num_classes + 1]
        self.linear_layers = [
            keras.layers.Dense(units, name=f"fc{i}", **hyperparams.kernel_options())
            for i, units in enumerate(outputs, start=1)
        ]
        for layer in self.linear_layers:
            layer.build((None, None, width))
        self.dropout = None
        if num_hidden_layers and keep_probability < 1.0:
            self.dropout = keras.layers.Dropout(1.0 - keep_probability, name="dropout")
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
        hidden = tf.stop_gradient(tf.concat([main, *auxiliary], axis=-1))
        for layer in self.linear_layers[:-1]:
            hidden = layer(hidden)
            if self.activation is not None:
                hidden = self.activation(hidden)
            if self.dropout is not None:
                hidden = self.dropout(hidden, training=context.training)
        logits = self.linear_layers[-1](hidden)
        if self.residue:
            logits += tf.stop_gradient(main) if self.stop_gradient_of_residue else main
        if refined.rows is None:
            return logits
        return _replace_rows(class_logits, refined.rows, logits)

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in TF1 graphs -> variable."""
        return linear_names(self.name, tuple(self.linear_layers))


def _replace_rows(values: tf.Tensor, rows: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """Return values [B, P, D] with `new` [B, R, D] in the rows [B, R]."""
    images = tf.broadcast_to(tf.range(tf.shape(rows)[0])[:, tf.newaxis], tf.shape(rows))
    return tf.tensor_scatter_nd_update(values, tf.stack([images, rows], axis=-1), new)
