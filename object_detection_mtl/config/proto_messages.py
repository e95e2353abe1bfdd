"""Traversal of protobuf messages and parsing of protobuf text."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from google.protobuf import text_format
from google.protobuf.message import Message

from object_detection_mtl.config.errors import ConfigError, listing, shortened, suggestion
from object_detection_mtl.protos import pipeline_pb2

_logger = logging.getLogger(__name__)

# Protobuf has two implementations of descriptors with one interface; the published types are a
# union of both that no annotation of one of them accepts.
Descriptor = Any
FieldDescriptor = Any


class Node(NamedTuple):
    """One field that a message sets explicitly.

    Attributes:
        path: such as `model.faster_rcnn.num_classes` or `eval_input_reader[0].name`.
        owner: the message that contains the field.
        field: the field's descriptor.
        value: its value; of a repeated message field, one element.
    """

    path: str
    owner: Message
    field: FieldDescriptor
    value: Any

    @property
    def key(self) -> str:
        """Return the message's and the field's name: `FasterRcnn.num_classes`."""
        return field_key(self.field)


def field_key(field: FieldDescriptor) -> str:
    """Return `Message.field`, for nested messages `Outer.Inner.field`."""
    return f"{type_key(field.containing_type)}.{field.name}"


def type_key(message_type: Descriptor) -> str:
    """Return the message's name inside its package."""
    package = message_type.file.package
    return message_type.full_name[len(package) + 1 :]


def is_map(field: FieldDescriptor) -> bool:
    """Return whether the field is declared `map<key, value>`."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def walk(
    message: Message,
    path: str = "",
    descend: Callable[[Node], bool] = lambda node: True,
) -> Iterator[Node]:
    """Yield every explicitly set field below `message`, parents first, in field-number order.

    Args:
        message: where to start.
        path: its path, "" for the whole configuration.
        descend: False for a message field whose contents are skipped.
    """
    prefix = f"{path}." if path else ""
    for field, value in message.ListFields():
        name = prefix + field.name
        if field.message_type is None or is_map(field):
            yield Node(name, message, field, value)
            continue
        elements = enumerate(value) if field.is_repeated else [(None, value)]
        for index, element in elements:
            node = Node(name if index is None else f"{name}[{index}]", message, field, element)
            yield node
            if descend(node):
                yield from walk(element, node.path, descend)


@functools.cache
def reachable_types(
    root: Descriptor = pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR,
) -> dict[str, Descriptor]:
    """Return every message type that `root` can hold, itself included, by full name."""
    found: dict[str, Descriptor] = {}
    waiting = [root]
    while waiting:
        message_type = waiting.pop()
        if message_type.full_name in found:
            continue
        found[message_type.full_name] = message_type
        waiting.extend(field.message_type for field in message_type.fields if field.message_type)
    return found


def unknown_field_message(message_type: Descriptor, name: str) -> str:
    """Return an error text for a field that a message lacks, with the nearest known field."""
    names = [field.name for field in message_type.fields]
    text = f'{message_type.name} has no field "{name}"'
    near = suggestion(name, names)
    if near:
        return text + near
    homes = sorted(t.name for t in reachable_types().values() if name in t.fields_by_name)
    if homes:
        return f"{text}; it is a field of {listing(homes)}. Is a brace missing or superfluous?"
    return f"{text}; its fields are {listing(names, 60)}" if names else f"{text}; it has no fields"


_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_UNKNOWN_VALUE = re.compile(r'Enum type "([\w.]+)" has no value named ([\w.\-]+)')
# A field, or a second member of a oneof, that `text_format.Parse` refuses and `Merge` takes.
_REPEATED = re.compile(r'(?:multiple|Field) "([\w.]+)" (?:fields|is specified along with)')
_POSITION = re.compile(r"^\d+:\d+ : ")
# The parser's messages at the end of the text: an empty quotation, or a missing closing bracket
# reported for the last line.
_AT_END = re.compile(r"^(?:'': (.+)|(Expected \"[}>]\"\.$))", re.DOTALL)
_QUOTED = 120  # characters of a line: a file of another kind may have one line of megabytes
_PACKAGE = re.compile(r"\bobject_detection_mtl\.protos\.")


def _enum_values(root: Descriptor, full_name: str) -> list[str]:
    for message_type in reachable_types(root).values():
        for field in message_type.fields:
            if field.enum_type is not None and field.enum_type.full_name == full_name:
                return [value.name for value in field.enum_type.values]
    return []


def _explain(error: str, line: str, root: Descriptor) -> str:
    """Return the parser's message with the names of the config."""
    field = _UNKNOWN_FIELD.search(error)
    if field:
        return unknown_field_message(reachable_types(root)[field[1]], field[2])
    text = _PACKAGE.sub("", _POSITION.sub("", error))
    at_end = _AT_END.match(text)
    if at_end:
        what = at_end[1] or at_end[2]
        return f"the text is truncated: {what[0].lower()}{what[1:]}"
    text = text.replace(f"'{line}': ", "", 1)
    value = _UNKNOWN_VALUE.search(error)
    if value:
        names = _enum_values(root, value[1])
        return text.rstrip(".") + (suggestion(value[2], names) or f"; allowed: {listing(names)}")
    return text


