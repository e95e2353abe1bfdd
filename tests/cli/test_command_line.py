"""Command-line runner: messages about wrong flags and paths."""

import errno
import os
import pwd
import re
from types import ModuleType

import pytest
import tensorflow as tf
from absl import flags, logging

from object_detection_mtl.cli import command_line
from tests import command_line as in_process
from tests import processes


def tool(main):
    """A module with a command line of its own."""

    def define_flags():
        flags.DEFINE_string("directory", None, "No default.")
        flags.DEFINE_list("directories", [], "Several.")
        flags.DEFINE_string("prefix", "x", "Has a default; an empty text is a value.")

    module = ModuleType("tool")
    module.run = lambda: command_line.run_command(define_flags, main, "What it does.")
    return module


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("--directory=", "directory"),
        ("--directories=", "directories"),
        ("--directories=a,", "directories"),
    ],
)
def test_empty_flag_is_an_error(argument, name):
    done = in_process.run(tool(lambda: print("ran")), argument)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: --{name} is empty; give it a value or omit it")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "error: --first, --second are required; --help lists the flags\n"),
        (("--first=a",), "error: --second is required; --help lists the flags\n"),
        (("--frist=a",), "error: Unknown command line flag 'frist'. Did you mean: first ?; --help"),
        (("--first=a", "--second=b", "--count=0"), "error: flag --count=0: 0 is not a positive"),
    ],
)
def test_wrong_flags_are_one_line(arguments, says):
    def define_flags():
        flags.DEFINE_string("first", None, "Required.")
        flags.DEFINE_string("second", None, "Required.")
        flags.DEFINE_integer("count", 1, "At least 1.", lower_bound=1)
        flags.mark_flags_as_required(["first", "second"])

    module = ModuleType("tool")
    module.run = lambda: command_line.run_command(define_flags, lambda: 0, "What it does.")
    done = in_process.run(module, *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(says)
    assert done.err.count("\n") == 1


def test_home_directory_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    main = lambda: print(*(flags.FLAGS[name].value for name in ("directory", "directories")))  # noqa: E731
    done = in_process.run(tool(main), "--directory=~/a", "--directories=~/b,c~d,~,gs://x//y")
    assert done.out == "/home/me/a ['/home/me/b', 'c~d', '/home/me', 'gs://x//y']\n"


def test_home_of_another_user_is_expanded():
    name = pwd.getpwuid(os.getuid()).pw_name
    main = lambda: print(flags.FLAGS["directory"].value)  # noqa: E731
    done = in_process.run(tool(main), f"--directory=~{name}/a")
    assert done.out == f"{pwd.getpwnam(name).pw_dir}/a\n"
    assert in_process.run(tool(main), "--directory=~nobody-of-this-name/a").out.startswith("~")


def test_huge_values_and_control_characters_do_not_reach_the_terminal():
    def main():
        logging.warning("class %s is unknown", "y" * 3_000_000)
        raise ValueError(
            "class " + "x" * 3_000_000 + "\x1b[2J is unknown; name it in the label map"
        )

    done = in_process.run(tool(main))
    assert done.code == 1
    assert len(done.err) < 9000
    last = done.err.splitlines()[-1]
    assert last.startswith("error: class xxx")
    assert re.search(r"x \.\.\.\(2996\d+ characters\)\.\.\. x", last)
    assert last.endswith("xxx\\x1b[2J is unknown; name it in the label map")


def test_control_characters_of_printed_names_are_escaped():
    done = in_process.run(tool(lambda: print("\x1b[2J\u202e\x9b:", "\u200f\u05d0\n\tb\rc")))
    assert done.out == "\\x1b[2J\\u202e\\x9b: \u200f\u05d0\n\tb\\rc\n"


def test_names_that_the_terminal_cannot_show_do_not_end_a_command():
    code = (
        "from object_detection_mtl.cli import command_line\n"
        "command_line.run_command(lambda: None, lambda: print('a\\udcff\\u00e9'), '')"
    )
    for encoding in ("ascii", "utf-8"):
        assert processes.words(code, without=(), PYTHONIOENCODING=encoding)


def test_out_of_memory_is_one_line():
    done = in_process.run(tool(raising(MemoryError())))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "out of memory" in done.err


def test_omitted_flags_and_empty_texts_with_a_meaning_pass():
    for arguments in ((), ("--prefix=",), ("--directory=a", "--directories=a,b")):
        done = in_process.run(tool(lambda: print("ran")), *arguments)
        assert (done.code, done.out) == (0, "ran\n"), done.err


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EEXIST, "error: 'there': a file of this name exists"),
        (errno.ENOTDIR, "error: 'there': a part of this path is a file"),
        (errno.EISDIR, "error: 'there': it is a directory"),
        (errno.EACCES, "error: 'there': permission denied"),
        (errno.ENOENT, "error: 'there': no such file or directory; check the path"),
        (errno.ENOSPC, "error: 'there': No space left on device; free some space"),
        (errno.ENAMETOOLONG, "error: 'there': File name too long"),
    ],
)
def test_errors_of_the_operating_system_name_path_and_reason(number, says):
    def main():
        raise OSError(number, os.strerror(number), "there")

    done = in_process.run(tool(main))
    assert done.code == 1
    assert done.err.startswith(says)


def test_messages_of_our_own_are_left_as_they_are():
    def main():
        raise FileNotFoundError("--directory: the directory 'x' does not exist")

    done = in_process.run(tool(main))
    assert (done.code, done.err) == (1, "error: --directory: the directory 'x' does not exist\n")


def test_the_exit_code_of_main_and_of_ctrl_c():
    def interrupted():
        raise KeyboardInterrupt

    assert in_process.run(tool(lambda: 3)).code == 3
    assert in_process.run(tool(interrupted))[::2] == (130, "interrupted\n")
    done = in_process.run(tool(lambda: None), "surplus")
    assert done.code == 1
    assert "unexpected arguments ['surplus']" in done.err


def test_a_full_disk_without_a_path():
    def main():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    done = in_process.run(tool(main))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: No space left on device; free some space")


def test_tensorflows_file_and_memory_errors_are_one_line():
    place = "{{function_node __wrapped__SaveV2_device_/cpu:0}} out/ckpt-1; "
    for kind, text, says in (
        (
            tf.errors.ResourceExhaustedError,
            "No space left on device [Op:SaveV2] name: ",
            "free some space",
        ),
        (tf.errors.PermissionDeniedError, "Read-only file system [Op:SaveV2]", "Read-only"),
    ):
        done = in_process.run(tool(raising(kind(None, None, place + text))))
        assert done.code == 1
        assert done.err.startswith("error: out/ckpt-1; ")
        assert says in done.err
        assert done.err.count("\n") == 1
        assert "Op:" not in done.err
    text = "OOM when allocating tensor with shape[9,9]\n\t [[{{node a}}]] [Op:__inference_f_1]"
    done = in_process.run(tool(raising(tf.errors.ResourceExhaustedError(None, None, text))))
    assert done.code == 1
    assert done.err.startswith("error: out of memory: OOM when")


def test_other_errors_of_tensorflow_are_bugs():
    with pytest.raises(tf.errors.InternalError):
        in_process.run(tool(raising(tf.errors.InternalError(None, None, "stream is gone"))))


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(("arguments", "shown"), [((), False), (("--verbosity=0",), True)])
def test_info_messages_need_verbosity(arguments, shown):
    before = logging.get_verbosity()
    try:
        done = in_process.run(tool(lambda: print(logging.vlog_is_on(0))), *arguments)
    finally:
        logging.set_verbosity(before)
    assert done.out == f"{shown}\n"
