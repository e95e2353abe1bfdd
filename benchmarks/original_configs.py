"""The authors' eighteen configurations, from building to serving, by the commands.

    python -m benchmarks.original_configs --data_dir=VOC --configs_dir=CONFIGS --work_dir=originals

For model11.config ... model92.config of `configs_dir`: build the model, train two steps at its own
batch size, evaluate, export, load the SavedModel and run it on an image. Only the paths of a
configuration change: records of a few images of `data_dir` (VOC's format, VOC's classes; COCO's
classes for COCO configurations), label maps of the package, and the initial checkpoint. This is the
one of the same name below `weights_dir`, or a new file of that name with random weights.

Each step has its own process and stores its numbers in `work_dir`: the same command resumes after
an interruption and repeats failed steps. Prints a Markdown table after every configuration; the
exit code is 1 if a step failed. Times are CPU seconds of all threads: of building the model, of the
second training step, of the whole evaluation (with the start of the process and the building of
graphs), of the whole export, of the SavedModel's second call.
"""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import measured, original_data
from object_detection_mtl.config import pipeline, samples

MODELS = [f"model{architecture}{tasks}" for architecture in range(1, 10) for tasks in (1, 2)]
STEPS = 2  # The first builds the graph; the second tells how long a step takes.

_CONFIGS_DIR = flags.DEFINE_string("configs_dir", None, "Directory of the configs.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Directory in VOC's format.", required=True)
_WEIGHTS_DIR = flags.DEFINE_string("weights_dir", None, "Directory of TF-Slim checkpoints.")
_WORK_DIR = flags.DEFINE_string("work_dir", "originals", "Directory of runs and results.")
_MODELS = flags.DEFINE_list("models", MODELS, "Configurations to run.")
_MAX_SIDE = flags.DEFINE_integer(
    "max_side", 0, "Longer side of resized images, for a quick run; 0: as in the config."
)
_NUM_IMAGES = flags.DEFINE_integer("num_images", 3, "Images of the records.", lower_bound=1)

BUILD = """
import json, sys, time
from object_detection_mtl.builders import model_builder
from object_detection_mtl.config import pipeline
config = pipeline.load(sys.argv[1], sys.argv[2:])
start = time.process_time()
detector = model_builder.build(config.model, is_training=True)
seconds = time.process_time() - start
sizes = [int(variable.shape.num_elements()) for variable in detector.variables]
print(json.dumps({"variables": len(sizes), "weights": sum(sizes), "build": seconds}))
"""
SERVE = """
import json, sys, time
import numpy as np, tensorflow as tf
image = tf.io.decode_image(tf.io.read_file(sys.argv[2]), channels=3)[tf.newaxis]
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
serve(input_tensor=image)
start = time.process_time()
out = {name: value.numpy() for name, value in serve(input_tensor=image).items()}
seconds = time.process_time() - start
finite = all(np.isfinite(value).all() for value in out.values())
print(json.dumps({"serve": seconds, "finite": bool(finite)}))
"""


class RunFailedError(Exception):
    """A step of a configuration failed."""


def overrides(config_path: Path, records: dict[str, Path], weights: str) -> list[str]:
    """Return the overrides of a run's paths, as "field=value"."""
    on_coco = "coco" in pipeline.load(config_path).train_input_reader.label_map_path
    data, labels = (
        (records["coco"], "mscoco_label_map.pbtxt")
        if on_coco
        else (records["voc"], "pascal_label_map.pbtxt")
    )
    values = {"train_config.fine_tune_checkpoint": weights}
    for reader in ("train_input_reader", "eval_input_reader[0]"):
        values[f"{reader}.tf_record_input_reader.input_path"] = str(data)
        values[f"{reader}.label_map_path"] = str(samples.path(labels))
    return [f"{name}={value}" for name, value in values.items()]


