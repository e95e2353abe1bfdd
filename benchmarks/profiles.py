"""What each kind of operation of a model takes in another engine, as the engine itself counts it.

By the clock and in one thread. A busy machine makes operations look longer, and the long ones most:
of all calls the shortest counts.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from object_detection_mtl.export.runtimes import runtime_models

# The engines' names of convolutions and matrix products, fused with what follows or not.
PRODUCTS = frozenset(
    "Convolution GroupConvolution FullyConnected MatMul "  # OpenVINO
    "Conv FusedConv Gemm FusedGemm FusedMatMul".split()  # onnxruntime
)
# onnxruntime counts what is inside of these by itself.
_CONTAINERS = frozenset("If Loop Scan".split())
_SHOWN = 8


class Operation(NamedTuple):
    name: str
    kind: str


Seconds = dict[Operation, float]


def measure(
    paths: Mapping[str, str], inputs: Mapping[str, np.ndarray], *, rounds: int, warmup: int = 2
) -> dict[str, dict[str, float]]:
    """Milliseconds of every kind of operation of some models, which are called in turn.

    Args:
        paths: names -> files that `runtimes.load` reads.
    """
    models = {name: _MODELS[runtime_models.engine_of(path)](path) for name, path in paths.items()}
    for _ in range(warmup + rounds):
        for model in models.values():
            model.call(inputs)
    return {name: _by_kind(_shortest(model.finish()[warmup:])) for name, model in models.items()}


def show(milliseconds: Mapping[str, Mapping[str, float]]) -> None:
    """Prints a table of what `measure` found, kinds of operation that take long first."""
    longest: dict[str, float] = {}
    for operations in milliseconds.values():
        for kind, value in operations.items():
            longest[kind] = max(value, longest.get(kind, 0.0))
    rows = {
        kind: [operations.get(kind, 0.0) for operations in milliseconds.values()]
        for kind in sorted(longest, key=lambda kind: -longest[kind])[:_SHOWN]
    }
    rows["products"] = [of_products(operations) for operations in milliseconds.values()]
    rows["all"] = [sum(operations.values()) for operations in milliseconds.values()]
    print(f"\n| operations | {' | '.join(milliseconds)} |\n{'|---' * (1 + len(milliseconds))}|")
    for kind, values in rows.items():
        print(f"| {kind} | {' | '.join(f'{value:.1f}' for value in values)} |")
    print(flush=True)


def of_products(milliseconds: Mapping[str, float]) -> float:
    """Sum of the convolutions and matrix products of `measure`."""
    return sum(value for kind, value in milliseconds.items() if kind in PRODUCTS)


def _shortest(calls: Iterable[Seconds]) -> Seconds:
    shortest: Seconds = {}
    for seconds in calls:
        for operation, value in seconds.items():
            shortest[operation] = min(value, shortest.get(operation, value))
    return shortest


def _by_kind(seconds: Seconds) -> dict[str, float]:
    sums: dict[str, float] = {}
    for operation, value in seconds.items():
        sums[operation.kind] = sums.get(operation.kind, 0.0) + 1e3 * value
    return sums


class _OpenVINO:
    def __init__(self, path: str) -> None:
        import openvino

        options = {
            "INFERENCE_PRECISION_HINT": "f32",  # as `runtimes.load`
            "INFERENCE_NUM_THREADS": 1,
            "PERF_COUNT": True,
        }
        self._request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
        self._calls: list[Seconds] = []

    def call(self, inputs: Mapping[str, np.ndarray]) -> None:
        self._request.infer(dict(inputs))
        self._calls.append(
            {
                Operation(entry.node_name, entry.node_type): entry.real_time.total_seconds()
                for entry in self._request.profiling_info
                if entry.status == entry.Status.EXECUTED
            }
        )

    def finish(self) -> list[Seconds]:
        return self._calls


class _ONNXRuntime:
    def __init__(self, path: str) -> None:
        import onnxruntime

        self._scratch = tempfile.TemporaryDirectory()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._scratch.name) / "profile")
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def call(self, inputs: Mapping[str, np.ndarray]) -> None:
        self._session.run(None, dict(inputs))

    def finish(self) -> list[Seconds]:
        with self._scratch:
            events = json.loads(Path(self._session.end_profiling()).read_text())
        runs = [event for event in events if event["name"] == "model_run"]
        return [self._seconds(events, run["ts"], run["ts"] + run["dur"]) for run in runs]

    def _seconds(self, events: list[dict[str, Any]], start: int, end: int) -> Seconds:
        """Of the call between two points of time."""
        found: Seconds = {}
        for event in events:
            if event["cat"] != "Node" or not event["name"].endswith("_kernel_time"):
                continue
            operation = Operation(event["name"], event["args"]["op_name"])
            if start <= event["ts"] <= end and operation.kind not in _CONTAINERS:
                # What a loop runs is there once for every turn.
                found[operation] = found.get(operation, 0.0) + 1e-6 * event["dur"]
        return found


_MODELS: dict[str, Any] = {
    runtime_models.OPENVINO: _OpenVINO,
    runtime_models.ONNXRUNTIME: _ONNXRuntime,
}
