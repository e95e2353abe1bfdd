"""Boxes with further columns. Shape letter: N boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from object_detection_mtl.odapi import missing_names

__getattr__ = missing_names.module_getattr(__name__)

_BOXES = "boxes"


class BoxList:
    """N boxes [ymin, xmin, ymax, xmax], and named arrays with one row for each."""

    def __init__(self, data: Any) -> None:
        """Make a list of boxes.

        Args:
            data: [N, 4] floats.

        Raises:
            ValueError: another shape or type, or a box whose end comes before its start.
        """
        data = np.asarray(data)
        if data.ndim != 2 or data.shape[1] != 4:
            raise ValueError(f"boxes: expected an array of shape [n, 4], got {list(data.shape)}")
        if data.dtype not in (np.float32, np.float64):
            raise ValueError(f"boxes: expected float32 or float64, got {data.dtype}")
        inverted = np.flatnonzero(np.any(data[:, :2] > data[:, 2:], axis=1))
        if inverted.size:
            raise ValueError(
                f"boxes: box {inverted[0]} is {data[inverted[0]].tolist()}; expected ymin <= ymax "
                "and xmin <= xmax"
            )
        self.data = {_BOXES: data}

    def num_boxes(self) -> int:
        """Return N."""
        return len(self.data[_BOXES])

    def get(self) -> np.ndarray:
        """Return the boxes [N, 4]."""
        return self.get_field(_BOXES)

    def get_coordinates(self) -> tuple[np.ndarray, ...]:
        """Return ymin, xmin, ymax and xmax, [N] each."""
        return tuple(self.get().T)

    def add_field(self, field: str, field_data: Any) -> None:
        """Add an array with N rows.

        Raises:
            ValueError: the name exists, or the number of rows is not N.
        """
        if self.has_field(field):
            raise ValueError(f"field {field!r} exists already")
        field_data = np.asarray(field_data)
        if field_data.ndim < 1 or len(field_data) != self.num_boxes():
            raise ValueError(
                f"field {field!r}: expected {self.num_boxes()} rows, got {list(field_data.shape)}"
            )
        self.data[field] = field_data

    def has_field(self, field: str) -> bool:
        """Return whether there is a field of this name."""
        return field in self.data

    def get_field(self, field: str) -> np.ndarray:
        """Return a field.

        Raises:
            ValueError: there is none of this name.
        """
        if field not in self.data:
            raise ValueError(f"no field is called {field!r}; the fields are {', '.join(self.data)}")
        return self.data[field]

    def get_extra_fields(self) -> list[str]:
        """Return the names of all fields but the boxes."""
        return [name for name in self.data if name != _BOXES]
