#!/usr/bin/env python3
"""Write the reference pages that are derived from code: config fields, commands, Python API.

    python scripts/generate_reference.py [directory]

docs/conf.py calls it when the documentation is built; the default directory, which is not under
version control, is docs/reference/generated.
"""

from __future__ import annotations

import collections
import dataclasses
import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

ROOT = Path(__file__).resolve().parents[1]
# Class of a table whose rows are blocks on a phone (docs/_static/custom.css).
STACKED = "{.stacked}"
OUTPUT = ROOT / "docs" / "reference" / "generated"
PROTO_PACKAGE = "object_detection_mtl/protos"

# Page -> (title, introduction, messages where it starts). A message is on the first page that
# reaches it.
PAGES = {
    "config_model": (
        "Model",
        "The detector: `model {}` of the config.",
        ["DetectionModel", "FasterRcnn", "MTL"],
    ),
    "config_training": (
        "Training",
        "`train_config {}`: optimizer, schedule, pretrained weights, augmentation.",
        ["TrainConfig"],
    ),
    "config_input": (
        "Input",
        "`train_input_reader {}`, `eval_input_reader {}`, and label maps.",
        ["InputReader", "StringIntLabelMap"],
    ),
    "config_evaluation": ("Evaluation", "`eval_config {}`.", ["EvalConfig"]),
    "config_pipeline": (
        "Whole config",
        "The fields of a `pipeline.config` at the top level.",
        ["TrainEvalPipelineConfig"],
    ),
}
# All pages, without their extension.
PAGES_WRITTEN = (*PAGES, "commands", "python_api")
# Alternatives of a oneof that the OD API has and this package lacks.
UNSUPPORTED = {
    "AnchorGenerator.flexible_grid_anchor_generator",
    "AnchorGenerator.multiscale_anchor_generator",
    "AnchorGenerator.ssd_anchor_generator",
    "BoxPredictor.convolutional_box_predictor",
    "BoxPredictor.weight_shared_convolutional_box_predictor",
    "DetectionModel.center_net",
    "DetectionModel.experimental_model",
    "DetectionModel.ssd",
    "InputReader.external_input_reader",
}
_LABELS = {1: "optional", 2: "required", 3: "repeated"}
_SCALARS = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    8: "bool",
    9: "string",
    12: "bytes",
    13: "uint32",
}
_MESSAGE, _ENUM = 11, 14
_ABOUT_LISTS = "; repeat this option to specify a list of values"  # absl adds it


@dataclasses.dataclass(frozen=True)
class Schema:
    """The messages and enums of the protobuf files, by name inside the package, with comments."""

    messages: dict[str, Any]
    enums: dict[str, Any]
    comments: dict[str, str]


def read_schema() -> Schema:
    """Compile `protos/*.proto` with comments."""
    from google.protobuf import descriptor_pb2

    # Registers the extensions that mark a field's dialect, before the options are parsed.
    importlib.import_module("object_detection_mtl.protos.dialect_pb2")
    names = sorted(path.name for path in (ROOT / "protos").glob("*.proto"))
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "schema")
        # A process of its own: grpc_tools and TensorFlow bring different protobuf libraries.
        arguments = [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            f"--proto_path={PROTO_PACKAGE}={ROOT / 'protos'}",
            "--include_source_info",
            f"--descriptor_set_out={target}",
            *(f"{PROTO_PACKAGE}/{name}" for name in names),
        ]
        if subprocess.run(arguments, check=False).returncode != 0:
            raise RuntimeError("protoc failed; its message is above")
        files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    schema = Schema({}, {}, {})
    for file in files:
        comments = {tuple(place.path): _comment(place) for place in file.source_code_info.location}
        for number, message in enumerate(file.message_type):
            _add_message(schema, message, message.name, (4, number), comments)
        for number, enum in enumerate(file.enum_type):
            _add_enum(schema, enum, enum.name, (5, number), comments)
    return schema


def _comment(place: Any) -> str:
    return " ".join((place.leading_comments + " " + place.trailing_comments).split())


def _add_message(
    schema: Schema, message: Any, name: str, path: tuple[int, ...], comments: dict[Any, str]
) -> None:
    schema.messages[name] = message
    schema.comments[name] = comments.get(path, "")
    for number, field in enumerate(message.field):
        schema.comments[f"{name}.{field.name}"] = comments.get((*path, 2, number), "")
    for number, nested in enumerate(message.nested_type):
        _add_message(schema, nested, f"{name}.{nested.name}", (*path, 3, number), comments)
    for number, enum in enumerate(message.enum_type):
        _add_enum(schema, enum, f"{name}.{enum.name}", (*path, 4, number), comments)


