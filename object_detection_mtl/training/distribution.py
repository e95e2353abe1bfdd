"""Distribution strategies and their input, as in the OD API."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import dataset_options
from object_detection_mtl.data.corrupt_examples import CorruptLimit
from object_detection_mtl.data.example_issues import Describe
from object_detection_mtl.data.input_pipeline import ExamplePipeline

DatasetFn = Callable[[tf.distribute.InputContext], tf.data.Dataset]


def make_strategy(
    *, num_workers: int = 1, use_tpu: bool = False, tpu_name: str | None = None
) -> tf.distribute.Strategy:
    """Return the strategy of a run; call it before TensorFlow uses a device.

    Args:
        num_workers: 1: MirroredStrategy over all visible GPUs, or the CPU. More:
            MultiWorkerMirroredStrategy over the cluster of the environment variable TF_CONFIG.
        use_tpu: TPUStrategy.
        tpu_name: for the TPU's resolver; None detects the TPU.

    Raises:
        ValueError: no TPU, or no usable TF_CONFIG for several workers.
    """
    if use_tpu:
        return _tpu_strategy(tpu_name)
    if num_workers > 1:
        _check_cluster(num_workers)
        return tf.distribute.MultiWorkerMirroredStrategy()
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # In notebooks it prints the devices, at level INFO.
    try:
        return tf.distribute.MirroredStrategy()
    finally:
        logger.setLevel(level)


def _tpu_strategy(tpu_name: str | None) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu_name or "")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise ValueError(
            f"--use_tpu: no TPU was found (--tpu_name={tpu_name!r}): "
            f"{str(error).splitlines()[0]}. Run on a machine with a TPU and a TensorFlow built for "
            "it, or omit --use_tpu"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _check_cluster(num_workers: int) -> None:
    text = os.environ.get("TF_CONFIG", "")
    try:
        cluster = json.loads(text)["cluster"]
        found = len(cluster.get("worker", ())) + len(cluster.get("chief", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"--num_workers={num_workers} needs the environment variable TF_CONFIG with the "
            'addresses of all workers, such as {"cluster": {"worker": ["host1:5000", '
            '"host2:5000"]}, "task": {"type": "worker", "index": 0}}; '
            f"TF_CONFIG is {text!r}"
        ) from error
    if found != num_workers:
        logging.getLogger(__name__).warning(
            "--num_workers=%d, but TF_CONFIG lists %d workers; TF_CONFIG takes precedence",
            num_workers,
            found,
        )


def is_cluster(strategy: tf.distribute.Strategy) -> bool:
    """Return whether several processes train together."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process writes checkpoints and summaries."""
    resolver = strategy.cluster_resolver
    if not is_cluster(strategy) or resolver is None:
        return True
    if resolver.task_type in (None, "chief"):
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "worker" and resolver.task_id == 0 and not has_chief


def worker_suffix(strategy: tf.distribute.Strategy) -> str:
    """Return a suffix of file names for each worker of a cluster; empty without a cluster."""
    resolver = strategy.cluster_resolver
    if not is_cluster(strategy) or resolver is None:
        return ""
    return f"_{resolver.task_type}_{resolver.task_id:03d}"


def num_input_pipelines(strategy: tf.distribute.Strategy) -> int:
    """Return the number of input pipelines of a run, one for each worker."""
    resolver = strategy.cluster_resolver
    if is_cluster(strategy) and resolver is not None:
        jobs = resolver.cluster_spec().as_dict()
        return max(1, sum(len(jobs.get(job, ())) for job in ("chief", "worker")))
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return int(strategy.extended.num_hosts)
    return 1


