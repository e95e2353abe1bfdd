"""Run scripts that import `object_detection` in a process of their own."""

import subprocess
import sys


def run_script(directory, text, *arguments, name="script.py", by_hook=True):
    """Run a script in `directory`; return its standard output.

    Args:
        directory: gets the script, and is the working directory.
        text: the script.
        arguments: its arguments.
        name: its file name.
        by_hook: run it unchanged by the import hook; else with the import root replaced.
    """
    if not by_hook:
        text = text.replace("object_detection", "object_detection_mtl.odapi")
    (directory / name).write_text(text)
    command = [sys.executable, *(["-m", "object_detection_mtl.odapi"] if by_hook else []), name]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=directory, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
