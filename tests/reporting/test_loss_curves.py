"""Loss curves of a run's events, and their place in the report."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.reporting import charts
from object_detection_mtl.reporting.html_report import report_page
from object_detection_mtl.reporting.loss_curves import (
    AUXILIARY_TASKS,
    DETECTOR,
    TOTAL,
    LossCurve,
    read_loss_curves,
)
from object_detection_mtl.reporting.report_contents import report_contents
from tests.reporting.hand_made import random_set

NAMES = [
    "Loss/RPNLoss/objectness_loss",
    "Loss/BoxClassifierLoss/localization_loss",
    "Loss/MTL/window_class_loss",
    "Loss/regularization_loss",
    "Loss/total_loss",
]


def write_events(directory, steps, *, offset=0.0, suffix=""):
    writer = tf.summary.create_file_writer(str(directory), filename_suffix=suffix)
    with writer.as_default():
        for step in steps:
            for number, name in enumerate(NAMES):
                tf.summary.scalar(name, offset + number + 1 / step, step=step)
            tf.summary.scalar("learning_rate", 0.1, step=step)
            tf.summary.image("train_input_images", np.zeros((1, 2, 2, 3), np.uint8), step=step)
    writer.close()


@pytest.fixture
def events(tmp_path):
    write_events(tmp_path, [1, 2, 4])
    return tmp_path


def test_losses_are_grouped_by_chart(events):
    curves = read_loss_curves(events)
    assert {title: list(group) for title, group in curves.items()} == {
        TOTAL: ["total"],
        DETECTOR: ["proposals: objectness", "boxes: localization", "regularization"],
        AUXILIARY_TASKS: ["window class"],
    }
    total = curves[TOTAL]["total"]
    assert total.steps.tolist() == [1, 2, 4]
    np.testing.assert_allclose(total.values, [5, 4.5, 4.25])


@pytest.mark.parametrize("new_name", [".0", ".z"], ids=["sorts-first", "sorts-last"])
def test_a_step_that_a_resumed_run_repeats_counts_once(events, new_name):
    (first,) = events.iterdir()
    write_events(events, [4, 8], offset=10)
    (second,) = set(events.iterdir()) - {first}
    second.rename(events / f"events.out.tfevents{new_name}")
    total = read_loss_curves(events)[TOTAL]["total"]
    assert total.steps.tolist() == [1, 2, 4, 8]
    np.testing.assert_allclose(total.values, [5, 4.5, 14.25, 14.125])


def test_a_truncated_file_gives_the_steps_before(events):
    (path,) = events.iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    assert read_loss_curves(events)[TOTAL]["total"].steps.tolist()[:2] == [1, 2]


def test_a_directory_without_events_has_no_curves(tmp_path):
    assert read_loss_curves(tmp_path / "none") == {}


def test_the_report_has_a_section_only_with_curves(events):
    chosen = random_set(3)
    assert 'id="training"' not in report_page(report_contents(chosen))
    page = report_page(report_contents(chosen, loss_curves=read_loss_curves(events)))
    assert 'id="training"' in page
    assert 'href="#training"' in page
    assert page.count('aria-label="Losses of the auxiliary tasks"') == 1
    assert "boxes: localization" in page


def test_a_chart_names_its_losses():
    curve = LossCurve(np.arange(1, 500), np.linspace(2, 1, 499))
    drawing = charts.loss_chart({"first": curve, "second": curve}, "Some losses")
    assert 'aria-label="Some losses"' in drawing
    assert "first" in drawing
    assert "second" in drawing
