"""What the auxiliary tasks and the refinement cost in the forms of an exported model.

Both models are timed as users load them, turn by turn with their convolutions and matrix products,
run bare in TensorFlow in the form's precision (benchmarks/bare_products.py): no engine is asked to
make more of the additional products than TensorFlow does. Where the time of other engines goes,
they tell by a profile (benchmarks/profiles.py).
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from benchmarks import bare_products, calls, forms, pairs, profiles, timing

# By the names of `pairs`.
Functions = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Comparison:
    """Of one form.

    Attributes:
        milliseconds: of both models and of their products, and the ratios; see `pairs.summary`.
        operations: name of the model -> kind of operation -> milliseconds, by the engine's own
            profile (`profiles.measure`); empty for TensorFlow.
    """

    milliseconds: dict[str, float]
    operations: dict[str, dict[str, float]]


def compare(
    baseline: Any,
    tasks: Any,
    image: tf.Tensor,
    form: str,
    *,
    rounds: int,
    clock: Callable[[], float],
) -> Comparison:
    """What both models take in one form.

    Args:
        baseline, tasks: configs.
        image: [1, H, W, 3] uint8.
        form: one of `forms.FORMS`.
        rounds, clock: see `timing.interleaved_seconds`.
    """
    configs = dict(zip(pairs.NAMES, (baseline, tasks), strict=True))
    inputs = {"input_tensor": image.numpy()}
    with tempfile.TemporaryDirectory() as root:
        paths = {
            name: forms.export_untrained(config, os.path.join(root, name), [form])[form]
            for name, config in configs.items()
        }
        functions = _models(paths, inputs) | _bare_products(configs, image, form)
        seconds = timing.interleaved_seconds(functions, rounds=rounds, clock=clock)
        operations = {}
        if form in forms.ENGINES:
            operations = profiles.measure(paths, inputs, rounds=rounds)
    return Comparison(pairs.summary(seconds), operations)


def _models(paths: Mapping[str, str], inputs: Mapping[str, Any]) -> Functions:
    return {name: functools.partial(forms.load(path), inputs) for name, path in paths.items()}


def _bare_products(configs: Mapping[str, Any], image: tf.Tensor, form: str) -> Functions:
    """Those of the frozen graph; the plain one has the same."""
    precision = forms.FORMS[form].get("precision", "float32")
    functions = {}
    for name, config in configs.items():
        frozen = calls.frozen_inference(config, image, precision).get_concrete_function()
        products = bare_products.find_products(frozen)
        functions[pairs.products_of(name)] = bare_products.bare_function(products)
    return functions