def _add_enum(
    schema: Schema, enum: Any, name: str, path: tuple[int, ...], comments: dict[Any, str]
) -> None:
    schema.enums[name] = enum
    schema.comments[name] = comments.get(path, "")
    for number, value in enumerate(enum.value):
        schema.comments[f"{name}.{value.name}"] = comments.get((*path, 2, number), "")


def short_name(type_name: str) -> str:
    """Return a type's name inside the package: `.a.protos.MTL.LabelSource` -> `MTL.LabelSource`."""
    return type_name.split(".protos.", 1)[-1].lstrip(".")


def is_documented(key: str) -> bool:
    """Return whether the fields of a message field are documented: it is supported and read."""
    from object_detection_mtl.config import ignored_fields

    return key not in UNSUPPORTED and key not in ignored_fields.IGNORED_FIELDS


def messages_by_page(schema: Schema) -> dict[str, list[str]]:
    """Return the messages of each page, those that a message contains after it."""
    done: set[str] = set()
    pages = {}
    for page, (_, _, starts) in PAGES.items():
        queue = collections.deque(starts)
        # A message with a page of its own is linked, not repeated.
        elsewhere = {name for key, (_, _, names) in PAGES.items() if key != page for name in names}
        pages[page] = []
        while queue:
            name = queue.popleft()
            if name in done or name in elsewhere:
                continue
            done.add(name)
            pages[page].append(name)
            queue.extend(
                short_name(field.type_name)
                for field in schema.messages[name].field
                if field.type == _MESSAGE and is_documented(f"{name}.{field.name}")
            )
    return pages


def escape(text: str) -> str:
    """Return text for a table cell in Markdown; code in backticks stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    for number, part in enumerate(parts):
        if number % 2 == 0:
            part = re.sub(r"([*_<>\[\]])", r"\\\1", part)
        parts[number] = part.replace("|", "\\|")
    return "".join(parts)


def anchor(name: str) -> str:
    """Return the link target of a message or enum."""
    return f"config-{name.lower().replace('.', '-')}"


def config_pages() -> Iterator[tuple[str, str]]:
    """Yield (file name without extension, text) of the pages on config fields."""
    schema = read_schema()
    pages = messages_by_page(schema)
    linked = {name for names in pages.values() for name in names}
    for page, names in pages.items():
        title, introduction, _ = PAGES[page]
        lines = [f"# {title}", "", introduction, ""]
        for name in names:
            lines += _message_section(schema, name, linked)
        yield page, "\n".join(lines)


def _message_section(schema: Schema, name: str, linked: set[str]) -> list[str]:
    message = schema.messages[name]
    lines = [f"({anchor(name)})=", f"## {name}", "", escape(schema.comments[name]), ""]
    if not message.field:
        return [*lines, "No fields.", ""]
    lines += [STACKED, "| field | default | meaning |", "|---|---|---|"]
    enums = []
    for field in message.field:
        type_text = _type_text(field, linked)
        if field.type == _ENUM and short_name(field.type_name) not in enums:
            enums.append(short_name(field.type_name))
        meaning = _meaning(schema, name, field)
        default = _default(schema, name, field)
        lines.append(f"| `{field.name}`<br>{type_text} | {default} | {meaning} |")
    for enum in enums:
        lines += ["", f"`{enum}`:", ""]
        for value in schema.enums[enum].value:
            text = escape(schema.comments[f"{enum}.{value.name}"])
            lines.append(f"- `{value.name}`" + (f": {text}" if text else ""))
    return [*lines, ""]


def _type_text(field: Any, linked: set[str]) -> str:
    if field.type in (_MESSAGE, _ENUM):
        name = short_name(field.type_name)
        text = f"[{name}](#{anchor(name)})" if name in linked else f"`{name}`"
    else:
        text = _SCALARS[field.type]
    return f"{text}, {_LABELS[field.label]}" if field.label != 1 else text


def _default(schema: Schema, message: str, field: Any) -> str:
    from object_detection_mtl.config import dialects

    values = dialects.DIALECT_DEFAULTS.get(f"{message}.{field.name}")
    if values:
        return " ".join(
            f"{name} `{_quoted(field, value)}`"
            for name, value in zip(("OD API", "fork"), values, strict=True)
        )
    if field.label == 3 or field.type == _MESSAGE:
        return ""
    if field.HasField("default_value"):
        return f"`{_quoted(field, field.default_value)}`"
    if field.type == _ENUM:
        return f"`{schema.enums[short_name(field.type_name)].value[0].name}`"
    return f"`{_quoted(field, 'false' if field.type == 8 else '' if field.type == 9 else 0)}`"


def _quoted(field: Any, value: object) -> str:
    return f'"{value}"' if field.type == 9 else str(value)


def _meaning(schema: Schema, message: str, field: Any) -> str:
    from object_detection_mtl.config import field_rules, ignored_fields
    from object_detection_mtl.protos import dialect_pb2

    key = f"{message}.{field.name}"
    parts = [escape(schema.comments[key])] if schema.comments[key] else []
    if key in field_rules.RULES:
        parts.append(escape(f"Must be {field_rules.RULES[key].words}."))
    if key in UNSUPPORTED:
        parts.append("Unsupported.")
    if key in ignored_fields.IGNORED_FIELDS:
        parts.append(escape(f"Ignored: {ignored_fields.IGNORED_FIELDS[key][0]}."))
    if field.options.HasExtension(dialect_pb2.needs):
        parts.append(f"Applies with `{field.options.Extensions[dialect_pb2.needs]}: true` only.")
    dialect = field.options.Extensions[dialect_pb2.only_in]
    if dialect:
        parts.append({1: "*OD API.*", 2: "*Fork.*"}[dialect])
    if field.options.Extensions[dialect_pb2.own]:
        parts.append("*Field of this package.*")
    return " ".join(parts)


def commands() -> dict[str, str]:
    """Return the package's commands: name -> module."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(r"\[project\.scripts\]\n(.*?)\n\n", text, re.DOTALL)
    assert section
    return dict(re.findall(r'^(\w+) = "([\w.]+):run"$', section[1], re.MULTILINE))


