"""Speed of the input pipeline with and without the labels of the auxiliary tasks.

    python -m benchmarks.input_pipeline
    python -m benchmarks.input_pipeline --boxes=3,12,50 --config=faster_rcnn_resnet101_coco17.config

The pipeline is that of a sample config: its image resizer, normalization, augmentation and batch
size, on synthetic records (500x375 pixels, about 90 kB). The two pipelines run alternately, so that
a change of the machine's speed affects both. The benchmark prints the median of the ratios of
neighboring rounds: of the throughput, and of the CPU time per image. The CPU time matters if the
pipeline uses all cores, and varies less on a busy machine.
"""

from __future__ import annotations

import io
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks.drawn_boxes import draw

_CONFIG = flags.DEFINE_string("config", "faster_rcnn_mobilenet_v1_voc07.config", "Sample config.")
_BOXES = flags.DEFINE_list("boxes", ["3", "12"], "Numbers of objects per image; VOC has 3, COCO 7.")
_IMAGES = flags.DEFINE_integer("images", 400, "Images that are timed in one round.", lower_bound=10)
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Rounds of each pipeline.", lower_bound=1)

_RECORDS = 40
_WARM_UP = 64  # images
AIM = 0.95


def write_records(path: Path, num_boxes: int, num_classes: int) -> None:
    """Write images with as many bytes as photographs."""
    import numpy as np
    import tensorflow as tf
    from PIL import Image

    from object_detection_mtl.data.example_format import build_example

    random = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(_RECORDS):
            coarse = Image.fromarray(random.integers(0, 256, (94, 125, 3), np.uint8))
            encoded = io.BytesIO()
            coarse.resize((500, 375), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=90)
            boxes, classes = draw(num_boxes, num_classes, seed=number)
            example = build_example(
                encoded=encoded.getvalue(),
                image_format="jpeg",
                height=375,
                width=500,
                filename=str(number),
                source_id=str(number),
                boxes=boxes,
                class_texts=[str(kind) for kind in classes],
                class_labels=classes.tolist(),
            )
            writer.write(example.SerializeToString())


def make_datasets(config: Any, path: Path) -> dict[str, Any]:
    """Return the training pipeline of the config without and with all three labels."""
    import tensorflow as tf

    from object_detection_mtl.builders import (
        augmentation_builder,
        image_resizer_builder,
        label_builder,
    )
    from object_detection_mtl.data import input_pipeline

    resize = image_resizer_builder.build(config.model.faster_rcnn.image_resizer)
    model = type(config.model)()
    model.CopyFrom(config.model)
    model.mtl.window = model.mtl.closeness = model.mtl.edgemask = True
    steps = augmentation_builder.build_all(config.train_config.data_augmentation_options)

    def preprocess(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        resized, shape = resize(image)
        return resized * (2.0 / 255.0) - 1.0, shape

    return {
        name: input_pipeline.make_dataset(
            str(path),
            preprocess_fn=preprocess,
            batch_size=config.train_config.batch_size,
            is_training=True,
            num_classes=config.model.faster_rcnn.num_classes,
            augmentations=steps,
            labels=labels,
        )
        for name, labels in (("without", None), ("with", label_builder.build(model)))
    }


def seconds_per_image(dataset: Any, images: int, batch_size: int) -> tuple[float, float]:
    """Return the wall-clock time and the CPU time per image."""
    batches = iter(dataset)
    # Threads start and buffers fill, so that the prefetched batches at the end do not count.
    for _ in range(-(-_WARM_UP // batch_size)):
        next(batches)
    wall, processor = time.perf_counter(), time.process_time()
    number = -(-images // batch_size)
    for _ in range(number):
        next(batches)
    elapsed = time.perf_counter() - wall, time.process_time() - processor
    return elapsed[0] / (number * batch_size), elapsed[1] / (number * batch_size)


def main(_: list[str]) -> None:
    from object_detection_mtl.cli import process_settings
    from object_detection_mtl.config import pipeline, samples

    process_settings.keep_freed_memory()  # as model_main_tf2 does
    config = pipeline.load(samples.path(_CONFIG.value))
    num_classes = config.model.faster_rcnn.num_classes
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for num_boxes in map(int, _BOXES.value):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "benchmark.record"
            write_records(path, num_boxes, num_classes)
            datasets = make_datasets(config, path)
            turns: dict[str, list[tuple[float, float]]] = {name: [] for name in datasets}
            for _round in range(_ROUNDS.value):
                for name, dataset in datasets.items():
                    turns[name].append(
                        seconds_per_image(dataset, _IMAGES.value, config.train_config.batch_size)
                    )
        speed, processor = (
            statistics.median(
                without[column] / with_labels[column]
                for without, with_labels in zip(turns["without"], turns["with"], strict=True)
            )
            for column in (0, 1)
        )
        milliseconds = [
            1e3 * statistics.median(turn[1] for turn in turns[name]) for name in ("without", "with")
        ]
        print(
            f"{num_boxes:4d} boxes: with labels {speed:.3f} of the images per second without "
            f"(aim {AIM}); CPU time of an image {milliseconds[0]:.2f} ms without, "
            f"{milliseconds[1]:.2f} ms with (ratio {1 / processor:.3f})",
            flush=True,
        )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app.run(main)
