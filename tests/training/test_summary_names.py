"""Names in TensorBoard."""

from object_detection_mtl.fields import Losses
from object_detection_mtl.training import summary_names


def test_the_four_losses_have_the_od_apis_names():
    assert [
        summary_names.weighted(key)
        for key in (
            Losses.rpn_localization,
            Losses.rpn_objectness,
            Losses.box_localization,
            Losses.box_classification,
        )
    ] == [
        "Loss/RPNLoss/localization_loss",
        "Loss/RPNLoss/objectness_loss",
        "Loss/BoxClassifierLoss/localization_loss",
        "Loss/BoxClassifierLoss/classification_loss",
    ]


def test_others_stand_under_mtl_and_unweighted_ones_apart():
    assert summary_names.weighted("window_class_loss") == "Loss/MTL/window_class_loss"
    assert summary_names.unweighted("window_class_loss") == "UnweightedLoss/MTL/window_class_loss"
