"""Speed of record creation: pictures per second of one core.

    python -m benchmarks.record_creation
    python -m benchmarks.record_creation --data_dir=VOCdevkit --year=VOC2012 --set=trainval

Without --data_dir it draws photographs of VOC's size (500x375 pixels, about 90 kB, three objects).
Timed are both passes of the converter, reading and checking the annotations and writing the
records; the first run, which fills the file cache, is not counted.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from absl import app, flags

_DATA_DIR = flags.DEFINE_string("data_dir", None, "A real data set; see create_pascal_tf_record.")
_YEAR = flags.DEFINE_string("year", "VOC2007", "Of the real data set.")
_SET = flags.DEFINE_string("set", None, "Of the real data set.")
_PICTURES = flags.DEFINE_integer("pictures", 300, "Number of pictures to draw.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed runs.", lower_bound=1)


def draw(folder: Path, number: int) -> None:
    """Writes a VOC folder of pictures with as many bytes as photographs."""
    import numpy as np
    from PIL import Image

    from object_detection_mtl.dataset_tools import synthetic, voc

    (folder / voc.ANNOTATIONS).mkdir(parents=True)
    (folder / voc.IMAGES).mkdir()
    rng = np.random.default_rng(0)
    for index in range(number):
        coarse = Image.fromarray(rng.integers(0, 256, (94, 125, 3), np.uint8))
        picture = coarse.resize((500, 375), Image.Resampling.BICUBIC)
        picture.save(folder / voc.IMAGES / f"{index:06d}.jpg", quality=90)
        objects = [
            voc.VocObject(f"class {kind}", 10 * kind + 1, 20, 200.5, 300) for kind in range(3)
        ]
        text = synthetic.annotation_text(f"{index:06d}.jpg", 375, 500, objects)
        (folder / voc.ANNOTATIONS / f"{index:06d}.xml").write_text(text)


def convert(data_dir: Path, year: str, set_name: str | None, output: Path) -> tuple[int, int]:
    """Makes the records; returns the number of pictures and of bytes."""
    from object_detection_mtl.dataset_tools import conversion, pascal_records, voc

    jobs = pascal_records.collect_jobs(voc.find_folders(data_dir, year), set_name)
    names = voc.class_names(job.annotation for job in jobs)
    labels = {name: number for number, name in enumerate(names, start=1)}
    pascal_records.check_classes(jobs, labels, "derived")
    summary = conversion.create_records(pascal_records.as_pictures(jobs, labels), output)
    return summary.pictures, output.stat().st_size


def main(_: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(_DATA_DIR.value) if _DATA_DIR.value else Path(scratch) / "voc"
        if not _DATA_DIR.value:
            draw(folder, _PICTURES.value)
        output = Path(scratch) / "benchmark.record"
        pictures, size = convert(folder, _YEAR.value, _SET.value, output)
        per_core, per_second = [], []
        for _round in range(_ROUNDS.value):
            cpu, wall = time.process_time(), time.perf_counter()
            convert(folder, _YEAR.value, _SET.value, output)
            per_core.append(pictures / (time.process_time() - cpu))
            per_second.append(pictures / (time.perf_counter() - wall))
    print(f"{pictures} pictures of {size / pictures / 1e3:.0f} kB on average")
    print(f"pictures per second of processor time: {statistics.median(per_core):.0f} (aim: 200)")
    print(f"pictures per second of wall time:      {statistics.median(per_second):.0f}")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app.run(main)
