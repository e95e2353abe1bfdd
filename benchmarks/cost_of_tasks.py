"""Cost of auxiliary tasks and refinement relative to their baseline, in total and by part.

    python -m benchmarks.cost_of_tasks
    python -m benchmarks.cost_of_tasks --configs=rfcn_resnet101_voc07,rfcn_resnet101_mtl_voc07

For each pair of configs (a baseline and the same with `mtl {}`; a file, or the name of a sample)
this times an inference call and a training step of both at 600x800, one image, and the products
that each contains, run bare (benchmarks/bare_products.py). "Overhead" is the ratio of the model
with tasks to its baseline, divided by the ratio of their products: 1 if the tasks cost nothing but
their convolutions. All functions are interleaved in one process.

Then every part of the model with tasks is timed, as the difference between a function that ends
with it and one that ends before it (benchmarks/calls.py).

    python -m benchmarks.cost_of_tasks --modes=engines

instead exports both models in every form, also of other installed engines, and compares them in
each (benchmarks/tasks_in_engines.py), with the operations that take longest.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import pairs, timing

CONFIGS = Path(__file__).parents[1] / "samples" / "configs"
CALLS = ("inference", "training")
ENGINES = "engines"
MODES = (*CALLS, ENGINES)

_CONFIGS = flags.DEFINE_list(
    "configs",
    ["faster_rcnn_mobilenet_v1_voc07", "faster_rcnn_mobilenet_v1_mtl_voc07"],
    "Pairs: baseline, with tasks, baseline, with tasks, ...",
)
_MODES = flags.DEFINE_list("modes", list(CALLS), f"Modes to time: {', '.join(MODES)}.")
_FORMS = flags.DEFINE_list("forms", [], "Forms of mode engines; all installed ones if empty.")
_HEIGHT = flags.DEFINE_integer("height", 600, "Height of the image.")
_WIDTH = flags.DEFINE_integer("width", 800, "Width of the image.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Timed calls of each function.", lower_bound=1)
_PARTS = flags.DEFINE_bool("parts", True, "Time the parts, too.")
_CLOCK = flags.DEFINE_enum(
    "clock", "wall", list(timing.CLOCKS), "Wall-clock time, or CPU time of all threads."
)
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")


def load_config(name: str) -> Any:
    """Load a config from a file, or a sample by its name without extension."""
    from object_detection_mtl.config import pipeline

    path = Path(name)
    return pipeline.load(str(path if path.exists() else CONFIGS / f"{name}.config"))


def compare_calls(mode: str, baseline: Any, tasks: Any, image: Any) -> dict[str, float]:
    """Return the milliseconds of both models and of their bare products, and the ratios."""
    from benchmarks import bare_products, calls

    make = {"inference": calls.inference, "training": calls.training}[mode]
    functions: dict[str, Callable[[], object]] = {}
    for name, config in zip(pairs.NAMES, (baseline, tasks), strict=True):
        functions[name] = function = make(config, image)
        products = bare_products.find_products(function.get_concrete_function())
        functions[pairs.products_of(name)] = bare_products.bare_function(products)
    return pairs.summary(_timed(functions))


def _timed(functions: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    return timing.interleaved_seconds(
        functions, rounds=_ROUNDS.value, clock=timing.CLOCKS[_CLOCK.value]
    )


def measure_parts(mode: str, tasks: Any, image: Any) -> dict[str, float]:
    """Return the milliseconds of every part of the model with tasks."""
    from benchmarks import calls

    make = {"inference": calls.inference_parts, "training": calls.training_parts}[mode]
    seconds = _timed(make(tasks, image))
    found, before = {}, [0.0] * _ROUNDS.value
    for name, values in seconds.items():
        # Differences of adjacent calls, which other load on the machine affects alike.
        found[name] = 1e3 * statistics.median(b - a for a, b in zip(before, values, strict=True))
        before = values
    return found


def show_comparison(name: str, numbers: Mapping[str, float]) -> None:
    """Print the numbers of `compare_calls`."""
    base, full = (numbers[model] for model in pairs.NAMES)
    products = [numbers[pairs.products_of(model)] for model in pairs.NAMES]
    print(
        f"{name}: baseline {base:.0f} ms, with tasks {full:.0f} ms, ratio {numbers['ratio']:.2f}; "
        f"products {products[0]:.0f} and {products[1]:.0f} ms, "
        f"ratio {numbers['ratio of products']:.2f}; overhead {numbers['overhead']:.2f}",
        flush=True,
    )


def show_parts(numbers: Mapping[str, float]) -> None:
    """Print the numbers of `measure_parts`."""
    total = sum(numbers.values())
    print(f"\n| part | ms | share |\n{'|---' * 3}|")
    for name, milliseconds in numbers.items():
        print(f"| {name} | {milliseconds:.1f} | {milliseconds / total:.0%} |")
    print(flush=True)


def measure_calls(mode: str, baseline: Any, tasks: Any, image: Any) -> list[dict[str, Any]]:
    """Measure and print inference or training."""
    numbers = compare_calls(mode, baseline, tasks, image)
    show_comparison(mode, numbers)
    result: dict[str, Any] = {"milliseconds": numbers}
    if _PARTS.value:
        result["parts"] = measure_parts(mode, tasks, image)
        show_parts(result["parts"])
    return [result]


def measure_engines(baseline: Any, tasks: Any, image: Any) -> list[dict[str, Any]]:
    """Measure and print inference in every form."""
    from benchmarks import forms, profiles, tasks_in_engines

    clock, results = timing.CLOCKS[_CLOCK.value], []
    for form in _FORMS.value or forms.installed_forms():
        comparison = tasks_in_engines.compare_in_form(
            baseline, tasks, image, form, rounds=_ROUNDS.value, clock=clock
        )
        show_comparison(form, comparison.milliseconds)
        if _PARTS.value and comparison.operations:
            profiles.print_table(comparison.operations)
        results.append({"form": form, **dataclasses.asdict(comparison)})
    return results


def main(_: list[str]) -> None:
    """Measure all pairs in all modes."""
    import numpy as np
    import tensorflow as tf

    # Many functions differ only in their outputs: TensorFlow warns of retracing.
    tf.get_logger().setLevel("ERROR")
    names = _CONFIGS.value
    if not names or len(names) % 2:
        raise app.UsageError(f"--configs: {len(names)} given; expected pairs")
    unknown = set(_MODES.value) - set(MODES)
    if unknown:
        raise app.UsageError(f"--modes: {sorted(unknown)} unknown; known: {', '.join(MODES)}")
    shape = (1, _HEIGHT.value, _WIDTH.value, 3)
    image = tf.constant(np.random.RandomState(0).randint(0, 256, shape), tf.uint8)
    results = []
    for first, second in zip(names[::2], names[1::2], strict=True):
        print(f"== {first}, {second}", flush=True)
        for mode in _MODES.value:
            measure = measure_engines if mode == ENGINES else functools.partial(measure_calls, mode)
            for result in measure(load_config(first), load_config(second), image):
                results.append({"configs": [first, second], "mode": mode, **result})
            if _JSON.value:
                Path(_JSON.value).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    app.run(main)
