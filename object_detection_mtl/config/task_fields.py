"""Fields of `mtl {}` that enable the auxiliary tasks of the package, and fields that need them."""

from __future__ import annotations

from typing import Any

from object_detection_mtl.protos import dialect_pb2, model_pb2

_FIELDS: Any = model_pb2.MTL.DESCRIPTOR.fields

TASK_FIELDS: tuple[str, ...] = tuple(
    field.name for field in _FIELDS if field.GetOptions().Extensions[dialect_pb2.enables_task]
)
# Field that changes a task or the refinement -> the field that enables this.
NEEDED_FIELDS: dict[str, str] = {
    field.name: field.GetOptions().Extensions[dialect_pb2.needs]
    for field in _FIELDS
    if field.GetOptions().HasExtension(dialect_pb2.needs)
}
TASKS_WITH_REGION_HEAD: tuple[str, ...] = tuple(
    task for task in TASK_FIELDS if f"{task}_box_predictor" in {field.name for field in _FIELDS}
)
