"""Choice of devices and sharing out of batches."""

import json

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.training import distribution
from tests.training.linear import dataset


def test_default_is_a_mirrored_strategy_on_what_is_visible():
    strategy = distribution.make_strategy()
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == max(1, len(tf.config.list_physical_devices("GPU")))
    assert distribution.is_chief(strategy)


def test_a_tpu_that_is_not_there(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(ValueError, match=r"--use_tpu: no TPU was found \(--tpu_name=None\)"):
        distribution.make_strategy(use_tpu=True)


@pytest.mark.parametrize("config", ["", "{", "[]", '{"task": {}}', '{"cluster": 3}'])
def test_several_workers_need_a_cluster(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(
        ValueError, match="--num_workers=2 needs the environment variable TF_CONFIG"
    ):
        distribution.make_strategy(num_workers=2)


class Resolver:
    def __init__(self, cluster, kind, index):
        self.task_type, self.task_id = kind, index
        self._spec = tf.train.ClusterSpec(cluster)

    def cluster_spec(self):
        return self._spec


@pytest.mark.parametrize(
    ("jobs", "kind", "index", "chief"),
    [
        (("worker",), "worker", 0, True),
        (("worker",), "worker", 1, False),
        (("chief", "worker"), "chief", 0, True),
        (("chief", "worker"), "worker", 0, False),
    ],
)
def test_one_process_is_the_chief(monkeypatch, jobs, kind, index, chief):
    strategy = tf.distribute.MultiWorkerMirroredStrategy.__new__(
        tf.distribute.MultiWorkerMirroredStrategy
    )
    resolver = Resolver({job: ["a:1", "b:2"] for job in jobs}, kind, index)
    monkeypatch.setattr(
        tf.distribute.MultiWorkerMirroredStrategy, "cluster_resolver", resolver, raising=False
    )
    assert distribution.is_chief(strategy) is chief


def test_a_global_batch_is_shared_out_equally():
    class Replicas:
        num_replicas_in_sync = 4

    assert distribution.per_replica_batch_size(Replicas(), 8) == 2
    for wrong in (6, 0):
        with pytest.raises(ValueError, match=f"batch_size {wrong} is the number of images"):
            distribution.per_replica_batch_size(Replicas(), wrong)


def test_batches_arrive_without_strings():
    strategy = distribution.make_strategy()
    batch = next(iter(distribution.distribute(strategy, lambda context: dataset(2))))
    assert set(batch) == {"inputs", "true_image_shapes"}
    np.testing.assert_array_equal(batch["inputs"][:, 0, 0, 0], [0.5, 1.0])


def test_the_end_of_an_iterator_waits_for_no_thread_that_sleeps():
    """Neither of tuning nor of copying to a device that is the host itself."""
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    made = distribution.distribute(strategy, lambda context: dataset(2))
    assert made.options().autotune.enabled is False
    assert type(iter(made)) is type(iter(tf.data.Dataset.range(1)))


def test_a_worker_count_that_contradicts_tf_config_is_reported(monkeypatch, caplog):
    cluster = {"cluster": {"worker": ["a:1", "b:2", "c:3"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    made = []
    monkeypatch.setattr(
        tf.distribute, "MultiWorkerMirroredStrategy", lambda: made.append(1) or "strategy"
    )
    assert distribution.make_strategy(num_workers=2) == "strategy"
    assert "TF_CONFIG lists 3 workers" in caplog.text


def test_a_step_cannot_read_a_batch_before_its_waiting_time_is_known():
    """One thread that runs a whole step would otherwise read the clock after it."""
    iterator = iter(tf.data.Dataset.from_tensor_slices({"x": [3.0, 4.0], "y": [5, 6]}))
    step = tf.function(distribution.timed_next).get_concrete_function(iterator)
    (batch_of,) = [op for op in step.graph.get_operations() if op.type == "IteratorGetNext"]
    for tensor in batch_of.outputs:
        (reader,) = tensor.consumers()
        (waited,) = reader.control_inputs
        assert waited.type == "Sub"
        assert batch_of in waited.inputs[0].op.control_inputs
    for x, y in [(3.0, 5), (4.0, 6)]:
        batch, waited = step(iterator)
        assert (float(batch["x"]), int(batch["y"])) == (x, y)
        assert 0.0 <= float(waited) < 60.0
