"""A backbone of two convolutions for configs, for trainings in tests.

A training spends most of its first seconds on building the graph of the network. Tests of what any
network does leave MobileNet to the tests of MobileNet.
"""

from __future__ import annotations

from typing import Any

import pytest

from object_detection_mtl.backbones.backbone import Backbone
from object_detection_mtl.backbones.registry import BACKBONES, register_backbone
from tests.training.tiny import tiny_backbone

NAME = "tiny"
# Makes a config of `tests.records` one with this backbone.
OVERRIDE = f"model.faster_rcnn.feature_extractor.type={NAME}"


def build(*, output_stride: int, **options: Any) -> Backbone:
    return tiny_backbone("TinyNet", stride=output_stride)


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the backbone until the end of the patch."""
    monkeypatch.setitem(BACKBONES, NAME, None)
    register_backbone(NAME, build)
