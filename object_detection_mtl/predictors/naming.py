"""Names that TF1 graphs give to the variables of predictors."""

from __future__ import annotations

import keras


def linear_names(
    prefix: str, layers: tuple[keras.layers.Layer | None, ...]
) -> dict[str, keras.Variable]:
    """`<prefix>/<layer>/weights` and `/biases` of convolutions and linear layers."""
    names: dict[str, keras.Variable] = {}
    for layer in layers:
        if layer is not None:
            names[f"{prefix}/{layer.name}/weights"] = layer.kernel
            if layer.bias is not None:
                names[f"{prefix}/{layer.name}/biases"] = layer.bias
    return names
