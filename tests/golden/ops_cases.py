"""Read golden_ops.json / .npz: inputs and outputs of the OD API's operations."""

from __future__ import annotations

import functools
import json
import operator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

_DIRECTORY = Path(__file__).parent


class Case(NamedTuple):
    """One call of one operation."""

    id: str
    params: dict[str, Any]
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


def cases(op: str) -> list[Case]:
    """Return all recorded calls of one operation, at least one."""
    records, arrays = _files()
    found = [
        Case(
            record["id"],
            record["params"],
            {name: arrays[key] for name, key in record["inputs"].items()},
            {name: arrays[key] for name, key in record["expected"].items()},
        )
        for record in records
        if record["op"] == op
    ]
    if not found:
        raise KeyError(f"golden_ops.json holds no case of {op!r}")
    return found


def each_case(op: str):
    """Parametrize a test by every recorded call, as its argument `case`."""
    return with_cases(cases(op))


def with_cases(chosen: list[Case]):
    """Parametrize a test by these recorded calls, as its argument `case`."""
    parametrize = pytest.mark.parametrize("case", chosen, ids=operator.attrgetter("id"))
    return lambda test: pytest.mark.golden(parametrize(test))


@functools.cache
def _files() -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    records = json.loads((_DIRECTORY / "golden_ops.json").read_text(encoding="utf-8"))["cases"]
    with np.load(_DIRECTORY / "golden_ops.npz") as arrays:
        return records, dict(arrays)
