"""Images per second of detect_objects, relative to the model alone in the same engine.

    python -m benchmarks.detection_speed --model=export/model.xml --images=my_images
    python -m benchmarks.detection_speed --model=model.xml --images=my_images --num_streams=1,2

The model alone detects in images that are already in memory, one call per batch. detect_objects
also reads and decodes the files, draws, and writes the results; with each of --num_streams. All run
in turn. The time of the first call after loading is printed, too.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

from benchmarks import timing

if TYPE_CHECKING:
    from object_detection_mtl.api.detector import Detector
    from object_detection_mtl.inference.predictor import PreparedImage, StagedPredictor

_MODEL = flags.DEFINE_string("model", None, "Exported model, or model directory.", required=True)
_IMAGES = flags.DEFINE_string("images", None, "Directory of images.", required=True)
_NUM_IMAGES = flags.DEFINE_integer("num_images", 2000, "Images of a round.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 1, "Images of a call.", lower_bound=1)
_MIN_SCORE = flags.DEFINE_float("min_score", 0.5, "Score from which detections are drawn.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Measured rounds.", lower_bound=1)
_STREAMS = flags.DEFINE_list("num_streams", ["1"], "Numbers of streams of detect_objects.")
_CLOCK = flags.DEFINE_enum("clock", "wall", sorted(timing.CLOCKS), "See benchmarks.timing.")
# Images in memory for the model alone, which sees each of them several times.
_IN_MEMORY = 200
_CALLS = 5


def main(_: list[str]) -> None:
    """Print images per second of all, and the ratios."""
    import object_detection_mtl as odm
    from object_detection_mtl.data import image_files
    from object_detection_mtl.inference.sources import image_stream, input_files

    files = input_files.find_input_files([_IMAGES.value])[: _NUM_IMAGES.value]
    start = time.perf_counter()
    detector = odm.load_detector(_MODEL.value)
    print(f"loading: {time.perf_counter() - start:.2f} s")
    staged = detector.predictor(lambda: image_stream.readable_images(files))
    with image_files.ignore_size_warnings():
        pixels = list(itertools.islice(image_stream.readable_images(files), _IN_MEMORY))
    batches = _batches([staged.prepare(image) for image in pixels])
    print(f"calls: {', '.join(f'{s:.3f}' for s in _seconds_of_calls(staged, batches))} s")

    def call_model() -> None:
        done = 0
        while done < len(files):
            for batch in batches:
                staged.detect(batch)
                done += len(batch)
                if done >= len(files):
                    return

    def detect(streams: Detector) -> None:
        with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stderr(io.StringIO()):
            streams.detect_files(
                [file.path for file in files],
                Path(directory) / "out",
                batch_size=_BATCH_SIZE.value,
                min_score=_MIN_SCORE.value,
            )

    works: dict[str, Callable[[], Any]] = {"model alone": call_model}
    for number in map(int, _STREAMS.value):
        loaded = detector
        if number > 1:
            loaded = odm.load_detector(_MODEL.value, num_streams=number)
        name = f"detect_objects, {number} stream{'s' * (number > 1)}"
        works[name] = functools.partial(detect, loaded)
    seconds = timing.interleaved_seconds(
        works,
        rounds=_ROUNDS.value,
        warmup=1,
        clock=timing.CLOCKS[_CLOCK.value],
    )
    for name, values in seconds.items():
        print(f"{name}: {len(files) / statistics.median(values):.1f} images/s")
    for name in list(works)[1:]:
        ratio = timing.median_ratio(seconds["model alone"], seconds[name])
        print(f"{name} / model alone: {ratio:.2f} of the images per second")


def _seconds_of_calls(staged: StagedPredictor, batches: Sequence[Sequence[Any]]) -> list[float]:
    """Return the seconds of the first calls."""
    seconds = []
    for batch in itertools.islice(itertools.cycle(batches), _CALLS):
        start = time.perf_counter()
        staged.detect(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


def _batches(images: Sequence[PreparedImage]) -> list[list[Any]]:
    """Return the values of the images in batches of one group each."""
    groups: dict[Hashable, list[Any]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image.value)
    size = _BATCH_SIZE.value
    return [
        group[start : start + size]
        for group in groups.values()
        for start in range(0, len(group), size)
    ]


if __name__ == "__main__":
    app.run(main)
