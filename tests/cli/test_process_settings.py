"""Process settings; each case runs in its own process."""

import os
import re
import sys
from pathlib import Path

import pytest

from object_detection_mtl import cpu_features, jobs, model_main_tf2
from object_detection_mtl.cli import process_settings
from object_detection_mtl.training.run_options import TrainingResult
from tests import command_line, processes

COUNT_PAGE_FAULTS = """
from object_detection_mtl.cli import process_settings

def page_faults():
    with open("/proc/self/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[7])

SIZE = 2**24 + len(__name__)  # not a constant
done = process_settings.keep_freed_memory()
b"x" * SIZE
before = page_faults()
for _ in range(10):
    b"x" * SIZE
print(done, page_faults() - before)
"""
PAGES = 2**24 // 4096
USE_ONEDNN = """
import os, sys
from object_detection_mtl.cli import process_settings
done = process_settings.use_onednn()
print(done, os.environ.get(process_settings.ONEDNN_SETTING), "tensorflow" in sys.modules)
"""
# TensorFlow's own report, and a convolution that runs.
REPORT_KERNELS = """
from tensorflow.python.framework import test_util
import tensorflow as tf
ones = tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 3, 2])
convolved = tf.function(lambda: tf.nn.conv2d(*ones, 1, "SAME"))()
print(test_util.IsMklEnabled(), float(tf.reduce_sum(convolved)))
"""
# TensorFlow's graph optimizer writes the devices that it finds with Abseil's log.
FIND_DEVICES = """
import os, sys
os.dup2(1, 2)
{before}
from object_detection_mtl.cli import process_settings
process_settings.quiet_tensorflow()
process_settings.quiet_tensorflow()  # changes nothing
import tensorflow
from tensorflow.python.grappler import cluster
cluster.Cluster()
print(len([finder for finder in sys.meta_path if "Tensorflow" in type(finder).__name__]))
"""
# All that a user of the Python functions sees.
DETECT_AND_EXPORT = """
import os, tempfile
os.dup2(1, 2)
import numpy as np
import object_detection_mtl as odm
from tests.api import tiny_detectors
detector = odm.build_detector(tiny_detectors.config())
detector.predict(np.zeros((64, 80, 3), np.uint8))
with tempfile.TemporaryDirectory() as directory:
    path = odm.export_detector(detector, directory)
    detections = odm.load_detector(path).predict(np.zeros((64, 80, 3), np.uint8))
print(len(detections) >= 0)
"""
# The training command up to the choice of kernels.
REPORT_AND_EXIT = """
import os, sys
from object_detection_mtl.cli import process_settings
choose = process_settings.use_training_kernels

def choose_and_report(config, **arguments):
    choose(config, **arguments)
    print("tensorflow" in sys.modules, os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
    sys.exit()

process_settings.use_training_kernels = choose_and_report
"""
TRAIN = """
sys.argv = ["model_main_tf2", "--pipeline_config_path={config}", "--model_dir=run"]
from object_detection_mtl import model_main_tf2
model_main_tf2.run()
"""
TRAIN_IN_PYTHON = """
import object_detection_mtl as odm
odm.train_detector(odm.load_config("{config}"), "run")
"""
SAMPLES = Path(__file__).parents[2] / "samples" / "configs"
CPU_INFO = Path("/proc/cpuinfo")
HAS_AVX2 = CPU_INFO.exists() and bool(
    re.search(r"^flags\b.*\bavx2\b", CPU_INFO.read_text(), re.MULTILINE)
)
needs_avx2 = pytest.mark.skipif(not HAS_AVX2, reason="no x86 CPU with AVX2 under Linux")


def count_page_faults(**environment):
    """Return what keep_freed_memory() returned and the page faults of ten large allocations."""
    settings = process_settings.MALLOC_SETTINGS
    answer, faults = processes.words(COUNT_PAGE_FAULTS, without=settings, **environment)
    return answer, int(faults)


def test_freed_memory_is_used_again():
    answer, faults = count_page_faults()
    assert answer == "True"
    assert faults < PAGES


@pytest.mark.parametrize("name", process_settings.MALLOC_SETTINGS)
def test_malloc_settings_of_the_environment_take_precedence(name):
    value = "glibc.malloc.mmap_threshold=131072" if name == "GLIBC_TUNABLES" else "131072"
    answer, faults = count_page_faults(**{name: value})
    assert answer == "False"
    if name != "MALLOC_TRIM_THRESHOLD_":
        assert faults > 5 * PAGES


def run_code(code, **environment):
    return processes.words(code, without=[process_settings.ONEDNN_SETTING], **environment)


