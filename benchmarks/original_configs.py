"""The authors' eighteen configurations, from building to serving, through the command lines.

    python -m benchmarks.original_configs --data_dir=VOC --configs_dir=CONFIGS --work_dir=originals

For model11.config ... model92.config of `configs_dir`, one after the other: builds the model,
trains two steps at its own batch size, evaluates, exports, loads the SavedModel and runs it on a
picture.
Nothing of a configuration is changed but its paths: records of a few pictures of `data_dir` (VOC's
format, VOC's classes; for COCO configurations with COCO's classes), label maps of the package, the
checkpoint to begin with. That is the one of the same name below `weights_dir`; where there is none,
a file of that name with random weights is made.

Each step is a process of its own, and its numbers are kept in `work_dir`: the same command goes on
where it was interrupted, and repeats what failed. Prints a table, as Markdown, after every
configuration; the exit code is 1 if anything failed. Times are processor seconds, of all threads
together: of building the model, of the second training step, of the whole evaluation (start of the
process and building of graphs included), of the whole export, of the SavedModel's second call.
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

_CONFIGS_DIR = flags.DEFINE_string("configs_dir", None, "Folder of the configs.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder in VOC's format.", required=True)
_WEIGHTS_DIR = flags.DEFINE_string("weights_dir", None, "Folder of TF-Slim checkpoints.")
_WORK_DIR = flags.DEFINE_string("work_dir", "originals", "Where runs and results go.")
_MODELS = flags.DEFINE_list("models", MODELS, "Which to run.")
_MAX_SIDE = flags.DEFINE_integer(
    "max_side", 0, "Shrink pictures to this longer side, for a quick look; 0: as the config says."
)
_PICTURES = flags.DEFINE_integer("pictures", 3, "Pictures of the records.", lower_bound=1)

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
picture = tf.io.decode_image(tf.io.read_file(sys.argv[2]), channels=3)[tf.newaxis]
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
serve(input_tensor=picture)
start = time.process_time()
out = {name: value.numpy() for name, value in serve(input_tensor=picture).items()}
seconds = time.process_time() - start
finite = all(np.isfinite(value).all() for value in out.values())
print(json.dumps({"serve": seconds, "finite": bool(finite)}))
"""


class Failed(Exception):
    """A step of a configuration ended badly."""


def overrides(config_path: Path, records: dict[str, Path], weights: str) -> list[str]:
    """The paths that a run changes, as "field=value"."""
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


def small_pictures(max_side: int) -> list[str]:
    """Overrides that let a model see pictures of this longer side."""
    resizer = "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer"
    values = {"min_dimension": max_side * 3 // 4, "max_dimension": max_side}
    return [f"{resizer}.{name}={value}" for name, value in values.items()]


def find_weights(config_path: Path, folders: list[Path], work_dir: Path) -> str:
    """The prefix of the checkpoint that the config names, in one of the folders or made."""
    name = Path(pipeline.load(config_path).train_config.fine_tune_checkpoint).name
    for folder in [*folders, work_dir]:
        for index in sorted(folder.rglob(f"{name}.index")):
            return str(index.with_suffix(""))
    made = work_dir / name
    command = ["-m", "benchmarks.original_weights", str(config_path), str(made)]
    subprocess.run([sys.executable, *command], check=True)
    return str(made)


class Check:
    """One configuration on its way; a step that was done before is read from its file."""

    def __init__(
        self, config_path: Path, changes: list[str], directory: Path, picture: Path
    ) -> None:
        """Args:
        config_path: the config.
        changes: its overrides.
        directory: of this configuration's runs and results.
        picture: what the SavedModel is tried on.
        """
        self._config, self._changes = config_path, changes
        self._directory, self._picture = directory, picture
        self._command = [f"--pipeline_config_path={config_path}"]
        self._command += [f"--override={change}" for change in changes]

    def all_steps(self) -> dict[str, Any]:
        """The numbers of all steps up to the first that fails, which is then `failed`."""
        numbers: dict[str, Any] = {}
        steps = (self.build, self.train, self.evaluate, self.export, self.serve)
        for step in steps:
            try:
                numbers.update(self._once(step))
            except Failed as error:
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

    def _run(self, name: str, *arguments: str) -> measured.Run:
        log = self._directory / f"{name}.log"
        done = measured.run(list(arguments), log)
        if done.code < 0:
            name = signal.Signals(-done.code).name
            raise Failed(f"ended by {name}; SIGKILL may mean that memory was short (see {log})")
        if done.code:
            said = [line for line in log.read_text().splitlines() if line.startswith("error")]
            raise Failed(f"exit code {done.code}; {' '.join(said[-1:])} (see {log})")
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
        # Lines "step 2/2  loss 3.21 ..." come as the steps end.
        ends = {}
        for seconds, line in done.lines:
            if match := re.match(rf"step (\d+)/{STEPS}  loss (\S+)", line):
                ends[int(match[1])] = seconds, float(match[2])
        losses = [loss for _, loss in ends.values()]
        if len(losses) < STEPS or not all(map(math.isfinite, losses)):
            raise Failed(f"the losses are {losses}")
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
            raise Failed(f"the losses are {losses}")
        return {
            "evaluate": done.processor_seconds,
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
            "export": done.processor_seconds,
            "size": size / 1e6,
            "export_memory": done.peak_gib,
        }

    def serve(self) -> dict[str, Any]:
        done = self._run(
            "serve", "-c", SERVE, str(self._exported / "saved_model"), str(self._picture)
        )
        numbers = dict(json.loads(done.lines[-1][1]))
        if not numbers["finite"]:
            raise Failed("the SavedModel's detections are not finite")
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
    """Markdown: a row per configuration; what was not reached stays empty."""
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
    records = original_data.make_records(data_dir, work_dir, _PICTURES.value)
    picture = next((work_dir / f"pictures_{_PICTURES.value}" / "JPEGImages").iterdir())
    weights_dirs = [Path(_WEIGHTS_DIR.value)] if _WEIGHTS_DIR.value else []
    results = {}
    for model in _MODELS.value:
        config_path = Path(_CONFIGS_DIR.value) / f"{model}.config"
        weights = find_weights(config_path, weights_dirs, work_dir)
        changes = overrides(config_path, records, weights)
        directory = work_dir / model
        if _MAX_SIDE.value:
            changes += small_pictures(_MAX_SIDE.value)
            directory = work_dir / f"{model}_{_MAX_SIDE.value}"
        results[model] = Check(config_path, changes, directory, picture).all_steps()
        print(f"\n{table(results)}\n", flush=True)
    if any("failed" in numbers for numbers in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
