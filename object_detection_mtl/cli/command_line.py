"""Command-line runner: flags, help, one-line errors, exit codes."""

from __future__ import annotations

import contextlib
import errno
import io
import logging as standard_logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from absl import app, flags, logging

from object_detection_mtl.cli import process_settings
from object_detection_mtl.cli.terminal_text import escape_output
from object_detection_mtl.config.errors import bounded


def run_command(
    define_flags: Callable[[], None],
    main: Callable[[], int | None],
    usage: str,
    *,
    positional: str = "",
) -> None:
    """Define the flags, parse the command line, call `main` and exit with its code.

    Flags are defined here and not at import, so that two commands with flags of the same name can
    be imported into one process. A ValueError or OSError is reported as an error of the input: its
    message is printed (the traceback with --verbosity=1) and the exit code is 1. An empty value of
    a flag without default is such an error too, because it usually comes from an unset shell
    variable and would change what the command does.

    Args:
        define_flags: calls absl's flags.DEFINE_*.
        main: does the work; returns an exit code, or None for 0.
        usage: text that --help prints above the flags.
        positional: name of the flag whose value can be given without the flag's name; it takes all
            such arguments if its default is a list.
    """
    process_settings.quiet_tensorflow()
    before = set(flags.FLAGS)
    define_flags()
    defined = set(flags.FLAGS) - before
    for name in defined:
        # absl's --help lists the flags of the script that was started. An installed console script
        # is a wrapper that defines none.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    sys.modules["__main__"].__doc__ = usage
    try:
        app.run(
            lambda arguments: _run_main(main, arguments[1:], defined, positional),
            flags_parser=_parse_flags,
        )
    except SystemExit as stop:
        # absl exits with 1 after printing help, which would stop a script with `set -e`.
        asked = {argument.lstrip("-") for argument in sys.argv[1:]} & _HELP
        raise SystemExit(0 if asked and stop.code == 1 else stop.code) from None


_HELP = {"help", "helpshort", "helpfull", "helpxml", "?"}


def _parse_flags(arguments: list[str]) -> list[str]:
    """Return the arguments that are not flags; print one line and exit if the flags are wrong."""
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        missing = [f"--{name}" for name in _MISSING.findall(str(error))]
        verb = "is" if len(missing) == 1 else "are"
        text = f"{', '.join(missing)} {verb} required" if missing else " ".join(str(error).split())
        _print_error(f"{text}; --help lists the flags")
        raise SystemExit(1) from None


# absl's message for a required flag that is not given.
_MISSING = re.compile(r"Flag --(\w+) must have a value other than None")


def _run_main(
    main: Callable[[], int | None], surplus: list[str], defined: Iterable[str], positional: str
) -> int:
    if positional and surplus and not flags.FLAGS[positional].present:
        takes_all = isinstance(flags.FLAGS[positional].default, list)
        setattr(flags.FLAGS, positional, surplus if takes_all else surplus[0])
        flags.FLAGS[positional].present = 1
        surplus = [] if takes_all else surplus[1:]
    if surplus:
        _print_error(f"unexpected arguments {surplus}; expected only --flags")
        return 1
    if not flags.FLAGS["verbosity"].present:
        # Commands print their output; TensorFlow's INFO messages are for developers.
        logging.set_verbosity(logging.WARNING)
    _tolerate_any_name()
    with escape_output():
        return _run_escaped(main, defined)


def _run_escaped(main: Callable[[], int | None], defined: Iterable[str]) -> int:
    try:
        _raise_if_flag_is_empty(defined)
        _expand_home(defined)
        return main() or 0
    except (ValueError, OSError) as error:
        logging.debug("Traceback of the error below", exc_info=True)
        _print_error(_describe_error(error))
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # the exit code that shells report after Ctrl-C
    except MemoryError:
        _print_error("out of memory; use smaller batches or smaller images")
        return 1
    except Exception as error:
        text = _describe_tensorflow_error(error)
        if text is None:
            raise
        logging.debug("Traceback of the error below", exc_info=True)
        _print_error(text)
        return 1


def _print_error(text: str) -> None:
    print(f"error: {bounded(text)}", file=sys.stderr)


def _tolerate_any_name() -> None:
    """Let no name of a file or class end a command that prints it, nor fill the terminal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            # A pipe that took the place of a file has no position, which Python asks for.
            with contextlib.suppress(OSError):
                stream.reconfigure(errors="backslashreplace")
    handler = logging.get_absl_handler()
    if _bound_message not in handler.filters:
        handler.addFilter(_bound_message)


def _bound_message(record: standard_logging.LogRecord) -> bool:
    record.msg, record.args = bounded(record.getMessage()), ()
    return True


def _raise_if_flag_is_empty(names: Iterable[str]) -> None:
    for name in sorted(names):
        flag = flags.FLAGS[name]
        # The empty text is parsed to the empty list if the flag is a list.
        value: Any = flag.value
        values = value if isinstance(value, list) else [value]
        if flag.present and (not values or "" in values) and flag.default in (None, []):
            raise ValueError(
                f"--{name} is empty; give it a value or omit it (perhaps a shell variable is not "
                "set)"
            )


def _expand_home(names: Iterable[str]) -> None:
    """Replace `~` or `~name` at the start of values; shells do not expand it in --flag=~/path."""
    for name in names:
        value: Any = flags.FLAGS[name].value
        if isinstance(value, list):
            flags.FLAGS[name].value = [_home_path(item) for item in value]
        else:
            flags.FLAGS[name].value = _home_path(value)


def _home_path(value: Any) -> Any:
    return os.path.expanduser(value) if isinstance(value, str) else value


# Type of an operating system's error for a path -> message.
_REASONS: tuple[tuple[type[OSError], str], ...] = (
    (FileExistsError, "a file of this name exists; delete it or choose another path"),
    (NotADirectoryError, "a part of this path is a file, expected a directory"),
    (IsADirectoryError, "it is a directory, expected a file; give the path of a file"),
    (PermissionError, "permission denied; choose another path or change the permissions"),
    (FileNotFoundError, "no such file or directory; check the path"),
)


def _describe_error(error: ValueError | OSError) -> str:
    """Return the message of an error; path and reason if the operating system raised it."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        path = "" if error.filename is None else f"{error.filename!r}: "
        return f"{path}{error.strerror}; {_FREE_SPACE}"
    if not isinstance(error, OSError) or error.errno is None or error.filename is None:
        return str(error)
    reasons = [reason for kind, reason in _REASONS if isinstance(error, kind)]
    return f"{error.filename!r}: {(reasons or [error.strerror or str(error)])[0]}"


_FREE_SPACE = "free some space, or choose another output path"
# TensorFlow's errors of files and memory; its other errors are raised.
_TENSORFLOW_NAMES = (
    "FailedPreconditionError",
    "NotFoundError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
)
_GRAPH_NAMES = re.compile(r"\{\{[^}]*\}\}\s*|\s*\[Op:.*", re.DOTALL)


def _describe_tensorflow_error(error: Exception) -> str | None:
    """Return the message of TensorFlow's file and memory errors; None for other errors.

    The type is recognized by its name: most commands run without importing TensorFlow.
    """
    module = type(error).__module__
    if not module.startswith("tensorflow.") or type(error).__name__ not in _TENSORFLOW_NAMES:
        return None
    text = _GRAPH_NAMES.sub("", getattr(error, "message", str(error))).strip()
    if "OOM" in text:
        return f"out of memory: {text}; use smaller batches or smaller images"
    return f"{text}; {_FREE_SPACE}" if text.endswith("No space left on device") else text
