"""Label maps as protos and dictionaries."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

from object_detection_mtl.config.errors import ConfigError
from object_detection_mtl.config.pipeline import read_text
from object_detection_mtl.config.proto_messages import parse_text
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.protos.string_int_label_map_pb2 import (
    StringIntLabelMap,
    StringIntLabelMapItem,
)

_logger = logging.getLogger(__name__)

Category = dict[str, Any]  # "id" and "name"

__getattr__ = missing_names.module_getattr(__name__)


def load_labelmap(path: str | os.PathLike[str]) -> StringIntLabelMap:
    """Read a label map file.

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: it is not a label map, or has an id below 1 other than the background's 0.
    """
    label_map = StringIntLabelMap()
    parse_text(read_text(path), label_map, str(path))
    for item in label_map.item:
        is_background = item.id == 0 and "background" in (item.name, item.display_name)
        if item.id < 1 and not is_background:
            raise ConfigError(
                f'{path}: item "{item.name}" has id {item.id}; expected an id of at least 1 '
                "(0 is background)"
            )
    return label_map


def _loaded(label_map: Any) -> StringIntLabelMap:
    return load_labelmap(label_map) if isinstance(label_map, str | os.PathLike) else label_map


def _shown_name(item: StringIntLabelMapItem, use_display_name: bool) -> str:
    return item.display_name if use_display_name and item.display_name else item.name


def get_label_map_dict(
    label_map_path_or_proto: Any,
    use_display_name: bool = False,
    fill_in_gaps_and_background: bool = False,
) -> dict[str, int]:
    """Return class name -> id.

    Args:
        label_map_path_or_proto: a file or the result of `load_labelmap`.
        use_display_name: use display names; `name` for items without one.
        fill_in_gaps_and_background: add ids that no item has, under their number, and background.

    Raises:
        FileNotFoundError, ConfigError: as `load_labelmap`.
    """
    items = _loaded(label_map_path_or_proto).item
    ids = {_shown_name(item, use_display_name): item.id for item in items}
    if not fill_in_gaps_and_background:
        return ids
    known = set(ids.values())
    if 0 not in known:
        ids["background"] = 0
    ids |= {
        str(number): number for number in range(1, max(known, default=0)) if number not in known
    }
    return ids


def get_max_label_map_index(label_map: StringIntLabelMap) -> int:
    """Return the highest id."""
    return max(item.id for item in label_map.item)


def convert_label_map_to_categories(
    label_map: StringIntLabelMap | None, max_num_classes: int, use_display_name: bool = True
) -> list[Category]:
    """Return the classes of a label map as dictionaries.

    Items with ids above `max_num_classes` and repeated ids are skipped with a warning.

    Args:
        label_map: result of `load_labelmap`; None gives `category_1`, `category_2` ...
        max_num_classes: highest id.
        use_display_name: use display names; `name` for items without one.
    """
    if not label_map:
        return [
            {"id": number, "name": f"category_{number}"} for number in range(1, max_num_classes + 1)
        ]
    found: dict[int, Category] = {}
    for item in label_map.item:
        if not 0 < item.id <= max_num_classes:
            _logger.warning(
                "label map item %r is skipped: its id %d is not in 1..%d",
                item.name,
                item.id,
                max_num_classes,
            )
        elif item.id in found:
            _logger.warning("label map item %r is skipped: id %d is taken", item.name, item.id)
        else:
            found[item.id] = {"id": item.id, "name": _shown_name(item, use_display_name)}
    return list(found.values())


def create_categories_from_labelmap(
    label_map_path: str | os.PathLike[str], use_display_name: bool = True
) -> list[Category]:
    """Return the classes of a label map file as dictionaries; see the function above."""
    label_map = load_labelmap(label_map_path)
    return convert_label_map_to_categories(
        label_map, get_max_label_map_index(label_map), use_display_name
    )


def create_category_index(categories: Iterable[Category]) -> dict[int, Category]:
    """Return id -> category."""
    return {category["id"]: category for category in categories}


def create_category_index_from_labelmap(
    label_map_path: str | os.PathLike[str], use_display_name: bool = True
) -> dict[int, Category]:
    """Return id -> category of a label map file."""
    return create_category_index(create_categories_from_labelmap(label_map_path, use_display_name))


def create_class_agnostic_category_index() -> dict[int, Category]:
    """Return the index of one class, "object"."""
    return create_category_index([{"id": 1, "name": "object"}])
