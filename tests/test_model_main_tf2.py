"""The training and evaluation command line: the OD API's flags, errors in one line, signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl import jobs, model_main_tf2
from object_detection_mtl.training.best_checkpoint import PeriodicEvaluation
from object_detection_mtl.training.failures import NonFiniteError, WorkerLostError
from object_detection_mtl.training.run_options import RunOptions, TrainingResult
from tests import command_line, records
from tests.ports import free_ports

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    records.write(path)
    return path


@pytest.fixture
def calls(monkeypatch):
    """Jobs that only record their arguments."""
    noted = []

    def train(config, model_dir, options, **more):
        del more["callbacks"]
        noted.append(("train", config, model_dir, options, more))
        return TrainingResult(3, "ckpt-2", {})

    def evaluate(config, checkpoint_dir, model_dir, **options):
        noted.append(("evaluate", config, checkpoint_dir, model_dir, options))
        return {}

    monkeypatch.setattr(jobs, "train", train)
    monkeypatch.setattr(jobs, "evaluate", evaluate)
    return noted


def run(directory, *extra):
    return command_line.run(
        model_main_tf2,
        f"--pipeline_config_path={directory}/pipeline.config",
        "--model_dir=out",
        *extra,
    )


def error(done):
    assert done.code == 1
    [line] = [line for line in done.err.splitlines() if line.startswith("error: ")]
    return line


def test_training_by_default(directory, calls):
    assert run(directory).code == 0
    [(job, config, model_dir, options, more)] = calls
    assert (job, model_dir, config.train_config.num_steps) == ("train", "out", 3)
    assert options == RunOptions()
    assert more == {"periodic_evaluation": None, "initialize": None}


def test_every_flag_of_training_arrives(directory, calls):
    done = run(
        directory,
        "--num_train_steps=7",
        "--checkpoint_every_n=2",
        "--record_summaries=false",
        "--log_every_n=3",
        "--jit_compile",
        "--mixed_precision",
        "--use_tpu",
        "--tpu_name=here",
        "--data_service=grpc://a:1",
        "--on_damaged_checkpoint=fail",
        "--skip_nonfinite_steps=6",
        "--eval_every_n=4",
        "--best_metric=Loss/total_loss",
        "--patience=3",
        "--override=train_config.batch_size=1",
        "--override=train_config.seed=9",
        "--alsologtostderr",
    )
    assert done.code == 0, done.err
    [(_, config, _, options, more)] = calls
    assert (config.train_config.batch_size, config.train_config.seed) == (1, 9)
    assert config.train_config.use_bfloat16
    assert options == RunOptions(
        num_steps=7,
        checkpoint_every_n=2,
        log_every_n=3,
        record_summaries=False,
        jit_compile=True,
        use_tpu=True,
        tpu_name="here",
        data_service="grpc://a:1",
        on_damaged_checkpoint="fail",
        skip_nonfinite_steps=6,
    )
    assert more == {
        "periodic_evaluation": PeriodicEvaluation(4, "Loss/total_loss", 3, at_end=True),
        "initialize": None,
    }


def test_several_workers_train_without_evaluation(directory, calls):
    assert run(directory, "--num_workers=2").code == 0
    assert calls[0][3].num_workers == 2
    message = error(run(directory, "--num_workers=2", "--eval_every_n=1000"))
    assert "--eval_every_n with --num_workers=2 is unsupported" in message


def test_a_checkpoint_dir_means_evaluation(directory, calls):
    assert run(directory, "--checkpoint_dir=ckpts").code == 0
    [(job, config, checkpoint_dir, model_dir, options)] = calls
    assert (job, checkpoint_dir, model_dir) == ("evaluate", "ckpts", "out")
    assert config.eval_input_reader[0].sample_1_of_n_examples == 1
    assert options == {
        "timeout": 3600,
        "min_interval": None,
        "once": False,
        "on_train_data": False,
        "engine": "tensorflow",
        "precision": "float32",
        "report": None,
        "num_train_steps": None,
        "on_damaged_checkpoint": "fallback",
    }


def test_every_flag_of_evaluation_arrives(directory, calls):
    flags = ("--checkpoint_dir=c", "--eval_timeout=5", "--eval_once", "--num_train_steps=4")
    assert run(directory, *flags, "--sample_1_of_n_eval_examples=3").code == 0
    assert run(directory, *flags, "--eval_on_train_data").code == 0
    assert (
        run(
            directory, *flags, "--eval_on_train_data", "--sample_1_of_n_eval_on_train_examples=2"
        ).code
        == 0
    )
    configs = [call[1] for call in calls]
    assert [c.eval_input_reader[0].sample_1_of_n_examples for c in configs] == [3, 1, 1]
    assert [c.train_input_reader.sample_1_of_n_examples for c in configs] == [1, 5, 2]
    assert [call[4]["on_train_data"] for call in calls] == [False, True, True]
    assert all(
        (call[4]["timeout"], call[4]["once"], call[4]["num_train_steps"]) == (5, True, 4)
        for call in calls
    )


def test_a_signal_is_the_exit_code(directory, monkeypatch):
    stopped = TrainingResult(2, "ckpt-2", {}, interrupted_by=int(signal.SIGTERM))
    monkeypatch.setattr(jobs, "train", lambda *_, **__: stopped)
    assert run(directory).code == 128 + signal.SIGTERM


def test_mistakes_are_one_line(directory, calls, monkeypatch, tmp_path):
    assert "give --eval_every_n" in error(run(directory, "--patience=2"))
    assert "--eval_every_n applies to training only" in error(
        run(directory, "--checkpoint_dir=c", "--eval_every_n=2")
    )
    assert "--skip_nonfinite_steps=-1: expected 0 or more" in error(
        run(directory, "--skip_nonfinite_steps=-1")
    )
    assert "--num_train_steps=0: expected at least 1" in error(
        run(directory, "--num_train_steps=0")
    )
    assert "--eval_timeout=-1" in error(run(directory, "--checkpoint_dir=c", "--eval_timeout=-1"))
    assert "applies to evaluation only" in error(run(directory, "--eval_once"))
    assert "applies to evaluation only" in error(run(directory, "--report=out"))
    assert "without --eval_once" in error(run(directory, "--checkpoint_dir=c", "--report=out"))
    assert "does not exist" in error(run(tmp_path / "nowhere"))
    assert "batch_sise" in error(run(directory, "--override=train_config.batch_sise=3"))
    assert not calls

    def diverge(*_, **__):
        raise NonFiniteError("Loss/total_loss", 6)

    monkeypatch.setattr(jobs, "train", diverge)
    assert "Loss/total_loss became NaN or infinite in training step 7" in error(run(directory))


def test_a_lost_worker_has_an_exit_code_of_its_own(directory, monkeypatch):
    def lose(*_, **__):
        raise WorkerLostError("another worker of the cluster ended")

    monkeypatch.setattr(jobs, "train", lose)
    done = run(directory)
    assert done.code == 75
    assert "error: another worker of the cluster ended\n" in done.err


def environment(**more):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, **more}


def command(directory, model_dir, *extra):
    return [
        sys.executable,
        "-m",
        "object_detection_mtl.model_main_tf2",
        f"--pipeline_config_path={directory}/pipeline.config",
        f"--model_dir={model_dir}",
        *extra,
    ]


def model_weights(model_dir):
    reader = tf.train.load_checkpoint(str(model_dir))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    return {name: reader.get_tensor(name) for name in names}


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own_and_the_same_command_again(directory, tmp_path):
    """MobileNet itself: interrupted and continued equals uninterrupted.

    The test process continues and trains without interruption, on one thread as the interrupted
    process: the order in which several add up a gradient is not fixed.
    """
    steps = "--num_train_steps=6"
    one_thread = environment(
        TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1"
    )
    process = subprocess.Popen(
        command(directory, tmp_path / "run", steps, "--log_every_n=1"),
        env=one_thread,
        stdout=subprocess.PIPE,
        text=True,
    )
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("step 2/"):
            process.send_signal(signal.SIGINT)
    assert process.wait(timeout=600) == 130, output
    assert "the same command continues from there" in output
    for model_dir in ("run", "whole"):
        done = run(directory, f"--model_dir={tmp_path / model_dir}", steps)
        assert done.code == 0, done.err
    wanted = model_weights(tmp_path / "whole")
    for key, value in model_weights(tmp_path / "run").items():
        np.testing.assert_allclose(value, wanted[key], rtol=1e-6, atol=1e-6, err_msg=key)


@pytest.mark.slow
def test_two_processes_train_together(directory, tmp_path):
    """Two workers on this machine, half of each batch each."""
    workers = [f"localhost:{port}" for port in free_ports(2)]
    processes = [
        subprocess.Popen(
            command(directory, tmp_path / "run", "--num_workers=2", "--checkpoint_every_n=2"),
            env=environment(
                TF_CONFIG=json.dumps(
                    {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
                )
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    deadline = time.monotonic() + 900
    outputs = [p.communicate(timeout=max(1, deadline - time.monotonic()))[0] for p in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-4000:]
        assert "finished at step 3" in output
    run_dir = tmp_path / "run"
    assert sorted(path.name for path in run_dir.glob("*.index")) == [
        "ckpt-1.index",
        "ckpt-2.index",
        "ckpt-3.index",
    ]
    assert not list(run_dir.glob("temp_worker*"))
    assert len(list((run_dir / "train").glob("events*"))) == 1
    assert all(np.all(np.isfinite(value)) for value in model_weights(run_dir).values())
