"""Input from a tf.data service: addresses, blocks of examples, a killed worker."""

import socket
import time

import pytest
import tensorflow as tf

from object_detection_mtl.data import data_service, example_issues, example_order
from object_detection_mtl.fields import Batch
from tests.data.record_files import example, numbered, write
from tests.data.test_input_pipeline import pipeline
from tests.forked import ForkedModule
from tests.ports import free_ports


@pytest.mark.parametrize(
    "address", ["localhost:5000", "grpc://localhost", "grpc://a:0", "http://a:1"]
)
def test_addresses_of_another_form_are_refused(address):
    with pytest.raises(ValueError, match=r"expected grpc://HOST:PORT"):
        data_service.require_dispatcher(address)


def test_a_dispatcher_that_does_not_answer_is_reported_at_once(tmp_path):
    [port] = free_ports(1)
    with pytest.raises(ValueError, match=f"no tf.data service dispatcher answers at .*:{port}"):
        pipeline(numbered(tmp_path / "a", 2), data_service=f"grpc://localhost:{port}")


def test_the_address_of_another_server_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(data_service.dispatcher_problem, "__defaults__", (1.0,))
    with socket.create_server(("localhost", 0)) as server:  # It accepts and says nothing.
        address = f"grpc://localhost:{server.getsockname()[1]}"
        with pytest.raises(ValueError, match=r"dispatcher answers at .*\(no answer in 1 s\)"):
            pipeline(numbered(tmp_path / "a", 2), data_service=address)


def test_a_dispatcher_is_lost_when_it_has_not_answered_for_some_time():
    problems = iter(["", "gone", "", *["gone"] * 100])
    watch = data_service.DispatcherWatch(
        "grpc://a:1", interval=0.01, patience=0.1, find_problem=lambda address: next(problems)
    )
    queue = tf.queue.FIFOQueue(1, [tf.int64])  # Nothing comes.
    with watch, pytest.raises(tf.errors.CancelledError), watch.cancels():
        tf.function(queue.dequeue, autograph=False)()
    assert watch.problem == (
        "the dispatcher of the tf.data service at 'grpc://a:1' has not answered for 0.1 s (gone)"
    )


@pytest.mark.parametrize("start", [0, 7, 150])
def test_blocks_hold_the_examples_of_the_usual_order(start):
    places = example_order.training_places(70, True, 3, start).take(200)
    wanted = [(int(number), int(record)) for number, record in places]
    blocks = example_order.service_places(70, True, 3, start, None).take(200)
    assert [(int(number), int(record)) for number, record in blocks] == wanted
    parts = []
    for pipeline_id in range(2):
        context = tf.distribute.InputContext(2, pipeline_id, 2)
        part = example_order.service_places(70, True, 3, start, context).take(100)
        parts += [(int(number), int(record)) for number, record in part]
    assert sorted(parts) == wanted


def start_process(kind, port, output):
    process = ForkedModule("tests.data.service_process", kind, port, output=output)
    deadline = time.monotonic() + 300
    while not (output.exists() and "started\n" in output.read_text()):
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, "the process is too slow"
        time.sleep(0.02)
    return process


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed(tmp_path):
    records = [example(str(number), texts=["cat"]) for number in range(150)]
    records[40] = b"garbage"
    path = write(tmp_path / "a", *records)
    [port] = free_ports(1)
    processes = [start_process("dispatcher", port, tmp_path / "dispatcher")]
    try:
        for number in range(2):
            processes.append(start_process("worker", port, tmp_path / f"worker{number}"))
        made = pipeline(
            path,
            batch_size=5,
            data_service=f"grpc://localhost:{port}",
            max_corrupt_examples=1,
            start_example=50,
        )
        assert not made.is_repeatable
        batches = iter(made.dataset)
        numbers, skipped = [], []

        def read(count):
            for _ in range(count):
                batch = next(batches)
                assert batch[Batch.inputs].shape[0] == 5
                numbers.extend(batch[Batch.example_number].numpy().tolist())
                skipped.extend(example_issues.skipped_numbers(batch).tolist())

        def of_first_epoch():
            return [number for number in numbers if number < 150]

        # Every block of the first epoch is read, late if a worker is slow; the last batch of each
        # worker may be open.
        while len(of_first_epoch()) < 90 and len(numbers) < 10_000:
            read(20)
        assert len(of_first_epoch()) >= 90
        assert min(numbers) >= 50
        processes[1].kill()
        read(60)
        assert len(numbers) == len(set(numbers))
        assert max(numbers) > 300
        # Also where it was the last example of a block.
        assert {made.corrupt_limit.record_of(number) for number in skipped} == {40}
    finally:
        for process in processes:
            process.kill()
            process.wait()
