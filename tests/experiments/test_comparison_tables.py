"""Tables of an ablation, from JSON files of runs that never ran."""

import json

import numpy as np
import pytest

from object_detection_mtl.experiments import comparison_tables, run_results, stored_detections
from object_detection_mtl.experiments.paired_runs import RunError
from object_detection_mtl.reporting.evaluated_images import make_detections, make_groundtruth
from tests.experiments import fake_results


def rows(table):
    """Cells of a Markdown table's body."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_grid_has_means_and_deviations(tmp_path):
    fake_results.write(tmp_path, "all", 0.5, seed=1)
    fake_results.write(tmp_path, "baseline", 0.4, seed=1)
    fake_results.write(tmp_path, "baseline", 0.6, seed=2)
    fake_results.write(tmp_path, "baseline", 0.1, rate="0.02")
    found = rows(comparison_tables.grid_table(run_results.load_results(tmp_path)))
    spread = "0.500 ± 0.141"  # of 0.4 and 0.6, of the sample: sqrt(2 * 0.1^2)
    norm, cpu, wall = "2.00 ± 0.00", "2.0 ± 0.0", "1.0 ± 0.0"
    assert found == [
        ["baseline", "0.02", "1", "0.100", "0.050", "2.00", "2.0", "1.0"],
        ["baseline", "0.1", "1, 2", spread, "0.250 ± 0.071", norm, cpu, wall],
        ["all", "0.1", "1", "0.500", "0.250", "2.00", "2.0", "1.0"],
    ]


def test_main_logits_are_a_variant_of_their_own(tmp_path):
    fake_results.write(tmp_path, "all+refine", 0.5, main_logits=0.6)
    results = run_results.load_results(tmp_path)
    assert [result.variant for result in results] == ["all+refine", "all+refine, main logits"]
    assert [result.metric(run_results.MEAN_AP) for result in results] == [0.5, 0.6]
    names = [result.detections.name for result in results]
    assert names[1] == "all+refine__lr0.1__seed1__validation__detections_main_logits.npz"


def test_gradients_of_a_run_that_measured_them(tmp_path):
    curves = {
        "GradientNorm/shared/A/loss": [None, 2.0, 4.0],
        "GradientNorm/heads/A/loss": [None, 1.0, 1.0],
        "GradientCosine/A/loss": [None, 0.5, 0.3],
        "GradientNorm/shared/B": [None, 1.0, 2.0],
        "GradientCosine/B": [None, -0.1, 0.1],
        "GradientCosine/B/A/loss": [None, 0.7, 0.7],  # of two losses, not in the table
    }
    fake_results.write(tmp_path, "all+refine", 0.5, main_logits=0.6, curves=curves)
    fake_results.write(tmp_path, "baseline", 0.5)
    [table] = comparison_tables.gradient_tables(run_results.load_results(tmp_path))
    assert table.startswith("Gradients of all+refine, rate 0.1, seed 1, means over")
    assert rows(table) == [["A/loss", "3.00", "1.00", "0.40"], ["B", "1.50", "unknown", "0.00"]]


def test_metrics_of_tasks_are_those_of_runs_with_tasks(tmp_path):
    fake_results.write(tmp_path, "all", 0.4)
    path = fake_results.write(tmp_path, "baseline", 0.2)
    content = json.loads(path.read_text())
    del content["evaluations"]["as trained"]["metrics"]["mtl/foreground_iou"]
    path.write_text(json.dumps(content))
    text = comparison_tables.report(run_results.load_results(tmp_path))
    [table] = [part for part in text.split("\n\n") if "foreground_iou" in part]
    assert rows(table) == [["all", "0.500"]]


def test_differences_are_paired_by_seed(tmp_path):
    for seed, baseline, tasks in ((1, 0.40, 0.42), (2, 0.50, 0.56), (3, 0.10, None)):
        fake_results.write(tmp_path, "baseline", baseline, seed=seed)
        if tasks:
            fake_results.write(tmp_path, "all", tasks, seed=seed)
    results = run_results.load_results(tmp_path)
    chosen = {key[0]: members for key, members in run_results.group(results).items()}
    # +2 and +6 points: mean 4, deviation 2.828, standard error 2.
    assert rows(comparison_tables.differences_table(chosen)) == [
        ["all", "0.1", "1, 2", "+4.00 ± 2.00", "+2.00 ± 1.00", "unknown"]
    ]


def test_differences_to_another_variant(tmp_path):
    for variant, value in (("baseline", 0.2), ("baseline@long", 0.4), ("all", 0.42)):
        fake_results.write(tmp_path, variant, value)
    results = run_results.load_results(tmp_path)
    text = comparison_tables.report(results, reference="baseline@long")
    assert "Differences to baseline@long (rate 0.1) in points" in text
    assert "| all | 0.1 | 1 | +2.00 ± unknown |" in text
    assert "| baseline | 0.1 | 1 | -20.00 ± unknown |" in text
    assert "No all@long, hence" in comparison_tables.report(results, reference="all@long")


def test_diverged_training_counts_as_one_without_metrics(tmp_path):
    fake_results.write(tmp_path, "baseline", 0.4, seed=1)
    fake_results.write(tmp_path, "baseline", None, seed=2, cpu_seconds=None)
    fake_results.write(tmp_path, "baseline", 0.3, seed=1, rate="0.01")
    results = run_results.load_results(tmp_path)
    assert rows(comparison_tables.grid_table(results))[1] == [
        *("baseline", "0.1", "1, 2", "0.400 (1 without)", "0.200 (1 without)"),
        *("2.00 (1 without)", "2.0 (1 without)", "1.0 ± 0.0"),
    ]
    assert run_results.choose_rates(results) == {"baseline": "0.01"}


class TestChooseRates:
    def test_validation_chooses_and_test_does_not(self, tmp_path):
        for rate, validation, test in (("0.01", 0.4, 0.9), ("0.02", 0.5, 0.1)):
            fake_results.write(tmp_path, "all", validation, rate=rate)
            fake_results.write(tmp_path, "all", test, rate=rate, split="test")
        results = run_results.load_results(tmp_path)
        assert run_results.choose_rates(results) == {"all": "0.02"}

    def test_a_rate_does_not_win_by_its_seeds(self, tmp_path):
        """0.02 is better with the seed that both have; 0.03 has a seed of its own and 0.02's."""
        for rate, seed, value in (
            *(("0.01", 1, 0.4), ("0.02", 1, 0.5), ("0.02", 2, 0.1)),
            *(("0.03", 2, 0.05), ("0.03", 3, 0.9)),
        ):
            fake_results.write(tmp_path, "all", value, rate=rate, seed=seed)
        results = run_results.load_results(tmp_path)
        assert run_results.choose_rates(results) == {"all": "0.02"}

    def test_means_as_if_all_rates_had_the_same_seeds(self):
        """Seed 2 is 0.4 worse than seed 1."""
        values = {("a", 1): 0.4, ("b", 1): 0.5, ("b", 2): 0.1}
        means = run_results.seed_corrected_means(values)
        assert means == pytest.approx({"a": 0.2, "b": 0.3})

    def test_scores_on_test_alone_have_the_rate_of_their_run(self, tmp_path):
        for rate, value in (("0.01", 0.4), ("0.02", 0.5)):
            fake_results.write(tmp_path, "all", value, rate=rate)
            fake_results.write(tmp_path, "all", 0.5, rate=rate, split="test", main_logits=0.6)
        results = run_results.load_results(tmp_path)
        assert run_results.choose_rates(results) == {"all": "0.02", "all, main logits": "0.02"}

    def test_the_lower_rate_wins_a_tie(self, tmp_path):
        for rate in ("0.02", "0.003"):
            fake_results.write(tmp_path, "all", 0.5, rate=rate)
        results = run_results.load_results(tmp_path)
        assert run_results.choose_rates(results) == {"all": "0.003"}

    def test_several_rates_on_test_alone_are_refused(self, tmp_path):
        for rate in ("0.02", "0.003"):
            fake_results.write(tmp_path, "all", 0.5, rate=rate, split="test")
        with pytest.raises(RunError, match=r"all was trained with the rates 0\.003, 0\.02"):
            run_results.choose_rates(run_results.load_results(tmp_path))

    def test_an_experiment_without_results(self, tmp_path):
        with pytest.raises(RunError, match="has no result"):
            run_results.load_results(tmp_path)


