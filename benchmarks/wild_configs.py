"""Configs of a directory: which of them load, build, train two steps and export.

    python -m benchmarks.wild_configs DIRECTORY

The paths, the number of steps and the size of images and batches of each config are replaced, so
that a small synthetic dataset is enough; everything else is as written. Prints a Markdown table
with one row per config: the stage that it reached, and the first line of an error or the number of
ignored fields. benchmarks/configs/wild has configs of the kinds that occur.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

STAGES = ("load", "build", "two steps", "export")
IMAGE_SIDE = 96
NUM_IMAGES = 4


class Outcome(NamedTuple):
    """Outcome of one config: the stages that it passed, and a remark."""

    name: str
    passed: int
    remark: str

    @property
    def is_clear(self) -> bool:
        """Return whether the config runs, or ends with an error that names the cause."""
        return not self.remark.startswith("traceback")


def overrides_of(data: Path, num_classes: int) -> list[str]:
    """Return the overrides that point a config at the synthetic dataset."""
    reader = (
        f'{{label_map_path: "{data}/label_map_{num_classes}.pbtxt" '
        f'tf_record_input_reader {{input_path: "{data}/train.record"}}}}'
    )
    return [
        "train_config.num_steps=2",
        "train_config.batch_size=1",
        "train_config.fine_tune_checkpoint=",
        f"train_input_reader={reader}",
        f"eval_input_reader=[{reader}]",
        "model.faster_rcnn.image_resizer={fixed_shape_resizer "
        f"{{height: {IMAGE_SIDE} width: {IMAGE_SIDE}}}}}",
        "model.faster_rcnn.first_stage_max_proposals=16",
        "model.faster_rcnn.second_stage_batch_size=8",
    ]


def write_data(directory: Path, num_classes: int) -> None:
    """Write records of one class, and a label map with the given number of classes."""
    import io

    import numpy as np
    import tensorflow as tf
    from PIL import Image

    from object_detection_mtl.data.example_format import build_example

    (directory / f"label_map_{num_classes}.pbtxt").write_text(
        "\n".join(f'item {{ id: {i} name: "class{i}" }}' for i in range(1, num_classes + 1))
    )
    random = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(directory / "train.record")) as writer:
        for number in range(NUM_IMAGES):
            file = io.BytesIO()
            pixels = random.integers(0, 255, (IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(file, "PNG")
            example = build_example(
                encoded=file.getvalue(),
                image_format="png",
                height=IMAGE_SIDE,
                width=IMAGE_SIDE,
                filename=f"{number}.png",
                source_id=str(number),
                boxes=np.array([[0.2, 0.2, 0.8, 0.7]]),
                class_texts=["class1"],
                class_labels=[1],
            )
            writer.write(example.SerializeToString())


def try_config(path: Path, directory: Path) -> Outcome:
    """Take one config through all stages."""
    from object_detection_mtl import jobs
    from object_detection_mtl.builders import model_builder
    from object_detection_mtl.config import ignored_fields, pipeline, validation
    from object_detection_mtl.training.run_options import RunOptions

    passed = ignored = 0
    try:
        # As written first: what the overrides replace has to be valid, too.
        written = pipeline.load(path)
        problems = [
            problem
            for find in (validation.find_training_problems, validation.find_evaluation_problems)
            for problem in find(written)
            if "is the placeholder" not in problem
        ]
        if problems:
            return Outcome(path.name, 0, "; ".join(problems)[:200])
        num_classes = written.model.faster_rcnn.num_classes
        write_data(directory, num_classes)
        ignored = len(ignored_fields.find_ignored_fields(written))
        config = pipeline.load(path, overrides_of(directory, num_classes))
        passed += 1
        stages: tuple[Callable[[], Any], ...] = (
            lambda: model_builder.build(config.model, is_training=True),
            lambda: jobs.train(config, directory / "model", RunOptions(record_summaries=False)),
            lambda: jobs.export(config, str(directory / "model"), str(directory / "export")),
        )
        for stage in stages:
            stage()
            passed += 1
    except (ValueError, OSError) as error:
        lines = str(error).replace(str(path), path.name).splitlines()
        return Outcome(path.name, passed, " ".join(line.strip() for line in lines)[:200])
    except Exception:
        return Outcome(path.name, passed, f"traceback: {traceback.format_exc().splitlines()[-1]}")
    return Outcome(path.name, passed, f"{ignored} ignored fields" if ignored else "")


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    lines = [f"| config | {' | '.join(STAGES)} | remark |", f"|---{'|---' * len(STAGES)}|---|"]
    for outcome in outcomes:
        marks = ["yes" if i < outcome.passed else "no" for i in range(len(STAGES))]
        remark = outcome.remark.replace("|", "\\|")
        lines.append(f"| {outcome.name} | {' | '.join(marks)} | {remark} |")
    return "\n".join(lines)


def main() -> int:
    """Try the configs of the command line's directory; return 1 if one ends with a traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    outcomes = []
    for path in sorted(arguments.directory.glob("*.config")):
        with tempfile.TemporaryDirectory() as directory:
            outcomes.append(try_config(path, Path(directory)))
        print(f"{path.name}: {outcomes[-1].passed} of {len(STAGES)} stages", file=sys.stderr)
    print(table(outcomes))
    return 0 if all(outcome.is_clear for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