def per_replica_batch_size(strategy: tf.distribute.Strategy, batch_size: int) -> int:
    """Return the batch size of one replica.

    Raises:
        ValueError: the replicas do not divide the global batch size.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size < 1 or batch_size % replicas:
        raise ValueError(
            f"train_config.batch_size {batch_size} is the number of images of one step on all "
            f"{replicas} devices together; it must be a positive multiple of {replicas}"
        )
    return batch_size // replicas


def distribute(strategy: tf.distribute.Strategy, dataset_fn: DatasetFn) -> tf.data.Dataset:
    """Return batches for every replica.

    Args:
        strategy: strategy of the run.
        dataset_fn: returns a worker's dataset, of batches for ONE replica, from its InputContext.
    """

    def numbers_only(context: tf.distribute.InputContext) -> tf.data.Dataset:
        dataset = dataset_fn(context)
        # Accelerators hold no strings, and no step reads one.
        keys = [key for key, spec in dataset.element_spec.items() if spec.dtype != tf.string]
        numbers = dataset.map(lambda batch: {key: batch[key] for key in keys})
        return numbers.with_options(dataset_options.fixed_parallelism())

    if strategy.num_replicas_in_sync == 1 and _is_on_cpu(strategy):
        # The strategy's own iterator would copy each batch from host to host, and has a second
        # thread of the kind that `fixed_parallelism` avoids.
        return numbers_only(tf.distribute.InputContext())
    return strategy.distribute_datasets_from_function(numbers_only)


def timed_next(iterator: Any) -> tuple[dict[str, Any], tf.Tensor]:
    """Return the next batch of a step on every replica, and the seconds that it was waited for.

    The batch cannot be read before the clock is: where one thread runs a whole step, the second
    reading would otherwise come after the step.
    """
    start = tf.timestamp()
    with tf.control_dependencies([start]):
        batch = next(iterator)
    with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
        waited = tf.timestamp() - start
    with tf.control_dependencies([waited]):
        return tf.nest.map_structure(_same, batch, expand_composites=True), waited


def _same(tensor: tf.Tensor) -> tf.Tensor:
    with tf.device(tensor.device):
        return tf.identity(tensor)


def _is_on_cpu(strategy: tf.distribute.Strategy) -> bool:
    return all("CPU:" in device.upper() for device in strategy.extended.worker_devices)


class RunBatches:
    """Batches of a run: distributed from an example on, or read again for one step.

    Attributes:
        describe: see `example_issues.Describe`; None if the data cannot describe its examples.
        pipeline: number of the input pipeline of this process.
        corrupt_limit: limit of the corrupt records of the run, if the data have one.
        data_service: address of the dispatcher of a tf.data service, if one reads the data.
    """

    def __init__(
        self,
        make_dataset: Callable[
            [tf.distribute.InputContext, int, int], tf.data.Dataset | ExamplePipeline
        ],
        strategy: tf.distribute.Strategy,
        replica_batch_size: int,
    ) -> None:
        """Prepare to read.

        Args:
            make_dataset: (input context, batch size of one replica, number of the first example)
                -> endless batches, or the input pipeline that has them.
            strategy: strategy of the run.
            replica_batch_size: batch size of one replica.
        """
        self._make_dataset = make_dataset
        self._strategy = strategy
        self._replica_batch_size = replica_batch_size
        self._context: tf.distribute.InputContext | None = None
        self._is_repeatable = True
        self.describe: Describe | None = None
        self.pipeline = 0
        self.corrupt_limit: CorruptLimit | None = None
        self.data_service: str | None = None

    def from_examples(self, positions: Sequence[int]) -> tf.data.Dataset:
        """Return distributed batches.

        Args:
            positions: for each input pipeline, the number of the first example to read.
        """

        def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
            self._context = context
            self.pipeline = context.input_pipeline_id
            return self._read(context, positions)

        return distribute(self._strategy, make)

    def of_step(self, positions: Sequence[int]) -> list[dict[str, np.ndarray]]:
        """Read the batches of one step again, one for each replica of this worker.

        Args:
            positions: as in `from_examples`, before the step.
        """
        assert self._context is not None, "from_examples comes first"
        if not self._is_repeatable:
            raise RuntimeError("the examples of a data service come in no fixed order")
        replicas = self._strategy.num_replicas_in_sync // self._context.num_input_pipelines
        batches = self._read(self._context, positions).take(replicas)
        return [dict(batch) for batch in batches.as_numpy_iterator()]

    def _read(
        self, context: tf.distribute.InputContext, positions: Sequence[int]
    ) -> tf.data.Dataset:
        start = positions[context.input_pipeline_id]
        made = self._make_dataset(context, self._replica_batch_size, start)
        if isinstance(made, ExamplePipeline):
            self.describe, self._is_repeatable = made.describe, made.is_repeatable
            self.corrupt_limit, self.data_service = made.corrupt_limit, made.data_service
            return made.dataset
        return made