def test_report_of_test_has_intervals_from_detections(tmp_path):
    """The baseline finds one object of four, the tasks all; every resample agrees in the sign."""
    directory = tmp_path / "screen"
    box = [[0.0, 0.0, 10.0, 10.0]]
    truth = make_groundtruth(box, [1])
    found, missed = make_detections(box, [0.5], [1]), make_detections([], [], [])
    for variant, hits, mean_ap in (("baseline", 1, 0.25), ("all", 4, 1.0)):
        images = {str(i): (truth, found if i < hits else missed) for i in range(4)}
        path = fake_results.write(directory, variant, mean_ap, split="test")
        name = f"{path.stem}__detections_as_trained.npz"
        stored_detections.save_detections(directory / name, images)
        stored_detections.save_groundtruth(tmp_path / "test_groundtruth.npz", images)
    text = comparison_tables.report(run_results.load_results(directory), resamples=200)
    row = next(line for line in text.splitlines() if line.startswith("| all | 0.1 | 1 | +75.00"))
    low, high = (float(part) for part in row.split("|")[-2].split(" to "))
    # The baseline's AP is the share of resampled images that are image 0: a binomial of 4, 1/4.
    assert low == pytest.approx(100 * (1 - 3 / 4))
    assert high == pytest.approx(100)
    assert "## On test" in text
    assert "## On validation" not in text
    assert "| baseline | 0.250 | none (1 without) |" in text  # by class


