"""A new task of the package touches its module, the schema, the rules and the registry."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from object_detection_mtl import fields
from object_detection_mtl.builders import mtl_builder
from object_detection_mtl.config.task_fields import TASK_FIELDS
from object_detection_mtl.protos import model_pb2
from tests import records

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "object_detection_mtl"
FIELDS = set(model_pb2.MTL.DESCRIPTOR.fields_by_name)
MODULES = ("window_task", "closeness_task", "foreground_task")
# Measurements of named tasks: a new task has none.
EXPERIMENTS = PACKAGE / "experiments"
# Modules that name a task, and why a new one needs no change there.
OF_THE_TASKS = {f"mtl/{name}.py" for name in (*MODULES, "mask_grids", "labels/stored_labels")}
REGISTRY_AND_RULES = {"builders/mtl_builder.py", "config/field_rules.py"}
OPTIONAL = {
    "mtl/task_checks.py": "their keys are in fields.py; a new task declares its own in its module",
    "api/detector_templates.py": "a public name that differs from the field",
    "data/example_format.py": "labels that the fork's records store",
    "inspection/label_sheets.py": "labels that are drawn",
    "training/trainer.py": "labels that are drawn",
}


def task_keys():
    """Return the dictionary keys of the three tasks, as (class in fields.py, name in it)."""
    prefixes = ("closeness", "edgemask", "foreground", "window", "num_windows", "expanded_windows")
    return {
        (owner, name)
        for owner in ("Groundtruth", "Predictions", "Losses", "Metrics", "TfExample")
        for name in vars(getattr(fields, owner))
        if name.startswith(prefixes)
    }


def is_of_a_task(node, keys):
    """Return whether a node of a syntax tree names a task's field, key or module."""
    if isinstance(node, ast.ImportFrom | ast.Import):
        return any(module in ast.unparse(node) for module in MODULES)
    if isinstance(node, ast.Attribute):
        owner = ast.unparse(node.value).split(".")[-1]
        return (owner, node.attr) in keys or (
            owner in ("config", "mtl", "owner") and is_task_field(node.attr)
        )
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return is_task_field(node.value.removeprefix("MTL."))
    return False


def is_task_field(name):
    begins = tuple(f"{field}_" for field in TASK_FIELDS)
    return name in TASK_FIELDS or (name in FIELDS and name.startswith(begins))


def test_only_listed_modules_name_a_task():
    keys = task_keys()
    assert {("Losses", "closeness"), ("Groundtruth", "window_boxes")} <= keys
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if not path.stem.endswith("_pb2") and EXPERIMENTS not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if is_of_a_task(node, keys)
    }
    assert found == OF_THE_TASKS | REGISTRY_AND_RULES | set(OPTIONAL)


def test_the_registry_has_the_tasks_of_the_schema():
    assert set(mtl_builder.TASKS) == set(TASK_FIELDS)
    with_head = {name for name in TASK_FIELDS if f"{name}_box_predictor" in FIELDS}
    entries = mtl_builder.TASKS.items()
    assert with_head == {name for name, entry in entries if entry.has_region_head}


SCHEMA = """
  optional bool counts = 301 [default = false, (own) = true, (enables_task) = true];
  optional float counts_loss_weight = 302 [default = 1.0, (own) = true];
"""
RULE = """
    "MTL.counts_loss_weight": _NOT_NEGATIVE,"""
ENTRY = """
    "counts": TaskEntry(
        lambda parts: counts_task.CountTask(parts.num_classes, parts.config.counts_loss_weight),
        lambda config: counts_task.CountLabels(),
        "Counts",
    ),"""
