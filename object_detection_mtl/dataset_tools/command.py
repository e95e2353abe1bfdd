"""What the data set command lines share: help that shows their flags, errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from absl import app, flags, logging


def run(define_flags: Callable[[], None], main: Callable[[], int | None], usage: str) -> None:
    """Defines the flags, parses the command line, runs `main` and exits with its code.

    Flags are defined here and not when the module is imported, so that two tools with a flag of one
    name can live in one process. A ValueError or OSError is taken for a mistake in the input:
    its message is printed (the traceback with --verbosity=1) and the exit code is 1.

    Args:
      define_flags: calls absl's flags.DEFINE_*.
      main: does the work; returns an exit code or None for 0.
      usage: what --help says above the flags.
    """
    # TensorFlow writes files here and computes nothing: what it says of the CPU and GPU is noise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    before = set(flags.FLAGS)
    define_flags()
    for name in set(flags.FLAGS) - before:
        # absl's --help lists the flags of the script that was started. For an installed console
        # script that is a wrapper which defines none.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    sys.modules["__main__"].__doc__ = usage
    app.run(lambda arguments: _guarded(main, arguments[1:]))


def _guarded(main: Callable[[], int | None], surplus: list[str]) -> int | None:
    if surplus:
        print(f"error: unexpected arguments {surplus}; every option is a --flag", file=sys.stderr)
        return 1
    try:
        return main()
    except (ValueError, OSError) as error:
        logging.debug("This led to the error below", exc_info=True)
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # As shells report a process that Ctrl-C ended.
