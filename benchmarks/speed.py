"""Speed of a detector against the bare convolutions and matrix products it contains.

    python -m benchmarks.speed

Prints, for a config's model at 600x800 and 300 proposals, the median time of an inference call
and of a training step, and their ratio to the bare products (benchmarks/bare_products.py) timed in
turn in the same process. What the auxiliary tasks cost beside a baseline, and each part of them:
`python -m benchmarks.cost_of_tasks`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks import model_flags

FLAGS = flags.FLAGS
model_flags.define_flags("faster_rcnn_mobilenet_v1_voc07.config", rounds=10)
flags.adopt_module_key_flags(model_flags)
_MODES = flags.DEFINE_list("modes", ["inference", "training"], "What to time.")


def report(name: str, concrete: Any, call: Callable[[], object]) -> None:
    """Times one function against its bare products and prints a line."""
    from benchmarks import bare_products, timing

    products = bare_products.find_products(concrete)
    bare = bare_products.bare_function(products)
    seconds = timing.interleaved_seconds({"real": call, "bare": bare}, rounds=FLAGS.rounds)
    real, products_only = (1e3 * statistics.median(seconds[key]) for key in ("real", "bare"))
    ratio = timing.median_ratio(seconds["real"], seconds["bare"])
    print(f"{name}: {real:.0f} ms, bare products {products_only:.0f} ms, ratio {ratio:.2f}")
    print(f"  {bare_products.describe(products)}")
    print(f"  peak memory of the process so far: {timing.peak_memory_gib():.2f} GiB", flush=True)


def main(_: list[str]) -> None:
    from benchmarks import calls
    from object_detection_mtl.cli import process_settings
    from object_detection_mtl.config import pipeline

    process_settings.keep_freed_memory()  # as model_main_tf2 does
    config = pipeline.load(FLAGS.config, FLAGS.override)
    image = model_flags.random_image(FLAGS.height, FLAGS.width)
    makers = {"inference": calls.inference, "training": calls.training}
    for mode in _MODES.value:
        function = makers[mode](config, image)
        report(mode, function.get_concrete_function(), function)


if __name__ == "__main__":
    app.run(main)
