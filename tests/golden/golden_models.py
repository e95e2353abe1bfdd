"""The eight golden models, and how their numbers are compared.

tests/golden/model*_{infer,train}.npz hold predictions, losses and gradient norms that the authors'
TensorFlow 1.7 code gave for one image; weights come from tests/golden/weight_rule.py through the
TF1 name map.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from object_detection_mtl.fields import Predictions

PREDICTION_TOLERANCE = 1e-4  # of the golden's largest absolute value
LOSS_TOLERANCE = 1e-5  # relative

FIRST_STAGE = (
    Predictions.rpn_features_to_crop,
    Predictions.rpn_box_predictor_features,
    Predictions.rpn_box_encodings,
    Predictions.rpn_objectness,
    Predictions.anchors,
    Predictions.proposal_boxes,
    Predictions.proposal_boxes_normalized,
    Predictions.num_proposals,
)
SECOND_STAGE = (Predictions.refined_box_encodings, Predictions.class_predictions)
AUXILIARY = (
    Predictions.windows,
    Predictions.edgemask,
    Predictions.closeness,
    Predictions.expanded_windows,
    Predictions.refined_classes,
)


class GoldenModel(NamedTuple):
    """One of the authors' models.

    Attributes:
        name: of the golden, such as "model51".
        config: name of a sample config.
        lost: number of proposals of the inference golden whose crop lost a row or column.
        has_tasks: whether it has the auxiliary tasks and the refinement.
        authors_rounding: crops end where the authors' did, since the training golden's lost a row.
        regularization_tolerance: relative error of the golden's float32 sum against the exact one.
    """

    name: str
    config: str
    lost: int = 0
    has_tasks: bool = False
    authors_rounding: bool = False
    regularization_tolerance: float = LOSS_TOLERANCE


RESNET = GoldenModel("model11", "faster_rcnn_resnet101_voc07.config")
RESNET_MTL = GoldenModel(
    "model12",
    "faster_rcnn_resnet101_mtl_voc07.config",
    has_tasks=True,
    regularization_tolerance=2e-5,
)
RFCN = GoldenModel("model41", "rfcn_resnet101_voc07.config")
RFCN_MTL = GoldenModel(
    "model42",
    "rfcn_resnet101_mtl_voc07.config",
    has_tasks=True,
    authors_rounding=True,
    regularization_tolerance=2e-5,
)
MOBILENET = GoldenModel("model51", "faster_rcnn_mobilenet_v1_voc07.config", lost=1)
MOBILENET_MTL = GoldenModel(
    "model52", "faster_rcnn_mobilenet_v1_mtl_voc07.config", lost=1, has_tasks=True
)
INCEPTION = GoldenModel("model61", "faster_rcnn_inception_resnet_v2_voc07.config")
INCEPTION_MTL = GoldenModel(
    "model62", "faster_rcnn_inception_resnet_v2_mtl_voc07.config", has_tasks=True
)


def in_tier(model: GoldenModel, *marks: pytest.MarkDecorator) -> Any:
    return pytest.param(model, marks=marks, id=model.name)


def of_models(*params: Any) -> pytest.MarkDecorator:
    """Run the tests of a class for each model; tests of a model run together and share its run."""
    return pytest.mark.parametrize("model", params, scope="class")


def assert_close(actual: Any, expected: np.ndarray, name: str) -> None:
    """Compare arrays without their batch axes of 1, relative to the largest expected value."""
    actual = np.asarray(actual, np.float64).reshape(expected.shape)
    largest = np.abs(expected).max()
    error = np.abs(actual - expected).max() / largest
    assert error <= PREDICTION_TOLERANCE, f"{name}: {error:.2e} of {largest:.4g}"