@pytest.mark.slow
@needs_avx2
def test_tensorflow_uses_onednn_and_is_silent():
    """Without a log level of the environment nothing is written."""
    code = USE_ONEDNN + FIND_DEVICES.format(before="") + REPORT_KERNELS
    settings = [process_settings.ONEDNN_SETTING, "TF_CPP_MIN_LOG_LEVEL"]
    answer = processes.words(code, without=settings)
    assert answer == ["True", "1", "False", "0", "True", "600.0"]


@needs_avx2
@pytest.mark.parametrize("train", [TRAIN, TRAIN_IN_PYTHON], ids=["command", "Python"])
def test_training_uses_onednn(train):
    """The kernels are chosen after the config is read and before TensorFlow is imported."""
    config = SAMPLES / "faster_rcnn_mobilenet_v1_voc07.config"
    assert run_code(REPORT_AND_EXIT + train.format(config=config)) == ["False", "1"]


@pytest.mark.parametrize(
    ("sample", "flags", "expected"),
    [
        ("faster_rcnn_resnet101_voc07", [], True),
        ("faster_rcnn_mobilenet_v1_mtl_voc07", [], True),
        ("rfcn_resnet101_voc07", [], False),
        ("faster_rcnn_resnet101_voc07", ["--jit_compile"], False),
        ("faster_rcnn_resnet101_voc07", ["--checkpoint_dir=run"], False),
    ],
)
def test_which_commands_choose_onednn(monkeypatch, sample, flags, expected):
    calls = []
    monkeypatch.setattr(process_settings, "use_onednn", lambda: calls.append(True))
    monkeypatch.setattr(jobs, "train", lambda *_, **__: TrainingResult(3, "ckpt-2", {}))
    monkeypatch.setattr(jobs, "evaluate", lambda *_, **__: {})
    config = f"--pipeline_config_path={SAMPLES / sample}.config"
    # In place of the samples' placeholders.
    overrides = [
        "--override=train_config.fine_tune_checkpoint=",
        "--override=train_input_reader.tf_record_input_reader.input_path=train.record",
    ]
    done = command_line.run(model_main_tf2, config, "--model_dir=run", *overrides, *flags)
    assert done.code == 0, done.err
    assert bool(calls) == expected


@pytest.mark.parametrize("value", ["0", "1"])
def test_onednn_setting_of_the_environment_takes_precedence(value):
    answer = run_code(USE_ONEDNN, **{process_settings.ONEDNN_SETTING: value})
    assert answer == ["False", value, "False"]


def test_onednn_setting_comes_too_late_after_tensorflow_is_imported(monkeypatch):
    monkeypatch.delenv(process_settings.ONEDNN_SETTING, raising=False)
    assert "tensorflow" in sys.modules
    assert not process_settings.use_onednn()
    assert process_settings.ONEDNN_SETTING not in os.environ


@pytest.mark.parametrize(
    "text",
    [
        "flags\t\t: fpu sse4_2 avx fma\n",
        "model name\t: avx2\nflags\t\t: avx\n",
        "Features: asimd\n",
    ],
)
def test_cpu_without_avx2(tmp_path, monkeypatch, text):
    monkeypatch.delenv(process_settings.ONEDNN_SETTING, raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr(cpu_features, "CPU_INFO", path)
    assert not process_settings.use_onednn()
    monkeypatch.setattr(cpu_features, "CPU_INFO", tmp_path / "none")
    assert not process_settings.use_onednn()
    assert process_settings.ONEDNN_SETTING not in os.environ


def test_cpu_with_avx2(tmp_path, monkeypatch):
    monkeypatch.setenv(process_settings.ONEDNN_SETTING, "0")  # restored after the test
    monkeypatch.delenv(process_settings.ONEDNN_SETTING)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu avx avx2 fma\n")
    monkeypatch.setattr(cpu_features, "CPU_INFO", path)
    assert process_settings.use_onednn()
    assert os.environ[process_settings.ONEDNN_SETTING] == "1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "level", "is_silent"), [("", "0", False), ("import tensorflow", "3", True)]
)
def test_log_level_of_the_environment_applies_to_the_graph_optimizer(before, level, is_silent):
    code = FIND_DEVICES.format(before=before)
    words = processes.words(code, without=[], TF_CPP_MIN_LOG_LEVEL=level)
    assert words[-1] == "0"  # afterwards no finder is left
    assert (words == ["0"]) == is_silent


@pytest.mark.slow
def test_python_functions_write_no_messages_of_tensorflow():
    words = processes.words(DETECT_AND_EXPORT, without=["TF_CPP_MIN_LOG_LEVEL"])
    assert words == ["True"]


@pytest.mark.slow
def test_the_names_of_the_od_api_write_no_messages_of_tensorflow():
    code = """
import os
os.dup2(1, 2)
import object_detection_mtl.odapi
import tensorflow as tf
print(len(tf.config.list_physical_devices("GPU")))
"""
    assert processes.words(code, without=["TF_CPP_MIN_LOG_LEVEL"]) == ["0"]
