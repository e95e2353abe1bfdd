"""Speed of exported models: the plain graph, the frozen one, the one in bfloat16; other engines.

    python -m benchmarks.serving --config=samples/configs/faster_rcnn_mobilenet_v1_voc07.config

Exports the config's model, with random weights, in each form; ONNX and OpenVINO's where their
extras are installed. Prints how long loading and the first call take and the process's peak memory,
each in a process of its own, then the median warm call of all forms in turn, and its ratio to the
plain form's, taken round by round.

With --profile also what each kind of operation takes in the other engines, by themselves
(benchmarks/profiles.py): how much of their time is not convolving.
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
_HEIGHT = flags.DEFINE_integer("height", 600, "Height of the picture.")
_WIDTH = flags.DEFINE_integer("width", 800, "Width of the picture.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Timed calls of each form.")
_FORMS = flags.DEFINE_list("forms", [], "Which besides plain; all that are installed if empty.")
_PROFILE = flags.DEFINE_bool("profile", False, "Other engines' profiles, too.")

ALONE = """
import json, re, time
import numpy as np, tensorflow as tf
picture = np.random.RandomState(0).randint(0, 256, (1, {height}, {width}, 3)).astype(np.uint8)
start = time.perf_counter()
{load}
loaded = time.perf_counter()
serve(input_tensor=picture)
first = time.perf_counter()
serve(input_tensor=picture)
warm = time.perf_counter()
# Not getrusage: a process starts with its parent's peak.
[peak] = re.findall(r"VmHWM:\\s*([0-9]+) kB", open("/proc/self/status").read())
print(json.dumps([loaded - start, first - loaded, warm - first, int(peak) / 2**20]))
"""
LOAD_SAVED_MODEL = 'serve = tf.saved_model.load({path!r}).signatures["serving_default"]'
LOAD_OTHER = """
from object_detection_mtl.export.runtimes import runtime_models
model = runtime_models.load({path!r})
serve = lambda **inputs: model.run(inputs)
"""


def report_alone(form: str, path: str) -> None:
    """Prints what one form costs in a process of its own."""
    load = LOAD_SAVED_MODEL if Path(path).is_dir() else LOAD_OTHER
    code = ALONE.format(height=_HEIGHT.value, width=_WIDTH.value, load=load.format(path=path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    load, first, second, memory = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{form}: loaded in {load:.2f} s; first call {first:.2f} s, second {second:.2f} s; peak "
        f"memory {memory:.2f} GiB",
        flush=True,
    )


def picture() -> dict[str, Any]:
    """The input of all forms."""
    import numpy as np

    shape = (1, _HEIGHT.value, _WIDTH.value, 3)
    return {"input_tensor": np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)}


def report_in_turn(paths: dict[str, str]) -> None:
    """Prints the warm calls of all forms."""
    from benchmarks import forms, timing

    inputs = picture()
    calls = {form: functools.partial(forms.load(path), inputs) for form, path in paths.items()}
    seconds = timing.interleaved_seconds(calls, rounds=_ROUNDS.value)
    for form, values in seconds.items():
        ratio = timing.median_ratio(values, seconds["plain"])
        print(f"{form}: {1e3 * statistics.median(values):.0f} ms, {ratio:.2f} of plain")


def report_profiles(paths: dict[str, str]) -> None:
    """Prints where the other engines' time goes."""
    from benchmarks import forms, profiles

    engines = {form: path for form, path in paths.items() if form in forms.ENGINES}
    if engines:
        profiles.show(profiles.measure(engines, picture(), rounds=_ROUNDS.value))


def main(_: list[str]) -> None:
    from benchmarks import forms
    from object_detection_mtl.config import pipeline

    names = _FORMS.value or forms.installed()
    names = ["plain", *(form for form in names if form != "plain")]
    with tempfile.TemporaryDirectory() as root:
        paths = forms.export_untrained(pipeline.load(_CONFIG.value), root, names)
        for form, path in paths.items():
            report_alone(form, path)
        report_in_turn(paths)
        if _PROFILE.value:
            report_profiles(paths)


if __name__ == "__main__":
    app.run(main)
