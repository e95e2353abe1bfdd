"""Speed of record creation: images per second of one core.

    python -m benchmarks.record_creation
    python -m benchmarks.record_creation --data_dir=VOCdevkit --year=VOC2012 --set=trainval
    python -m benchmarks.record_creation --annotations_file=instances.json --image_dir=val2017

Without a dataset it draws images of VOC's size (500x375 pixels, 90 kB, three objects) and writes
them in both formats. It times both passes of a converter, reading the annotations and writing the
records; the first run, which fills the file cache, is not counted.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from absl import app, flags

_DATA_DIR = flags.DEFINE_string("data_dir", None, "A real dataset; see create_pascal_tf_record.")
_YEAR = flags.DEFINE_string("year", "VOC2007", "Of the real dataset.")
_SET = flags.DEFINE_string("set", None, "Of the real dataset.")
_ANNOTATIONS = flags.DEFINE_string(
    "annotations_file", None, "A real dataset; see create_coco_tf_record."
)
_IMAGE_DIR = flags.DEFINE_string("image_dir", None, "Of the real dataset.")
_IMAGES = flags.DEFINE_integer("images", 300, "Number of images to draw.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed runs.", lower_bound=1)

Load = Callable[[], tuple[list, int]]  # images and number of classes


def draw(directory: Path, number: int) -> None:
    """Write a VOC directory and a COCO file of images with as many bytes as photographs."""
    import numpy as np
    from PIL import Image

    from object_detection_mtl.dataset_tools import synthetic_voc, voc_annotations, voc_xml

    (directory / voc_annotations.ANNOTATIONS).mkdir(parents=True)
    (directory / voc_annotations.IMAGES).mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    objects = [
        voc_xml.VocObject(f"class {kind}", 10 * kind + 1, 20, 200.5, 300) for kind in range(3)
    ]
    for index in range(number):
        name = f"{index:06d}.jpg"
        coarse = Image.fromarray(rng.integers(0, 256, (94, 125, 3), np.uint8))
        image = coarse.resize((500, 375), Image.Resampling.BICUBIC)
        image.save(directory / voc_annotations.IMAGES / name, quality=90)
        text = synthetic_voc.annotation_text(name, 375, 500, objects)
        (directory / voc_annotations.ANNOTATIONS / f"{index:06d}.xml").write_text(text)
        images.append({"id": index, "file_name": name, "height": 375, "width": 500})
        for kind, item in enumerate(objects, start=1):
            box = [item.xmin, item.ymin, item.xmax - item.xmin, item.ymax - item.ymin]
            outline = [rng.uniform(0, 375, 40).round(2).tolist()]  # as long as COCO's are
            annotations.append(
                {"image_id": index, "category_id": kind, "bbox": box, "segmentation": outline}
            )
    categories = [{"id": kind + 1, "name": f"class {kind}"} for kind in range(3)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (directory / "instances.json").write_text(json.dumps(content))


def load_voc(data_dir: Path, year: str, set_name: str | None) -> tuple[list, int]:
    from object_detection_mtl.dataset_tools import voc_annotations, voc_conversion

    located = voc_conversion.locate_annotations(
        voc_annotations.find_directories(data_dir, year), set_name
    )
    names = voc_annotations.class_names(job.annotation for job in located)
    labels = {name: number for number, name in enumerate(names, start=1)}
    voc_conversion.check_classes(located, labels, "derived")
    return voc_conversion.to_annotated_images(located, labels), len(labels)


def load_coco(annotations_file: Path, image_dir: Path) -> tuple[list, int]:
    from object_detection_mtl.dataset_tools import coco_annotations, coco_conversion

    file = coco_annotations.read_coco_file(annotations_file)
    labels = coco_annotations.class_numbers(file)
    return coco_conversion.to_annotated_images(file, image_dir, labels), max(labels.values())


def convert(load: Load, output: Path, auxiliary_labels: bool) -> tuple[int, int]:
    """Write the records; return the number of images and of bytes."""
    from object_detection_mtl.dataset_tools import record_conversion
    from object_detection_mtl.dataset_tools.conversion_options import (
        AuxiliaryLabelOptions,
        ConversionOptions,
    )

    images, num_classes = load()
    settings = AuxiliaryLabelOptions(num_classes) if auxiliary_labels else None
    options = ConversionOptions(auxiliary_labels=settings)
    report = record_conversion.create_records(images, output, options=options)
    return report.images, output.stat().st_size


def measure(name: str, load: Load, output: Path, auxiliary_labels: bool) -> None:
    images, size = convert(load, output, auxiliary_labels)
    per_core, per_second = [], []
    for _ in range(_ROUNDS.value):
        cpu, wall = time.process_time(), time.perf_counter()
        convert(load, output, auxiliary_labels)
        per_core.append(images / (time.process_time() - cpu))
        per_second.append(images / (time.perf_counter() - wall))
    kilobytes = size / images / 1e3
    print(
        f"{name:28s} {images:6d} images of {kilobytes:4.0f} kB, per second of CPU time "
        f"{statistics.median(per_core):5.0f}, of wall time {statistics.median(per_second):5.0f}",
        flush=True,
    )


def make_datasets(scratch: Path) -> Iterator[tuple[str, Load]]:
    if _DATA_DIR.value:
        yield "VOC", functools.partial(load_voc, _DATA_DIR.value, _YEAR.value, _SET.value)
    if _ANNOTATIONS.value:
        yield "COCO", functools.partial(load_coco, _ANNOTATIONS.value, _IMAGE_DIR.value)
    if not _DATA_DIR.value and not _ANNOTATIONS.value:
        directory = scratch / "drawn"
        draw(directory, _IMAGES.value)
        yield "VOC", functools.partial(load_voc, directory, "VOC2007", None)
        images = directory / "JPEGImages"
        yield "COCO", functools.partial(load_coco, directory / "instances.json", images)


def main(_: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for name, load in make_datasets(Path(scratch)):
            for auxiliary_labels in (False, True):
                full_name = f"{name} with auxiliary labels" if auxiliary_labels else name
                measure(full_name, load, Path(scratch) / "benchmark.record", auxiliary_labels)
    print("The aim is 200 images of VOC per second of CPU time.")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    app.run(main)
