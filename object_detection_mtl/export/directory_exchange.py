"""Atomic replacement of a directory."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import uuid
from collections.abc import Iterable

_RENAME_EXCHANGE = 2
_ASIDE = ".replaced-"
_CURRENT_DIRECTORY = -100  # AT_FDCWD: relative paths start at the current directory


def replace_directory(old: str, new: str, dropped: Iterable[str] = ()) -> bool:
    """Replace a directory in one operation; a reader sees the old one or the new one.

    Where the system cannot exchange directories, these are two operations, and in between the old
    directory has the name that `aside` returns; `restore` undoes that.

    Entries of the old directory that the new one lacks are kept: the new one gets links to them, or
    copies. The old directory has the path of the new one afterwards.

    Args:
        old: the directory to replace; it may be missing.
        new: the complete new directory, on the same file system.
        dropped: names of entries of the old directory that are not kept.

    Returns:
        Whether it was replaced. False leaves both as they were, but for the kept entries: the path
        is not local, or the file system cannot rename directories.
    """
    if "://" in old:
        return False
    if not os.path.exists(old):
        os.rename(new, old)
        return True
    for name in sorted(set(os.listdir(old)) - set(os.listdir(new)) - set(dropped)):
        _link(os.path.join(old, name), os.path.join(new, name))
    return exchange(old, new) or _rename_twice(old, new)


def restore(directory: str) -> str | None:
    """Complete or undo the replacement of a directory by a process that was killed.

    Args:
        directory: `old` of `replace_directory`, local.

    Returns:
        The name that the old directory had; None if there is nothing to restore.
    """
    parent, name = os.path.split(directory)
    if os.path.lexists(directory) or not os.path.isdir(parent or "."):
        return None
    for found in sorted(os.listdir(parent or ".")):
        if found.startswith(f"{name}{_ASIDE}"):
            os.rename(os.path.join(parent, found), directory)
            return found
    return None


def _rename_twice(old: str, new: str) -> bool:
    aside = f"{old}{_ASIDE}{uuid.uuid4().hex[:8]}"
    try:
        os.rename(old, aside)
    except OSError:  # A mount point, for example.
        return False
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        return False
    os.rename(aside, new)
    return True


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
