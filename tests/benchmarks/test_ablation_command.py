"""The ablation command, from a VOC directory to tables."""

import json

import numpy as np
import pytest

from object_detection_mtl.experiments import paired_bootstrap, run_results
from tests.experiments import tiny_experiment
from tests.forked import ForkedModule


def ablation(output, *arguments):
    """Run the command; return what it prints."""
    process = ForkedModule("tests.experiments.forked_ablation", *arguments, output=output)
    code = process.wait(timeout=600)
    assert code == 0, output.read_text()
    return output.read_text()


@pytest.fixture
def voc(tmp_path):
    """Sixty-three images of two classes, three of them test."""
    names = tiny_experiment.image_names(63)
    image_sets = {"trainval": "\n".join(names[:60]), "test": "\n".join(names[60:])}
    return tiny_experiment.make_voc_directory(tmp_path / "voc", 63, image_sets)


# tests/experiments and the long test of the positive control compare it with a baseline; the latter
# runs in real processes.
@pytest.mark.slow
def test_from_voc_directory_to_tables(voc, tmp_path):
    where = ["--dataset=tiny", "--experiment=short", f"--results_dir={tmp_path / 'results'}"]
    command = [
        "run",
        *where,
        f"--data_dir={voc}",
        f"--work_dir={tmp_path / 'work'}",
        "--variants=all+refine",
        "--steps=2",
        "--threads=1",
        "--evaluate_on=test",
        *tiny_experiment.FLAGS,
    ]
    ablation(tmp_path / "run.txt", *command)

    directory = tmp_path / "results" / "tiny" / "short"
    path = directory / "all+refine__lr0.0015__seed1__test.json"
    content = json.loads(path.read_text())
    assert content["sizes"] == {"train": 51, "validation": 9, "test": 3}
    assert content["curves"]["steps"] == [2]
    assert content["curves"]["values"]["gradient_norm"][0] > 0
    refined, main, refitted = (
        content["evaluations"][name]
        for name in ("as trained", "main logits", "refitted to validation")
    )
    assert refined["images"] == main["images"] == refitted["images"] == 3
    assert content["refit"]["proposals"]["fitted"] > 0
    assert "mtl/foreground_iou" in refined["metrics"]
    assert refined["by_number_of_classes"]["2"]["images"] == 3
    assert all(cost["cpu_seconds"] > 0 and cost["exit_code"] == 0 for cost in content["costs"])

    # The stored detections give the metric of the evaluation.
    for result in run_results.load_results(directory):
        matches = paired_bootstrap.load_matches(result.detections, result.groundtruth)
        stored = paired_bootstrap.mean_ap(matches, np.ones((1, 3)))[0]
        assert stored == pytest.approx(result.metric(run_results.MEAN_AP), abs=0.005)
    table = ablation(tmp_path / "table.txt", "table", *where)
    assert "| all+refine, main logits | 0.0015 | 1 |" in table
    assert "| all+refine, refitted to validation | 0.0015 | 1 |" in table
    assert "| unknown |" not in table
