"""The ablation command, whose processes are forks of its own, without another import of TensorFlow.

Functions run eagerly in them: two steps of a toy detector take less time than their graph.
"""

import os
import runpy
import subprocess
import sys
import traceback
from types import SimpleNamespace

import tensorflow as tf
from absl import app, flags

from benchmarks import ablation
from object_detection_mtl.experiments import dataset_splits, run_processes


class Fork:
    """What `run_processes` needs of a `subprocess.Popen` of `python -m MODULE ARGUMENTS`."""

    def __init__(self, command, stdout=None, env=None, **_):
        assert command[:2] == [sys.executable, "-m"]
        self.returncode = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            if stdout is not None:
                for standard in (1, 2):
                    os.dup2(stdout.fileno(), standard)
            os.environ.update(env or {})
            os._exit(run_module(command[2:]))

    def send_signal(self, number):
        os.kill(self.pid, number)


def run_module(arguments):
    """Run a module as a program; return its exit code."""
    for name in set(flags.FLAGS):
        if flags.FLAGS.find_module_defining_flag(name) == ablation.__name__:
            delattr(flags.FLAGS, name)
    tf.config.run_functions_eagerly(True)
    sys.argv = list(arguments)
    code = 0
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    return code


def run(command, check):
    assert check
    _, status = os.waitpid(Fork(command).pid, 0)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)


if __name__ == "__main__":
    run_processes.subprocess = SimpleNamespace(Popen=Fork, STDOUT=subprocess.STDOUT)
    dataset_splits.subprocess = SimpleNamespace(run=run)
    app.run(ablation.main)
