"""Cost of auxiliary tasks and refinement in the forms of an exported model.

Both models are timed as users load them, interleaved with their bare convolutions and matrix
products, which run in TensorFlow in the precision of the form (benchmarks/bare_products.py): no
engine is expected to compute the additional products faster than TensorFlow. For other engines a
profile shows the time of each kind of operation (benchmarks/profiles.py).
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

# Keys: the names of `pairs`.
Functions = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class FormComparison:
    """Times of both models in one form.

    Attributes:
        milliseconds: Times of both models and of their products, and the ratios; see
            `pairs.summary`.
        operations: Name of the model -> kind of operation -> milliseconds, by the engine's own
            profile (`profiles.measure`); empty for TensorFlow.
    """

    milliseconds: dict[str, float]
    operations: dict[str, dict[str, float]]


def compare_in_form(
    baseline: Any,
    tasks: Any,
    image: tf.Tensor,
    form: str,
    *,
    rounds: int,
    clock: Callable[[], float],
) -> FormComparison:
    """Time both models in one form.

    Args:
        baseline: Config of the baseline.
        tasks: Config of the model with tasks.
        image: [1, H, W, 3] uint8.
        form: One of `forms.FORMS`.
        rounds: See `timing.interleaved_seconds`.
        clock: See `timing.interleaved_seconds`.
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
            operations = profiles.measure_operations(paths, inputs, rounds=rounds)
    return FormComparison(pairs.summary(seconds), operations)


def _models(paths: Mapping[str, str], inputs: Mapping[str, Any]) -> Functions:
    return {name: functools.partial(forms.load_form(path), inputs) for name, path in paths.items()}


def _bare_products(configs: Mapping[str, Any], image: tf.Tensor, form: str) -> Functions:
    """Return the products of the frozen graph; the plain graph has the same."""
    precision = forms.FORMS[form].get("precision", "float32")
    functions = {}
    for name, config in configs.items():
        frozen = calls.frozen_inference(config, image, precision).get_concrete_function()
        products = bare_products.find_products(frozen)
        functions[pairs.products_of(name)] = bare_products.bare_function(products)
    return functions