MODULE = '''
"""How many objects of each class an image has, from its boxes alone."""

import keras
import tensorflow as tf

from object_detection_mtl.mtl.task_labels import LabelSpec, TaskLabels


class CountLabels(TaskLabels):
    def specs(self, num_classes):
        return {"object_counts": LabelSpec((num_classes,))}

    def make(self, inputs):
        objects = tf.one_hot(inputs.classes - 1, inputs.num_classes)
        return {"object_counts": tf.reduce_sum(objects, axis=-2)}


class CountTask(keras.layers.Layer):
    labels, optional_labels, outputs = ("object_counts",), (), ("predicted_counts",)

    def __init__(self, num_classes, loss_weight):
        super().__init__(name="Counts")
        self.auxiliary_width = num_classes
        self.loss_weights = {"count_loss": loss_weight}
        self.bias = self.add_weight(name="bias", shape=(num_classes,))
        self.built = True

    def predict(self, context):
        images = tf.shape(context.features)[:1]
        return {"predicted_counts": tf.tile(self.bias[tf.newaxis], [images[0], 1])}

    def auxiliary_logits(self, predictions, context):
        counts = predictions["predicted_counts"][:, tf.newaxis]
        return tf.repeat(counts, tf.shape(context.refined.boxes)[1], axis=1)

    def errors(self, predictions, groundtruth):
        return tf.abs(predictions["predicted_counts"] - groundtruth["object_counts"])

    def loss(self, predictions, groundtruth):
        return {"count_loss": tf.reduce_mean(self.errors(predictions, groundtruth))}

    def metrics(self, predictions, groundtruth):
        errors = self.errors(predictions, groundtruth)
        number = tf.cast(tf.size(errors), tf.float32)
        return {"mtl/count_error": tf.stack([tf.reduce_sum(errors), number])}

    def compare(self, predictions, groundtruth):
        return {}

    def tf1_variables(self):
        return {"Counts/bias": self.bias}
'''
USE = """
import json, sys
from object_detection_mtl import jobs
from object_detection_mtl.checkpoints import checkpoint_files
from object_detection_mtl.config import ignored_fields, pipeline
from object_detection_mtl.training.run_options import RunOptions

path, run = sys.argv[1:]
on = ["model.mtl.counts=true", "model.mtl.refine=true", "train_config.num_steps=1"]
refused = ""
try:
    pipeline.load(path, [*on, "model.mtl.counts_loss_weight=-1"])
except ValueError as error:
    refused = str(error)
balanced = pipeline.load(path, [*on[:1], "model.mtl.loss_balance=UNCERTAINTY"])
config = pipeline.load(path, [*on, "model.mtl.counts_loss_weight=0.5"])
result = jobs.train(config, run, RunOptions(log_every_n=1))
metrics = jobs.evaluate(config, run, run, once=True)
print(json.dumps({
    "refused": refused,
    "ignored": list(ignored_fields.find_ignored_fields(balanced)),
    "loss": [result.metrics[f"{kind}/MTL/count_loss"] for kind in ("Loss", "UnweightedLoss")],
    "metrics": [key for key in metrics if "count" in key],
    "variables": list(checkpoint_files.read_checkpoint(result.checkpoint).shapes),
}))
"""


def insert(path, mark, text):
    """Insert a text after the only occurrence of a mark."""
    content = path.read_text(encoding="utf-8")
    assert content.count(mark) == 1
    path.write_text(content.replace(mark, mark + text), encoding="utf-8")


@pytest.mark.long
def test_four_files_make_a_task_with_a_label_of_its_own(tmp_path):
    """It is configured, validated, labeled, trained, refined, evaluated and stored."""
    source = tmp_path / "source"
    for name in ("object_detection_mtl", "protos", "samples"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    package = source / PACKAGE.name
    insert(source / "protos/model.proto", "\nmessage MTL {\n", SCHEMA)
    insert(package / "config/field_rules.py", '"MTL.num_windows": _COUNT,', RULE)
    (package / "mtl/counts_task.py").write_text(MODULE.lstrip(), encoding="utf-8")
    registry = package / "builders/mtl_builder.py"
    insert(registry, "TASKS: dict[str, TaskEntry] = {\n", ENTRY.lstrip("\n") + "\n")
    insert(registry, "from object_detection_mtl.mtl import task_checks", ", counts_task")
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_protos"], cwd=source, check=True)
    path = records.write(tmp_path / "records")
    arguments = [sys.executable, "-c", USE, path, str(tmp_path / "run")]
    done = subprocess.run(arguments, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert "counts_loss_weight = -1" in said["refused"]
    assert "model.mtl.loss_balance" not in said["ignored"]
    assert said["loss"][0] == pytest.approx(0.5 * said["loss"][1], rel=1e-5)
    assert set(said["metrics"]) == {"Loss/MTL/count_loss", "mtl/count_error"}
    assert "Counts/bias" in " ".join(said["variables"])
