"""Checkpoints of the OD API in TensorFlow 2: object graphs with numbered layers.

The checkpoint of a detector has keys such as
`model/_feature_extractor_for_proposal_features/layer_with_weights-K/kernel`, where K numbers the
layers with weights in Keras' order (`keras_order.py`). That of a classifier has keys
`feature_extractor/layer_with_weights-K/...` for the whole network, numbered through both stages.
All layouts are the same as in this package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from object_detection_mtl.checkpoints import kernel_shapes, restore_plan
from object_detection_mtl.checkpoints.checkpoint_files import VALUE_SUFFIX, CheckpointFile
from object_detection_mtl.checkpoints.keras_order import ATTRIBUTES, KerasLayer, keras_layers

STAGE1 = "model/_feature_extractor_for_proposal_features"
STAGE2 = "model/_feature_extractor_for_box_classifier_features"
CLASSIFIER = "feature_extractor"
AVERAGE_SUFFIX = f"/.OPTIMIZER_SLOT/optimizer/average{VALUE_SUFFIX}"
_RPN = "model/_first_stage_box_predictor"
_RPN_HEADS = f"{_RPN}/_prediction_heads"
_BOX_HEADS = "model/_mask_rcnn_box_predictor"
_RFCN_HEADS = "model/_rfcn_box_predictor"
# Our layer -> its object. `N` is the last of a list; dropout, if any, comes before it.
HEADS = {
    "FirstStageBoxPredictor/Conv": f"{_RPN}_first_conv/layer_with_weights-0",
    "FirstStageBoxPredictor/BoxEncodingPredictor": (
        f"{_RPN_HEADS}/box_encodings/0/_box_encoder_layers/N"
    ),
    "FirstStageBoxPredictor/ClassPredictor": (
        f"{_RPN_HEADS}/class_predictions_with_background/0/_class_predictor_layers/N"
    ),
    "SecondStageBoxPredictor/BoxEncodingPredictor": (
        f"{_BOX_HEADS}/_box_prediction_head/_box_encoder_layers/N"
    ),
    "SecondStageBoxPredictor/ClassPredictor": (
        f"{_BOX_HEADS}/_class_prediction_head/_class_predictor_layers/N"
    ),
    "SecondStageBoxPredictor/reduce_depth": f"{_RFCN_HEADS}/_shared_conv_layers/N",
    "SecondStageBoxPredictor/refined_locations": f"{_RFCN_HEADS}/_box_encoder_layers/N",
    "SecondStageBoxPredictor/class_predictions": f"{_RFCN_HEADS}/_class_predictor_layers/N",
}


def _is_detector(checkpoint: CheckpointFile) -> bool:
    return checkpoint.is_object_based and _has(checkpoint, f"{STAGE1}/")


def _is_classifier(checkpoint: CheckpointFile) -> bool:
    return checkpoint.is_object_based and _has(checkpoint, f"{CLASSIFIER}/layer_with_weights-")


def _has(checkpoint: CheckpointFile, start: str) -> bool:
    return any(key.startswith(start) for key in checkpoint.shapes)


def _named(name: str, kernels: kernel_shapes.Shapes) -> set[str]:
    """Return the network of a file, or a description of an unknown one."""
    return {name or f"an unknown network of {len(kernels)} convolutions"}


def _detector_networks(checkpoint: CheckpointFile) -> set[str]:
    kernels = kernel_shapes.kernels_in_objects(checkpoint.shapes, STAGE1)
    return _named(kernel_shapes.name_of_stage1(kernels), kernels)


def _classifier_networks(checkpoint: CheckpointFile) -> set[str]:
    kernels = kernel_shapes.kernels_in_objects(checkpoint.shapes, CLASSIFIER)
    return _named(kernel_shapes.name_of_network(kernels), kernels)


def _require_kernels(
    checkpoint: CheckpointFile,
    root: str,
    layers: list[KerasLayer],
    variables: Mapping[str, Any],
    find_networks: Callable[[CheckpointFile], set[str]],
) -> None:
    """Raise ValueError unless the network below `root` is that of the detector.

    Args:
        checkpoint: the file.
        root: root of the network in the checkpoint.
        layers: layers of the detector's network.
        variables: the detector's.
        find_networks: names the file's network; slow, it builds those of the registry.
    """
    network = restore_plan.network_of(variables)
    ours = kernel_shapes.kernels_of_layers(layers, variables)
    same = kernel_shapes.kernels_in_objects(checkpoint.shapes, root) == ours
    if not (same and kernel_shapes.has_keras_form(network)):
        restore_plan.require_network(checkpoint, find_networks(checkpoint), network)


def _plan_detector(
    checkpoint: CheckpointFile, names: Mapping[str, Any], request: restore_plan.RestoreRequest
) -> restore_plan.RestorePlan:
    """Plan both stages, and the requested heads."""
    restore_plan.require_detection(checkpoint, request)
    network = restore_plan.network_of(names)
    stage1 = keras_layers(names, f"{restore_plan.FIRST_STAGE}{network}/")
    _require_kernels(checkpoint, STAGE1, stage1, names, _detector_networks)
    has_averages = any(key.endswith(AVERAGE_SUFFIX) for key in checkpoint.shapes)
    restore_plan.require_averages(checkpoint, has_averages, request)
    stage2 = keras_layers(names, f"{restore_plan.SECOND_STAGE}{network}/")
    objects = _head_objects(checkpoint, names)
    objects |= _counted(STAGE1, stage1) | _counted(STAGE2, stage2)
    wanted = restore_plan.detector_names(names, request)
    keys = {
        name: (objects[stored] + VALUE_SUFFIX, objects[stored] + AVERAGE_SUFFIX)
        for name, stored in wanted.items()
        if stored in objects
    }
    return restore_plan.RestorePlan(
        description=f"{DETECTOR.title} with {network}",
        values=restore_plan.stored_values(checkpoint, keys, request),
        wanted=frozenset(wanted),
        weights=_weights(checkpoint, "model/"),
    )


def _plan_classifier(
    checkpoint: CheckpointFile, names: Mapping[str, Any], request: restore_plan.RestoreRequest
) -> restore_plan.RestorePlan:
    """Plan the whole network into every copy of its two parts."""
    restore_plan.require_classification(checkpoint, BACKBONE.title, request)
    network = restore_plan.network_of(names)
    stage1 = keras_layers(names, f"{restore_plan.FIRST_STAGE}{network}/")
    stage2 = keras_layers(names, f"{restore_plan.SECOND_STAGE}{network}/")
    _require_kernels(checkpoint, CLASSIFIER, stage1 + stage2, names, _classifier_networks)
    restore_plan.require_averages(checkpoint, False, request)
    wanted = restore_plan.backbone_names(names, network, request.exclude)
    objects = _counted(CLASSIFIER, stage1)
    for part in dict.fromkeys(name.split(f"/{network}/")[0] for name in wanted):
        if f"{part}/" != restore_plan.FIRST_STAGE:
            stage2 = keras_layers(names, f"{part}/{network}/")
            objects |= _counted(CLASSIFIER, stage2, start=len(stage1))
    keys = {name: (objects[name] + VALUE_SUFFIX, "") for name in wanted}
    return restore_plan.RestorePlan(
        description=f"{BACKBONE.title} {network}",
        values=restore_plan.stored_values(checkpoint, keys, request),
        wanted=frozenset(wanted),
        weights=_weights(checkpoint, f"{CLASSIFIER}/"),
    )


def _counted(root: str, layers: list[KerasLayer], start: int = 0) -> dict[str, str]:
    """Return the detector's variable name -> its object."""
    return {
        name: f"{root}/layer_with_weights-{number}/{attribute}"
        for number, layer in enumerate(layers, start)
        for attribute, name in layer.items()
    }


