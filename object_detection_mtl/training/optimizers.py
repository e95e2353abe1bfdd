"""Keras optimizers with three habits that this package's training needs.

They can say which of their variables belongs to which of the model's: Keras numbers them, and a
checkpoint that stored numbers would change its meaning with the order of the layers. They take
gradients that are summed over the replicas already, because clipping has to come after the sum.
And their moving averages begin quickly: a decay of 0.9999 from the start would keep a short run's
averages at its first weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras


class DetectionOptimizer(keras.optimizers.Optimizer):
    """What the classes below share.

    Attributes:
        slots: slot name (`momentum`, `velocity`, `average`) -> its variables, in the order of the
            variables that `build` was given.
        rate_multipliers: factor of each variable's learning rate, in the same order; empty: all 1.
            Unlike a factor of the gradient it acts after clipping, and in every optimizer.
    """

    slots: dict[str, list[keras.Variable]]
    rate_multipliers: tuple[float, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.slots = {}

    def add_optimizer_variables(
        self, trainable_variables: list[keras.Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        created = super().add_optimizer_variables(trainable_variables, name, initializer)
        # Keras returns one list for one name, a tuple of lists for several.
        if isinstance(name, str):
            self.slots[name] = created
        else:
            for slot, variables in zip(name, created, strict=True):
                self.slots[slot] = variables
        return created

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Update one variable, with its own learning rate."""
        if self.rate_multipliers:
            index = self._get_variable_index(variable)
            learning_rate = learning_rate * self.rate_multipliers[index]
        super().update_step(gradient, variable, learning_rate)

    def _all_reduce_sum_gradients(self, grads_and_vars: Iterable[Any]) -> list[Any]:
        """Keras's hook for the sum over replicas, which the training step has already taken."""
        return list(grads_and_vars)

    def _update_model_variables_moving_average(
        self, trainable_variables: Iterable[keras.Variable]
    ) -> None:
        """Keras's hook, with TensorFlow 1's decay: at step n at most (1 + n) / (10 + n)."""
        step = keras.ops.cast(self.iterations, "float32")
        decay = keras.ops.minimum(self.ema_momentum, (1.0 + step) / (10.0 + step))
        # Averages are created as zeros; the first one is the variable.
        decay = keras.ops.where(step > 0, decay, 0.0)
        for variable, average in zip(trainable_variables, self.slots["average"], strict=True):
            average.assign(decay * average + (1.0 - decay) * variable)


class Momentum(DetectionOptimizer, keras.optimizers.SGD):
    """v = momentum * v - rate * gradient; variable += v.

    TensorFlow 1 multiplies by the rate last. The two differ for a few steps after the rate
    changes; this is the OD API's in TensorFlow 2.
    """


class Adam(DetectionOptimizer, keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015, the form before section 2.1 with epsilon outside the root)."""


class RMSProp(DetectionOptimizer, keras.optimizers.RMSprop):
    """RMSProp with momentum, not centred; epsilon stands under the root."""