def small_images(max_side: int) -> list[str]:
    """Return overrides that resize images to this longer side."""
    resizer = "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer"
    values = {"min_dimension": max_side * 3 // 4, "max_dimension": max_side}
    return [f"{resizer}.{name}={value}" for name, value in values.items()]


def find_weights(config_path: Path, directories: list[Path], work_dir: Path) -> str:
    """Return the prefix of the checkpoint that the config names, found or made."""
    name = Path(pipeline.load(config_path).train_config.fine_tune_checkpoint).name
    for directory in [*directories, work_dir]:
        for index in sorted(directory.rglob(f"{name}.index")):
            return str(index.with_suffix(""))
    made = work_dir / name
    command = ["-m", "benchmarks.original_weights", str(config_path), str(made)]
    subprocess.run([sys.executable, *command], check=True)
    return str(made)


class ConfigCheck:
    """The steps of one configuration; the numbers of earlier runs are read from their files.

    Args:
        config_path: the config.
        changes: its overrides.
        directory: of this configuration's runs and results.
        image: input of the SavedModel.
    """

    def __init__(self, config_path: Path, changes: list[str], directory: Path, image: Path) -> None:
        self._config, self._changes = config_path, changes
        self._directory, self._image = directory, image
        self._command = [f"--pipeline_config_path={config_path}"]
        self._command += [f"--override={change}" for change in changes]

    def all_steps(self) -> dict[str, Any]:
        """Return the numbers of all steps up to the first failure, which is `failed`."""
        numbers: dict[str, Any] = {}
        steps = (self.build, self.train, self.evaluate, self.export, self.serve)
        for step in steps:
            try:
                numbers.update(self._once(step))
            except RunFailedError as error:
                return {**numbers, "failed": f"{step.__name__}: {error}"}
        return numbers

    def _once(self, step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self._directory / f"{step.__name__}.json"
        if path.exists():
            return dict(json.loads(path.read_text()))
        print(f"{self._config.stem}: {step.__name__}", flush=True)
        numbers = step()
        path.write_text(json.dumps(numbers))
        return numbers

    def _run(self, name: str, *arguments: str) -> measured.MeasuredRun:
        log = self._directory / f"{name}.log"
        done = measured.run_measured(list(arguments), log)
        if done.code < 0:
            name = signal.Signals(-done.code).name
            raise RunFailedError(f"ended by {name}; SIGKILL may mean too little memory (see {log})")
        if done.code:
            said = [line for line in log.read_text().splitlines() if line.startswith("error")]
            raise RunFailedError(f"exit code {done.code}; {' '.join(said[-1:])} (see {log})")
        return done

    def build(self) -> dict[str, Any]:
        done = self._run("build", "-c", BUILD, str(self._config), *self._changes)
        return dict(json.loads(done.lines[-1][1]))

    def train(self) -> dict[str, Any]:
        done = self._run(
            "train",
            *("-m", "object_detection_mtl.model_main_tf2", *self._command),
            *(f"--model_dir={self._model_dir}", f"--num_train_steps={STEPS}", "--log_every_n=1"),
        )
        # A line "step 2/2  loss 3.21 ..." is printed at the end of each step.
        ends = {}
        for seconds, line in done.lines:
            if match := re.match(rf"step (\d+)/{STEPS}  loss (\S+)", line):
                ends[int(match[1])] = seconds, float(match[2])
        losses = [loss for _, loss in ends.values()]
        if len(losses) < STEPS or not all(map(math.isfinite, losses)):
            raise RunFailedError(f"the losses are {losses}")
        return {
            "train_step": ends[STEPS][0] - ends[STEPS - 1][0],
            "train_memory": done.peak_gib,
            "losses": losses,
        }

    def evaluate(self) -> dict[str, Any]:
        done = self._run(
            "evaluate",
            *("-m", "object_detection_mtl.model_main_tf2", *self._command),
            *(f"--model_dir={self._model_dir}", f"--checkpoint_dir={self._model_dir}"),
            "--eval_once",
        )
        [file] = self._model_dir.glob(f"eval/**/metrics-{STEPS}.json")
        report = json.loads(file.read_text())
        losses = {name: value for name, value in report["metrics"].items() if "Loss" in name}
        if not losses or not all(math.isfinite(value) for value in losses.values()):
            raise RunFailedError(f"the losses are {losses}")
        return {
            "evaluate": done.cpu_seconds,
            "evaluate_memory": done.peak_gib,
        }

    def export(self) -> dict[str, Any]:
        done = self._run(
            "export",
            *("-m", "object_detection_mtl.exporter_main_v2", *self._command),
            f"--trained_checkpoint_dir={self._model_dir}",
            f"--output_directory={self._exported}",
        )
        files = (self._exported / "saved_model").rglob("*")
        size = sum(file.stat().st_size for file in files if file.is_file())
        return {
            "export": done.cpu_seconds,
            "size": size / 1e6,
            "export_memory": done.peak_gib,
        }

    def serve(self) -> dict[str, Any]:
        done = self._run(
            "serve", "-c", SERVE, str(self._exported / "saved_model"), str(self._image)
        )
        numbers = dict(json.loads(done.lines[-1][1]))
        if not numbers["finite"]:
            raise RunFailedError("the SavedModel's detections are not finite")
        return {**numbers, "serve_memory": done.peak_gib}

    @property
    def _model_dir(self) -> Path:
        return self._directory / "model"

    @property
    def _exported(self) -> Path:
        return self._directory / "exported"


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "variables": lambda n: f"{n['variables']}",
    "weights, millions": lambda n: f"{n['weights'] / 1e6:.1f}",
    "build, s": lambda n: f"{n['build']:.1f}",
    "training step, s": lambda n: f"{n['train_step']:.1f}",
    "losses": lambda n: ", ".join(f"{loss:.3g}" for loss in n["losses"]),
    "training, GiB": lambda n: f"{n['train_memory']:.1f}",
    "evaluation, s": lambda n: f"{n['evaluate']:.0f}",
    "evaluation, GiB": lambda n: f"{n['evaluate_memory']:.1f}",
    "export, s": lambda n: f"{n['export']:.0f}",
    "export, MB": lambda n: f"{n['size']:.0f}",
    "SavedModel, s": lambda n: f"{n['serve']:.2f}",
    "SavedModel, GiB": lambda n: f"{n['serve_memory']:.1f}",
}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return Markdown: a row per configuration; cells of missing steps are empty."""
    lines = [f"| config | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for model, numbers in results.items():
        cells = [_cell(text, numbers) for text in COLUMNS.values()]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    failed = [f"{model}: {n['failed']}" for model, n in results.items() if "failed" in n]
    return "\n".join([*lines, *failed])


def _cell(text: Callable[[dict[str, Any]], str], numbers: dict[str, Any]) -> str:
    try:
        return text(numbers)
    except KeyError:
        return ""


def main(_: list[str]) -> None:
    unknown = set(_MODELS.value) - set(MODELS)
    if unknown:
        raise app.UsageError(f"--models: {sorted(unknown)} unknown; known: {', '.join(MODELS)}")
    work_dir, data_dir = Path(_WORK_DIR.value), Path(_DATA_DIR.value)
    work_dir.mkdir(parents=True, exist_ok=True)
    records = original_data.make_records(data_dir, work_dir, _NUM_IMAGES.value)
    image = next((work_dir / f"images_{_NUM_IMAGES.value}" / "JPEGImages").iterdir())
    weights_dirs = [Path(_WEIGHTS_DIR.value)] if _WEIGHTS_DIR.value else []
    results = {}
    for model in _MODELS.value:
        config_path = Path(_CONFIGS_DIR.value) / f"{model}.config"
        weights = find_weights(config_path, weights_dirs, work_dir)
        changes = overrides(config_path, records, weights)
        directory = work_dir / model
        if _MAX_SIDE.value:
            changes += small_images(_MAX_SIDE.value)
            directory = work_dir / f"{model}_{_MAX_SIDE.value}"
        results[model] = ConfigCheck(config_path, changes, directory, image).all_steps()
        print(f"\n{table(results)}\n", flush=True)
    if any("failed" in numbers for numbers in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
