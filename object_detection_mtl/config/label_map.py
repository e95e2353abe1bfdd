"""Label maps: the classes of a dataset and their ids.

A label map is protobuf text (`.pbtxt`) with one `item` per class:

    item { id: 1 name: "cat" display_name: "House cat" }

Ids start at 1; 0 is background. Gaps are allowed, as in COCO, where 80 classes have ids from 1 to
90. `name` is the class name in annotations and records, `display_name` the name shown to users.
"""

from __future__ import annotations

import collections
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from object_detection_mtl.config.errors import ConfigError, listing, shortened
from object_detection_mtl.config.pipeline import read_text
from object_detection_mtl.config.proto_messages import parse_text
from object_detection_mtl.protos import string_int_label_map_pb2

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Category:
    """One class.

    Attributes:
        id: from 1.
        name: the class name in annotations and records.
        display_name: the name shown to users; `name` where the label map gives none.
    """

    id: int
    name: str
    display_name: str


def load(path: str | os.PathLike[str]) -> list[Category]:
    """Read a label map file; see `parse`.

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: the file is not a usable label map.
    """
    return parse(read_text(path), source=str(path))


def parse(text: str, source: str = "<text>") -> list[Category]:
    """Return the classes of a label map, sorted by id.

    An item with id 0 and the name "background" is skipped.

    Args:
        text: the label map.
        source: its name in error messages.

    Raises:
        ConfigError: the text is not a label map or has no class; an item has no id, no name or an
            id below 1; two items have the same id or name.
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
    described = f'item "{shortened(name)}"' if name else f"item number {position + 1}"
    if not item.HasField("id"):
        raise ConfigError(f"{source}: {described} has no id; expected an id of at least 1")
    if item.id < 1:
        raise ConfigError(
            f"{source}: {described} has id {item.id}; expected an id of at least 1 "
            "(0 is background)"
        )
    if not name:
        raise ConfigError(f'{source}: the item with id {item.id} has no name; add name: "..."')
    return Category(item.id, name, item.display_name or name)


def _refuse_duplicates(values: Sequence[object], what: str, source: str) -> None:
    counts = collections.Counter(values)
    repeated = sorted(str(value) for value, count in counts.items() if count > 1)
    if repeated:
        raise ConfigError(f"{source}: more than one item has {what} {listing(repeated)}")


def max_id(categories: Iterable[Category]) -> int:
    """Return the highest id; with gaps it exceeds the number of classes."""
    return max(category.id for category in categories)


def ids_by_name(categories: Iterable[Category]) -> dict[str, int]:
    """Return class ids by name and by display name; a name takes precedence."""
    categories = list(categories)
    ids = {category.name: category.id for category in categories}
    for category in categories:
        ids.setdefault(category.display_name, category.id)
    return ids


def check_num_classes(
    categories: Sequence[Category], num_classes: int, source: str = "the label map"
) -> None:
    """Check that a model has an output for every class of the label map.

    Further outputs are allowed, since a detector may keep the outputs it was trained with; they
    are reported as a warning.

    Raises:
        ConfigError: a class has an id above `num_classes`.
    """
    highest = max_id(categories)
    if highest > num_classes:
        beyond = [f"{item.name} ({item.id})" for item in categories if item.id > num_classes]
        raise ConfigError(
            f"model.faster_rcnn.num_classes = {num_classes} is less than the highest id of "
            f"{source}, {highest}: the model has no output for {listing(beyond)}. Set num_classes "
            f"to {highest}, or use another label map"
        )
    if highest < num_classes:
        _logger.warning(
            "model.faster_rcnn.num_classes = %d, but the highest id of %s is %d: the outputs above "
            "it have no training examples",
            num_classes,
            source,
            highest,
        )
