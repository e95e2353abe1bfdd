"""Run the blocks of one document in order, in one process: python run_blocks.py FILE.

FILE is a JSON list of (place, language, code). Python blocks share their names; shell blocks run in
bash. The first block that fails ends the run.
"""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path


def cpu_seconds():
    return sum(os.times()[:4])  # of this process and of those that have ended


def main():
    names = {"__name__": "__main__"}
    for place, language, code in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        before = cpu_seconds()
        print(f"== {place}", flush=True)
        if language == "sh":
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", code])
            if done.returncode:
                sys.exit(f"{place}: the block ends with exit code {done.returncode}")
        else:
            try:
                exec(compile(code, place, "exec"), names)
            except Exception:
                traceback.print_exc()
                sys.exit(f"{place}: the block raises an exception")
        print(f"== {place}: {cpu_seconds() - before:.1f} s of CPU time", flush=True)


main()
