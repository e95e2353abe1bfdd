"""Kill trainings or exports again and again; count what is lost.

    python -m benchmarks.faults --kills=200
    python -m benchmarks.faults --mode=export --kills=30

A small model is trained, or exported over an earlier export. Every other kill comes at a random
time; the others come after a stage of a save or of an export. They are found by stopping the
process again and again to look at its directory. After each kill the same work is started again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import faults_export, faults_training

MODES = ("training", "export")


def _main(_: list[str]) -> int:
    from absl import flags

    values = flags.FLAGS
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if values.mode == "export":
            exports = faults_export.measure_export_faults(
                values.kills, directory, values.seed, can_exchange=values.exchange
            )
            print(faults_export.describe_export_counts(exports))
            return 1 if exports.broken or exports.leftovers else 0
        counts = faults_training.measure_faults(values.kills, directory, values.seed)
    print(faults_training.describe_counts(counts))
    return 1 if counts.lost_steps or counts.differing_tensors else 0


if __name__ == "__main__":
    from absl import app, flags

    flags.DEFINE_enum("mode", "training", MODES, "What is killed.")
    flags.DEFINE_integer("kills", 20, "Number of kills.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the random times.")
    flags.DEFINE_bool(
        "exchange", True, "Of exports: exchange directories in one operation, as Linux can."
    )
    app.run(_main)
