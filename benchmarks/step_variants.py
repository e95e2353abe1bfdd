"""Time and memory of a training step with other settings.

    python -m benchmarks.step_variants \\
        --variant=model.faster_rcnn.feature_extractor.freeze_layer=block3

Prints the median time of a training step of the config and of each variant, timed in turn in one
process, their ratio, and the peak memory of two steps, each variant in a process of its own.
`train_config.use_bfloat16=true` applies on any device, where `model_main_tf2` trains in float32 on
CPUs without bfloat16 instructions. `train_config.num_micro_batches` must divide `--num_images`.
"""

from __future__ import annotations

import multiprocessing
import statistics
from typing import Any

from absl import app, flags

from benchmarks import model_flags

_PLAIN = "config"

FLAGS = flags.FLAGS
model_flags.define_flags("faster_rcnn_resnet101_voc07.config", rounds=5)
flags.adopt_module_key_flags(model_flags)
_VARIANT = flags.DEFINE_multi_string(
    "variant", [], "Fields of a variant, a.b.c=value, separated by spaces."
)
flags.DEFINE_integer("num_images", 1, "Number of images in the batch.", lower_bound=1)
_MEMORY = flags.DEFINE_bool("memory", True, "Measure the peak memory, too.")


def make_step(path: str, overrides: list[str], size: tuple[int, int], num_images: int) -> Any:
    """Return a `tf.function` that does a training step."""
    from benchmarks import calls
    from object_detection_mtl.config import pipeline

    image = model_flags.random_image(*size)
    return calls.training(pipeline.load(path, overrides), image, num_images=num_images)


def use_training_settings(path: str) -> None:
    """Make the settings of `model_main_tf2`, before TensorFlow is imported."""
    from object_detection_mtl.cli import process_settings
    from object_detection_mtl.config import pipeline

    process_settings.keep_freed_memory()
    process_settings.use_training_kernels(pipeline.load(path), jit_compile=False)


def peak_memory_gib(
    path: str, overrides: list[str], size: tuple[int, int], num_images: int
) -> float:
    """Return the peak memory of this process after two steps; call it in a new process."""
    from benchmarks import timing

    use_training_settings(path)
    step = make_step(path, overrides, size, num_images)
    for _ in range(2):
        step()
    return timing.peak_memory_gib()


def main(_: list[str]) -> None:
    from benchmarks import timing

    shape = ((FLAGS.height, FLAGS.width), FLAGS.num_images)
    variants = {_PLAIN: list(FLAGS.override)}
    variants |= {text: [*FLAGS.override, *text.split()] for text in _VARIANT.value}
    memory = {}
    if _MEMORY.value:
        context = multiprocessing.get_context("spawn")
        for name, overrides in variants.items():
            with context.Pool(1) as pool:
                memory[name] = pool.apply(peak_memory_gib, (FLAGS.config, overrides, *shape))
    use_training_settings(FLAGS.config)
    steps = {name: make_step(FLAGS.config, given, *shape) for name, given in variants.items()}
    seconds = timing.interleaved_seconds(steps, rounds=FLAGS.rounds)
    for name, values in seconds.items():
        ratio = timing.median_ratio(values, seconds[_PLAIN])
        peak = f", peak memory {memory[name]:.2f} GiB" if memory else ""
        print(f"{name}: {1e3 * statistics.median(values):.0f} ms, ratio {ratio:.2f}{peak}")


if __name__ == "__main__":
    app.run(main)
