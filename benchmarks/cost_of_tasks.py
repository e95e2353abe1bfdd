"""What the auxiliary tasks and the refinement cost beside their baseline, and which part what.

    python -m benchmarks.cost_of_tasks
    python -m benchmarks.cost_of_tasks --configs=rfcn_resnet101_voc07,rfcn_resnet101_mtl_voc07

Per pair of configs (a baseline and the same with `mtl {}`; a file, or the name of a sample) times
an inference call and a training step of both at 600x800, one picture, with the products
(benchmarks/bare_products.py) that each contains run bare. "Overhead" is what the model with tasks
takes over its baseline, divided by what its products take over the baseline's: 1 if the tasks cost
nothing but their convolutions. Everything is timed turn by turn in one process.

Then every part of the model with tasks, as the difference between a function that ends with it
and one that ends before it (benchmarks/calls.py).

    python -m benchmarks.cost_of_tasks --modes=engines

instead exports both models in every form, those of other engines as well where they are installed,
and compares them in each (benchmarks/tasks_in_engines.py), with the operations that take longest.
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
_MODES = flags.DEFINE_list("modes", list(CALLS), f"What to time, of {', '.join(MODES)}.")
_FORMS = flags.DEFINE_list("forms", [], "Of mode engines; all that are installed if empty.")
_HEIGHT = flags.DEFINE_integer("height", 600, "Height of the picture.")
_WIDTH = flags.DEFINE_integer("width", 800, "Width of the picture.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Timed calls of each function.", lower_bound=1)
_PARTS = flags.DEFINE_bool("parts", True, "Time the parts, too.")
_CLOCK = flags.DEFINE_enum(
    "clock", "wall", list(timing.CLOCKS), "Time of the clock, or of the processor in all threads."
)
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")


def load(name: str) -> Any:
    """The config of a file, or of a sample's name without its ending."""
    from object_detection_mtl.config import pipeline

    path = Path(name)
    return pipeline.load(str(path if path.exists() else CONFIGS / f"{name}.config"))


def compare(mode: str, baseline: Any, tasks: Any, image: Any) -> dict[str, float]:
    """Milliseconds of both models and of their bare products, and the ratios."""
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


def parts(mode: str, tasks: Any, image: Any) -> dict[str, float]:
    """Milliseconds of every part of the model with tasks."""
    from benchmarks import calls

    make = {"inference": calls.inference_parts, "training": calls.training_parts}[mode]
    seconds = _timed(make(tasks, image))
    found, before = {}, [0.0] * _ROUNDS.value
    for name, values in seconds.items():
        # Differences of calls that stand side by side, which a slow minute makes slow alike.
        found[name] = 1e3 * statistics.median(b - a for a, b in zip(before, values, strict=True))
        before = values
    return found


def show_comparison(name: str, numbers: Mapping[str, float]) -> None:
    base, full = (numbers[model] for model in pairs.NAMES)
    products = [numbers[pairs.products_of(model)] for model in pairs.NAMES]
    print(
        f"{name}: baseline {base:.0f} ms, with tasks {full:.0f} ms, ratio {numbers['ratio']:.2f}; "
        f"products {products[0]:.0f} and {products[1]:.0f} ms, "
        f"ratio {numbers['ratio of products']:.2f}; overhead {numbers['overhead']:.2f}",
        flush=True,
    )


def show_parts(numbers: Mapping[str, float]) -> None:
    total = sum(numbers.values())
    print(f"\n| part | ms | share |\n{'|---' * 3}|")
    for name, milliseconds in numbers.items():
        print(f"| {name} | {milliseconds:.1f} | {milliseconds / total:.0%} |")
    print(flush=True)


def measure_calls(mode: str, baseline: Any, tasks: Any, image: Any) -> list[dict[str, Any]]:
    """Numbers of inference or training, which it prints."""
    numbers = compare(mode, baseline, tasks, image)
    show_comparison(mode, numbers)
    result: dict[str, Any] = {"milliseconds": numbers}
    if _PARTS.value:
        result["parts"] = parts(mode, tasks, image)
        show_parts(result["parts"])
    return [result]


def measure_engines(baseline: Any, tasks: Any, image: Any) -> list[dict[str, Any]]:
    """Numbers of inference in every form, which it prints."""
    from benchmarks import forms, profiles, tasks_in_engines

    clock, results = timing.CLOCKS[_CLOCK.value], []
    for form in _FORMS.value or forms.installed():
        comparison = tasks_in_engines.compare(
            baseline, tasks, image, form, rounds=_ROUNDS.value, clock=clock
        )
        show_comparison(form, comparison.milliseconds)
        if _PARTS.value and comparison.operations:
            profiles.show(comparison.operations)
        results.append({"form": form, **dataclasses.asdict(comparison)})
    return results


def main(_: list[str]) -> None:
    import numpy as np
    import tensorflow as tf

    # Many functions that differ by what they return: TensorFlow warns of retracing.
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
            for result in measure(load(first), load(second), image):
                results.append({"configs": [first, second], "mode": mode, **result})
            if _JSON.value:
                Path(_JSON.value).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    app.run(main)
