"""What TensorFlow reads when it is imported is tried in processes of their own."""

import os
import re
import sys
from pathlib import Path

import pytest

from object_detection_mtl import jobs, model_main_tf2, onednn
from object_detection_mtl.training.training_loop import TrainingResult
from tests import command_line, processes

CODE = """
import os, sys
{before}
from object_detection_mtl import onednn
done = onednn.use()
print(done, os.environ.get(onednn.SETTING), "tensorflow" in sys.modules)
"""
# As TensorFlow itself tells, and a convolution that runs.
ASK = """
from tensorflow.python.framework import test_util
import tensorflow as tf
ones = tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 3, 2])
convolved = tf.function(lambda: tf.nn.conv2d(*ones, 1, "SAME"))()
print(test_util.IsMklEnabled(), float(tf.reduce_sum(convolved)))
"""
# The command line up to training, where TensorFlow tells.
TRAIN = """
import sys
sys.argv = ["model_main_tf2", "--pipeline_config_path={config}", "--model_dir=run"]
from object_detection_mtl import model_main_tf2

choose = model_main_tf2._choose_kernels

def choose_then_tell(config):
    choose(config)
    print("tensorflow" in sys.modules)
    from tensorflow.python.framework import test_util
    print(test_util.IsMklEnabled())
    sys.exit()

model_main_tf2._choose_kernels = choose_then_tell
model_main_tf2.run()
"""
SAMPLES = Path(__file__).parents[1] / "samples" / "configs"
HAS_AVX2 = Path("/proc/cpuinfo").exists() and bool(
    re.search(r"^flags\b.*\bavx2\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
)
needs_avx2 = pytest.mark.skipif(not HAS_AVX2, reason="no x86 processor with AVX2 under Linux")


def run(code, **environment):
    return processes.words(code, without=[onednn.SETTING], **environment)


@needs_avx2
def test_tensorflow_uses_it():
    assert run(CODE.format(before="") + ASK) == ["True", "1", "False", "True", "600.0"]


@needs_avx2
def test_training_uses_it():
    """The command line reads the config, and decides, before it imports TensorFlow."""
    answer = run(TRAIN.format(config=SAMPLES / "faster_rcnn_mobilenet_v1_voc07.config"))
    assert answer == ["False", "True"]


@pytest.mark.parametrize(
    ("sample", "flags", "uses"),
    [
        ("faster_rcnn_resnet101_voc07", [], True),
        ("faster_rcnn_mobilenet_v1_mtl_voc07", [], True),
        ("rfcn_resnet101_voc07", [], False),
        ("faster_rcnn_resnet101_voc07", ["--jit_compile"], False),
        ("faster_rcnn_resnet101_voc07", ["--checkpoint_dir=run"], False),
    ],
)
def test_what_profits(monkeypatch, sample, flags, uses):
    asked = []
    monkeypatch.setattr(onednn, "use", lambda: asked.append(True))
    monkeypatch.setattr(jobs, "train", lambda *_, **__: TrainingResult(3, "ckpt-2", {}))
    monkeypatch.setattr(jobs, "evaluate", lambda *_, **__: {})
    config = f"--pipeline_config_path={SAMPLES / sample}.config"
    done = command_line.run(model_main_tf2, config, "--model_dir=run", *flags)
    assert done.code == 0, done.err
    assert bool(asked) == uses


@pytest.mark.parametrize("value", ["0", "1"])
def test_who_has_decided(value):
    answer = run(CODE.format(before=""), **{onednn.SETTING: value})
    assert answer == ["False", value, "False"]


def test_too_late():
    assert run(CODE.format(before="import tensorflow")) == ["False", "None", "True"]


@pytest.mark.parametrize(
    "text",
    [
        "flags\t\t: fpu sse4_2 avx fma\n",
        "model name\t: avx2\nflags\t\t: avx\n",
        "Features: asimd\n",
    ],
)
def test_other_processors(tmp_path, monkeypatch, text):
    monkeypatch.delenv(onednn.SETTING, raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    processor = tmp_path / "cpuinfo"
    processor.write_text(text)
    monkeypatch.setattr(onednn, "_PROCESSOR", processor)
    assert not onednn.use()
    monkeypatch.setattr(onednn, "_PROCESSOR", tmp_path / "none")
    assert not onednn.use()
    assert onednn.SETTING not in os.environ


def test_a_processor_with_avx2(tmp_path, monkeypatch):
    monkeypatch.setenv(onednn.SETTING, "0")  # so that it is put back
    monkeypatch.delenv(onednn.SETTING)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    processor = tmp_path / "cpuinfo"
    processor.write_text("processor\t: 0\nflags\t\t: fpu avx avx2 fma\n")
    monkeypatch.setattr(onednn, "_PROCESSOR", processor)
    assert onednn.use()
    assert os.environ[onednn.SETTING] == "1"
