"""Effect of the auxiliary tasks: paired trainings with and without them, on any VOC dataset.

    python -m benchmarks.ablation run --dataset=highway --data_dir=highway \\
        --weights=mobilenet_v1_1.0_224.ckpt --experiment=screen \\
        --variants=baseline,all,all+refine --learning_rates=0.0007,0.0015,0.003 --seeds=1,2

trains every variant at every rate with every seed on the train part of `trainval` and evaluates it
on the validation part, or, with --evaluate_on=test, on `test`. A model with refinement is evaluated
three times: as trained, from the main logits, and with its refiner refitted to images of the
training. Every run leaves a JSON in benchmarks/results/DATASET/EXPERIMENT. A form changes the
config of a variant:

    --variants=all,all@equal --form=equal=train_config.batch_size=4,steps=2000

    python -m benchmarks.ablation table --dataset=highway --experiment=screen

prints the tables of an experiment from these files (of some runs alone with --learning_rates and
--seeds), and

    python -m benchmarks.ablation split --dataset=highway --data_dir=highway

writes the lists of train and validation to benchmarks/splits.

Validation chooses learning rates, forms, weights and lengths. Confirming runs train on the same
train part, so that what was chosen still fits, and are the only ones that read `test`.

A run that is interrupted continues with the same command, and a finished one is not repeated.
Several processes may work on the same experiment.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import app, flags

from object_detection_mtl.config import samples
from object_detection_mtl.experiments import (
    dataset_splits,
    paired_runs,
    paired_training,
)
from object_detection_mtl.experiments.dataset_splits import TEST, VALIDATION

RESULTS = Path(__file__).parent / "results"
SPLITS = Path(__file__).parent / "splits"
CONFIG = samples.path("faster_rcnn_mobilenet_v1_mtl_small.config")

_DATASET = flags.DEFINE_string("dataset", None, "Name of the dataset.", required=True)
_EXPERIMENT = flags.DEFINE_string("experiment", "screen", "Name of the experiment.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "VOC directory of the dataset.")
_WEIGHTS = flags.DEFINE_string("weights", "", "Checkpoint to start from; none by default.")
_CONFIG = flags.DEFINE_string("config", str(CONFIG), "What all runs have in common.")
_OVERRIDES = flags.DEFINE_multi_string("override", [], "Of all runs: a.b.c=value.")
_VARIANTS = flags.DEFINE_list(
    "variants", ["baseline", "all", "all+refine"], "What to train, such as all or all@FORM."
)
_FORMS = flags.DEFINE_multi_string(
    "form", [], "NAME=a.b.c=value,d.e=value: the overrides of VARIANT@NAME."
)
_RATES = flags.DEFINE_list("learning_rates", ["0.0015"], "Peak rates of every variant.")
_SEEDS = flags.DEFINE_list("seeds", ["1"], "Seeds of every variant and rate.")
_STEPS = flags.DEFINE_integer("steps", 4000, "Training steps.", lower_bound=1)
_REFERENCE = flags.DEFINE_string(
    "reference", paired_runs.BASELINE, "Of the tables: the variant to compare with."
)
_SPLIT = flags.DEFINE_enum("evaluate_on", VALIDATION, [VALIDATION, TEST], "What to evaluate on.")
_WORK_DIR = flags.DEFINE_string("work_dir", "ablation", "Gets records and runs.")
_RESULTS = flags.DEFINE_string("results_dir", str(RESULTS), "Of the JSON files.")
_THREADS = flags.DEFINE_integer(
    "threads", None, "Threads of a run; by default TensorFlow takes all cores.", lower_bound=1
)


def run_command() -> int:
    """Train and evaluate; return the exit code."""
    runs = paired_runs.make_runs(
        _VARIANTS.value,
        _RATES.value,
        [int(seed) for seed in _SEEDS.value],
        steps=_STEPS.value,
        forms=dict(map(paired_runs.parse_form, _FORMS.value)),
    )
    name, work_dir = _DATASET.value, Path(_WORK_DIR.value).resolve() / _DATASET.value
    experiment = paired_training.Experiment(
        name=_EXPERIMENT.value,
        dataset=dataset_splits.prepare(name, _data_dir(), work_dir / "data", SPLITS),
        config=Path(_CONFIG.value),
        weights=str(Path(_WEIGHTS.value).resolve()) if _WEIGHTS.value else "",
        overrides=tuple(_OVERRIDES.value),
        split=_SPLIT.value,
        directory=work_dir / _EXPERIMENT.value,
        results=Path(_RESULTS.value).resolve() / name / _EXPERIMENT.value,
        threads=_THREADS.value,
    )
    failures = paired_training.execute_all(experiment, runs)
    if failures:
        print(f"{failures} runs failed; the same command tries them again")
    return 1 if failures else 0


def table_command() -> int:
    """Print the tables of an experiment."""
    from object_detection_mtl.experiments import comparison_tables, run_results

    directory = Path(_RESULTS.value) / _DATASET.value / _EXPERIMENT.value
    results = run_results.load_results(directory)
    if flags.FLAGS["learning_rates"].present:
        results = [result for result in results if result.rate in _RATES.value]
    if flags.FLAGS["seeds"].present:
        results = [result for result in results if str(result.seed) in _SEEDS.value]
    if not results:
        raise ValueError(f"{directory} has no result of these rates and seeds")
    print(comparison_tables.report(results, reference=_REFERENCE.value))
    return 0


def split_command() -> int:
    """Write the lists of a dataset."""
    for path in dataset_splits.write_splits(_DATASET.value, _data_dir(), SPLITS):
        print(f"written to {path}")
    return 0


def _data_dir() -> Path:
    if _DATA_DIR.value is None:
        raise app.UsageError("--data_dir is missing: the VOC directory of the dataset")
    return Path(_DATA_DIR.value)


def main(arguments: list[str]) -> int:
    commands = {"run": run_command, "table": table_command, "split": split_command}
    if len(arguments) != 2 or arguments[1] not in commands:
        raise app.UsageError(f"got {arguments[1:]}; expected one command of {', '.join(commands)}")
    try:
        return commands[arguments[1]]()
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    except (paired_runs.RunError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    app.run(main)
