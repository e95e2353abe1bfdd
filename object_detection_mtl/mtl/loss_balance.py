"""Learned weights of the auxiliary losses: homoscedastic uncertainty (Kendall et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf


class UncertaintyBalance(keras.layers.Layer):
    """One trained log variance for each auxiliary loss.

    A loss L of weight w with log variance s adds exp(-s) w L + s / 2 to the total. At its minimum
    exp(s) is 2 w L, so the weighted loss is 1/2 whatever w is: large losses count less. All
    log variances start at 0, where the total is the plain sum.
    """

    def __init__(self, loss_weights: Mapping[str, float], name: str = "AuxiliaryLossBalance"):
        """Initialize the log variances.

        Args:
            loss_weights: key of an auxiliary loss -> its weight in the config; a loss of weight 0
                has no log variance.
            name: name of the layer, and scope of its variables in checkpoints.
        """
        super().__init__(name=name)
        self.log_variances = {
            key: self.add_weight(name=key, shape=(), initializer="zeros")
            for key, weight in loss_weights.items()
            if weight
        }
        self.built = True

    def weigh(self, key: str, loss: tf.Tensor) -> tf.Tensor:
        """Return what a loss, already times its weight, adds to the total.

        Args:
            key: key of the loss in `detector.loss`; losses without log variance stay as they are.
            loss: [].
        """
        if key not in self.log_variances:
            return loss
        log_variance = tf.convert_to_tensor(self.log_variances[key])
        return tf.exp(-log_variance) * loss + 0.5 * log_variance

    def factors(self) -> dict[str, tf.Tensor]:
        """Return key of a loss -> the factor exp(-s) on it."""
        return {
            key: tf.exp(-tf.convert_to_tensor(value)) for key, value in self.log_variances.items()
        }

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in this package's checkpoints -> variable; TF1 graphs have none."""
        return {f"{self.name}/{key}": variable for key, variable in self.log_variances.items()}
