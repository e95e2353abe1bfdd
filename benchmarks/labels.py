"""Speed of the labels: milliseconds and megabytes per image, for 5 to 500 boxes.

    python -m benchmarks.labels
    python -m benchmarks.labels --boxes=10,50 --rounds=100

It times one core of tf.data: a dataset with one private thread maps images to 64 new windows and
all three labels; the time of an empty map is subtracted. It prints the first decile of the
wall-clock times and, in parentheses, the mean CPU time; on a busy machine the first is the better
estimate. Boxes have COCO's sizes, most of them small, and its distribution of classes: a third of
them is of one class. The memory is the growth of the process when images with that many boxes
follow images with one box in the same graph.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from absl import app, flags

from benchmarks.drawn_boxes import draw
from benchmarks.timing import peak_memory_gib

_BOXES = flags.DEFINE_list("boxes", ["5", "10", "50", "100", "200", "500"], "Boxes per image.")
_WINDOWS = flags.DEFINE_integer("windows", 64, "Windows per image.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 200, "Timed images per measurement.", lower_bound=10)
_CLASSES = flags.DEFINE_integer(
    "classes", None, "Number of classes. By default 20 up to 50 boxes, 80 from there on."
)

AIMS = {10: 1.0, 50: 3.0, 200: 15.0}  # milliseconds
SIZE = (480, 640)
FEW = 10  # images


def make_functions(number: int, num_classes: int, num_windows: int) -> dict[str, Callable]:
    """Return the functions of an image's number that are timed."""
    import tensorflow as tf

    from object_detection_mtl.mtl import labels

    boxes, classes = (tf.constant(values) for values in draw(number, num_classes))
    given = labels.sample_windows(boxes, SIZE, num_windows, seed=0)

    def shifted(image):  # boxes differ between images, so that nothing is a constant
        return boxes * (1.0 - tf.cast(image % 64, tf.float32) / 1024.0)

    def sample(image):
        seed = tf.stack([image, 0])
        return labels.sample_windows(shifted(image), SIZE, num_windows, seed=seed)

    def windows(image):
        return labels.window_labels(shifted(image), classes, given, num_classes)

    def closeness(image):
        return labels.closeness_labels(shifted(image), classes, SIZE, num_classes)

    def foreground(image):
        return labels.foreground_mask(shifted(image))

    def everything(image):
        drawn = sample(image)
        return (
            labels.window_labels(shifted(image), classes, drawn, num_classes),
            closeness(image),
            foreground(image),
        )

    def first_of_one_box(image):
        kept = tf.where(image < FEW, 1, number)
        some, kinds = shifted(image)[:kept], classes[:kept]
        return (
            labels.window_labels(some, kinds, given, num_classes),
            labels.closeness_labels(some, kinds, SIZE, num_classes),
            labels.foreground_mask(some),
        )

    return {
        "memory": first_of_one_box,
        "nothing": shifted,
        "sampling": sample,
        "windows": windows,
        "closeness": closeness,
        "foreground": foreground,
        "all": everything,
    }


def milliseconds(function: Callable, rounds: int) -> tuple[float, float]:
    """Return the first decile of the wall-clock times, and the mean CPU time, per image."""
    images = _on_one_thread(function, rounds + FEW)
    for _ in range(FEW):  # Tracing, first allocations.
        next(images)
    processor, wall = time.process_time(), []
    for _ in range(rounds):
        start = time.perf_counter()
        next(images)
        wall.append(time.perf_counter() - start)
    processor = (time.process_time() - processor) / rounds
    return 1e3 * statistics.quantiles(wall, n=10)[0], 1e3 * processor


def megabytes(function: Callable) -> float:
    """Return the growth of the process's memory after the first few images."""
    images = _on_one_thread(function, 2 * FEW)
    for _ in range(FEW):
        next(images)
    before = peak_memory_gib()
    for _ in range(FEW):
        next(images)
    return 1024.0 * (peak_memory_gib() - before)


def _on_one_thread(function: Callable, rounds: int) -> Iterator[Any]:
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    return iter(tf.data.Dataset.range(rounds).map(function).with_options(options))


def measure(
    number: int, num_classes: int, num_windows: int, rounds: int
) -> tuple[dict[str, tuple[float, float]], float]:
    """Return {name: milliseconds as above}, and the memory in MB."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    functions = make_functions(number, num_classes, num_windows)
    memory = megabytes(functions.pop("memory"))
    found = {name: milliseconds(function, rounds) for name, function in functions.items()}
    nothing = found.pop("nothing")
    times = {
        name: (wall - nothing[0], processor - nothing[1])
        for name, (wall, processor) in found.items()
    }
    return times, memory


def main(_: list[str]) -> None:
    context = multiprocessing.get_context("spawn")
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("milliseconds per image: fastest tenth (mean CPU time)")
    for number in map(int, _BOXES.value):
        num_classes = _CLASSES.value or (20 if number <= 50 else 80)
        with context.Pool(1) as pool:  # A fresh process, for its memory.
            found, memory = pool.apply(
                measure, (number, num_classes, _WINDOWS.value, _ROUNDS.value)
            )
        columns = "  ".join(f"{name} {wall:.2f} ({cpu:.2f})" for name, (wall, cpu) in found.items())
        aim = f", aim {AIMS[number]:g} ms" if number in AIMS else ""
        print(
            f"{number:4d} boxes, {num_classes} classes{aim}: {columns}  {memory:.0f} MB", flush=True
        )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app.run(main)
