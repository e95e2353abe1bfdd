"""What every command line says of wrong flags and paths."""

import errno
import os
from types import ModuleType

import pytest
from absl import flags

from object_detection_mtl.dataset_tools import command
from tests import command_line


def tool(main):
    """A module with a command line of its own."""

    def define_flags():
        flags.DEFINE_string("folder", None, "No default.")
        flags.DEFINE_list("folders", [], "Several.")
        flags.DEFINE_string("prefix", "x", "Has a default; an empty text is a value.")

    module = ModuleType("tool")
    module.run = lambda: command.run(define_flags, main, "What it does.")
    return module


@pytest.mark.parametrize(
    ("argument", "name"),
    [("--folder=", "folder"), ("--folders=", "folders"), ("--folders=a,", "folders")],
)
def test_an_empty_flag_is_no_value(argument, name):
    done = command_line.run(tool(lambda: print("ran")), argument)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: --{name} is empty; give it a value or leave it out")


def test_flags_left_out_and_empty_texts_with_a_meaning_pass():
    for arguments in ((), ("--prefix=",), ("--folder=a", "--folders=a,b")):
        done = command_line.run(tool(lambda: print("ran")), *arguments)
        assert (done.code, done.out) == (0, "ran\n"), done.err


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EEXIST, "error: 'there': a file of this name is in the way"),
        (errno.ENOTDIR, "error: 'there': a part of this path is a file"),
        (errno.EISDIR, "error: 'there': it is a folder"),
        (errno.EACCES, "error: 'there': permission denied"),
        (errno.ENOENT, "error: 'there': no such file or folder"),
        (errno.ENAMETOOLONG, "error: 'there': File name too long"),
    ],
)
def test_errors_of_the_operating_system_name_path_and_reason(number, says):
    def main():
        raise OSError(number, os.strerror(number), "there")

    done = command_line.run(tool(main))
    assert done.code == 1 and done.err.startswith(says)


def test_messages_of_our_own_are_left_as_they_are():
    def main():
        raise FileNotFoundError("--folder: there is no folder 'x'")

    done = command_line.run(tool(main))
    assert (done.code, done.err) == (1, "error: --folder: there is no folder 'x'\n")


def test_the_exit_code_of_main_and_of_ctrl_c():
    def interrupted():
        raise KeyboardInterrupt

    assert command_line.run(tool(lambda: 3)).code == 3
    assert command_line.run(tool(interrupted))[::2] == (130, "interrupted\n")
    done = command_line.run(tool(lambda: None), "surplus")
    assert done.code == 1 and "unexpected arguments ['surplus']" in done.err
