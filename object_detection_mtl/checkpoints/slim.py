"""TF-Slim ImageNet classifiers for the stages and heads of a detector.

A classifier names its variables `<network>/...` (`MobilenetV1/Conv2d_0/weights`); a detector holds
copies of parts of the network, named `<part>/<network>/...`. A copy gets the values of its name.

Shape letters: C channels of a depthwise convolution, D channels of the pointwise one after it.

MobileNet's second stage needs more than equal names. There a depthwise and a pointwise convolution
are one layer with ONE batch norm at the end; the classifier has another batch norm and a ReLU6
between the two, which the detector has no variables for. The authors' loader matches names, so the
kernels of the second stage start from random weights. Here they start from the classifier: the
missing batch norm gives every channel a normal distribution with mean beta and deviation |gamma|,
for which the best linear fit of ReLU6 is known (its slope is the probability of a value within 0
and 6: Stein's lemma). The slope is folded into the depthwise kernel, the offset through the
pointwise kernel into the moving mean of the remaining batch norm. Measured on photos, features
after the first such layer correlate 0.94 with the classifier's own; with the bare kernels 0.15,
with batch norm folded and ReLU6 dropped 0.7.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from object_detection_mtl.checkpoints import restore_plan
from object_detection_mtl.checkpoints.checkpoint_files import (
    CheckpointFile,
    CheckpointValue,
    stored_value,
)

# Batch norm epsilon of TF-Slim's MobileNet and Inception.
EPSILON = 1e-3
RELU6_CEILING = 6.0
SEPARABLE = re.compile(
    r"(?P<block>.*)_pointwise/(?P<leaf>depthwise_weights|pointwise_weights|BatchNorm/moving_mean)$"
)


@dataclass(frozen=True)
class LinearizedSeparable:
    """A separable convolution without anything between its halves.

    Attributes:
        depthwise: kernel [h, w, C, 1].
        pointwise: kernel [1, 1, C, D].
        moving_mean: [D], of the batch norm after it.
    """

    depthwise: np.ndarray
    pointwise: np.ndarray
    moving_mean: np.ndarray


def is_classifier(checkpoint: CheckpointFile) -> bool:
    """Return whether a checkpoint is name-based and holds networks, not parts of a detector."""
    scopes = networks(checkpoint)
    return (
        not checkpoint.is_object_based
        and bool(scopes)
        and "FirstStageFeatureExtractor" not in scopes
    )


def networks(checkpoint: CheckpointFile) -> set[str]:
    """Return the networks in a name-based checkpoint, its outermost scopes."""
    return {key.split("/", 1)[0] for key in checkpoint.shapes if "/" in key}


def values(
    checkpoint: CheckpointFile, names: Collection[str], network: str
) -> dict[str, CheckpointValue]:
    """Return variable name in the detector -> value, for every variable of the classifier."""
    found: dict[str, CheckpointValue] = {}
    for name in names:
        part, _, slim_name = name.partition("/")
        if not part or not slim_name.startswith(f"{network}/"):
            continue
        value = _separable(checkpoint, slim_name, names, part)
        if value is not None:
            found[name] = value
        elif slim_name in checkpoint.shapes:
            found[name] = stored_value(checkpoint, slim_name)
        elif (absent := _absent_batch_norm(checkpoint, slim_name)) is not None:
            found[name] = absent
    return found


def _absent_batch_norm(checkpoint: CheckpointFile, slim_name: str) -> CheckpointValue | None:
    """Return the value of a batch norm variable that the classifier lacks.

    TF-Slim's Inception networks have no gamma: it is 1. The first convolution of Inception v2 has
    biases instead of a batch norm: this equals a batch norm with beta = biases, moving mean 0 and
    moving variance 1 - epsilon.
    """
    layer, _, leaf = slim_name.partition("/BatchNorm/")
    beta, biases = f"{layer}/BatchNorm/beta", f"{layer}/biases"
    if leaf == "gamma" and beta in checkpoint.shapes:
        return _constant(checkpoint.shapes[beta], 1.0)
    if not leaf or beta in checkpoint.shapes or biases not in checkpoint.shapes:
        return None
    if leaf == "beta":
        return stored_value(checkpoint, biases)
    value = {"gamma": 1.0, "moving_mean": 0.0, "moving_variance": 1.0 - EPSILON}[leaf]
    return _constant(checkpoint.shapes[biases], value)


def _constant(shape: tuple[int, ...], value: float) -> CheckpointValue:
    return CheckpointValue((), shape, lambda: np.full(shape, value, np.float32))


def _separable(
    checkpoint: CheckpointFile, slim_name: str, names: Collection[str], part: str
) -> CheckpointValue | None:
    """Return the value of a variable of a fused separable layer, if it belongs to one."""
    match = SEPARABLE.match(slim_name)
    if match is None or f"{part}/{match['block']}_pointwise/depthwise_weights" not in names:
        return None
    block, leaf = match["block"], match["leaf"]
    statistics = ("gamma", "beta", "moving_mean", "moving_variance")
    keys = (
        f"{block}_depthwise/depthwise_weights",
        *(f"{block}_depthwise/BatchNorm/{statistic}" for statistic in statistics),
        f"{block}_pointwise/weights",
        f"{block}_pointwise/BatchNorm/moving_mean",
    )
    if not all(key in checkpoint.shapes for key in keys):
        return None
    source, attribute = {
        "depthwise_weights": (keys[0], "depthwise"),
        "pointwise_weights": (keys[5], "pointwise"),
        "BatchNorm/moving_mean": (keys[6], "moving_mean"),
    }[leaf]

    def load() -> np.ndarray:
        return getattr(linearize(*map(checkpoint.read, keys)), attribute)

    used = keys[5:6] if attribute == "pointwise" else keys
    return CheckpointValue(used, checkpoint.shapes[source], load)


def linearize(
    depthwise: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    moving_mean: np.ndarray,
    moving_variance: np.ndarray,
    pointwise: np.ndarray,
    next_moving_mean: np.ndarray,
) -> LinearizedSeparable:
    """Fold batch norm and the best linear fit of ReLU6 into the convolutions around them.

    Args:
        depthwise: kernel [h, w, C, 1].
        gamma: [C], of the batch norm between the halves.
        beta: as gamma.
        moving_mean: as gamma.
        moving_variance: as gamma.
        pointwise: kernel [1, 1, C, D].
        next_moving_mean: [D], of the batch norm after the pointwise half.
    """
    beta64 = beta.astype(np.float64)
    deviation = np.maximum(np.abs(gamma.astype(np.float64)), 1e-12)
    low, high = -beta64 / deviation, (RELU6_CEILING - beta64) / deviation
    slope = _normal_cdf(high) - _normal_cdf(low)
    mean_after_relu6 = (
        beta64 * slope
        + deviation * (_normal_density(low) - _normal_density(high))
        + RELU6_CEILING * _normal_cdf(-high)
    )
    factor = slope * gamma / np.sqrt(moving_variance.astype(np.float64) + EPSILON)
    offset = mean_after_relu6 - factor * moving_mean
    return LinearizedSeparable(
        depthwise=(depthwise * factor[:, np.newaxis]).astype(np.float32),
        pointwise=pointwise,
        moving_mean=(next_moving_mean - offset @ pointwise[0, 0]).astype(np.float32),
    )


def _normal_density(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in x])


def _plan(
    checkpoint: CheckpointFile, names: Mapping[str, Any], request: restore_plan.RestoreRequest
) -> restore_plan.RestorePlan:
    """Plan the classifier's variables into every copy of the network."""
    in_file = networks(checkpoint)
    restore_plan.require_classification(
        checkpoint, f"TF-Slim classifier ({', '.join(sorted(in_file))})", request
    )
    network = restore_plan.network_of(names)
    restore_plan.require_network(checkpoint, in_file, network)
    restore_plan.require_averages(checkpoint, False, request)
    wanted = restore_plan.backbone_names(names, network, request.exclude)
    return restore_plan.RestorePlan(
        description=f"TF-Slim classifier {network}",
        values=values(checkpoint, wanted, network),
        wanted=frozenset(wanted),
        weights=frozenset(checkpoint.shapes),
    )


SOURCE = restore_plan.CheckpointSource(
    title="TF-Slim classifier",
    recognizes=is_classifier,
    networks=networks,
    is_detector=lambda checkpoint: False,
    plan=_plan,
)
