"""A detector in a process of its own, which times its calls; see `benchmarks.peers`."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_TORCHVISION = "torchvision:"
_PROPOSALS = 300  # as in the sample configs of this package
OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


class Peer:
    """A model in a process of its own.

    Attributes:
        load: Seconds of loading.
    """

    def __init__(
        self,
        path: str,
        height: int,
        width: int,
        image: str | None = None,
        *,
        python: str | None = None,
    ) -> None:
        """Start the process and wait until the model is loaded.

        Args:
            path: A model; see `benchmarks.peers`.
            height: Height of the image in pixels.
            width: Its width.
            image: An image file; None for noise.
            python: Interpreter of the process; None for this one.

        Raises:
            ValueError: The model cannot be loaded or is not a detector.
        """
        arguments = ["-m", "benchmarks.peer_models", path, str(height), str(width), image or ""]
        self._process = subprocess.Popen(
            [python or sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        answer = self._answer()
        if "error" in answer:
            self.close()
            raise ValueError(f"model {path!r}: {answer['error']}")
        self.load = float(answer["load"])

    def call(self) -> dict[str, float]:
        """Detect once; return `wall` and `cpu` seconds and the `number` of detections."""
        assert self._process.stdin is not None
        self._process.stdin.write("call\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdout:
            self._process.stdin.close()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return json.loads(line.removeprefix(_MARK))
        return {"error": f"its process ended with exit code {self._process.wait()}"}


# Marks the program's own output; TensorFlow and models print, too.
_MARK = "peer: "


def measure(peers: Mapping[str, Peer], rounds: int, warmup: int) -> dict[str, list[dict]]:
    """Call the peers in turn; return the answers of every peer: the first, then `rounds` warm."""
    answers: dict[str, list[dict]] = {name: [] for name in peers}
    for turn in range(1 + warmup + rounds):
        for name, peer in peers.items():
            answer = peer.call()
            if turn == 0 or turn > warmup:
                answers[name].append(answer)
    return answers


def table(loads: Mapping[str, float], answers: Mapping[str, Sequence[Mapping]]) -> str:
    """Return the table of all peers; ratios are to the first one."""
    from benchmarks import timing

    first = next(iter(answers))
    heads = ["model", "load, s", "first call, s", "warm call, ms", f"of {first}"]
    heads += ["CPU time, ms", f"of {first}", "detections"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, (cold, *warm) in answers.items():
        cells = [f"{loads[name]:.2f}", f"{cold['wall']:.2f}"]
        for clock in ("wall", "cpu"):
            own = [answer[clock] for answer in warm]
            others = [answer[clock] for answer in answers[first][1:]]
            cells += [f"{1e3 * statistics.median(own):.0f}"]
            cells += [f"{timing.median_ratio(own, others):.2f}"]
        cells += [f"{warm[-1]['number']:.0f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def serve_calls(path: str, height: int, width: int, image: str) -> None:
    """Load a model and detect at every line of the standard input; the process of a `Peer`."""
    try:
        start = time.perf_counter()
        run, inputs = _load(path, height, width, image)
    except Exception as error:  # Of TensorFlow or another runtime; the parent reports it.
        _tell({"error": str(error).strip().splitlines()[0]})
        return
    _tell({"load": time.perf_counter() - start})
    for _ in sys.stdin:
        clocks = time.perf_counter(), time.process_time()
        outputs = run(inputs)
        wall, cpu = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
        _tell({"wall": wall, "cpu": cpu, "number": float(outputs["num_detections"].ravel()[0])})


def _tell(answer: Mapping[str, Any]) -> None:
    print(_MARK + json.dumps(answer), flush=True)


def _load(path: str, height: int, width: int, image: str) -> tuple[Any, dict[str, Any]]:
    """Return a model as a function of arrays by name, and its input."""
    import numpy as np

    if is_torchvision(path):
        run, name = load_torchvision(path.removeprefix(_TORCHVISION), height, width)
    else:
        run, name = load_saved_model(path) if Path(path).is_dir() else _load_file(path)
    if image:
        from PIL import Image

        with Image.open(image) as opened:
            pixels = np.asarray(opened.convert("RGB").resize((width, height)))
    else:
        pixels = np.random.RandomState(0).randint(0, 256, (height, width, 3)).astype(np.uint8)
    return run, {name: pixels[np.newaxis]}


def _load_file(path: str) -> tuple[Any, str]:
    from object_detection_mtl.export.runtimes import runtime_models

    model = runtime_models.load_model(path)
    [name] = model.inputs
    return model.run, name


def load_saved_model(path: str) -> tuple[Any, str]:
    """Return a SavedModel as a function of arrays by name, and the name of its input.

    Raises:
        ValueError: It has not the OD API's signature.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    serve = loaded.signatures["serving_default"]
    inputs = serve.structured_input_signature[1]
    missing = [name for name in OUTPUTS if name not in serve.structured_outputs]
    if len(inputs) != 1 or missing:
        raise ValueError(
            f"it does not have the OD API's signature: its inputs are {', '.join(inputs)} "
            f"(expected one), and it lacks the outputs {', '.join(missing) or 'none'}"
        )
    [(name, spec)] = inputs.items()
    if spec.dtype != tf.uint8:
        raise ValueError(f"its input {name!r} is {spec.dtype.name}, expected uint8 (image_tensor)")

    def run(arrays: Mapping[str, Any]) -> dict[str, Any]:
        # The closure keeps `loaded`, which owns the variables, alive.
        assert loaded is not None
        outputs = serve(**{key: tf.constant(value) for key, value in arrays.items()})
        return {key: value.numpy() for key, value in outputs.items()}

    return run, name


def is_torchvision(path: str) -> bool:
    """Return whether a model is one of torchvision's."""
    return path.startswith(_TORCHVISION)


def load_torchvision(model: str, height: int, width: int) -> tuple[Any, str]:
    """Return a detection model of torchvision as a function of arrays by name, and its input.

    Args:
        model: Name of a function of torchvision.models.detection.
        height: Of the image, which is not resized.
        width: Of the image.
    """
    import numpy as np
    import torch
    from torchvision.models import detection

    made = getattr(detection, model)(
        weights=None,
        weights_backbone=None,
        min_size=min(height, width),
        max_size=max(height, width),
        rpn_post_nms_top_n_test=_PROPOSALS,
    ).eval()

    def run(arrays: Mapping[str, Any]) -> dict[str, Any]:
        [image] = torch.from_numpy(arrays["image"]).permute(0, 3, 1, 2).float() / 255.0
        with torch.inference_mode():
            [found] = made([image])
        return {"num_detections": np.array([len(found["boxes"])], np.float32)}

    return run, "image"


if __name__ == "__main__":
    path, height, width, image = sys.argv[1:]
    serve_calls(path, int(height), int(width), image)
