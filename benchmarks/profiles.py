"""Time of each kind of operation of a model in another engine, from the engine's own profile.

Wall-clock time in one thread. Load on the machine lengthens operations, long ones most: the
shortest of all calls counts.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from object_detection_mtl.export.runtimes import runtime_models

# The engines' names of convolutions and matrix products, fused with the next operation or not.
PRODUCTS = frozenset(
    ("Convolution", "GroupConvolution", "FullyConnected", "MatMul")  # OpenVINO
    + ("Conv", "FusedConv", "Gemm", "FusedGemm", "FusedMatMul")  # ONNX Runtime
)
# ONNX Runtime lists the operations inside of these separately.
_CONTAINERS = frozenset(("If", "Loop", "Scan"))
_SHOWN = 8


class Operation(NamedTuple):
    """An operation of a model."""

    name: str
    kind: str


Seconds = dict[Operation, float]


def measure_operations(
    paths: Mapping[str, str], inputs: Mapping[str, np.ndarray], *, rounds: int, warmup: int = 2
) -> dict[str, dict[str, float]]:
    """Return the milliseconds of every kind of operation of some models, called alternately.

    Args:
        paths: Names -> files that `runtime_models.load_model` reads.
        inputs: Inputs of all models.
        rounds: Number of calls that count.
        warmup: Number of calls before them.
    """
    models = {
        name: _MODELS[runtime_models.engine_of_file(path)](path) for name, path in paths.items()
    }
    for _ in range(warmup + rounds):
        for model in models.values():
            model.call(inputs)
    return {name: _by_kind(_shortest(model.finish()[warmup:])) for name, model in models.items()}


def print_table(milliseconds: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table of the times of `measure_operations`, longest kinds first."""
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
    """Return the sum of the convolutions and matrix products of `measure_operations`."""
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
            "INFERENCE_PRECISION_HINT": "f32",  # as in `runtime_models.load_model`
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
        """Return the times of the call between two points in time."""
        found: Seconds = {}
        for event in events:
            if event["cat"] != "Node" or not event["name"].endswith("_kernel_time"):
                continue
            operation = Operation(event["name"], event["args"]["op_name"])
            if start <= event["ts"] <= end and operation.kind not in _CONTAINERS:
                # The operations of a loop are listed once per iteration.
                found[operation] = found.get(operation, 0.0) + 1e-6 * event["dur"]
        return found


_MODELS: dict[str, Any] = {
    runtime_models.OPENVINO: _OpenVINO,
    runtime_models.ONNXRUNTIME: _ONNXRuntime,
}
