import pytest

import object_detection_mtl as odm
from object_detection_mtl.cli import evaluate_detector
from tests import command_line, records


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    records.write(path)
    return path


@pytest.fixture
def calls(monkeypatch):
    """Evaluations that are noted and not made."""
    noted = []

    def load(path, **options):
        noted.append({"checkpoint": path, **options})
        return "the detector"

    def evaluate(detector, **options):
        assert detector == "the detector"
        noted[-1] |= options
        return {}

    monkeypatch.setattr(odm, "load_detector", load)
    monkeypatch.setattr(odm, "evaluate_detector", evaluate)
    return noted


def run(directory, *arguments):
    return command_line.run(
        evaluate_detector, f"--pipeline_config_path={directory}/pipeline.config", *arguments
    )


def test_it_evaluates_once_beside_the_checkpoints(directory, calls, tmp_path):
    assert run(directory, f"--checkpoint_dir={tmp_path}").code == 0
    assert run(directory, f"--checkpoint_dir={tmp_path}/ckpt-3").code == 0
    for options, expected in zip(calls, (str(tmp_path), f"{tmp_path}/ckpt-3"), strict=True):
        assert (options["checkpoint"], options["output_dir"]) == (expected, str(tmp_path))
        assert options["report"] is options["report_options"] is None
        assert options["config"].eval_input_reader[0].sample_1_of_n_examples == 1


def test_every_flag_arrives(directory, calls, tmp_path):
    done = run(
        directory,
        "--checkpoint_dir=run",
        f"--model_dir={tmp_path}",
        "--report=report",
        "--eval_on_train_data",
        "--sample_1_of_n_eval_examples=4",
        "--engine=auto",
        "--engine_precision=bfloat16",
        "--min_score=0.3",
        "--gallery_images=-1",
        "--override=eval_config.batch_size=2",
    )
    assert done.code == 0, done.err
    [options] = calls
    config, report = options.pop("config"), options.pop("report_options")
    assert config.eval_config.batch_size == 2
    assert config.train_input_reader.sample_1_of_n_examples == 4
    assert (report.min_score, report.max_gallery_images) == (0.3, None)
    assert options == {
        "checkpoint": "run",
        "output_dir": str(tmp_path),
        "report": "report",
        "on_train_data": True,
        "engine": "auto",
        "precision": "bfloat16",
    }


def test_a_wrong_score_is_refused(directory, calls):
    done = run(directory, "--checkpoint_dir=run", "--min_score=2")
    assert done.code == 1
    assert not calls
