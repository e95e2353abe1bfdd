"""Latency of exported models: plain, frozen and bfloat16 graphs, other engines.

    python -m benchmarks.serving --config=samples/configs/faster_rcnn_mobilenet_v1_voc07.config

Exports the config's model, with random weights, in each form; in ONNX and OpenVINO if their extras
are installed. Prints the time of loading and of the first call and the peak memory, each form in a
separate process, then the median latency of all forms, interleaved, and its ratio to that of the
plain form, round by round.

With --clock=processor the calls are timed in CPU time of all threads, which other programs on the
machine disturb less. int8 is calibrated on noise: for times only.

With --profile also the time of each kind of operation in the other engines, as they measure it
(benchmarks/profiles.py): how much of their time is not spent in convolutions.
"""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import app, flags

CONFIGS = Path(__file__).parents[1] / "samples" / "configs"

_CONFIG = flags.DEFINE_string(
    "config", str(CONFIGS / "faster_rcnn_mobilenet_v1_voc07.config"), "Pipeline config."
)
_HEIGHT = flags.DEFINE_integer("height", 600, "Height of the image.")
_WIDTH = flags.DEFINE_integer("width", 800, "Width of the image.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Timed calls of each form.")
_FORMS = flags.DEFINE_list("forms", [], "Forms besides plain; all installed ones if empty.")
_CLOCK = flags.DEFINE_enum(
    "clock", "wall", ["wall", "processor"], "Clock of the interleaved calls."
)
_PROFILE = flags.DEFINE_bool("profile", False, "Print the profiles of other engines, too.")

ALONE = """
import json, re, time
import numpy as np, tensorflow as tf
image = np.random.RandomState(0).randint(0, 256, (1, {height}, {width}, 3)).astype(np.uint8)
start = time.perf_counter()
{load}
loaded = time.perf_counter()
serve(input_tensor=image)
first = time.perf_counter()
serve(input_tensor=image)
warm = time.perf_counter()
# Not getrusage: a child process starts with the peak of its parent.
[peak] = re.findall(r"VmHWM:\\s*([0-9]+) kB", open("/proc/self/status").read())
print(json.dumps([loaded - start, first - loaded, warm - first, int(peak) / 2**20]))
"""
LOAD_SAVED_MODEL = 'serve = tf.saved_model.load({path!r}).signatures["serving_default"]'
LOAD_OTHER = """
from object_detection_mtl.export.runtimes import runtime_models
model = runtime_models.load_model({path!r})
serve = lambda **inputs: model.run(inputs)
"""


def report_alone(form: str, path: str) -> None:
    """Print load time, first calls and peak memory of one form, in a separate process."""
    load = LOAD_SAVED_MODEL if Path(path).is_dir() else LOAD_OTHER
    code = ALONE.format(height=_HEIGHT.value, width=_WIDTH.value, load=load.format(path=path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    load, first, second, memory = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{form}: loaded in {load:.2f} s; first call {first:.2f} s, second {second:.2f} s; peak "
        f"memory {memory:.2f} GiB",
        flush=True,
    )


def make_inputs() -> dict[str, Any]:
    """Return the inputs of all forms."""
    import numpy as np

    shape = (1, _HEIGHT.value, _WIDTH.value, 3)
    return {"input_tensor": np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)}


def report_interleaved(paths: dict[str, str]) -> None:
    """Print the median latency of all forms."""
    from benchmarks import forms, timing

    inputs = make_inputs()
    calls = {form: functools.partial(forms.load_form(path), inputs) for form, path in paths.items()}
    seconds = timing.interleaved_seconds(
        calls, rounds=_ROUNDS.value, clock=timing.CLOCKS[_CLOCK.value]
    )
    for form, values in seconds.items():
        ratio = timing.median_ratio(values, seconds["plain"])
        print(f"{form}: {1e3 * statistics.median(values):.0f} ms, {ratio:.2f} of plain")


def report_profiles(paths: dict[str, str]) -> None:
    """Print the time of each kind of operation in the other engines."""
    from benchmarks import forms, profiles

    engines = {form: path for form, path in paths.items() if form in forms.ENGINES}
    if engines:
        profiles.print_table(
            profiles.measure_operations(engines, make_inputs(), rounds=_ROUNDS.value)
        )


def main(_: list[str]) -> None:
    """Export the model in all forms and time them."""
    from benchmarks import forms
    from object_detection_mtl.config import pipeline

    names = _FORMS.value or forms.installed_forms()
    names = ["plain", *(form for form in names if form != "plain")]
    with tempfile.TemporaryDirectory() as root:
        paths = forms.export_untrained(pipeline.load(_CONFIG.value), root, names)
        for form, path in paths.items():
            report_alone(form, path)
        report_interleaved(paths)
        if _PROFILE.value:
            report_profiles(paths)


if __name__ == "__main__":
    app.run(main)
