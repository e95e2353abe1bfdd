"""Atomic replacement of a directory."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterable

_RENAME_EXCHANGE = 2
_CURRENT_DIRECTORY = -100  # AT_FDCWD: relative paths start at the current directory


def replace_directory(old: str, new: str, dropped: Iterable[str] = ()) -> bool:
    """Replace a directory in one operation; a reader sees the old one or the new one.

    Entries of the old directory that the new one lacks are kept: the new one gets links to them, or
    copies. The old directory has the path of the new one afterwards.

    Args:
        old: the directory to replace; it may be missing.
        new: the complete new directory, on the same file system.
        dropped: names of entries of the old directory that are not kept.

    Returns:
        Whether it was replaced. False leaves both as they were, but for the kept entries: the
        operating system or the file system cannot exchange directories.
    """
    if "://" in old:
        return False
    if not os.path.exists(old):
        os.rename(new, old)
        return True
    for name in sorted(set(os.listdir(old)) - set(os.listdir(new)) - set(dropped)):
        _link(os.path.join(old, name), os.path.join(new, name))
    return exchange(old, new)


def exchange(first: str, second: str) -> bool:
    """Exchange two paths atomically; return False where that is not possible."""
    if not sys.platform.startswith("linux"):
        return False
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return False
    paths = (os.fsencode(first), os.fsencode(second))
    return (
        function(_CURRENT_DIRECTORY, paths[0], _CURRENT_DIRECTORY, paths[1], _RENAME_EXCHANGE) == 0
    )


def _link(source: str, target: str) -> None:
    """Link a file, or every file of a directory; copy where links are not possible."""
    if os.path.islink(source) or not os.path.isdir(source):
        _link_file(source, target)
    else:
        shutil.copytree(source, target, symlinks=True, copy_function=_link_file)


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
