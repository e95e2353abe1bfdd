"""Refiners that read less: what they read, refine and cost."""

import numpy as np
import pytest

from object_detection_mtl.evaluation.refiner_inputs import MAIN
from object_detection_mtl.experiments import refinement_forms
from object_detection_mtl.experiments.refinement_forms import CLOSENESS, WINDOW, Form, FormResult
from object_detection_mtl.ops.logistic_regression import LinearLogits

MAIN_LOGITS = [[[0.0, 3.0], [0.0, 1.0], [0.0, 2.0], [0.0, 9.0]]]  # the last is padding


def groups():
    """Main logits, windows numbered in tenths, closeness, of one image with four proposals."""
    windows = np.repeat(np.arange(5) / 10, 2)
    return {
        MAIN: np.array(MAIN_LOGITS),
        WINDOW: np.broadcast_to(windows, (1, 4, 10)),
        CLOSENESS: np.ones((1, 4, 2)),
    }


def layer(width, row):
    """Adds one of the inputs to the second class."""
    kernel = np.zeros((width, 2))
    kernel[row, 1] = 1.0
    return LinearLogits(kernel, np.zeros(2))


@pytest.mark.parametrize(
    ("form", "width", "row", "added"),
    [
        (Form("main only"), 2, 1, [3.0, 1.0, 2.0]),
        (Form("image", (4,)), 4, 3, [0.4, 0.4, 0.4]),
        (Form("two windows and closeness", (1, 3), True), 8, 4, [0.3, 0.3, 0.3]),
        (Form("two windows and closeness", (1, 3), True), 8, 7, [1.0, 1.0, 1.0]),
        (Form("the best half", (4,), False, 0.5), 4, 3, [0.4, 0.0, 0.4]),
        (Form("the best quarter", (4,), False, 0.25), 4, 3, [0.4, 0.0, 0.0]),
    ],
)
def test_what_is_added_to_the_main_logits(form, width, row, added):
    logits = refinement_forms.refined_logits(form, layer(width, row), groups(), np.array([3]))
    np.testing.assert_allclose(logits[0, :3, 1], np.array([3.0, 1.0, 2.0]) + added)
    np.testing.assert_array_equal(logits[0, :3, 0], 0.0)


def test_a_task_that_the_detector_lacks_is_an_error():
    given = groups()
    del given[CLOSENESS]
    form = Form("both", (0,), True)
    with pytest.raises(ValueError, match=r"form 'both' reads mtl\.closeness, which the config"):
        refinement_forms.refined_logits(form, layer(6, 0), given, np.array([3]))


def test_the_config_of_a_form():
    form = Form("x", (0, 4), True, 0.25)
    assert form.overrides(300) == [
        "model.mtl.window=true",
        "model.mtl.closeness=true",
        "model.mtl.refine_windows=[0, 4]",
        "model.mtl.refine_top_k=75",
    ]
    assert "model.mtl.refine=false" in Form("main", refines=False).overrides(300)
    assert "model.mtl.window=false" in Form("no window").overrides(300)
    assert Form("all").top_k(300) == 0


def test_the_table_has_gains_over_the_main_logits_and_times():
    metrics = {"PascalBoxes_Precision/mAP@0.5IOU": 0.5, "DetectionBoxes_Precision/mAP": 0.25}
    better = {"PascalBoxes_Precision/mAP@0.5IOU": 0.52, "DetectionBoxes_Precision/mAP": 0.26}
    results = [
        FormResult(Form("main logits", refines=False), 0.25, metrics, np.full(10, 0.5)),
        FormResult(Form("image", (4,)), 0.24, better, np.full(10, 0.51)),
    ]
    lines = refinement_forms.table(results, {"main logits": 1.0, "image": 1.1}).splitlines()
    assert lines[2:] == [
        "| main logits | 0.2500 | 0.500 |  | 0.250 | 1.00 |",
        "| image | 0.2400 | 0.520 | +2.0 (+1.0 to +1.0) | 0.260 | 1.10 |",
    ]


def test_forms_of_a_detector_without_closeness():
    names = [form.name for form in refinement_forms.standard_forms(closeness=False)]
    assert len(set(names)) == len(names)
    assert not any("closeness" in name for name in names)
    assert not any(form.closeness for form in refinement_forms.standard_forms(closeness=False))
