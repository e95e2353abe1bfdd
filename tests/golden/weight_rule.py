"""Weights of the model goldens: a pure function of the TF1 variable name and shape.

The authors' models were run with these weights, so no checkpoint has to be stored.
"""

import re
import zlib

import numpy as np

# Factors that keep activations of deep stacks near 1; the first expression found in a name counts.
FACTORS = (
    (r"resnet_v1_101/conv1/weights$", 1.0 / 128),
    (r"bottleneck_v1/conv3/weights$", 0.2),
    (r"InceptionResnetV2/Conv2d_7b_1x1/weights$", 0.3),
    (
        r"(ClassPredictor|BoxEncodingPredictor|class_predictions|refined_locations)/weights$",
        0.25,
    ),
    (r"^MTLClassRefiner/", 0.5),
)


def make_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 values of the variable `name` (no `:0`); the seed is the CRC32 of the name."""
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    if name.endswith("moving_variance"):
        values = random.uniform(0.5, 1.5, shape)
    elif name.endswith("moving_mean"):
        values = 0.1 * random.standard_normal(shape)
    elif name.endswith("gamma"):
        values = random.uniform(0.8, 1.2, shape)
    elif name.endswith(("beta", "biases")):
        values = 0.05 * random.standard_normal(shape)
    else:
        depthwise = name.endswith("depthwise_weights")
        fan_in = shape[0] * shape[1] if depthwise else int(np.prod(shape[:-1]))
        values = random.standard_normal(shape) * np.sqrt(2.0 / fan_in)
        values *= next((factor for found, factor in FACTORS if re.search(found, name)), 1.0)
    return values.astype(np.float32)
