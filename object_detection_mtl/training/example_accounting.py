"""Numbers of the examples that a run has consumed, and their issues.

Each input pipeline of a run (one for each worker) reads every P-th example, P the number of
pipelines. With corrupt examples skipped, the steps do not determine how far each of them is; these
counters of the checkpoints do. The different corrupt records of all workers are in the checkpoints
too, so that their limit holds for the whole training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import example_issues
from object_detection_mtl.data.corrupt_examples import CorruptLimit
from object_detection_mtl.data.example_issues import IssueLog
from object_detection_mtl.fields import Batch
from object_detection_mtl.training.failures import CorruptLimitError

SKIPPED_EXAMPLES = "skipped_examples"
CORRUPT_RECORDS = "corrupt_records"
_CONSUMED = "consumed_examples_"
# Steps whose numbers may wait on the device; reading them waits for the step.
_MAX_PENDING = 200

# Names of the tensors of a step, from `step_counts`.
CONSUMED, TOTALS, LOCAL_NUMBERS, LOCAL_ISSUES = "consumed", "totals", "numbers", "issues"
LOCAL_SKIPPED = "skipped"


def step_counts(
    strategy: tf.distribute.Strategy,
    batch: Mapping[str, tf.Tensor],
    num_pipelines: int,
    pipeline: int,
) -> dict[str, tf.Tensor]:
    """Return the counts of a step, in the graph of the step.

    Args:
        strategy: strategy of the run.
        batch: the distributed batch.
        num_pipelines: P, the number of input pipelines.
        pipeline: number of the pipeline of this process.

    Returns:
        "consumed" [P]: for each pipeline 1 + the number of its last example; "totals" [NUM_ISSUES]
        of all replicas; "numbers" and "issues" of the examples of this process, and "skipped",
        the rows of `Batch.skipped` one after another, if the data have them. Empty if the data do
        not have the keys.
    """
    if Batch.example_number not in batch or Batch.issues not in batch:
        return {}

    def local(key: str) -> tf.Tensor:
        return tf.concat(strategy.experimental_local_results(batch[key]), axis=0)

    numbers, issues = local(Batch.example_number), local(Batch.issues)
    own = tf.one_hot(pipeline, num_pipelines, dtype=tf.int64) * (tf.reduce_max(numbers) + 1)
    totals = tf.reduce_sum(issues, axis=0)
    if num_pipelines > 1:
        own = _sum_over_pipelines(strategy, own, num_pipelines)
        totals = _sum_over_pipelines(strategy, totals, num_pipelines)
    counts = {CONSUMED: own, TOTALS: totals, LOCAL_NUMBERS: numbers, LOCAL_ISSUES: issues}
    if Batch.skipped in batch:
        rows = strategy.experimental_local_results(batch[Batch.skipped])
        counts[LOCAL_SKIPPED] = tf.concat([tf.reshape(row, [-1]) for row in rows], axis=0)
    return counts


def _sum_over_pipelines(
    strategy: tf.distribute.Strategy, value: tf.Tensor, num_pipelines: int
) -> tf.Tensor:
    """Return the sum of the values of all workers, in a graph; each worker has one value."""
    per_pipeline = strategy.num_replicas_in_sync // num_pipelines

    def of_first_replica(value: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        is_first = tf.equal(context.replica_id_in_sync_group % per_pipeline, 0)
        return tf.where(is_first, value, tf.zeros_like(value))

    values = strategy.run(of_first_replica, args=(value,))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)


class ExampleAccounting:
    """Counters of consumed and skipped examples, which checkpoints keep.

    Attributes:
        counters: name -> int64 [] variable.
        log: issues of this command's examples.
        limit: limit of the corrupt records; None if there may be none.
        pipeline: number of the input pipeline of this process.
    """

    def __init__(
        self, num_pipelines: int, batch_size: int, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        """Make the counters; call this in the strategy's scope.

        Args:
            num_pipelines: number of input pipelines of the run.
            batch_size: global batch size.
            strategy: strategy of the run; None for that of the scope.
        """
        self._strategy = strategy or tf.distribute.get_strategy()
        self._batch_size = batch_size
        self._consumed = [
            tf.Variable(0, dtype=tf.int64, trainable=False, name=f"{_CONSUMED}{number}")
            for number in range(num_pipelines)
        ]
        self._skipped = tf.Variable(0, dtype=tf.int64, trainable=False, name=SKIPPED_EXAMPLES)
        self.counters = {f"{_CONSUMED}{i}": value for i, value in enumerate(self._consumed)}
        self.counters[SKIPPED_EXAMPLES] = self._skipped
        # The number of records, then those that are corrupt. They are in the checkpoint since a
        # training that continues does not read the earlier examples again.
        self._corrupt = tf.Variable([0], shape=[None], dtype=tf.int64, trainable=False)
        self.counters[CORRUPT_RECORDS] = self._corrupt
        self.log = IssueLog()
        self.limit: CorruptLimit | None = None
        self._new_skipped: list[int] = []
        self._num_new = 0
        self._sum = tf.function(
            lambda value: _sum_over_pipelines(self._strategy, value, num_pipelines),
            autograph=False,
            input_signature=[tf.TensorSpec([num_pipelines, None], tf.int64)],
        )
        self.pipeline = 0
        self._pending: list[tuple[int, Mapping[str, tf.Tensor]]] = []
        self._before: dict[int, list[int]] = {}

    @property
    def num_pipelines(self) -> int:
        """Number of input pipelines of the run."""
        return len(self._consumed)

    def start(self, step: int, restored: Mapping[str, int]) -> None:
        """Set the counters of a run that begins or continues.

        Args:
            step: steps already done.
            restored: name -> number, the counters of the restored checkpoint. One without them
                (of an earlier version, or with another number of workers) starts every pipeline
                after the last example that any has consumed.
        """
        found = {
            name.removeprefix(_CONSUMED): number
            for name, number in restored.items()
            if name.startswith(_CONSUMED)
        }
        wanted = [str(number) for number in range(self.num_pipelines)]
        if found.keys() == set(wanted):
            positions = [found[number] for number in wanted]
        else:
            furthest = max(found.values(), default=step * self._batch_size)
            positions = [furthest] * self.num_pipelines
        self._assign(positions)
        self._skipped.assign(restored.get(SKIPPED_EXAMPLES, 0))

    def limit_corrupt(self, limit: CorruptLimit | None) -> None:
        """Count corrupt records of the data from now on.

        Raises:
            CorruptLimitError: earlier commands of the training have found too many.
        """
        self.limit = limit
        if limit is not None and int(self._corrupt[0]) != limit.num_records:
            self._corrupt.assign([limit.num_records])  # Of a new run, or the records are others.
        self.check_limit()

    def record(self, step: int, counts: Mapping[str, tf.Tensor]) -> None:
        """Count the examples of a step whose update counts as done.

        Args:
            step: steps done, this one included.
            counts: result of `step_counts`.
        """
        self._pending.append((step, counts))
        if len(self._pending) >= _MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Bring the counters up to date; call this before a checkpoint is saved."""
        for step, counts in self._pending:
            self._before = {step - 1: self._positions()}
            if not counts:
                self._assign([step * self._batch_size] * self.num_pipelines)
                continue
            self._assign(counts[CONSUMED].numpy().tolist())
            num_skipped = int(counts[TOTALS][example_issues.SKIPPED])
            self._skipped.assign_add(num_skipped)
            self._num_new += num_skipped
            issues = counts[LOCAL_ISSUES].numpy()
            if issues.any():
                skipped = counts.get(LOCAL_SKIPPED)
                skipped = example_issues.skipped_numbers(
                    {} if skipped is None else {Batch.skipped: skipped}
                )
                self._new_skipped += skipped.tolist()
                self.log.add(counts[LOCAL_NUMBERS].numpy(), issues, skipped)
        self._pending.clear()

    def share_corrupt(self) -> None:
        """Add the corrupt records that all workers have met since the last call.

        Every worker has to call it after the same step; call it before a checkpoint is saved.
        """
        self.flush()
        # All workers know this number, so that either all of them communicate or none.
        if self._num_new and self.limit is not None:
            rows = np.zeros([self.num_pipelines, self._num_new], np.int64)
            rows[self.pipeline, : len(self._new_skipped)] = np.array(self._new_skipped) + 1
            if self.num_pipelines > 1:
                rows = self._sum(tf.constant(rows)).numpy()
            known = self._corrupt.numpy().tolist()[1:]
            met = [self.limit.record_of(number - 1) for number in rows[rows > 0].tolist()]
            records = dict.fromkeys([*known, *met])
            self._corrupt.assign([self.limit.num_records, *records])
        self._new_skipped, self._num_new = [], 0

    def check_limit(self) -> None:
        """Compare the corrupt records of the training with their limit.

        Raises:
            CorruptLimitError: they are too many.
        """
        records = self._corrupt.numpy().tolist()[1:]
        if self.limit is None or len(records) <= self.limit.allowed:
            return
        raise CorruptLimitError(
            f"more than {self.limit.allowed} corrupt examples (max_corrupt_examples of the input "
            f"reader, for all workers and commands of the training): {len(records)} so far, the "
            f"last is {self.limit.place(records[-1])}. Repair or remove the records, or raise the "
            "number"
        )

    def positions_before(self, step: int) -> list[int]:
        """Return the number of consumed examples of each pipeline before the step after `step`."""
        self.flush()
        return self._before.get(step) or self._positions()

    def summary(self) -> str:
        """Return skipped examples of the run and dropped objects of this command as text."""
        totals = np.array(self.log.totals)
        totals[example_issues.SKIPPED] = self.num_skipped
        return example_issues.describe_totals(totals)

    @property
    def num_skipped(self) -> int:
        """Number of times that the run skipped a corrupt example."""
        return int(self._skipped.numpy())

    def _positions(self) -> list[int]:
        return [int(value.numpy()) for value in self._consumed]

    def _assign(self, positions: Sequence[int]) -> None:
        for variable, position in zip(self._consumed, positions, strict=True):
            variable.assign(position)
