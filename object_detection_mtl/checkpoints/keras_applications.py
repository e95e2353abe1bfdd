"""ImageNet classifiers of `keras.applications` for the Keras form of a backbone.

The word `imagenet` (Keras downloads them), or a local file: `.weights.h5`, `.h5` or `.keras`. Its
layers are in Keras' order (`keras_order.py`). ResNet differs from the OD API's in two ways, both of
which are compensated exactly: its convolutions have biases, which are folded into the moving means
of the batch norms after them; and it was trained on BGR images, so the channels of the first kernel
are reversed.
"""

from __future__ import annotations

import functools
import io
import os
import zipfile
from collections import Counter
from collections.abc import Mapping
from typing import Any

import h5py
import keras
import numpy as np

from object_detection_mtl.backbones.registry import BACKBONES, entry_of_scope
from object_detection_mtl.checkpoints import restore_plan
from object_detection_mtl.checkpoints.checkpoint_files import (
    CheckpointFile,
    CheckpointValue,
    stored_value,
)
from object_detection_mtl.checkpoints.keras_order import KerasLayer, keras_layers

IMAGENET = "imagenet"
SUFFIXES = (".h5", ".keras")
BLUE_FIRST = "resnet_v1"
MAX_TOP_CONVOLUTIONS = 2


class KerasWeights:
    """A reader of weights that Keras has loaded.

    Attributes:
        network: name of the network in detectors.
        layers: for each layer in Keras' order, attribute -> key.
    """

    def __init__(self, network: str, model: keras.Model) -> None:
        self.network = network
        self.layers: list[KerasLayer] = []
        self._arrays: dict[str, np.ndarray] = {}
        for layer in model.layers:
            if layer.weights and not isinstance(layer, keras.layers.Dense):
                self.layers.append({w.name: f"{layer.name}/{w.name}" for w in layer.weights})
                self._arrays |= {f"{layer.name}/{w.name}": w.numpy() for w in layer.weights}

    def get_tensor(self, key: str) -> np.ndarray:
        """Return the value of a key, as TensorFlow's reader does."""
        return self._arrays[key]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return key -> shape of all values."""
        return {key: array.shape for key, array in self._arrays.items()}


def is_keras(path: str | os.PathLike[str]) -> bool:
    """Return whether a path means weights of Keras."""
    text = os.fspath(path)
    return text == IMAGENET or text.endswith(SUFFIXES)


def open_weights(path: str | os.PathLike[str], network: str = "") -> CheckpointFile:
    """Open the weights that a path means.

    Args:
        path: the word `imagenet` or a file.
        network: network of the detector; required for `imagenet`. A file is recognized
            faster if it holds this network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, holds no network of the registry, or there are no ImageNet
            weights for `network`.
    """
    text = os.path.expanduser(os.fspath(path))
    if text == IMAGENET:
        weights = KerasWeights(network, _download(network))
    else:
        network = _network_in(text, network)
        weights = KerasWeights(network, _load(text, application_of(network)))
    return CheckpointFile(text, weights.shapes(), True, weights)


def application_of(network: str) -> str:
    """Return the model of `keras.applications` with the weights of a network, or ""."""
    entry = entry_of_scope(network)
    return entry.application if entry else ""


def _networks_with_application() -> list[str]:
    """Return the scopes of the networks that have weights in `keras.applications`."""
    return list(dict.fromkeys(e.scope for e in BACKBONES.values() if e.application))


def _network_in(path: str, expected: str) -> str:
    """Return the network of a file, by the shapes of its kernels; `expected` is tried first."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path!r}")
    kernels = _kernels_in(path)
    known = _networks_with_application()
    for network in sorted(known, key=lambda name: name != expected):
        if _are_kernels_of(kernels, application_of(network)):
            return network
    raise ValueError(
        f"{path!r} holds an unknown network of {kernels.total()} convolutions; expected weights of "
        f"keras.applications' {', '.join(map(application_of, known))}"
    )


def _kernels_in(path: str) -> Counter[tuple[int, ...]]:
    """Return the shapes of a file's kernels, and how often each occurs."""
    kernels: Counter[tuple[int, ...]] = Counter()

    def count(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 4 and "optimizer" not in name:
            kernels[item.shape] += 1

    try:
        with open(path, "rb") as file:
            stored: Any = file
            if path.endswith(".keras"):
                with zipfile.ZipFile(file) as archive:
                    stored = io.BytesIO(archive.read("model.weights.h5"))
            with h5py.File(stored, "r") as weights:
                weights.visititems(count)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path!r} is not a file of Keras weights, or is corrupt ({error})"
        ) from error
    return kernels


def _are_kernels_of(kernels: Counter[tuple[int, ...]], application: str) -> bool:
    """Return whether these are all kernels of an application, with or without a classifier."""
    expected = _kernels_of(application)
    # A classifier on top may consist of 1x1 convolutions too, as in MobileNet v3.
    rest = kernels - expected
    is_top = rest.total() <= MAX_TOP_CONVOLUTIONS and all(s[:2] == (1, 1) for s in rest)
    return is_top and not expected - kernels


@functools.cache
def _kernels_of(application: str) -> Counter[tuple[int, ...]]:
    """Return the same of a model of `keras.applications` without a classifier."""
    network = getattr(keras.applications, application)(weights=None, include_top=False)
    return Counter(tuple(w.shape) for w in network.weights if len(w.shape) == 4)


