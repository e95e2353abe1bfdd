"""Two workers as separate processes: a killed one, a restarted one, corrupt examples."""

import functools
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

from object_detection_mtl.data import example_order, input_pipeline
from object_detection_mtl.fields import Batch
from object_detection_mtl.training.failures import LOST_WORKER_EXIT_CODE
from tests.data.record_files import example, write
from tests.forked import ForkedModule
from tests.ports import free_ports
from tests.training import cluster_worker

ROOT = Path(__file__).parents[2]
NUM_STEPS = 10


def start(directory, ports, index, seconds, max_corrupt_examples=2, *, is_fork=True):
    """Start a worker, a fork or a process of its own; its output goes to a file."""
    task = {"type": "worker", "index": index}
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    environment = {
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": task}),
        "PYTHONPATH": str(ROOT),
    }
    module = "tests.training.cluster_worker"
    arguments = [directory / "a.record", directory / "run", str(NUM_STEPS), str(seconds)]
    arguments.append(str(max_corrupt_examples))
    path = directory / f"output_{index}.txt"
    if is_fork:
        return ForkedModule(module, *arguments, output=path, environment=environment)
    with path.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def wait_for(condition, seconds=300):
    """Wait until `condition` returns a true value."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the workers are too slow"
        time.sleep(0.05)


def is_newest(run, checkpoint):
    """Return whether a run has got as far as a checkpoint."""
    state = run / "checkpoint"
    return state.exists() and f'model_checkpoint_path: "{checkpoint}"' in state.read_text()


def check_output(path):
    """Check what a worker says that has lost the other."""
    output = path.read_text()
    [line] = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "another worker of the cluster ended, restarted or cannot be reached" in line
    assert "Traceback" not in output
    named = line.partition("newest checkpoint is ")[2].partition(",")[0]
    assert Path(f"{named}.index").exists()


def interleaved(records):
    """Return data whose batches are an example of each of two pipelines."""

    def make_dataset(detector, context, batch_size, start_example):
        assert start_example == 0
        parts = [
            input_pipeline.make_dataset(
                records,
                preprocess_fn=lambda image: tuple(p[0] for p in detector.preprocess(image[None])),
                batch_size=1,
                is_training=True,
                num_classes=3,
                input_context=tf.distribute.InputContext(2, number, 2),
                max_corrupt_examples=2,
            )
            for number in range(2)
        ]
        return tf.data.Dataset.zip(tuple(parts)).map(
            lambda *two: {
                key: tf.concat([one[key] for one in two], axis=0)
                for key in (Batch.inputs, Batch.true_image_shapes)
            }
        )

    return make_dataset


@pytest.mark.slow
@pytest.mark.parametrize("receiver", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_worker_that_is_told_to_stop_stops_all_after_the_same_step(tmp_path, receiver):
    write(tmp_path / "a.record", *[example(str(number), size=(8, 8)) for number in range(7)])
    ports = free_ports(2)
    workers = [start(tmp_path, ports, index, 0.5) for index in range(2)]
    try:
        wait_for(functools.partial(is_newest, tmp_path / "run", "ckpt-2"))
        workers[receiver].send_signal(signal.SIGTERM)
        codes = [worker.wait(timeout=300) for worker in workers]
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    assert codes == [128 + signal.SIGTERM] * 2
    outputs = [(tmp_path / f"output_{index}.txt").read_text() for index in range(2)]
    stopped = {line for output in outputs for line in output.splitlines() if "saved as" in line}
    [line] = stopped  # Both name the step and the chief's checkpoint.
    assert f"saved as {tmp_path / 'run/ckpt-3'}; the same command continues from there" in line
    assert (tmp_path / "run/ckpt-3.index").exists()
    assert "another worker received a signal to stop" in outputs[1 - receiver]


# The second worker is killed after step 4; in the long test, of processes that are no forks, also
# the chief, after step 8.
@pytest.mark.slow
@pytest.mark.usefixtures("linear_names")
@pytest.mark.parametrize(
    ("kills", "is_fork"),
    [
        ([(1, "ckpt-2")], True),
        pytest.param([(1, "ckpt-2"), (0, "ckpt-3")], False, marks=pytest.mark.long),
    ],
    ids=["worker", "worker, chief"],
)
def test_a_killed_worker_ends_the_other_and_both_continue_when_restarted(tmp_path, kills, is_fork):
    records = [example(str(number), size=(8, 8)) for number in range(7)]
    records[2] = records[5] = b"garbage"
    path = str(write(tmp_path / "a.record", *records))
    ports = free_ports(2)
    workers = []
    try:
        for victim, checkpoint in kills:
            workers = [start(tmp_path, ports, index, 0.5, is_fork=is_fork) for index in range(2)]
            wait_for(functools.partial(is_newest, tmp_path / "run", checkpoint))
            workers[victim].kill()
            workers[victim].wait()
            assert workers[1 - victim].wait(timeout=300) == LOST_WORKER_EXIT_CODE
            check_output(tmp_path / f"output_{1 - victim}.txt")
        workers = [start(tmp_path, ports, 0, 0.0, is_fork=is_fork)]
        time.sleep(5)
        assert workers[0].poll() is None  # It waits for the other.
        workers.append(start(tmp_path, ports, 1, 0.0, is_fork=is_fork))
        assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    outputs = [(tmp_path / f"output_{index}.txt").read_text() for index in range(2)]
    newest = str(tmp_path / "run/ckpt-4")
    for output in outputs:
        assert "continuing at step " in output
        # TensorFlow may write more when the other worker ends first.
        [finished] = [line for line in output.splitlines() if line.startswith("finished at step")]
        assert finished.startswith(f"finished at step {NUM_STEPS}; newest checkpoint {newest}")
        assert "corrupt examples skipped" in finished
    assert Path(f"{newest}.index").exists()
    # One worker with the same examples in batches of two.
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    _, model = cluster_worker.train(
        path, str(tmp_path / "one"), NUM_STEPS, strategy=strategy, data=interleaved(path)
    )
    reader = tf.train.load_checkpoint(newest)
    prefix = "model/FirstStageFeatureExtractor/Linear/w/weights"
    [key] = [k for k in reader.get_variable_to_shape_map() if k.startswith(prefix)]
    np.testing.assert_allclose(reader.get_tensor(key), model.detector.w, rtol=1e-5)


@pytest.mark.slow
def test_the_limit_of_corrupt_records_is_that_of_both_workers(tmp_path):
    records = [example(str(number), size=(8, 8)) for number in range(40)]
    order = example_order.epoch_order(40, True, 0, tf.constant(0, tf.int64)).numpy()
    # One of each worker: example 2 of the first, example 5 of the second.
    for number in (2, 5):
        records[order[number]] = b"garbage"
    write(tmp_path / "a.record", *records)
    ports = free_ports(2)
    workers = [start(tmp_path, ports, index, 0.0, max_corrupt_examples=1) for index in range(2)]
    try:
        assert [worker.wait(timeout=300) for worker in workers] == [1, 1]
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    for index in range(2):
        output = (tmp_path / f"output_{index}.txt").read_text()
        [line] = [line for line in output.splitlines() if line.startswith("error: ")]
        assert "more than 1 corrupt examples" in line
        assert f"2 so far, the last is {tmp_path / 'a.record'}, record {order[5]}, at byte" in line
        # Worker 1 meets example 5 before its third example; the steps before are saved.
        assert f"The 3 steps before are saved as {tmp_path / 'run/ckpt-2'}" in line
    corrupt = tf.train.load_checkpoint(str(tmp_path / "run/ckpt-2")).get_tensor(
        "counters/corrupt_records/.ATTRIBUTES/VARIABLE_VALUE"
    )
    assert corrupt.tolist() == [40, order[2], order[5]]
