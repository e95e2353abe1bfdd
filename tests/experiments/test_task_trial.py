"""Budget, estimate and report of a trial, on results of runs that never ran."""

from pathlib import Path

import pytest

from object_detection_mtl.config import samples
from object_detection_mtl.experiments import paired_training, run_results, task_trial
from object_detection_mtl.experiments.comparison_tables import VariantDifference
from object_detection_mtl.experiments.task_trial import StepTime, TrialRequest
from tests.experiments import fake_results

REQUEST = TrialRequest(("0.1", "0.2"), (1, 2, 3), steps=100)


def experiment(directory: Path) -> paired_training.Experiment:
    return paired_training.Experiment(
        name="trial",
        dataset=fake_results.dataset(directory / "data"),
        config=samples.path("faster_rcnn_mobilenet_v1_mtl_small.config"),
        weights="",
        overrides=(),
        split="validation",
        directory=directory / "runs",
        results=directory / "results" / "trial",
    )


def test_hours_by_hand(tmp_path, monkeypatch):
    times = {"baseline": 1.0, "all": 2.0, "all+refine": 3.0}
    monkeypatch.setattr(task_trial, "measure_step", lambda e, v, r: StepTime(times[v], 2))
    # Two rates and two more seeds of 100 steps; one image to evaluate on for each run. The baseline
    # of equal time has 200 steps.
    training = 4 * 100 * (1 + 2 + 2 + 3)
    fitted = 2 * 500 + 5  # to training images for each rate, to validation for each run
    images = (5 * 2 + fitted) * (1 + 1 + 2) + (5 * 3 + fitted) * 3
    starts = 4 * 30 * (2 * 3 + 2 * 2)
    hours = task_trial.estimate_hours(experiment(tmp_path), REQUEST)
    assert hours == pytest.approx((training + images / 2 + starts) / 3600)


def test_every_variant_has_the_same_budget(tmp_path, monkeypatch):
    """The best rate on validation is trained with all seeds and evaluated on test images."""
    given = experiment(tmp_path)
    times = {"baseline": 1.0, "all": 1.5}
    monkeypatch.setattr(task_trial, "measure_step", lambda e, v, r: StepTime(times[v], 2))
    longer = "baseline@equal_time"
    best = {"baseline": "0.2", longer: "0.1", "all": "0.1", "all+refine": "0.1"}
    scores = {key: 0.5 for key in best.items()}
    calls = []

    def execute(experiment, runs):
        calls.append((experiment.split, [(r.variant, r.rate, r.seed, r.steps) for r in runs]))
        for run in runs:
            score = scores.get((run.variant, run.rate), 0.4)
            options = {"rate": run.rate, "seed": run.seed, "split": experiment.split}
            fake_results.write(given.results, run.variant, score, **options)
        return 0

    monkeypatch.setattr(paired_training, "execute_all", execute)
    assert task_trial.run_trial(given, REQUEST) == 0
    (first, grid), (second, final) = calls
    assert (first, second) == ("validation", "test")
    steps = {variant: 150 if variant == longer else 100 for variant in best}
    assert grid == [(v, r, 1, steps[v]) for v in task_trial.VARIANTS for r in ("0.1", "0.2")]
    expected = [(v, r, seed, steps[v]) for v, r in best.items() for seed in (1, 2, 3)]
    assert sorted(final) == sorted(expected)


def test_a_failed_grid_ends_the_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(task_trial, "measure_step", lambda e, v, r: StepTime(1.0, 2))
    monkeypatch.setattr(paired_training, "execute_all", lambda experiment, runs: 2)
    assert task_trial.run_trial(experiment(tmp_path), REQUEST) == 2


def test_report(tmp_path):
    variants = {"baseline": 0.5, "baseline@equal_time": 0.6, "all": 0.52, "all+refine": 0.48}
    for split in ("validation", "test"):
        for variant, score in variants.items():
            main = 0.55 if variant == "all+refine" else None
            for seed in (1, 2):
                options = {"split": split, "seed": seed, "main_logits": main}
                fake_results.write(tmp_path, variant, score, **options)
    # A rate that validation did not choose.
    fake_results.write(tmp_path, "all", 0.1, rate="0.2", split="validation")
    fake_results.write(tmp_path, "all", 0.9, rate="0.2", split="test")
    text = task_trial.trial_report(run_results.load_results(tmp_path))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    by_variant = {row[0]: row for row in rows[2:]}
    assert list(by_variant) == [*variants, "all+refine, main logits"]
    assert by_variant["baseline@equal_time"][3] == "+10.00"
    assert by_variant["baseline"][1:3] == ["0.1", "0.500 ± 0.000"]
    assert by_variant["all"][1:6] == ["0.1", "0.520 ± 0.000", "+2.00", "unknown", "undecided"]
    assert by_variant["all+refine, main logits"][3] == "+5.00"
    assert by_variant["all"][6:] == ["2.0 ± 0.0", "unknown"]
    assert "- all: undecided, the interval contains zero." in text
    assert "seeds 1, 2." in text


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.1, 2.0), "better"),
        ((-2.0, -0.1), "worse"),
        ((-0.1, 2.0), "undecided"),
        ((0.0, 0.0), "undecided"),
        (None, "undecided"),
    ],
)
def test_verdict(interval, expected):
    assert task_trial.verdict(VariantDifference("all", "0.1", (1,), {}, interval)) == expected
