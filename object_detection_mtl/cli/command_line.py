"""What the dataset command lines share: help that shows their flags, errors in one line."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from absl import app, flags, logging


def run(
    define_flags: Callable[[], None],
    main: Callable[[], int | None],
    usage: str,
    *,
    positional: str = "",
) -> None:
    """Defines the flags, parses the command line, runs `main` and exits with its code.

    Flags are defined here and not when the module is imported, so that two tools with a flag of one
    name can live in one process. A ValueError or OSError is taken for a mistake in the input:
    its message is printed (the traceback with --verbosity=1) and the exit code is 1. So is a flag
    without default that is given an empty text: a shell variable that was not set must not turn
    "evaluate there" into "train", or a directory of its own into the current one.

    Args:
        define_flags: calls absl's flags.DEFINE_*.
        main: does the work; returns an exit code or None for 0.
        usage: what --help says above the flags.
        positional: name of the flag that an argument without one is the value of; all arguments
            where the flag may be given repeatedly and its default is a list.
    """
    # What TensorFlow says of the CPU is noise. Without NVIDIA's driver so is its error that there
    # is no GPU; with it, errors of the GPU are worth reading.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if _has_gpu_driver() else "3")
    before = set(flags.FLAGS)
    define_flags()
    defined = set(flags.FLAGS) - before
    for name in defined:
        # absl's --help lists the flags of the script that was started. For an installed console
        # script that is a wrapper which defines none.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    sys.modules["__main__"].__doc__ = usage
    try:
        app.run(lambda arguments: _guarded(main, arguments[1:], defined, positional))
    except SystemExit as stop:
        # absl ends with 1 after showing help, which would stop a script that has `set -e`.
        asked = {argument.lstrip("-") for argument in sys.argv[1:]} & _HELP
        raise SystemExit(0 if asked and stop.code == 1 else stop.code) from None


_HELP = {"help", "helpshort", "helpfull", "helpxml", "?"}


def _has_gpu_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _guarded(
    main: Callable[[], int | None], surplus: list[str], defined: Iterable[str], positional: str
) -> int:
    if positional and surplus and not flags.FLAGS[positional].present:
        takes_all = isinstance(flags.FLAGS[positional].default, list)
        setattr(flags.FLAGS, positional, surplus if takes_all else surplus[0])
        flags.FLAGS[positional].present = 1
        surplus = [] if takes_all else surplus[1:]
    if surplus:
        print(f"error: unexpected arguments {surplus}; every option is a --flag", file=sys.stderr)
        return 1
    if not flags.FLAGS["verbosity"].present:
        # What a command has to say it prints; TensorFlow's INFO is for developers. Warnings stay.
        logging.set_verbosity(logging.WARNING)
    try:
        _refuse_empty_flags(defined)
        return main() or 0
    except (ValueError, OSError) as error:
        logging.debug("This led to the error below", exc_info=True)
        print(f"error: {_in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # As shells report a process that Ctrl-C ended.
    except Exception as error:
        text = _tensorflow_in_words(error)
        if text is None:
            raise
        logging.debug("This led to the error below", exc_info=True)
        print(f"error: {text}", file=sys.stderr)
        return 1


def _refuse_empty_flags(names: Iterable[str]) -> None:
    for name in sorted(names):
        flag = flags.FLAGS[name]
        # An empty text is parsed to the empty list where a list is wanted.
        value: Any = flag.value
        values = value if isinstance(value, list) else [value]
        if flag.present and (not values or "" in values) and flag.default in (None, []):
            raise ValueError(
                f"--{name} is empty; give it a value or leave it out (was a shell variable not "
                "set?)"
            )


# What the operating system's errors of a path mean to the person who typed it.
_REASONS: tuple[tuple[type[OSError], str], ...] = (
    (FileExistsError, "a file of this name is in the way; delete it or choose another path"),
    (NotADirectoryError, "a part of this path is a file, no directory"),
    (IsADirectoryError, "it is a directory; give the path of a file"),
    (PermissionError, "permission denied; choose another path or change the permissions"),
    (FileNotFoundError, "no such file or directory"),
)


def _in_words(error: ValueError | OSError) -> str:
    """The message; of an error that the operating system raised, path and reason."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        path = "" if error.filename is None else f"{error.filename!r}: "
        return f"{path}{error.strerror}; {_MAKE_ROOM}"
    if not isinstance(error, OSError) or error.errno is None or error.filename is None:
        return str(error)
    reasons = [reason for kind, reason in _REASONS if isinstance(error, kind)]
    return f"{error.filename!r}: {(reasons or [error.strerror or str(error)])[0]}"


_MAKE_ROOM = "make room, or choose another output path"
# TensorFlow's errors of files and memory; the others are for developers.
_TENSORFLOW_NAMES = (
    "FailedPreconditionError",
    "NotFoundError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
)
_GRAPH_NAMES = re.compile(r"\{\{[^}]*\}\}\s*|\s*\[Op:.*", re.DOTALL)


def _tensorflow_in_words(error: Exception) -> str | None:
    """What TensorFlow found wrong with a file or the memory; None for any other error.

    Recognized by name: most command lines work without importing TensorFlow.
    """
    module = type(error).__module__
    if not module.startswith("tensorflow.") or type(error).__name__ not in _TENSORFLOW_NAMES:
        return None
    text = _GRAPH_NAMES.sub("", getattr(error, "message", str(error))).strip()
    if "OOM" in text:
        return f"out of memory: {text}; smaller batches or smaller images need less"
    return f"{text}; {_MAKE_ROOM}" if text.endswith("No space left on device") else text