def test_stored_detections_come_back(tmp_path):
    truth = make_groundtruth([[1.03, 2, 30, 40.5]], [2], difficult=[True])
    found = make_detections([[0, 1.5, 20, 500.25], [3, 4, 5, 6]], [0.87654, 0.01], [2, 1])
    nothing = make_groundtruth([], []), make_detections([], [], [])
    images = {"b": (truth, found), "a": nothing}
    stored_detections.save_detections(tmp_path / "d.npz", images)
    stored_detections.save_groundtruth(tmp_path / "g.npz", images)
    empty, stored = stored_detections.load_detections(tmp_path / "d.npz")
    assert len(empty.scores) == 0
    np.testing.assert_allclose(stored.boxes, found.boxes, atol=1 / 32)
    np.testing.assert_allclose(stored.scores, found.scores, atol=1e-5)
    np.testing.assert_array_equal(stored.classes, [2, 1])
    empty, stored = stored_detections.load_groundtruth(tmp_path / "g.npz")
    assert len(empty.classes) == 0
    np.testing.assert_allclose(stored.boxes, [[1, 2, 30, 40.5]], atol=1 / 32)
    assert stored.difficult.tolist() == [True]
    assert stored.classes.tolist() == [2]


def test_mean_ap_by_class_count():
    from object_detection_mtl.config.label_map import Category

    categories = [Category(1, "lid", "lid"), Category(2, "pot", "pot")]
    one, other = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
    both = make_groundtruth([one, other], [1, 2])
    single = make_groundtruth([one, other], [1, 1])
    images = {
        "both": (both, make_detections([one], [0.9], [1])),
        "single": (single, make_detections([one], [0.9], [1])),
        "none": (make_groundtruth([], []), make_detections([one], [0.9], [1])),
    }
    found = stored_detections.mean_ap_by_class_count(images, categories)
    assert found["1"] == {"images": 1, "mAP@0.5": 0.5}  # one of two lids
    assert found["2"] == {"images": 1, "mAP@0.5": 0.5}  # the lid, not the pot
    assert found["3+"]["images"] == 0
    assert np.isnan(found["3+"]["mAP@0.5"])
