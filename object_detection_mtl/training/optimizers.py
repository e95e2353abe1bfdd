"""Keras optimizers with four modifications for training detectors.

* Slot variables are mapped to the model's variables. Keras numbers them, and the numbers in a
  checkpoint would depend on the order of the layers.
* Gradients are already summed over the replicas, because clipping comes after the sum.
* Moving averages start with a small decay: with 0.9999 from the first step, the averages of a
  short run would stay close to its initial weights.
* An update can be disabled inside the graph (`gate`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras


class DetectionOptimizer(keras.optimizers.Optimizer):
    """Base of the optimizers below.

    Attributes:
        slots: slot name (`momentum`, `velocity`, `average`) -> its variables, in the order of the
            variables that `build` was given.
        rate_multipliers: factor of each variable's learning rate, in the same order; empty: all 1.
            Unlike a factor of the gradient it acts after clipping, and in every optimizer.
        gate: bool [] or None. With False, `apply` only counts the step.
    """

    slots: dict[str, list[keras.Variable]]
    rate_multipliers: tuple[float, ...] = ()
    gate: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.slots = {}
        self.gate = None

    def assign(self, variable: Any, value: Any) -> None:
        """Set a variable, through the gate."""
        super().assign(variable, value if self.gate is None else self._gated(value, variable))

    def assign_add(self, variable: Any, value: Any) -> None:
        """Add to a variable, through the gate."""
        super().assign_add(variable, value if self.gate is None else self._gated(value, 0.0))

    def assign_sub(self, variable: Any, value: Any) -> None:
        """Subtract from a variable, through the gate."""
        super().assign_sub(variable, value if self.gate is None else self._gated(value, 0.0))

    def _gated(self, value: Any, otherwise: Any) -> Any:
        """Return `value` where the gate is open; a NaN behind a closed gate stays there."""
        value = keras.ops.convert_to_tensor(value)
        return keras.ops.where(self.gate, value, keras.ops.cast(otherwise, value.dtype))

    def add_optimizer_variables(
        self, trainable_variables: list[keras.Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """Create the variables of a slot, as Keras does, and remember them by the slot's name."""
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
        """Return the gradients as they are; the training step has summed them over replicas."""
        return list(grads_and_vars)

    def _update_model_variables_moving_average(
        self, trainable_variables: Iterable[keras.Variable]
    ) -> None:
        """Update the averages with TensorFlow 1's decay, at step n at most (1 + n) / (10 + n)."""
        step = keras.ops.cast(self.iterations, "float32")
        decay = keras.ops.minimum(self.ema_momentum, (1.0 + step) / (10.0 + step))
        # Averages are created as zeros; the first one is the variable.
        decay = keras.ops.where(step > 0, decay, 0.0)
        for variable, average in zip(trainable_variables, self.slots["average"], strict=True):
            self.assign(average, decay * average + (1.0 - decay) * variable)


class Momentum(DetectionOptimizer, keras.optimizers.SGD):
    """v = momentum * v - rate * gradient; variable += v.

    TensorFlow 1 multiplies by the rate last. The two differ for a few steps after the rate
    changes; this is the OD API's in TensorFlow 2.
    """


class Adam(DetectionOptimizer, keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015, the form before section 2.1 with epsilon outside the root)."""


class RMSProp(DetectionOptimizer, keras.optimizers.RMSprop):
    """RMSProp with momentum, not centered; epsilon is inside the root."""
