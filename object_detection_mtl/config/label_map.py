"""Label maps: the classes of a data set and their numbers.

A label map is protobuf text (`.pbtxt`) with one `item` per class:

    item { id: 1 name: "cat" display_name: "House cat" }

Numbers start at 1, 0 is background; gaps are allowed, as in COCO, where 80 classes lie between
1 and 90. `name` is what annotations and records call a class, `display_name` what people read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from object_detection_mtl.config.errors import ConfigError, listing, suggestion
from object_detection_mtl.config.pipeline import read_text
from object_detection_mtl.config.proto_messages import parse_text
from object_detection_mtl.protos import string_int_label_map_pb2

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Category:
    """One class.

    Attributes:
      id: its number, from 1.
      name: what annotations and records call it.
      display_name: what people read; the name where the label map gives none.
    """

    id: int
    name: str
    display_name: str


def load(path: str | Path) -> list[Category]:
    """Reads a label map file; see `parse`.

    Raises:
      FileNotFoundError: if there is no such file.
      ConfigError: if it holds no usable label map.
    """
    return parse(read_text(path), source=str(path))


def parse(text: str, source: str = "<text>") -> list[Category]:
    """The classes of a label map, sorted by number.

    An item with number 0 is left out if it is called "background".

    Args:
      text: the label map.
      source: what errors call it.

    Raises:
      ConfigError: if the text is no label map or names no class, or an item has no number or no
        name, a number below 1, or a number or name that another item has.
    """
    label_map = string_int_label_map_pb2.StringIntLabelMap()
    parse_text(text, label_map, source)
    items = [item for item in label_map.item if not _is_background(item)]
    if not items:
        raise ConfigError(
            f"{source}: the label map has no class; expected items such as "
            'item { id: 1 name: "cat" }'
        )
    categories = [_category(item, position, source) for position, item in enumerate(items)]
    _refuse_duplicates([category.id for category in categories], "id", source)
    _refuse_duplicates([category.name for category in categories], "name", source)
    return sorted(categories, key=lambda category: category.id)


def _is_background(item: string_int_label_map_pb2.StringIntLabelMapItem) -> bool:
    return item.HasField("id") and item.id == 0 and "background" in (item.name, item.display_name)


def _category(
    item: string_int_label_map_pb2.StringIntLabelMapItem, position: int, source: str
) -> Category:
    name = item.name or item.display_name
    described = f'item "{name}"' if name else f"item number {position + 1}"
    if not item.HasField("id"):
        raise ConfigError(f"{source}: {described} has no id; expected a number from 1")
    if item.id < 1:
        raise ConfigError(
            f"{source}: {described} has id {item.id}; expected a number from 1 (0 is background)"
        )
    if not name:
        raise ConfigError(f"{source}: the item with id {item.id} has no name")
    return Category(item.id, name, item.display_name or name)


def _refuse_duplicates(values: Sequence[object], what: str, source: str) -> None:
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ConfigError(f"{source}: more than one item has {what} {listing(repeated)}")


def max_id(categories: Iterable[Category]) -> int:
    """The highest number; with gaps it is more than the number of classes."""
    return max(category.id for category in categories)


def ids_by_name(categories: Iterable[Category]) -> dict[str, int]:
    """Class numbers by name and by display name; where they collide, the name wins."""
    categories = list(categories)
    ids = {category.name: category.id for category in categories}
    for category in categories:
        ids.setdefault(category.display_name, category.id)
    return ids


def id_of(name: str, categories: Iterable[Category], source: str = "the label map") -> int:
    """The number of the class that is called `name` (or displayed as it).

    Raises:
      ConfigError: if there is none, with the nearest name.
    """
    ids = ids_by_name(categories)
    if name not in ids:
        near = suggestion(name, ids) or f"; it has {listing(ids)}"
        raise ConfigError(f'class "{name}" is not in {source}{near}')
    return ids[name]


def check_num_classes(
    categories: Sequence[Category], num_classes: int, source: str = "the label map"
) -> None:
    """Checks that a model has an output for every class of the label map.

    Outputs beyond the label map are allowed, since a detector may keep the outputs it was
    trained with, but are worth a warning.

    Raises:
      ConfigError: if a class has a number above `num_classes`.
    """
    highest = max_id(categories)
    if highest > num_classes:
        beyond = [f"{item.name} ({item.id})" for item in categories if item.id > num_classes]
        raise ConfigError(
            f"model.faster_rcnn.num_classes = {num_classes} contradicts {source}, whose highest "
            f"id is {highest}: no output is left for {listing(beyond)}. Set num_classes to "
            f"{highest}, or give another label map"
        )
    if highest < num_classes:
        _logger.warning(
            "model.faster_rcnn.num_classes = %d, but the highest id of %s is %d: the outputs above "
            "are never trained as a class",
            num_classes,
            source,
            highest,
        )
