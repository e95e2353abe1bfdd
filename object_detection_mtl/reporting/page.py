"""HTML pages from templates, written atomically."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from object_detection_mtl import output_paths
from object_detection_mtl.config.errors import printable


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """Return a page; markup and control characters of texts among `values` are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("object_detection_mtl.reporting"),
        autoescape=lambda name: name is not None and ".html" in name,
        finalize=_printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def _printable(value: Any) -> Any:
    """Escape the control characters of a text; a browser would show boxes, or another order."""
    if isinstance(value, Markup):
        return Markup(printable(value, breaks=True))
    return printable(value, breaks=True) if isinstance(value, str) else value


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename it; create its directory.

    Raises:
        OSError: the file cannot be written; an earlier one is unchanged.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    output_paths.make_directory(path.parent)
    data = content.encode("utf-8", "xmlcharrefreplace") if isinstance(content, str) else content
    temporary = path.with_name(f"{path.name}.{os.getpid()}.incomplete")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
