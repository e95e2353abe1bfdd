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
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import app, flags

CONFIGS = Path(__file__).parents[1] / "samples" / "configs"
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
MODES = ("inference", "training")

_CONFIGS = flags.DEFINE_list(
    "configs",
    ["faster_rcnn_mobilenet_v1_voc07", "faster_rcnn_mobilenet_v1_mtl_voc07"],
    "Pairs: baseline, with tasks, baseline, with tasks, ...",
)
_MODES = flags.DEFINE_list("modes", list(MODES), "What to time.")
_HEIGHT = flags.DEFINE_integer("height", 600, "Height of the picture.")
_WIDTH = flags.DEFINE_integer("width", 800, "Width of the picture.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Timed calls of each function.", lower_bound=1)
_PARTS = flags.DEFINE_bool("parts", True, "Time the parts, too.")
_CLOCK = flags.DEFINE_enum(
    "clock", "wall", list(CLOCKS), "Time of the clock, or of the processor in all threads."
)
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")


def load(name: str) -> Any:
    """The config of a file, or of a sample's name without its ending."""
    from object_detection_mtl.config import pipeline

    path = Path(name)
    return pipeline.load(str(path if path.exists() else CONFIGS / f"{name}.config"))


def compare(mode: str, baseline: Any, tasks: Any, image: Any) -> dict[str, float]:
    """Milliseconds of both models and of their bare products, and the ratios."""
    from benchmarks import bare_products, calls, timing

    make = {"inference": calls.inference, "training": calls.training}[mode]
    functions: dict[str, Callable[[], object]] = {}
    for name, config in (("baseline", baseline), ("with tasks", tasks)):
        functions[name] = function = make(config, image)
        products = bare_products.find_products(function.get_concrete_function())
        functions[f"products of {name}"] = bare_products.bare_function(products)
    seconds = timing.interleaved_seconds(
        functions, rounds=_ROUNDS.value, clock=CLOCKS[_CLOCK.value]
    )
    ratio = timing.median_ratio(seconds["with tasks"], seconds["baseline"])
    of_products = timing.median_ratio(
        seconds["products of with tasks"], seconds["products of baseline"]
    )
    return {
        **{name: 1e3 * statistics.median(values) for name, values in seconds.items()},
        "ratio": ratio,
        "ratio of products": of_products,
        "overhead": ratio / of_products,
    }


def parts(mode: str, tasks: Any, image: Any) -> dict[str, float]:
    """Milliseconds of every part of the model with tasks."""
    from benchmarks import calls, timing

    make = {"inference": calls.inference_parts, "training": calls.training_parts}[mode]
    functions = make(tasks, image)
    seconds = timing.interleaved_seconds(
        functions, rounds=_ROUNDS.value, clock=CLOCKS[_CLOCK.value]
    )
    found, before = {}, [0.0] * _ROUNDS.value
    for name, values in seconds.items():
        # Differences of calls that stand side by side, which a slow minute makes slow alike.
        found[name] = 1e3 * statistics.median(b - a for a, b in zip(before, values, strict=True))
        before = values
    return found


def show_comparison(mode: str, numbers: Mapping[str, float]) -> None:
    base, full = numbers["baseline"], numbers["with tasks"]
    print(
        f"{mode}: baseline {base:.0f} ms, with tasks {full:.0f} ms, ratio {numbers['ratio']:.2f}; "
        f"bare products {numbers['products of baseline']:.0f} and "
        f"{numbers['products of with tasks']:.0f} ms, ratio {numbers['ratio of products']:.2f}; "
        f"overhead {numbers['overhead']:.2f}",
        flush=True,
    )


def show_parts(numbers: Mapping[str, float]) -> None:
    total = sum(numbers.values())
    print(f"\n| part | ms | share |\n{'|---' * 3}|")
    for name, milliseconds in numbers.items():
        print(f"| {name} | {milliseconds:.1f} | {milliseconds / total:.0%} |")
    print(flush=True)


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
        baseline, tasks = load(first), load(second)
        for mode in _MODES.value:
            numbers = compare(mode, baseline, tasks, image)
            show_comparison(mode, numbers)
            result = {"configs": [first, second], "mode": mode, "milliseconds": numbers}
            if _PARTS.value:
                result["parts"] = parts(mode, tasks, image)
                show_parts(result["parts"])
            results.append(result)
            if _JSON.value:
                Path(_JSON.value).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    app.run(main)
