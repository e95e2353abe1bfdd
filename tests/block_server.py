"""Run commands and pages of code blocks in copies of one process that has imported TensorFlow.

    python block_server.py DIRECTORY

writes one small program for each command of the package to DIRECTORY, and DIRECTORY/run_blocks for
the blocks of a page. Each of them asks this server, through DIRECTORY/socket, to fork a process
that does the work in its working directory, with its output and its exit code. A fork saves the
import. Functions run eagerly, except in exports: two training steps of a toy detector take less
time than their graph. A command that succeeded before with the same arguments, in the same
directory, is not run again.

    run_blocks FILE

FILE is a JSON list of (place, language, code). Python blocks share their names; shell blocks run in
bash. The first block that fails ends the run.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

TIMES = os.environ.get("BLOCK_TIMES")  # File for the CPU time of each program.
PACKAGE = "object_detection_mtl"
OTHER_COMMANDS = ("saved_model_cli",)
# Imports that several programs share; each imports the rest itself.
PRELOADED = (
    f"{PACKAGE}.jobs",
    f"{PACKAGE}.training.training_loop",
    f"{PACKAGE}.reporting.checkpoint_report",
    f"{PACKAGE}.inspection.label_sheets",
    "matplotlib.pyplot",
)
EXPORT = "exporter_main_v2"
PAGE, STOP = "run_blocks", "stop_server"
CLIENT = """#!{python} -SE
import json, os, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({address!r})
request = json.dumps([{name!r}, sys.argv, os.getcwd()])
socket.send_fds(link, [request.encode()], [0, 1, 2])
answer = link.recv(64)
sys.exit(int(answer) if answer else 70)
"""


def cpu_seconds():
    return sum(os.times()[:4])  # of this process and of those that have ended


def run_blocks(file):
    names = {"__name__": "__main__"}
    for place, language, code in json.loads(Path(file).read_text(encoding="utf-8")):
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


def commands():
    """Return name -> entry point."""
    points = importlib.metadata.entry_points(group="console_scripts")
    return {
        point.name: point
        for point in points
        if point.module.startswith(PACKAGE) or point.name in OTHER_COMMANDS
    }


def exit_code(function):
    """Call a function; return the exit code that a program of it would have."""
    try:
        code = function()
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def work(name, arguments, directory, descriptors, points):
    """Do what a client asks for, in its place."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.chdir(directory)
    sys.argv = arguments
    if name == PAGE:
        return exit_code(lambda: run_blocks(arguments[1]))
    return exit_code(points[name].load())


def write_programs(directory, names):
    """Write the clients, and put them first in PATH; return the address of the server."""
    address = str(directory / "socket")
    for name in names:
        program = directory / name
        program.write_text(CLIENT.format(python=sys.executable, address=address, name=name))
        program.chmod(0o755)
    os.environ["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"
    return address


def preload():
    """Import what several programs import."""
    from object_detection_mtl.cli import process_settings

    process_settings.quiet_tensorflow()
    for module in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    warnings.filterwarnings("ignore", ".*does not apply to tf.data functions.*")


def run_in_child(link, message, descriptors, points):
    """Do what a client asks for, answer with the exit code, and end the process."""
    import tensorflow as tf

    name, arguments, directory = json.loads(message)
    tf.config.run_functions_eagerly(name != EXPORT)
    code = work(name, arguments, directory, descriptors, points)
    if TIMES:
        with open(TIMES, "a") as file:
            file.write(f"{sum(os.times()[:2]):.1f} {name} {arguments[1:3]}\n")
    link.send(str(code).encode())
    os._exit(code)


def serve(listener, points):
    """Answer requests until one asks to stop; return the connection of that one."""
    children, succeeded = {}, set()
    while True:
        link = listener.accept()[0]
        message, descriptors, _, _ = socket.recv_fds(link, 2**16, 3)
        name = json.loads(message)[0]
        if name == STOP:
            for child in children:
                os.waitpid(child, 0)
            return link
        while children and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            request = children.pop(ended[0])
            if not ended[1]:
                succeeded.add(request)
        if name != PAGE and message in succeeded:
            os.write(descriptors[1], f"{name}: run before\n".encode())
            link.send(b"0")
        else:
            child = os.fork()
            if not child:
                run_in_child(link, message, descriptors, points)
            children[child] = message
        for descriptor in (link.detach(), *descriptors):
            os.close(descriptor)


def main():
    points = commands()
    address = write_programs(Path(sys.argv[1]).resolve(), (*points, PAGE, STOP))
    preload()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        with serve(listener, points) as link:
            print(f"{cpu_seconds():.0f} s of CPU time", flush=True)
            link.send(b"0")


if __name__ == "__main__":
    main()
