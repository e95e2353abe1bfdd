"""A training whose tf.data service loses its dispatcher, in a process of its own.

TensorFlow's thread that waits for the dispatcher would keep the process of the tests from ending.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import native
from object_detection_mtl.data import data_service, input_pipeline
from object_detection_mtl.training import training_loop
from object_detection_mtl.training.failures import DataServiceLostError
from object_detection_mtl.training.run_options import LoopOptions
from tests.data.record_files import numbered
from tests.data.test_data_service import start_process
from tests.ports import free_ports
from tests.training.linear import make_model

ROOT = Path(__file__).parents[2]
TRAIN = """
import sys
from tests.training import test_lost_dispatcher
test_lost_dispatcher.train_until_lost(*sys.argv[1:])
"""


@pytest.mark.slow
def test_the_steps_before_are_saved(tmp_path):
    records = str(numbered(tmp_path / "a", 20))
    [port] = free_ports(1)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, records, str(port), str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    message = done.stdout.splitlines()[-1]
    assert f"the dispatcher of the tf.data service at 'grpc://localhost:{port}'" in message
    assert "has not answered for 2 s" in message
    assert f"steps before are saved as {tmp_path / 'run/ckpt-2'}; the same command" in message
    reader = tf.train.load_checkpoint(str(tmp_path / "run/ckpt-2"))
    assert reader.get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE") >= 3


def train_until_lost(records, port, model_dir):
    """Train on the records, kill the dispatcher after three steps, print the error, and exit."""
    native.tf1_detection.name_map = lambda detector: detector.tf1_variable_names()
    training_loop.DispatcherWatch = functools.partial(
        data_service.DispatcherWatch, interval=0.5, patience=2.0
    )
    files = Path(model_dir).parent
    processes = [start_process(kind, int(port), files / kind) for kind in ("dispatcher", "worker")]

    def make_dataset(detector, context, batch_size, start_example):
        return input_pipeline.make_pipeline(
            records,
            preprocess_fn=lambda image: tuple(part[0] for part in detector.preprocess(image[None])),
            batch_size=batch_size,
            is_training=True,
            num_classes=3,
            start_example=start_example,
            input_context=context,
            data_service=f"grpc://localhost:{port}",
        )

    def kill_after_three(step, losses):
        if step == 3:
            for process in processes:
                process.kill()

    try:
        training_loop.run_training(
            model_dir,
            strategy=tf.distribute.MirroredStrategy(["/cpu:0"]),
            make_model=lambda: make_model({}, rate=0.01),
            initialize=lambda detector: None,
            make_dataset=make_dataset,
            batch_size=2,
            options=LoopOptions(10**9, log_every_n=1, record_summaries=False),
            on_block=kill_after_three,
        )
    except DataServiceLostError as error:
        print(error, flush=True)
        os._exit(0)
    finally:
        for process in processes:
            process.kill()
    os._exit(1)
