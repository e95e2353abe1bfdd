"""Separate Python processes for code that changes a whole process."""

import os
import subprocess
import sys


def words(code, *, without, **environment):
    """Return the words that `code` prints, run in a changed environment."""
    kept = {name: value for name, value in os.environ.items() if name not in without}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