def _head_objects(checkpoint: CheckpointFile, names: Collection[str]) -> dict[str, str]:
    """Return variable name -> object for the heads that the file has."""
    objects = {}
    for layer, pattern in HEADS.items():
        prefix = _last_of_list(checkpoint, pattern)
        for leaf, attribute in ATTRIBUTES.items():
            name = f"{layer}/{leaf}"
            if prefix and name in names:
                objects[name] = f"{prefix}/{attribute}"
    return objects


def object_paths(names: Collection[str], *, has_dropout: bool) -> dict[str, str]:
    """Return variable name -> path of its object in a file that the OD API writes.

    Args:
        names: names of all variables of a detector with a network in the Keras form, in the order
            of its layers.
        has_dropout: whether the second stage's heads begin with dropout.
    """
    network = restore_plan.network_of(names)
    stages = {STAGE1: restore_plan.FIRST_STAGE, STAGE2: restore_plan.SECOND_STAGE}
    paths: dict[str, str] = {}
    for root, scope in stages.items():
        paths |= _counted(root, keras_layers(names, f"{scope}{network}/"))
    for layer, pattern in HEADS.items():
        # Flattening, and dropout if any, are the first elements of a box head's list.
        number = 1 + has_dropout if pattern.startswith(_BOX_HEADS) else 0
        for leaf, attribute in ATTRIBUTES.items():
            if f"{layer}/{leaf}" in names:
                paths[f"{layer}/{leaf}"] = f"{pattern.replace('/N', f'/{number}')}/{attribute}"
    return paths


def _last_of_list(checkpoint: CheckpointFile, pattern: str) -> str:
    regex = re.compile(re.escape(pattern).replace("/N", r"/(\d+)") + f"/kernel{VALUE_SUFFIX}$")
    found = [key for key in checkpoint.shapes if regex.match(key)]
    return max(found).removesuffix(f"/kernel{VALUE_SUFFIX}") if found else ""


def _weights(checkpoint: CheckpointFile, root: str) -> frozenset[str]:
    return frozenset(
        key for key in checkpoint.shapes if key.startswith(root) and ".OPTIMIZER_SLOT" not in key
    )


DETECTOR = restore_plan.CheckpointSource(
    title="TF2 detection checkpoint of the Object Detection API",
    recognizes=_is_detector,
    networks=_detector_networks,
    is_detector=lambda checkpoint: True,
    plan=_plan_detector,
)
BACKBONE = restore_plan.CheckpointSource(
    title="TF2 classification checkpoint of the Object Detection API",
    recognizes=_is_classifier,
    networks=_classifier_networks,
    is_detector=lambda checkpoint: False,
    plan=_plan_classifier,
)
