"""What the auxiliary tasks bring on real pictures: the same run with and without each of them.

    python -m benchmarks.ablation --data_dir=BCCD --weights=.../mobilenet_v1_1.0_224.ckpt

Trains Faster R-CNN (or `--detector=rfcn`) with MobileNet v1 on blood cells (VOC folder `data_dir`,
TF-Slim's ImageNet checkpoint `weights`) once per variant and seed, evaluates on the `test` split,
and prints a table with mean and standard deviation over the seeds. Everything but the tasks is the
same: pictures, schedule, first weights of the backbone, order of the pictures of a seed.

The minutes of the table are wall-clock, from the start of training to its last logged step, by the
events that it wrote; what another job on the machine took is in them.

A run that is interrupted goes on where it stopped, and a finished one is not repeated: the same
command completes the table, a part at a time with --variants and --seeds. `--steps` shortens the
schedule; tables of different lengths are kept apart.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from absl import app, flags

CONFIGS = Path(__file__).parents[1] / "samples" / "configs"
DETECTORS = {
    name: CONFIGS / f"{name}_mobilenet_v1_mtl_bccd.config" for name in ("faster_rcnn", "rfcn")
}
LABEL_MAP = CONFIGS / "bccd_label_map.pbtxt"

# Name -> the tasks that are on.
VARIANTS: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "window": ("window",),
    "closeness": ("closeness",),
    "foreground": ("edgemask",),
    "all": ("window", "closeness", "edgemask"),
    "all+refine": ("window", "closeness", "edgemask", "refine"),
}
TASKS = ("window", "closeness", "edgemask", "refine")
MINUTES = "minutes"
# Column of the table -> key among a run's numbers, digits.
COLUMNS = {
    "mAP@0.5": ("PascalBoxes_Precision/mAP@0.5IOU", 3),
    "mAP@[.5:.95]": ("DetectionBoxes_Precision/mAP", 3),
    "minutes of training": (MINUTES, 0),
}

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of BCCD.", required=True)
_WEIGHTS = flags.DEFINE_string("weights", None, "ImageNet checkpoint.", required=True)
_WORK_DIR = flags.DEFINE_string("work_dir", "ablation", "Where records, runs and results go.")
_DETECTOR = flags.DEFINE_enum("detector", "faster_rcnn", list(DETECTORS), "What is trained.")
_STEPS = flags.DEFINE_integer("steps", 2000, "Training steps of a run.", lower_bound=1)
_SEEDS = flags.DEFINE_list("seeds", ["1", "2", "3"], "One run of each variant per seed.")
_VARIANTS = flags.DEFINE_list("variants", list(VARIANTS), "Which to run.")


def make_records(data_dir: Path, work_dir: Path) -> dict[str, Path]:
    """The record of each split, made where it is missing."""
    records = {name: work_dir / f"{name}.record" for name in ("trainval", "test")}
    for name, path in records.items():
        if not path.exists():
            _call(
                "dataset_tools.create_pascal_tf_record",
                f"--data_dir={data_dir}",
                f"--set={name}",
                f"--label_map_path={LABEL_MAP}",
                f"--output_path={path}",
            )
    return records


def overrides(
    variant: str, seed: str, steps: int, records: dict[str, Path], weights: str
) -> list[str]:
    """What a run changes of the sample configuration."""
    schedule = "train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate"
    values = {
        **{f"model.mtl.{task}": str(task in VARIANTS[variant]).lower() for task in TASKS},
        "train_config.seed": seed,
        "train_config.num_steps": str(steps),
        f"{schedule}.total_steps": str(steps),
        f"{schedule}.warmup_steps": str(max(1, steps // 20)),
        "train_config.fine_tune_checkpoint": weights,
        "train_input_reader.tf_record_input_reader.input_path": str(records["trainval"]),
        "train_input_reader.label_map_path": str(LABEL_MAP),
        "eval_input_reader[0].tf_record_input_reader.input_path": str(records["test"]),
        "eval_input_reader[0].label_map_path": str(LABEL_MAP),
    }
    return [f"--override={name}={value}" for name, value in values.items()]


def run_dir(work_dir: Path, detector: str, steps: int, variant: str, seed: str) -> Path:
    """Where a run lives: other detectors than Faster R-CNN have a folder in `work_dir`."""
    home = work_dir if detector == "faster_rcnn" else work_dir / detector
    return home / f"steps_{steps}" / variant / f"seed_{seed}"


def run(model_dir: Path, config: Path, changes: list[str], steps: int) -> dict[str, float]:
    """The metrics and minutes of one run, which is done unless it is finished."""
    metrics = model_dir / "eval" / f"metrics-{steps}.json"
    if not metrics.exists():
        print(f"== {model_dir}", flush=True)
        command = [
            "model_main_tf2",
            f"--pipeline_config_path={config}",
            f"--model_dir={model_dir}",
            *changes,
        ]
        _call(*command)
        _call(*command, f"--checkpoint_dir={model_dir}", "--eval_once")
    return {
        **json.loads(metrics.read_text())["metrics"],
        MINUTES: training_minutes(model_dir / "train"),
    }


def training_minutes(directory: Path) -> float:
    """Minutes between the first and the last event of each event file, added up."""
    import tensorflow as tf

    seconds = 0.0
    for path in directory.glob("events.out.tfevents.*"):
        events = [
            tf.compat.v1.Event.FromString(record)
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        ]
        if events:
            seconds += events[-1].wall_time - events[0].wall_time
    return seconds / 60.0


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: a row per variant, mean and standard deviation (of the sample) per column."""
    lines = [f"| variant | seeds | {' | '.join(COLUMNS)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for variant, runs in results.items():
        cells = []
        for key, digits in COLUMNS.values():
            values = [float(numbers[key]) for numbers in runs]
            spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.{digits}f}{spread}")
        lines.append(f"| {variant} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _call(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"object_detection_mtl.{module}", *arguments], check=True)


def main(_: list[str]) -> None:
    unknown = set(_VARIANTS.value) - set(VARIANTS)
    if unknown:
        raise app.UsageError(f"--variants: {sorted(unknown)} unknown; known: {', '.join(VARIANTS)}")
    work_dir = Path(_WORK_DIR.value)
    work_dir.mkdir(parents=True, exist_ok=True)
    records = make_records(Path(_DATA_DIR.value), work_dir)
    results: dict[str, list[dict[str, float]]] = {}
    detector, steps = _DETECTOR.value, _STEPS.value
    for seed in _SEEDS.value:
        for variant in _VARIANTS.value:
            changes = overrides(variant, seed, steps, records, _WEIGHTS.value)
            model_dir = run_dir(work_dir, detector, steps, variant, seed)
            numbers = run(model_dir, DETECTORS[detector], changes, steps)
            results.setdefault(variant, []).append(numbers)
            print(f"\n{detector}, {steps} steps\n\n{table(results)}\n", flush=True)


if __name__ == "__main__":
    app.run(main)