# A path whose backslashes are no separators in protobuf text, but begin escapes: \t, \n, \U...
_BACKSLASH = re.compile(
    r"""(?:_path|checkpoint)\s*:\s*["'][^"'\n]*?(?<!\\)(?:\\\\)*\\(?![\\"'0-7])"""
)
_HTML = re.compile(r"\s*<(!doctype|html)", re.IGNORECASE)


def _refuse_other_text(text: str, source: str) -> None:
    """Refuse a web page, and paths with single backslashes.

    Raises:
        ConfigError: the text has one of them.
    """
    if _HTML.match(text):
        raise ConfigError(
            f"{source} is HTML, perhaps a failed download; expected protobuf text. Download the "
            "file itself, not the page that shows it"
        )
    path = _BACKSLASH.search(text)
    if path is not None:
        number = text.count("\n", 0, path.start()) + 1
        line = text.splitlines()[number - 1].strip()[:_QUOTED]
        raise ConfigError(
            f"{source}, line {number}: a backslash begins an escape in protobuf text; write paths "
            f"with / or \\\\\n    {line}"
        )


def parse_text(text: str, message: Message, source: str) -> None:
    """Parse protobuf text into `message`.

    A field that is given twice has the last value, and a message that is given twice has the fields
    of both, as in the OD API; a warning names the first such field.

    Args:
        text: the text.
        message: an empty message, filled in place.
        source: the text's name in error messages, usually its path.

    Raises:
        ConfigError: the message gives the source, line number, the line itself, and for an
            unknown name the nearest known one.
    """
    _refuse_other_text(text, source)
    try:
        repeated = _parse_or_merge(text, message)
    except text_format.ParseError as error:
        lines = text.splitlines()
        number = error.GetLine() or 0
        line = lines[number - 1] if 0 < number <= len(lines) else ""
        explained = _explain(str(error), line, message.DESCRIPTOR)
        where = f"{source}, line {number}" if number else source
        shown = shortened(line.strip(), _QUOTED)
        quoted = f"\n    {shown}" if shown else ""
        raise ConfigError(f"{where}: {explained}{quoted}") from None
    if repeated is not None:
        _logger.warning(
            "%s, line %d: %s is given a second time; the last value counts, as in the OD API. "
            "Fields after this line may be repeated too",
            source,
            repeated.GetLine() or 0,
            _REPEATED.findall(str(repeated))[0],
        )


def _parse_or_merge(text: str, message: Message) -> text_format.ParseError | None:
    """Parse strictly, else with repeated fields; return the error about the first of those."""
    try:
        text_format.Parse(text, message)
        return None
    except text_format.ParseError as error:
        if not _REPEATED.search(str(error)):
            raise
        message.Clear()
        text_format.Merge(text, message)
        return error
