"""Detecting with all tasks computes nothing twice: the traced graph, with constants for weights."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tests.models import tiny
from tests.models.test_auxiliary_stage import ALL

SHARED = "model.mtl.shared_feature=classifier_feature_maps"
BEST_THREE = "model.mtl.refine_top_k=3"
BATCH, PROPOSALS = 2, 8  # `tiny` has eight
# Boxes and shapes may be converted again; a feature map, a crop or an image has more numbers.
FEW = 1000


def traced(detector) -> tf.Graph:
    @tf.function(autograph=False)
    def detect(images):
        inputs, shapes = detector.preprocess(images)
        inputs = tf.ensure_shape(inputs, images.shape)
        return detector.postprocess(detector.predict(inputs, shapes), shapes)

    images = tf.TensorSpec([BATCH, 64, 80, 3], tf.uint8)
    return convert_variables_to_constants_v2(detect.get_concrete_function(images)).graph


def twins(graph: tf.Graph) -> list[list[str]]:
    """Names of operations that do the same to the same, if the result has many numbers.

    What depends on weights alone (kernels with their batch norm) is ignored: exports compute it
    beforehand.
    """
    identities: dict[str, Any] = {}
    of_images = set()
    groups = defaultdict(list)
    for operation in graph.get_operations():  # in an order in which inputs come first
        name, attributes = operation.name, operation.node_def.attr
        inputs = [tensor.op.name for tensor in operation.inputs]
        if operation.type == "Placeholder" or of_images.intersection(inputs):
            of_images.add(name)
        described = (
            operation.type,
            name if operation.type == "Placeholder" else "",
            tuple((identities[t.op.name], t.value_index) for t in operation.inputs),
            tuple(sorted((k, attributes[k].SerializeToString()) for k in attributes)),
        )
        identities[name] = hash(described)
        sizes = [np.prod([n or FEW for n in t.shape]) for t in operation.outputs if t.shape.rank]
        if name in of_images and max(sizes, default=0) > FEW and operation.type != "Identity":
            groups[identities[name]].append(name)
    return [names for names in groups.values() if len(names) > 1]


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), marks=pytest.mark.slow, id="all"),
        pytest.param((BEST_THREE,), marks=pytest.mark.long, id="best"),
        pytest.param((SHARED,), marks=pytest.mark.long, id="shared"),
        pytest.param((SHARED, BEST_THREE), marks=pytest.mark.slow, id="best shared"),
    ],
)
def test_nothing_is_computed_twice(architecture, options):
    detector = tiny.detector(*tiny.ARCHITECTURES[architecture], *ALL, *options, is_training=False)
    assert twins(traced(detector)) == []


def crops_and_stage2(*options: str) -> tuple[list[int], list[int]]:
    """Numbers of boxes that are cropped together, and of crops that run through a stage 2."""
    operations = traced(tiny.detector(*ALL, *options, is_training=False)).get_operations()
    crops = [op.inputs[1].shape[0] for op in operations if op.type == "CropAndResize"]
    last = [
        op
        for op in operations
        if op.type == "DepthwiseConv2dNative" and op.inputs[0].shape[-1] == 1024
    ]
    return sorted(crops), sorted(op.inputs[0].shape[0] for op in last)


@pytest.mark.slow
def test_how_many_crops_are_run():
    """Proposals, three windows between each and the image in turn, and the image's own, once."""
    everything = BATCH * PROPOSALS
    crops = [BATCH, *[everything] * 4]
    # The second stage, closeness and the window head read the proposals.
    heads = [BATCH, *[everything] * 3, *[everything] * 3]
    assert crops_and_stage2() == (crops, heads)
    # Shared features: one run through stage 2 for all heads.
    assert crops_and_stage2(SHARED) == (crops, crops)


@pytest.mark.slow
def test_how_many_crops_are_run_for_the_best_proposals():
    everything, best = BATCH * PROPOSALS, BATCH * 3
    crops = [BATCH, everything, *[best] * 3]
    heads = Counter([BATCH, everything, everything, best, *[best] * 3])
    found, of_heads = crops_and_stage2(BEST_THREE)
    assert sorted(found) == sorted(crops)
    assert Counter(of_heads) == heads
    assert crops_and_stage2(BEST_THREE, SHARED) == (sorted(crops), sorted(crops))
