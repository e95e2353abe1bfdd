"""Share of the input pipeline in a training step, for every sample config.

    python -m benchmarks.input_share

The CPU time of an image in the config's input pipeline, with the labels of its tasks, is measured
on the records of benchmarks/input_pipeline.py; that of a step is the least that its convolutions
and products need (`training/step_cost.py`), at the speed of one convolution. CPU times of all
threads: other programs disturb them less, and on two cores the input pipeline and the step share
the cores.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from absl import app, flags

from benchmarks import input_pipeline

_CONFIGS = flags.DEFINE_list("configs", [], "Sample configs; all if empty.")
_NUM_BOXES = 12


def main(_: list[str]) -> None:
    """Print a table."""
    from object_detection_mtl.builders import model_builder, train_config_builder
    from object_detection_mtl.cli import process_settings
    from object_detection_mtl.config import pipeline, samples
    from object_detection_mtl.training import step_cost

    process_settings.keep_freed_memory()  # as model_main_tf2 does
    names = _CONFIGS.value or sorted(samples.configs())
    print("| config | batch | input, ms an image | step, ms an image, at least | input share |")
    print("|---|---|---|---|---|")
    for name in names:
        config = pipeline.load(samples.path(name))
        batch_size = config.train_config.batch_size
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "benchmark.record"
            num_classes = config.model.faster_rcnn.num_classes
            input_pipeline.write_records(path, _NUM_BOXES, num_classes)
            dataset = input_pipeline.make_datasets(config, path)["with"]
            of_input = input_pipeline.seconds_per_image(dataset, 100, batch_size)[1]
        detector = model_builder.build(config.model, is_training=True)
        model = train_config_builder.build_model(config.train_config, detector)
        cost = step_cost.estimate_step(detector, batch_size, model)
        of_step = cost.flops / step_cost.convolution_speed(time.process_time) / batch_size
        print(
            f"| {name.removesuffix('.config')} | {batch_size} | {1e3 * of_input:.1f} | "
            f"{1e3 * of_step:.0f} | {of_input / (of_input + of_step):.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app.run(main)
