"""Flags of the benchmarks that run the model of one config on one image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

CONFIGS = Path(__file__).parents[1] / "samples" / "configs"


def define_flags(config: str, rounds: int) -> None:
    """Define --config, --override, --height, --width and --rounds.

    A program adopts them as its own, for --help: `flags.adopt_module_key_flags(model_flags)`.

    Args:
        config: name of the default config, a sample.
        rounds: default number of timed rounds.
    """
    flags.DEFINE_string("config", str(CONFIGS / config), "Pipeline config.")
    flags.DEFINE_multi_string("override", [], "A field of the config, a.b.c=value.")
    flags.DEFINE_integer("height", 600, "Height of the image.")
    flags.DEFINE_integer("width", 800, "Width of the image.")
    flags.DEFINE_integer("rounds", rounds, "Timed calls of each function.")


def random_image(height: int, width: int) -> Any:
    """Return an image [1, height, width, 3] uint8, always the same."""
    import numpy as np
    import tensorflow as tf

    pixels = np.random.RandomState(0).randint(0, 256, (1, height, width, 3))
    return tf.constant(pixels, tf.uint8)
