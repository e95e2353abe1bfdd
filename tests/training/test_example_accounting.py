"""Counters of consumed and skipped examples."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data.corrupt_examples import CorruptLimit
from object_detection_mtl.fields import Batch
from object_detection_mtl.training import example_accounting
from object_detection_mtl.training.example_accounting import ExampleAccounting
from object_detection_mtl.training.failures import CorruptLimitError


def positions(num_pipelines, step, restored, batch_size=4):
    accounting = ExampleAccounting(num_pipelines, batch_size)
    accounting.start(step, restored)
    return accounting.positions_before(step)


def test_where_a_run_continues():
    assert positions(1, 0, {}) == [0]
    assert positions(1, 5, {}) == [20]  # A directory of an earlier version.
    assert positions(2, 5, {}) == [20, 20]
    assert positions(1, 5, {"consumed_examples_0": 23}) == [23]
    both = {"consumed_examples_0": 23, "consumed_examples_1": 22}
    assert positions(2, 5, both) == [23, 22]
    assert positions(1, 5, both) == [23]  # Other numbers of workers repeat nothing.
    assert positions(3, 5, both) == [23, 23, 23]


def test_counts_of_two_replicas_of_one_pipeline():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    batches = {
        Batch.example_number: tf.constant([[4, 5], [7, 9]], tf.int64),
        Batch.issues: tf.constant([[[0] * 5, [0, 2, 0, 0, 0]], [[1, 0, 0, 0, 0], [1, 0, 0, 3, 0]]]),
    }
    batches[Batch.issues] = tf.cast(batches[Batch.issues], tf.int64)
    batch = {
        key: strategy.experimental_distribute_values_from_function(
            lambda context, value=value: value[context.replica_id_in_sync_group]
        )
        for key, value in batches.items()
    }
    batches[Batch.skipped] = tf.constant([[[0, 0], [4, 5]], [[7, 0], [9, 0]]], tf.int64)
    batch[Batch.skipped] = strategy.experimental_distribute_values_from_function(
        lambda context: batches[Batch.skipped][context.replica_id_in_sync_group]
    )
    counts = tf.function(
        lambda: example_accounting.step_counts(strategy, batch, num_pipelines=1, pipeline=0),
        autograph=False,
    )()
    assert counts["consumed"].numpy().tolist() == [10]
    assert counts["totals"].numpy().tolist() == [2, 2, 0, 3, 0]
    described = []
    accounting = ExampleAccounting(1, 4)
    accounting.start(1, {})
    accounting.log.describe = lambda kind, number: described.append((kind, number)) or ""
    accounting.record(2, counts)
    assert accounting.positions_before(2) == [10]
    assert accounting.positions_before(1) == [4]
    assert described == [(1, 5), (3, 9), (0, 3), (0, 4), (0, 6), (0, 8)]
    assert accounting.num_skipped == 2
    assert accounting.summary() == (
        "2 corrupt examples skipped; 2 objects of unknown class dropped; 3 boxes above "
        "max_number_of_boxes dropped"
    )


def test_data_without_numbers_count_steps():
    accounting = ExampleAccounting(1, 4)
    accounting.start(3, {"consumed_examples_0": 13, "skipped_examples": 1})
    batch = {Batch.inputs: np.zeros(1)}
    counts = example_accounting.step_counts(tf.distribute.get_strategy(), batch, 1, 0)
    assert counts == {}
    accounting.record(4, counts)
    assert accounting.positions_before(4) == [16]
    assert accounting.num_skipped == 1


def counts_of(pipeline, numbers, skipped, num_skipped_of_all):
    totals = np.array([num_skipped_of_all, 0, 0, 0, 0], np.int64)
    issues = np.zeros([len(numbers), 5], np.int64)
    issues[0, 0] = len(skipped)
    consumed = np.zeros(2, np.int64)
    consumed[pipeline] = max(numbers) + 1
    return {
        "consumed": tf.constant(consumed),
        "totals": tf.constant(totals),
        "numbers": tf.constant(numbers, tf.int64),
        "issues": tf.constant(issues),
        "skipped": tf.constant(skipped, tf.int64) + 1,
    }


def limit_of(allowed, num_records=10):
    return CorruptLimit(
        allowed, num_records, lambda number: number % num_records, lambda record: f"record {record}"
    )


def test_the_limit_holds_for_all_workers_together(monkeypatch):
    # Worker 0 skips examples 2 and 12, the same record; worker 1 skips 3 and 5.
    skipped = [[2, 12], [3, 5]]
    workers = [ExampleAccounting(2, 4) for _ in range(2)]
    rows = np.zeros([2, 4], np.int64)
    for number, worker in enumerate(workers):
        worker.start(0, {})
        worker.pipeline = number
        worker.limit_corrupt(limit_of(3))
        worker.record(1, counts_of(number, [14 + number], skipped[number], 4))
        rows[number, :2] = np.array(skipped[number]) + 1

    def sum_over_workers(value):
        assert value.shape == (2, 4)
        return tf.constant(rows)

    for worker in workers:
        monkeypatch.setattr(worker, "_sum", sum_over_workers)
        worker.share_corrupt()
        assert worker.counters["corrupt_records"].numpy().tolist() == [10, 2, 3, 5]
        worker.check_limit()
        with pytest.raises(CorruptLimitError, match="3 so far, the last is record 5"):
            worker.limit_corrupt(limit_of(2))


def test_the_limit_holds_for_all_commands_of_a_training():
    accounting = ExampleAccounting(1, 2)
    accounting.start(0, {})
    accounting.limit_corrupt(limit_of(1))
    accounting.counters["corrupt_records"].assign([10, 4])
    accounting.limit_corrupt(limit_of(1))
    counts = counts_of(0, [8, 9], [14, 7], 2)
    accounting.record(4, {**counts, "consumed": tf.constant([10], tf.int64)})
    accounting.share_corrupt()
    message = "more than 1 corrupt .*: 2 so far, the last is record 7"
    with pytest.raises(CorruptLimitError, match=message):
        accounting.check_limit()
    with pytest.raises(CorruptLimitError, match=message):
        accounting.limit_corrupt(limit_of(1))  # The same command again.
    accounting.limit_corrupt(limit_of(2))
    accounting.limit_corrupt(limit_of(1, num_records=11))  # Other records.
    assert accounting.counters["corrupt_records"].numpy().tolist() == [11]