def flags_of(module: Any) -> list[Any]:
    """Return the flags that a command defines, in the order of their definition."""
    before = set(flags.FLAGS)
    module.define_flags()
    names = [name for name in flags.FLAGS if name not in before]
    found = [flags.FLAGS[name] for name in names]
    required = {flag.name for flag in found if _is_required(flag)}
    for name in names:
        delattr(flags.FLAGS, name)
    return [(flag, flag.name in required) for flag in found]


def _is_required(flag: Any) -> bool:
    validators = getattr(flag, "validators", ())
    return any("must have a value other than None" in str(v.message) for v in validators)


def command_page() -> str:
    """Return the page on the commands."""
    lines = [
        "# Commands",
        "",
        "Every command prints its flags with `--help`; `--verbosity=1` shows more of its log, and",
        "the traceback of an error. The exit code is 0, or 1 after an error, which is one line.",
        "",
    ]
    for name, module_name in commands().items():
        module = importlib.import_module(module_name)
        lines += [f"## {name}", "", *_docstring(module.__doc__ or ""), ""]
        lines += [STACKED, "| flag | default | |", "|---|---|---|"]
        for flag, required in flags_of(module):
            default = "required" if required else _flag_default(flag)
            values = getattr(flag.parser, "enum_values", None)
            help_text = " ".join((flag.help or "").split())
            help_text = escape(help_text.replace(_ABOUT_LISTS, ""))
            if values:
                # absl begins the help of an enum with its values.
                help_text = re.sub(r"^\\<.*?\\>: ", "", help_text)
                help_text = " \\| ".join(f"`{value}`" for value in values) + f": {help_text}"
            lines.append(f"| `--{flag.name}` | {default} | {help_text} |")
        lines.append("")
    return "\n".join(lines)


def _flag_default(flag: Any) -> str:
    if flag.default is None or flag.default in ("", []):
        return ""
    value = str(flag.default).lower() if isinstance(flag.default, bool) else flag.default
    return f"`{', '.join(map(str, value)) if isinstance(value, list) else value}`"


def _docstring(text: str) -> list[str]:
    """Return a command's docstring in Markdown: its indented examples become code blocks."""
    lines: list[str] = []
    inside = False
    for line in text.strip().splitlines():
        indented = line.startswith("    ")
        if indented and not inside:
            lines.append("```sh")
        elif inside and not indented:
            lines.append("```")
        inside = indented
        lines.append(line[4:] if indented else escape(line))
    return [*lines, "```"] if inside else lines


def api_page() -> str:
    """Return the page on the Python API: a directive of autodoc for each public name."""
    import object_detection_mtl

    lines = [
        "# Python API",
        "",
        "`import object_detection_mtl as odm` imports no TensorFlow; a function imports it when it",
        "needs it. [The Python API](../../guides/python_api.md) shows its use.",
        "",
    ]
    for name in sorted(object_detection_mtl.__all__, key=lambda name: name[0].isupper()):
        lines += [f"## {name}", "", "```{eval-rst}"]
        if name[0].isupper():
            lines += [f".. autoclass:: object_detection_mtl.{name}", "   :members:"]
        else:
            lines.append(f".. autofunction:: object_detection_mtl.{name}")
        lines += ["```", ""]
    return "\n".join(lines)


def write_pages(directory: Path) -> list[Path]:
    """Write all pages; files that have not changed keep their time."""
    directory.mkdir(parents=True, exist_ok=True)
    pages = {**dict(config_pages()), "commands": command_page(), "python_api": api_page()}
    paths = []
    for name, text in pages.items():
        path = directory / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for written in write_pages(Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT):
        print(written)
