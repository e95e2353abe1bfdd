import json

import pytest
from PIL import Image

from object_detection_mtl import jobs
from object_detection_mtl.cli import compare_detectors
from tests import command_line, records
from tests.reporting.dataset_files import DETECTED, coco_results, write_voc


@pytest.fixture
def files(tmp_path):
    """Return ground truth, all detections, and those without the cat."""
    write_voc(tmp_path / "voc")
    without = {**DETECTED, "a": DETECTED["a"][1:]}
    for name, detected in (("all", DETECTED), ("without", without)):
        (tmp_path / f"{name}.json").write_text(json.dumps(coco_results(detected)))
    return tmp_path


def run(*arguments):
    return command_line.run(compare_detectors, *map(str, arguments))


def test_two_files(files):
    done = run(
        files / "without.json",
        files / "all.json",
        f"--groundtruth={files / 'voc'}",
        f"--report={files / 'out'}",
        f"--figure={files / 'figure.png'}",
        "--resamples=50",
    )
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith(
        "note: The ground truth has class names and no numbers; assumed 1 cat"
    )
    assert lines[1] == "without: 1 run"
    place = lines.index("all minus without, AP at IoU 0.5, 95 % interval")
    assert lines[place + 1].split()[:5] == ["mean", "of", "all", "classes", "+0.5000"]
    assert lines[place + 2].split()[:2] == ["cat", "+1.0000"]
    assert lines[place + 3].split()[:2] == ["dog", "+0.0000"]
    assert lines[-2:] == [str(files / "out" / "comparison.html"), str(files / "figure.png")]
    with Image.open(files / "figure.png") as figure:
        assert figure.format == "PNG"


def test_a_figure_without_a_gain_says_so(files):
    figure = files / "figure.png"
    results = files / "all.json"
    done = run(results, f"same={results}", f"--groundtruth={files / 'voc'}", f"--figure={figure}")
    assert done.out.splitlines()[-2:] == [
        "same gains on no image (detections with a score of at least 0.5); the figure shows the "
        "first images",
        str(figure),
    ]


def test_names_and_runs(files):
    done = run(
        f"old={files / 'without.json'},{files / 'without.json'}",
        f"--detector=new={files / 'all.json'}",
        f"--groundtruth={files / 'voc'}",
        "--resamples=10",
    )
    assert done.code == 1  # Arguments without a flag stand only where the flag is absent.
    done = run(
        f"old={files / 'without.json'},{files / 'without.json'}",
        f"new={files / 'all.json'}",
        f"--groundtruth={files / 'voc'}",
        "--resamples=10",
    )
    assert done.out.splitlines()[1] == "old: 2 runs"
    assert "new minus old" in done.out


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("a.json", ("a", ["a.json"])),
        ("x=a.json", ("x", ["a.json"])),
        ("x=a.json,b.json", ("x", ["a.json", "b.json"])),
        ("runs/a.json,b.json", ("a", ["runs/a.json", "b.json"])),
    ],
)
def test_arguments(argument, expected):
    assert compare_detectors.parse_detector(argument) == expected


@pytest.mark.parametrize("argument", ["=a.json", "x=", "x=a.json,"])
def test_arguments_that_lack_something(argument):
    with pytest.raises(ValueError, match="expected a path, NAME=PATH"):
        compare_detectors.parse_detector(argument)


def test_one_detector_is_too_few(files):
    done = run(files / "all.json", f"--groundtruth={files / 'voc'}")
    assert done.code == 1
    assert "1 detectors are given, expected at least two" in done.err


@pytest.mark.parametrize(
    ("name", "message"), [("voc", "is a directory"), ("all.json/x.png", "all.json is a file")]
)
def test_a_figure_that_cannot_be_written_is_an_error_before_the_work(name, message, files):
    done = run("missing.json", "also.json", "--groundtruth=gone", f"--figure={files / name}")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert message in done.err


@pytest.mark.slow
def test_a_training_run_detects_in_the_images(tmp_path):
    records.write(tmp_path)
    config = records.load(tmp_path, "train_config.num_steps=1")
    jobs.train(config, tmp_path / "run")
    arguments = (
        f"first={tmp_path / 'run'}",
        f"second={tmp_path / 'run'}",
        f"--groundtruth={tmp_path / 'val.record'}",
        f"--report={tmp_path / 'out'}",
        "--resamples=10",
    )
    done = run(*arguments)
    assert done.code == 0, done.err
    assert "second minus first" in done.out
    text = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert "second is better: 0 images" in text
    progress = tmp_path / "out" / "detections-first-0.jsonl"
    lines = progress.read_text().splitlines()
    assert len(lines) == 1 + 3
    assert json.loads(lines[1])["scores"]


def test_home_directory_of_a_named_detector_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    found = compare_detectors.parse_detector("a=~/x.json,y.json")
    assert found == ("a", ["/home/me/x.json", "y.json"])
