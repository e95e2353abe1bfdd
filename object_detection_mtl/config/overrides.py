"""Config overrides given as text: `a.b.c=value`.

    train_config.batch_size=4
    eval_input_reader[0].tf_record_input_reader.input_path=val.record
    model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator.scales=[0.5, 1, 2]
    train_config.optimizer={adam_optimizer {learning_rate {constant_learning_rate {}}}}

A path names fields from the top level. `[i]` selects an element of a repeated field; the index
after the last one appends. Without an index a repeated field is replaced by the bracketed list or
the single value. An index inside a path is optional if the field has at most one element. Messages
inside a path are created; setting another member of a oneof clears the former one. Strings may be
quoted; enums are given by name or number, messages as protobuf text in braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor as Kind
from google.protobuf.message import Message

from object_detection_mtl.config import proto_messages
from object_detection_mtl.config.errors import ConfigError, listing, suggestion

_STEP = re.compile(r"^(?P<name>\w+)(?:\[(?P<index>\d+)\])?$")


class _OverrideError(Exception):
    """An override that cannot be applied; the caller adds its text to the message."""


def apply(config: Message, overrides: Iterable[str]) -> None:
    """Apply `overrides` to `config` in order; later ones take precedence.

    Args:
        config: the message that paths start from, changed in place.
        overrides: strings `path=value`; a single string counts as one override.

    Raises:
        ConfigError: the message quotes the override and the expected form.
    """
    for override in [overrides] if isinstance(overrides, str) else overrides:
        path, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(
                f'override "{override}" has no "=": write path=value, such as '
                "train_config.batch_size=4"
            )
        try:
            _apply_one(config, path.strip(), value.strip())
        except _OverrideError as failure:
            raise ConfigError(f'override "{override}": {failure}') from None


def _apply_one(config: Message, path: str, value: str) -> None:
    *way, last = path.split(".")
    message = config
    for step in way:
        message = _enter(message, step)
    field, index = _resolve(message, last)
    if proto_messages.is_map(field):
        raise _OverrideError(f"{field.name} is a map; write it in the configuration file")
    if not field.is_repeated:
        _set(message, field, value)
    elif index is None:
        _replace_all(message, field, value)
    else:
        _replace_element(message, field, index, value)


def _resolve(message: Message, step: str) -> tuple[proto_messages.FieldDescriptor, int | None]:
    match = _STEP.match(step)
    if not match:
        raise _OverrideError(f'"{step}" is not a field name; write name or name[index]')
    field = message.DESCRIPTOR.fields_by_name.get(match["name"])
    if field is None:
        raise _OverrideError(
            proto_messages.unknown_field_message(message.DESCRIPTOR, match["name"])
        )
    if match["index"] is None:
        return field, None
    if not field.is_repeated:
        raise _OverrideError(f"{field.name} is not repeated: remove [{match['index']}]")
    return field, int(match["index"])


def _enter(message: Message, step: str) -> Message:
    """Return the message that `step` names; create it if absent."""
    field, index = _resolve(message, step)
    if field.message_type is None or proto_messages.is_map(field):
        raise _OverrideError(f"{field.name} holds {_kind(field)}; it has no fields")
    value = getattr(message, field.name)
    if not field.is_repeated:
        value.SetInParent()
        return value
    if index is None and len(value) > 1:
        raise _OverrideError(f"there are {len(value)} of {field.name}: write {field.name}[index]")
    index = index or 0
    _check_index(field, index, len(value))
    return value.add() if index == len(value) else value[index]


def _check_index(field: proto_messages.FieldDescriptor, index: int, length: int) -> None:
    if index > length:
        raise _OverrideError(f"{field.name} has {length} elements: [{length}] appends the next one")


def _set(message: Message, field: proto_messages.FieldDescriptor, value: str) -> None:
    if field.message_type is None:
        _assign(message, field, _scalar(field, value))
        return
    parsed = _message(field, value)
    getattr(message, field.name).CopyFrom(parsed)


def _assign(message: Message, field: proto_messages.FieldDescriptor, value: Any) -> None:
    try:
        setattr(message, field.name, value)
    except ValueError as error:  # an integer beyond 32 bits
        raise _OverrideError(f"{field.name} holds {_kind(field)}: {error}") from None


def _replace_all(message: Message, field: proto_messages.FieldDescriptor, value: str) -> None:
    is_list = value.startswith("[") and value.endswith("]")
    items = _split(value[1:-1]) if is_list else [value]
    if field.message_type is not None:
        parsed: list[Any] = [_message(field, item) for item in items]
    else:
        parsed = [_scalar(field, item) for item in items]
    message.ClearField(field.name)
    _extend(message, field, parsed)


def _replace_element(
    message: Message, field: proto_messages.FieldDescriptor, index: int, value: str
) -> None:
    elements = list(getattr(message, field.name))
    _check_index(field, index, len(elements))
    element = _message(field, value) if field.message_type else _scalar(field, value)
    elements[index : index + 1] = [element]
    message.ClearField(field.name)
    _extend(message, field, elements)


def _extend(message: Message, field: proto_messages.FieldDescriptor, values: list[Any]) -> None:
    try:
        getattr(message, field.name).extend(values)
    except ValueError as error:
        raise _OverrideError(f"{field.name} holds {_kind(field)}: {error}") from None


def _split(text: str) -> list[str]:
    """Split at commas outside quotes and braces."""
    items, start, depth, quote = [], 0, 0, ""
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "{[":
            depth += 1
        elif letter in "}]":
            depth -= 1
        elif letter == "," and depth == 0:
            items.append(text[start:position].strip())
            start = position + 1
    items.append(text[start:].strip())
    return items if items != [""] else []


def _kind(field: proto_messages.FieldDescriptor) -> str:
    """Return a description of what a field holds."""
    if field.message_type is not None:
        return f"a {field.message_type.name} message"
    if field.enum_type is not None:
        return f"one of {listing(value.name for value in field.enum_type.values)}"
    return {
        Kind.CPPTYPE_BOOL: "true or false",
        Kind.CPPTYPE_INT32: "an integer",
        Kind.CPPTYPE_UINT32: "an integer of at least 0",
        Kind.CPPTYPE_FLOAT: "a number",
        Kind.CPPTYPE_STRING: "text",
    }[field.cpp_type]


def _message(field: proto_messages.FieldDescriptor, value: str) -> Message:
    if not (value.startswith("{") and value.endswith("}")):
        raise _OverrideError(
            f"{field.name} holds {_kind(field)}: set one of its fields, or give protobuf text in "
            f"braces, not {value!r}"
        )
    parsed = message_factory.GetMessageClass(field.message_type)()
    try:
        proto_messages.parse_text(value[1:-1], parsed, "its value")
    except ConfigError as error:
        raise _OverrideError(str(error)) from None
    return parsed


_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def _scalar(field: proto_messages.FieldDescriptor, value: str) -> Any:
    """Return `value` as the field's Python type."""
    if field.cpp_type == Kind.CPPTYPE_STRING:
        quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
        return value[1:-1] if quoted else value
    wrong = _OverrideError(f"{field.name} holds {_kind(field)}, not {value!r}")
    if field.enum_type is not None:
        return _enum(field, value)
    if field.cpp_type == Kind.CPPTYPE_BOOL:
        if value.lower() not in _BOOLS:
            raise wrong
        return _BOOLS[value.lower()]
    number = float if field.cpp_type == Kind.CPPTYPE_FLOAT else int
    try:
        return number(value)
    except ValueError:
        raise wrong from None


def _enum(field: proto_messages.FieldDescriptor, value: str) -> int:
    values = field.enum_type.values_by_name
    if value in values:
        return values[value].number
    if value.isdigit() and int(value) in field.enum_type.values_by_number:
        return int(value)
    raise _OverrideError(
        f"{field.name} holds {_kind(field)}, not {value!r}{suggestion(value, values)}"
    )
