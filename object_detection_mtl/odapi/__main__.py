"""Run a script that imports `object_detection`: python -m object_detection_mtl.odapi script.py."""

from __future__ import annotations

import os
import runpy
import sys

from object_detection_mtl.odapi import import_hook

USAGE = """usage: python -m object_detection_mtl.odapi script.py [arguments]
       python -m object_detection_mtl.odapi -m module [arguments]

Runs a script that was written for the TF Object Detection API: its imports from
object_detection are answered by object_detection_mtl.odapi."""


def main() -> int:
    """Run the script of the command line; return an exit status if there is none."""
    arguments = sys.argv[1:]
    as_module = arguments[:1] == ["-m"]
    arguments = arguments[as_module:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    script = arguments[0]
    if not as_module and not os.path.isfile(script):
        print(f"{script!r} does not exist; expected the path of a Python script\n\n{USAGE}")
        return 2
    import_hook.install()
    sys.argv = arguments
    if as_module:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(script))  # as Python itself does
        runpy.run_path(script, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
