"""Check training steps, mixed precision and export on a GPU, and time them.

    python -m benchmarks.gpu

A line for each check with "pass" or "FAIL" and its numbers; the exit code is 1 if one fails. At
most 8 minutes for the default config, whose backbone has no residual units, so that random weights
keep the size of its feature maps. One line on a machine without a GPU.

* step: the losses of the first stage equal those of the CPU, all losses are finite, and training on
  one image lowers the total loss.
* mixed precision: the same in bfloat16, whose 8 bits of mantissa give it another tolerance.
* export: the optimized SavedModel detects as the plain one.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import model_flags

SETTINGS = "train_config.use_bfloat16=true"
# Relative differences: rounding in other orders; bfloat16's 2^-9 in some thirty layers in a row.
FLOAT32_TOLERANCE, BFLOAT16_TOLERANCE = 1e-3, 2.0**-4
SIGNIFICANT = 1e-3  # of scores

FLAGS = flags.FLAGS
model_flags.define_flags("faster_rcnn_mobilenet_v1_voc07.config", rounds=10)
flags.adopt_module_key_flags(model_flags)
_STEPS = flags.DEFINE_integer("steps", 30, "Training steps, at least 10.")
_DEVICE = flags.DEFINE_string("device", "GPU:0", "Device to check; CPU:0 tests this program.")

Losses = Mapping[str, float]


def first_stage(losses: Losses) -> dict[str, float]:
    """Return the losses that depend on no choice of proposals, which rounding may change."""
    return {name: value for name, value in losses.items() if "/RPNLoss/" in name}


def largest_difference(losses: Losses, wanted: Losses) -> float:
    """Return the largest relative difference of the first stage's losses."""
    found = first_stage(losses)
    return max(abs(found[name] - value) / value for name, value in first_stage(wanted).items())


def milliseconds(call: Callable[[], object], rounds: int) -> float:
    """Return the median time of a call that waits for its result."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


def draw_weights(detector: Any) -> None:
    """Draw kernels that keep the size of feature maps, where those of a new detector shrink it."""
    random = np.random.RandomState(0)
    for variable in detector.variables:
        if len(variable.shape) in (2, 4):
            is_depthwise = len(variable.shape) == 4 and variable.shape[-1] == 1
            fan_in = np.prod(variable.shape[: 2 if is_depthwise else -1])
            variable.assign(random.normal(scale=np.sqrt(2.0 / fan_in), size=variable.shape))


def train(
    path: str, overrides: list[str], image: Any, device: str, num_steps: int
) -> tuple[list[Losses], float]:
    """Train on one image; return the losses of every step, and the median time of later ones, s."""
    import tensorflow as tf

    from benchmarks import calls
    from object_detection_mtl.config import pipeline

    losses: list[Losses] = []
    seconds = []
    with tf.device(device):
        step = calls.training(pipeline.load(path, overrides), image, draw_weights)
        for _ in range(num_steps):
            start = time.perf_counter()
            losses.append({name: float(value) for name, value in step().items()})
            seconds.append(time.perf_counter() - start)
    return losses, statistics.median(seconds[num_steps // 2 :])


def check_steps(path: str, overrides: list[str], image: Any, device: str) -> list[str]:
    """Return a line for the step in float32 and one for mixed precision."""
    [on_cpu], _ = train(path, overrides, image, "CPU:0", 1)
    lines, times = [], []
    for name, tolerance, more in (
        ("step", FLOAT32_TOLERANCE, []),
        ("mixed precision", BFLOAT16_TOLERANCE, [SETTINGS]),
    ):
        losses, seconds = train(path, [*overrides, *more], image, device, _STEPS.value)
        difference = largest_difference(losses[0], on_cpu)
        totals = [each["Loss/total_loss"] for each in losses]
        finite = all(np.isfinite(value) for each in losses for value in each.values())
        falls = bool(np.mean(totals[-5:]) < totals[0])
        passed = finite and difference <= tolerance and falls
        times.append(seconds)
        lines.append(
            f"{verdict(passed)}  {name}: {1e3 * seconds:.1f} ms"
            f"{f', {seconds / times[0]:.2f} of float32' if more else ''}; losses of the first "
            f"stage differ from the CPU's by {difference:.1e} (limit {tolerance:.1e}), total "
            f"{totals[0]:.3f} -> {np.mean(totals[-5:]):.3f} in {_STEPS.value} steps"
        )
    return lines


def check_export(path: str, overrides: list[str], image: Any, device: str, rounds: int) -> str:
    """Return a line for the exported models."""
    import tensorflow as tf

    from benchmarks import forms
    from object_detection_mtl.builders import model_builder
    from object_detection_mtl.config import pipeline
    from object_detection_mtl.export import saved_model

    config = pipeline.load(path, overrides)
    text = pipeline.to_text(config)
    scores, times = {}, {}
    names = ("plain", "fast", "bfloat16")
    with tempfile.TemporaryDirectory() as root, tf.device(device):
        detector = model_builder.build(config.model, is_training=False)
        draw_weights(detector)

        def write(directory: str, options: Any) -> None:
            saved_model.export_detector(detector, directory, config_text=text, options=options)

        paths = forms.export_forms(write, root, names)
        for name in names:
            call = functools.partial(forms.load_form(paths[name]), {"input_tensor": image.numpy()})
            scores[name] = np.sort(call()["detection_scores"].ravel())
            times[name] = milliseconds(call, rounds)
    difference = float(np.abs(scores["fast"] - scores["plain"]).max())
    shown = ", ".join(f"{name} {value:.1f} ms" for name, value in times.items())
    return (
        f"{verdict(difference <= SIGNIFICANT)}  export: {shown}; scores of fast differ from those "
        f"of plain by {difference:.1e} (limit {SIGNIFICANT:.0e})"
    )


def verdict(passed: bool) -> str:
    return "pass" if passed else "FAIL"


def main(_: list[str]) -> int:
    import tensorflow as tf

    if _DEVICE.value.startswith("GPU") and not tf.config.list_physical_devices("GPU"):
        print("no GPU was found: nothing is checked")
        return 0
    # Operations without a kernel for GPUs, such as suppression, run on the CPU.
    tf.config.set_soft_device_placement(True)
    # The comparison with the CPU is of float32, not of TensorFloat-32's 10 bits of mantissa.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    image = model_flags.random_image(FLAGS.height, FLAGS.width)
    given = (FLAGS.config, list(FLAGS.override), image, _DEVICE.value)
    shown = f"{_DEVICE.value}, {Path(FLAGS.config).stem}, {FLAGS.height}x{FLAGS.width}"
    print(shown, flush=True)
    lines = check_steps(*given)
    print(*lines, sep="\n", flush=True)
    lines.append(check_export(*given, FLAGS.rounds))
    print(lines[-1], flush=True)
    return int(any(line.startswith("FAIL") for line in lines))


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
