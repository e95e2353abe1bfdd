"""Counters of consumed and skipped examples."""

import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import Batch
from object_detection_mtl.training import example_accounting
from object_detection_mtl.training.example_accounting import ExampleAccounting


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
    assert described == [(1, 5), (0, 6), (0, 8), (3, 9)]
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