def _load(path: str, application: str) -> keras.Model:
    """Return the network with a file's weights, with or without the classifier on top."""
    if path.endswith(".keras"):
        return keras.models.load_model(path, compile=False)
    build = getattr(keras.applications, application)
    reasons = []
    for include_top in (False, True):
        model = build(weights=None, include_top=include_top)
        try:
            # The size of the classifier on top does not matter: nothing takes it.
            model.load_weights(path, skip_mismatch=include_top)
            return model
        except ValueError as error:
            reasons.append(str(error).splitlines()[0])
    raise ValueError(
        f"{path!r} does not hold the weights of keras.applications.{application}: {reasons[0]}"
    )


def _download(network: str) -> keras.Model:
    application = application_of(network)
    if not application:
        raise ValueError(
            f'fine_tune_checkpoint "{IMAGENET}" is available for '
            f"{', '.join(_networks_with_application())}; the model's feature extractor is "
            f"{network or 'not given'}"
        )
    try:
        build = getattr(keras.applications, application)
        return build(weights=IMAGENET, include_top=False)
    except Exception as error:  # What urllib raises, wrapped by Keras into a bare Exception.
        raise ValueError(
            f"the ImageNet weights of {application} could not be downloaded ({error}); "
            "give a local .weights.h5 file instead"
        ) from error


def _weights_of(checkpoint: CheckpointFile) -> KerasWeights:
    return checkpoint.reader


def _plan(
    checkpoint: CheckpointFile, names: Mapping[str, Any], request: restore_plan.RestoreRequest
) -> restore_plan.RestorePlan:
    """Plan the whole network into every copy of its two parts."""
    weights = _weights_of(checkpoint)
    restore_plan.require_classification(checkpoint, f"{SOURCE.title} ({weights.network})", request)
    network = restore_plan.network_of(names)
    restore_plan.require_network(checkpoint, {weights.network}, network)
    restore_plan.require_averages(checkpoint, False, request)
    wanted = restore_plan.backbone_names(names, network, request.exclude)
    values = _values_by_name(checkpoint, wanted, network)
    return restore_plan.RestorePlan(
        description=f"{SOURCE.title} ({application_of(network)})",
        values=values or _values_by_order(checkpoint, names, wanted, network),
        wanted=frozenset(wanted),
        weights=frozenset(checkpoint.shapes),
    )


def _values_by_name(
    checkpoint: CheckpointFile, wanted: list[str], network: str
) -> dict[str, CheckpointValue]:
    """Return the values of a backbone whose layers have Keras' names; empty for others."""
    keys = {name: name.split(f"/{network}/", 1)[1] for name in wanted}
    return {
        name: stored_value(checkpoint, key)
        for name, key in keys.items()
        if key in checkpoint.shapes
    }


def _values_by_order(
    checkpoint: CheckpointFile, names: Mapping[str, Any], wanted: list[str], network: str
) -> dict[str, CheckpointValue]:
    """Return the values of a backbone whose layers are in Keras' order."""
    layers = _weights_of(checkpoint).layers
    stage1 = keras_layers(names, f"{restore_plan.FIRST_STAGE}{network}/")
    values = _values(checkpoint, stage1, layers[: len(stage1)])
    for part in dict.fromkeys(name.split(f"/{network}/")[0] for name in wanted):
        if f"{part}/" != restore_plan.FIRST_STAGE:
            stage2 = keras_layers(names, f"{part}/{network}/")
            values |= _values(checkpoint, stage2, layers[len(stage1) :])
    return values


def _values(
    checkpoint: CheckpointFile, ours: list[KerasLayer], theirs: list[KerasLayer]
) -> dict[str, CheckpointValue]:
    """Return the values of one part's variables."""
    pairs = list(zip(ours, theirs, strict=False))
    biases = {
        _scope(our["kernel"]): their["bias"]
        for our, their in pairs
        if "kernel" in our and "bias" in their and "bias" not in our
    }
    values = {}
    for our, their in pairs:
        for attribute, name in our.items():
            if attribute not in their:
                continue
            value = stored_value(checkpoint, their[attribute])
            if attribute == "moving_mean" and _scope(name) in biases:
                value = _minus(value, stored_value(checkpoint, biases[_scope(name)]))
            elif (
                name.startswith(f"{restore_plan.FIRST_STAGE}{BLUE_FIRST}")
                and "/conv1/weights" in name
            ):
                value = _blue_last(value) if value.shape[2] == 3 else value
            values[name] = value
    return values


def _scope(name: str) -> str:
    """Return the layer of a variable; a convolution and its batch norm are one."""
    return name.rsplit("/BatchNorm/", 1)[0] if "/BatchNorm/" in name else name.rsplit("/", 1)[0]


def _minus(value: CheckpointValue, bias: CheckpointValue) -> CheckpointValue:
    """Return a moving mean minus the bias before it, which gives the same outputs."""
    return CheckpointValue(value.keys + bias.keys, value.shape, lambda: value.load() - bias.load())


def _blue_last(value: CheckpointValue) -> CheckpointValue:
    return CheckpointValue(value.keys, value.shape, lambda: value.load()[:, :, ::-1])


def _networks(checkpoint: CheckpointFile) -> set[str]:
    return {_weights_of(checkpoint).network}


def _recognizes(checkpoint: CheckpointFile) -> bool:
    return isinstance(checkpoint.reader, KerasWeights)


SOURCE = restore_plan.CheckpointSource(
    title="classifier of keras.applications",
    recognizes=_recognizes,
    networks=_networks,
    is_detector=lambda checkpoint: False,
    plan=_plan,
)
