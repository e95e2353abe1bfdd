"""Latency of exports beside other SavedModels of the OD API's signature, in turn.

    python -m benchmarks.peers --models=exported/saved_model,int8/model.xml,peer/saved_model

Times any exports of this package (directories of SavedModels, model.xml, model.onnx) and any
SavedModels that take uint8 [1, height, width, 3] as their one input and return detection_boxes,
detection_scores, detection_classes and num_detections, such as those of the OD API's exporter. Each
model is loaded in a separate process, with its engine's default number of threads. The processes
are called in turn, so that a machine that slows down slows all of them, and wait in between. Prints
the time of loading, of the first call and of a warm call, the CPU time of a warm call, and the
ratios to the first model, round by round.

torchvision:NAME is a detection model of torchvision with random weights, such as
torchvision:fasterrcnn_resnet50_fpn, which keeps 300 proposals and 100 detections. It runs in the
Python of --torchvision_python, an environment with torchvision and NumPy alone.

With --image the input is an image file, resized to the size of --height and --width; else noise.
"""

from __future__ import annotations

from absl import app, flags

from benchmarks import peer_models
from benchmarks.peer_models import is_torchvision

_MODELS = flags.DEFINE_list("models", None, "Exports and other SavedModels.", required=True)
_TORCHVISION_PYTHON = flags.DEFINE_string(
    "torchvision_python", None, "Python that has torchvision. Default: this one."
)
_NAMES = flags.DEFINE_list("names", [], "Names of the models in the table. Default: the paths.")
_HEIGHT = flags.DEFINE_integer("height", 600, "Height of the image.")
_WIDTH = flags.DEFINE_integer("width", 800, "Width of the image.")
_IMAGE = flags.DEFINE_string("image", None, "An image file.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Timed calls of each model.")
_WARMUP = flags.DEFINE_integer("warmup", 2, "Calls of each model before these.")


def main(_: list[str]) -> None:
    """Time all models and print the table."""
    names = _NAMES.value or _MODELS.value
    if len(set(names)) != len(_MODELS.value):
        raise app.UsageError(f"--names has {names}, expected {len(_MODELS.value)} different names")
    peers: dict[str, peer_models.Peer] = {}
    try:
        for name, path in zip(names, _MODELS.value, strict=True):
            peers[name] = peer_models.Peer(
                path,
                _HEIGHT.value,
                _WIDTH.value,
                _IMAGE.value,
                python=_TORCHVISION_PYTHON.value if is_torchvision(path) else None,
            )
        answers = peer_models.measure(peers, _ROUNDS.value, _WARMUP.value)
    finally:
        for peer in peers.values():
            peer.close()
    print(peer_models.table({name: peer.load for name, peer in peers.items()}, answers))


if __name__ == "__main__":
    app.run(main)
