"""Memory, kernel and log settings of a process, before TensorFlow is imported.

The commands make all of them, the Python functions that of the log and `train_detector` that of the
kernels; importing the package makes none. An environment variable that the user has set takes
precedence. docs/benchmarks/speed.md has the measurements.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from object_detection_mtl import cpu_features

if TYPE_CHECKING:
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig

MALLOC_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
# Parameters of mallopt in glibc's malloc.h: free memory at the end of the heap beyond the first is
# returned to the system; allocations larger than the second get pages of their own, which are
# returned when they are freed.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1

LOG_LEVEL_SETTING = "TF_CPP_MIN_LOG_LEVEL"
ONEDNN_SETTING = "TF_ENABLE_ONEDNN_OPTS"
# Abseil's function SetMinLogLevel in TensorFlow 2.20.
_FRAMEWORK_LIBRARY = "libtensorflow_framework.so.2"
_SET_LOG_LEVEL = "_ZN4absl12lts_2025012714SetMinLogLevelENS0_18LogSeverityAtLeastE"
_ERROR, _FATAL = "2", "3"
# oneDNN has fast gradient kernels only for CPUs with this feature.
_REQUIRED_FEATURE = "avx2"


def keep_freed_memory() -> bool:
    """Keep freed heap memory in the process (glibc malloc), until the process ends.

    By default glibc returns large allocations to the system as soon as they are freed, and the
    system fills them with zeros when they are allocated again. Feature maps and images are that
    large, and every call allocates new ones.

    Returns:
        Whether the setting was made: False with another C library, or if one of MALLOC_SETTINGS is
        set in the environment.
    """
    if any(name in os.environ for name in MALLOC_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all([mallopt(option, _NEVER) == 1 for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)])


def use_onednn() -> bool:
    """Let TensorFlow convolve with oneDNN's kernels, until the process ends.

    By default TensorFlow uses them only on CPUs with instructions for neural networks. On other
    CPUs they are no faster for the feature map of a whole image, and slower for MobileNet's fused
    ReLU6; but the gradients of convolutions on many small crops take about half the time.

    Call it before TensorFlow is imported, which reads the setting once.

    Returns:
        Whether the setting was made: only on Linux, on x86 CPUs with AVX2 (those measured), before
        TensorFlow is imported, and if ONEDNN_SETTING is not set in the environment.
    """
    if ONEDNN_SETTING in os.environ or "tensorflow" in sys.modules:
        return False
    if not cpu_features.cpu_has(_REQUIRED_FEATURE):
        return False
    os.environ[ONEDNN_SETTING] = "1"
    return True


def use_training_kernels(config: TrainEvalPipelineConfig, *, jit_compile: bool) -> bool:
    """Use oneDNN's kernels where they train faster: on crops of many regions, unlike R-FCN.

    With XLA (`jit_compile`) the default is kept; it was not measured.

    Returns:
        Whether the setting was made; see `use_onednn`.
    """
    predictor = config.model.faster_rcnn.second_stage_box_predictor
    is_rfcn = predictor.WhichOneof("box_predictor_oneof") == "rfcn_box_predictor"
    return not is_rfcn and not jit_compile and use_onednn()


@functools.cache
def quiet_tensorflow() -> None:
    """Limit the messages of TensorFlow's C++ code to those for users, until the process ends.

    The level is the environment variable TF_CPP_MIN_LOG_LEVEL. Unless it is set, errors are shown;
    without a GPU driver only fatal ones, because TensorFlow reports a missing GPU as an error.
    Errors of operations are exceptions, which no level hides.

    TensorFlow reads the variable for its own log only. Import and graph optimizer also write to
    Abseil's log, which has no variable: it shows errors, or what the user's variable says. Its
    level is set before TensorFlow is imported. A second call changes nothing.
    """
    abseil_level = os.environ.get(LOG_LEVEL_SETTING, _ERROR)
    os.environ.setdefault(LOG_LEVEL_SETTING, _ERROR if _has_gpu_driver() else _FATAL)
    if "tensorflow" in sys.modules:
        _set_abseil_level(Path(str(sys.modules["tensorflow"].__file__)), abseil_level)
    else:
        sys.meta_path.insert(0, _TensorflowFinder(abseil_level))


class _TensorflowFinder(importlib.abc.MetaPathFinder):
    """Sets the level of Abseil's log when TensorFlow is about to be imported."""

    def __init__(self, level: str) -> None:
        self.level = level

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec that other finders give for TensorFlow; None for other modules."""
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.origin is not None:
            _set_abseil_level(Path(spec.origin), self.level)
        return spec


def _set_abseil_level(tensorflow: Path, level: str) -> bool:
    """Set the level of Abseil's log; `tensorflow` is the __init__.py of TensorFlow.

    Returns:
        Whether it was set: False if the level is not a number, or in a build of TensorFlow with
        another version of Abseil.
    """
    try:
        set_level = getattr(
            ctypes.CDLL(str(tensorflow.with_name(_FRAMEWORK_LIBRARY))), _SET_LOG_LEVEL
        )
    except (AttributeError, OSError):
        return False
    if not level.isdecimal():
        return False
    set_level.argtypes, set_level.restype = [ctypes.c_int], None
    set_level(
        min(int(level), int(_FATAL))
    )  # Both logs number the levels from 0, INFO, to 3, FATAL.
    return True


def _has_gpu_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
