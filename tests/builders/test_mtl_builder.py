"""Fields of `mtl {}` that reach the tasks and the refiner."""

from types import SimpleNamespace

import pytest
from google.protobuf import text_format

from object_detection_mtl.builders import mtl_builder
from object_detection_mtl.protos import model_pb2

REGION_HEADS = SimpleNamespace(config=SimpleNamespace(num_classes=2))


def build(text):
    config = text_format.Parse(text, model_pb2.MTL())
    return mtl_builder.build(config, REGION_HEADS, in_channels=4)


def test_the_authors_forms_are_the_defaults():
    [task], refiner = build("edgemask: true refine: true")
    assert (task.balance, task.loss_grid, task.conv.activation.__name__) == (
        "AUTHORS",
        "LABEL",
        "tanh",
    )
    assert refiner.moments is None
    assert refiner.main_dropout is None
    assert refiner.learning_rate_multiplier == 1.0


def test_other_forms_arrive():
    [task], refiner = build(
        "edgemask: true edgemask_balance: EQUAL edgemask_tanh: false "
        "edgemask_loss_grid: FEATURE_MAP refine: true refine_standardize_inputs: true "
        "refine_learning_rate_multiplier: 5 refine_main_logits_dropout: 0.25"
    )
    assert (task.balance, task.loss_grid) == ("EQUAL", "FEATURE_MAP")
    assert task.conv.activation.__name__ == "linear"
    assert refiner.moments is not None
    assert refiner.main_dropout.rate == 0.25
    assert refiner.learning_rate_multiplier == 5.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("refine_learning_rate_multiplier", 0),
        ("refine_learning_rate_multiplier", -1),
        ("refine_main_logits_dropout", -0.5),
        ("refine_main_logits_dropout", 1),
    ],
)
def test_numbers_out_of_range_are_named(field, value):
    with pytest.raises(ValueError, match=f"mtl: {field} is {float(value)}; .*expected"):
        build(f"{field}: {value}")
