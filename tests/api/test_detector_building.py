"""New detectors: types, tasks, class names, errors; no network is built here."""

import pytest

import object_detection_mtl as odm
from object_detection_mtl.api import detector_building, detector_templates


@pytest.mark.parametrize("detector_type", detector_templates.detector_types())
def test_every_type_has_a_config_with_and_without_tasks(detector_type):
    plain = detector_templates.make_config(detector_type, num_classes=3)
    extractor = plain.model.faster_rcnn.feature_extractor.type
    assert extractor == detector_type.replace("rfcn_", "faster_rcnn_")
    predictor = plain.model.faster_rcnn.second_stage_box_predictor.WhichOneof("box_predictor_oneof")
    assert (predictor == "rfcn_box_predictor") == detector_type.startswith("rfcn_")
    assert plain.model.faster_rcnn.num_classes == 3
    assert not any(getattr(plain.model.mtl, name) for name in ("window", "closeness", "refine"))
    assert "PATH" not in str(plain)
    tasks = detector_templates.make_config(
        detector_type, num_classes=3, tasks=["window", "foreground"], refine=True
    ).model.mtl
    assert (tasks.window, tasks.closeness, tasks.edgemask, tasks.refine) == (
        True,
        False,
        True,
        True,
    )


def test_every_feature_extractor_has_a_type():
    from object_detection_mtl.backbones.registry import BACKBONES

    assert set(BACKBONES) <= set(detector_templates.detector_types())


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            {"config": "faster_rcnn_mobilenet_v2", "num_classes": 3},
            FileNotFoundError,
            'did you mean "faster_rcnn_mobilenet_v1"',
        ),
        ({"config": "faster_rcnn_mobilenet_v1"}, ValueError, "num_classes is missing"),
        (
            {"config": "faster_rcnn_mobilenet_v1", "num_classes": 3, "tasks": ["windw"]},
            ValueError,
            'did you mean "window"',
        ),
        (
            {"config": "faster_rcnn_mobilenet_v1_voc07", "tasks": ["window"]},
            ValueError,
            "tasks and refine are for a type",
        ),
        ({"config": 3}, ValueError, "config has the type int"),
    ],
)
def test_wrong_input_is_one_clear_error(arguments, kind, message):
    with pytest.raises(kind, match=message):
        odm.build_detector(**arguments)


def test_classes_are_numbered_from_one():
    assert detector_building.class_numbers(["cat", "dog"]) == {1: "cat", 2: "dog"}
    assert detector_building.class_numbers({3: "cat"}) == {3: "cat"}
    assert detector_building.class_numbers(None) == {}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({0: "background"}, "expected numbers from 1"),
        (["cat", "cat"], "'cat' twice"),
        ("cat", "is the text 'cat'"),
        ([1], "and texts"),
    ],
)
def test_unusable_names_are_an_error(names, message):
    with pytest.raises(ValueError, match=message):
        detector_building.class_numbers(names)
