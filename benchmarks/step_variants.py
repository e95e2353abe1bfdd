"""Time and memory of a training step with other settings.

    python -m benchmarks.step_variants \\
        --variant=model.faster_rcnn.feature_extractor.freeze_layer=block3

Prints the median time of a training step of the config and of each variant, timed in turn in one
process, their ratio, and the peak memory of two steps, each variant in a process of its own.
`train_config.use_bfloat16=true` applies on any device, where `model_main_tf2` trains in float32 on
CPUs without bfloat16 instructions.
"""

from __future__ import annotations

import multiprocessing
import statistics
from pathlib import Path
from typing import Any

from absl import app, flags

CONFIGS = Path(__file__).parents[1] / "samples" / "configs"
_PLAIN = "config"

_CONFIG = flags.DEFINE_string(
    "config", str(CONFIGS / "faster_rcnn_resnet101_voc07.config"), "Pipeline config."
)
_OVERRIDE = flags.DEFINE_multi_string("override", [], "A field of the config, a.b.c=value.")
_VARIANT = flags.DEFINE_multi_string(
    "variant", [], "Fields of a variant, a.b.c=value, separated by spaces."
)
_HEIGHT = flags.DEFINE_integer("height", 600, "Height of the image.")
_WIDTH = flags.DEFINE_integer("width", 800, "Width of the image.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed steps of each variant.")
_MEMORY = flags.DEFINE_bool("memory", True, "Measure the peak memory, too.")


def make_step(path: str, overrides: list[str], size: tuple[int, int]) -> Any:
    """Return a `tf.function` that does a training step."""
    import numpy as np
    import tensorflow as tf

    from benchmarks import calls
    from object_detection_mtl.config import pipeline

    config = pipeline.load(path, overrides)
    image = np.random.RandomState(0).randint(0, 256, (1, *size, 3))
    return calls.training(config, tf.constant(image, tf.uint8))


def use_training_settings(path: str) -> None:
    """Make the settings of `model_main_tf2`, before TensorFlow is imported."""
    from object_detection_mtl.cli import process_settings
    from object_detection_mtl.config import pipeline

    process_settings.keep_freed_memory()
    process_settings.use_training_kernels(pipeline.load(path), jit_compile=False)


def peak_memory_gib(path: str, overrides: list[str], size: tuple[int, int]) -> float:
    """Return the peak memory of this process after two steps; call it in a new process."""
    from benchmarks import timing

    use_training_settings(path)
    step = make_step(path, overrides, size)
    for _ in range(2):
        step()
    return timing.peak_memory_gib()


def main(_: list[str]) -> None:
    from benchmarks import timing

    size = (_HEIGHT.value, _WIDTH.value)
    variants = {_PLAIN: list(_OVERRIDE.value)}
    variants |= {text: [*_OVERRIDE.value, *text.split()] for text in _VARIANT.value}
    memory = {}
    if _MEMORY.value:
        context = multiprocessing.get_context("spawn")
        for name, overrides in variants.items():
            with context.Pool(1) as pool:
                memory[name] = pool.apply(peak_memory_gib, (_CONFIG.value, overrides, size))
    use_training_settings(_CONFIG.value)
    steps = {name: make_step(_CONFIG.value, given, size) for name, given in variants.items()}
    seconds = timing.interleaved_seconds(steps, rounds=_ROUNDS.value)
    for name, values in seconds.items():
        ratio = timing.median_ratio(values, seconds[_PLAIN])
        peak = f", peak memory {memory[name]:.2f} GiB" if memory else ""
        print(f"{name}: {1e3 * statistics.median(values):.0f} ms, ratio {ratio:.2f}{peak}")


if __name__ == "__main__":
    app.run(main)
