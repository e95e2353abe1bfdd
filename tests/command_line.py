"""Run a command inside this process, without importing TensorFlow again."""

from __future__ import annotations

import contextlib
import io
import sys
from types import ModuleType
from typing import NamedTuple
from unittest import mock

from absl import flags


class Done(NamedTuple):
    code: int
    out: str
    err: str


def run(module: ModuleType, *arguments: str) -> Done:
    """Call `module.run()` as its console script does, and remove its flags afterwards."""
    before = set(flags.FLAGS)
    values = flags.FLAGS.flag_values_dict() if flags.FLAGS.is_parsed() else {}
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        with (
            mock.patch.object(sys, "argv", [module.__name__, *arguments]),
            mock.patch.object(sys.modules["__main__"], "__doc__", ""),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            module.run()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        for name, value in values.items():
            setattr(flags.FLAGS, name, value)
    return Done(code, out.getvalue(), err.getvalue())
