"""Auxiliary tasks and refinement inside the detector, at toy size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.builders import mtl_builder
from object_detection_mtl.evaluation import evaluation_step
from object_detection_mtl.fields import (
    Batch,
    Detections,
    Groundtruth,
    Losses,
    Metrics,
    Predictions,
)
from object_detection_mtl.mtl import labels
from object_detection_mtl.mtl.window_task import WindowTask
from tests.models import tiny

# Some are near proposals of the toy detector, so that proposals have objects.
BOXES = (
    [[0.05, 0.12, 0.42, 0.28], [0.3, 0.4, 0.9, 0.95], [0.54, 0.32, 0.9, 0.48]],
    [[0.3, 0.3, 0.65, 0.46]],
    [],
)
NUM_WINDOWS = (5, 2, 1)
ALL = tuple(f"model.mtl.{field}=true" for field in ("window", "closeness", "edgemask", "refine"))
WEIGHTS = (
    "model.mtl.window_class_loss_weight=1.0",
    "model.mtl.closeness_loss_weight=0.3",
    "model.mtl.edgemask_loss_weight=1.0",
    "model.mtl.refined_classification_loss_weight=1.0",
    "model.mtl.refine_residue=true",
    "model.mtl.edgemask_predictor.kernel_size=1",
)
# Samples so large that nothing is left to chance.
NO_CHANCE = (
    "model.faster_rcnn.first_stage_minibatch_size=100000",
    "model.faster_rcnn.second_stage_batch_size=8",
    "model.faster_rcnn.second_stage_balance_fraction=1.0",
    "model.faster_rcnn.first_stage_positive_balance_fraction=1.0",
)
AUXILIARY_LOSSES = {
    "window": Losses.window,
    "closeness": Losses.closeness,
    "edgemask": Losses.edgemask,
    "refine": Losses.refined_classification,
}


def groundtruth(*images: int) -> dict[str, tf.Tensor]:
    """Padded ground truth of some of the images, with all labels; padding is far from zero."""
    chosen = [BOXES[i] for i in images]
    truth = tiny.groundtruth(*chosen)
    longest = truth[Groundtruth.boxes].shape[1]
    most = max(NUM_WINDOWS[i] for i in images)
    windows = np.full((len(images), most, 4), 0.3, np.float32)
    window_classes = np.full((len(images), most, 4), 7.0, np.float32)
    closeness = np.full((len(images), longest, 4), 7.0, np.float32)
    masks = np.zeros((len(images), 2, 64, 64), np.float32)
    for row, i in enumerate(images):
        boxes = np.reshape(np.array(BOXES[i], np.float32), [-1, 4])
        classes = np.arange(len(boxes)) % 3 + 1
        sampled = labels.sample_windows(boxes, (64, 80), num_windows=NUM_WINDOWS[i], seed=i)
        sampled = np.asarray(sampled)[: NUM_WINDOWS[i]]
        windows[row, : len(sampled)] = sampled
        window_classes[row, : len(sampled)] = labels.window_labels(boxes, classes, sampled, 3)
        closeness[row, : len(boxes)] = labels.closeness_labels(boxes, classes, (64, 80), 3)
        masks[row] = labels.foreground_mask(boxes)
    return truth | {
        Groundtruth.window_boxes: tf.constant(windows),
        Groundtruth.num_windows: tf.constant([NUM_WINDOWS[i] for i in images]),
        Groundtruth.window_classes: tf.constant(window_classes),
        Groundtruth.closeness: tf.constant(closeness),
        Groundtruth.edgemask: tf.constant(masks),
    }


def run(detector, truth, images):
    """Predictions, losses, and the gradient of the weighted total by variable."""
    inputs, shapes = detector.preprocess(images)
    variables = detector.trainable_variables

    with tf.GradientTape() as tape:
        predictions = detector.predict(inputs, shapes, truth)
        losses = detector.loss(predictions, truth)
        total = tf.add_n([detector.loss_weights[key] * loss for key, loss in losses.items()])
    gradients = tape.gradient(total, [v.value for v in variables])
    return predictions, losses, dict(zip([v.path for v in variables], gradients, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("shared", [mtl_builder.OWN_STAGE2, mtl_builder.SHARED_STAGE2])
def test_a_batch_of_three_equals_three_batches_of_one(architecture, shared):
    detector = tiny.detector(
        *ALL,
        *WEIGHTS,
        *NO_CHANCE,
        *tiny.ARCHITECTURES[architecture],
        f"model.mtl.shared_feature={shared}",
        is_training=True,
    )
    images = tiny.images(3)
    together = run(detector, groundtruth(0, 1, 2), images)
    alone = [run(detector, groundtruth(i), images[i : i + 1]) for i in range(3)]
    for key in (
        Predictions.windows,
        Predictions.closeness,
        Predictions.expanded_windows,
        Predictions.edgemask,
        Predictions.refined_classes,
    ):
        for i in range(3):
            count = NUM_WINDOWS[i] if key == Predictions.windows else None
            np.testing.assert_allclose(
                together[0][key][i, :count], alone[i][0][key][0], atol=2e-5, err_msg=key
            )
    assert float(together[1][Losses.closeness]) > 0.01
    for key, loss in together[1].items():
        mean = np.mean([losses[key] for _, losses, _ in alone])
        np.testing.assert_allclose(loss, mean, rtol=2e-4, err_msg=key)
    for path, gradient in together[2].items():
        mean = np.mean([gradients[path] for _, _, gradients in alone], axis=0)
        scale = np.abs(mean).max()
        np.testing.assert_allclose(gradient, mean, atol=2e-3 * scale, err_msg=path)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(0, marks=pytest.mark.slow),
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(2, marks=pytest.mark.long),
        pytest.param(3, marks=pytest.mark.long),
        pytest.param(4, marks=pytest.mark.slow),
    ],
)
def test_every_subset_of_tasks_and_refinement(count):
    names = list(AUXILIARY_LOSSES)
    for chosen in itertools.combinations(names, count):
        fields = [f"model.mtl.{field}=true" for field in chosen]
        detector = tiny.detector(*fields, *WEIGHTS, tiny.FEW_CHANNELS, is_training=True)
        truth = groundtruth(0, 2)
        inputs, shapes = detector.preprocess(tiny.images(2))
        losses = detector.loss(detector.predict(inputs, shapes, truth), truth)
        assert set(losses) == set(detector.loss_weights)
        expected = {AUXILIARY_LOSSES[field] for field in chosen}
        assert set(losses) & set(AUXILIARY_LOSSES.values()) == expected
        assert all(np.isfinite(float(loss)) for loss in losses.values())
        if not chosen:
            assert len(detector.variables) == 137


@pytest.fixture(scope="module")
def trained():
    """A detector with all tasks, built for training; no test changes it."""
    return tiny.detector(*ALL, *WEIGHTS, is_training=True)


def test_an_image_without_objects_has_no_closeness_loss(trained):
    _, losses, gradients = run(trained, groundtruth(2), tiny.images(1))
    assert float(losses[Losses.closeness]) == 0.0
    assert float(losses[Losses.window]) > 0
    assert float(losses[Losses.edgemask]) > 0
    for path, gradient in gradients.items():
        assert gradient is None or np.isfinite(tf.convert_to_tensor(gradient)).all(), path


def test_an_image_without_windows_has_no_window_loss(trained):
    truth = groundtruth(0) | {Groundtruth.num_windows: tf.constant([0])}
    inputs, shapes = trained.preprocess(tiny.images(1))
    losses = trained.loss(trained.predict(inputs, shapes, truth), truth)
    assert float(losses[Losses.window]) == 0.0


@pytest.fixture(scope="module")
def detecting():
    """A detector with all tasks, built for inference; no test changes it."""
    return tiny.detector(*ALL, *WEIGHTS, is_training=False)


@pytest.fixture(scope="module")
def everything(detecting):
    """Its predictions for two images."""
    return detecting.predict(*detecting.preprocess(tiny.images(2)))


def predict(*overrides):
    """Return the predictions for two images of a detector with other options."""
    detector = tiny.detector(*ALL, *WEIGHTS, *overrides, is_training=False)
    return detector.predict(*detector.preprocess(tiny.images(2)))


@pytest.mark.slow
def test_chunks_change_nothing(everything):
    """Beside windows that come in turn: proposals in turn, all at once (8) and in a larger one."""
    for size in (1, 3, 8, 20):
        predictions = predict(f"model.mtl.refine_chunk_size={size}")
        for key in (Predictions.expanded_windows, Predictions.refined_classes):
            np.testing.assert_allclose(predictions[key], everything[key], atol=2e-5)


def test_the_best_proposals_alone_are_refined(everything):
    predictions = predict("model.mtl.refine_top_k=3")
    assert predictions[Predictions.expanded_windows].shape == (2, 3, 5, 4)
    main = everything[Predictions.class_predictions].numpy()
    scores = tf.nn.softmax(main)[..., 1:].numpy().max(axis=-1)
    for i in range(2):
        best = np.argsort(-scores[i])[:3]
        rest = np.setdiff1d(np.arange(8), best)
        refined = predictions[Predictions.refined_classes].numpy()[i]
        expected = everything[Predictions.refined_classes].numpy()[i]
        np.testing.assert_allclose(refined[best], expected[best], atol=2e-5)
        np.testing.assert_array_equal(refined[rest], main[i][rest])


@pytest.mark.parametrize("windows", [[4], [0, 4], [1, 3], [2]], ids=str)
def test_the_refiner_reads_some_of_the_windows(everything, windows):
    given = f"model.mtl.refine_windows=[{', '.join(map(str, windows))}]"
    detector = tiny.detector(*ALL, *WEIGHTS, given, is_training=False)
    assert detector.refiner.width == 4 * (1 + len(windows) + 1)  # main, windows, closeness
    predictions = detector.predict(*detector.preprocess(tiny.images(2)))
    expected = everything[Predictions.expanded_windows].numpy()[:, :, windows]
    np.testing.assert_allclose(predictions[Predictions.expanded_windows], expected, atol=2e-5)


def test_numbers_of_windows_out_of_order_are_an_error():
    for given in ([4, 0], [2, 2], [5], [-1]):
        with pytest.raises(ValueError, match=r"refine_windows is \[.*; expected ascending numbers"):
            WindowTask(None, num_classes=3, expanded=given)


def test_detections_come_from_the_refined_logits(detecting, everything):
    _, shapes = detecting.preprocess(tiny.images(2))
    detections = detecting.postprocess(everything, shapes)
    scores = tf.nn.softmax(everything[Predictions.refined_classes])
    np.testing.assert_allclose(detections[Detections.raw_scores], scores, atol=1e-6)


def gradient_reach(*overrides, losses):
    """Return loss -> the parts of the detector that it has a gradient for."""
    detector = tiny.detector(*ALL, *WEIGHTS, tiny.FEW_CHANNELS, *overrides, is_training=True)
    truth = groundtruth(0)
    inputs, shapes = detector.preprocess(tiny.images(1))
    parts = {
        "stage1": detector.feature_extractor,
        "stage2": detector.second_stage.head.stage2,
        "classes": detector.second_stage.head.predictor.class_head,
        "refiner": detector.refiner,
        "window": detector.aux_tasks[0],
        "closeness": detector.aux_tasks[1],
        "edgemask": detector.aux_tasks[2],
    }
    variables = {name: [v.value for v in part.trainable_variables] for name, part in parts.items()}
    with tf.GradientTape(persistent=True) as tape:
        values = detector.loss(detector.predict(inputs, shapes, truth), truth)
    reached = {}
    for loss in losses:
        gradients = tape.gradient(values[loss], variables)
        reached[loss] = {
            name for name, found in gradients.items() if any(g is not None for g in found)
        }
    return reached


@pytest.mark.parametrize(
    ("shared", "stop", "expected"),
    [
        (
            mtl_builder.OWN_STAGE2,
            "false",
            {
                Losses.window: {"stage1", "window"},
                Losses.closeness: {"stage1", "closeness"},
                Losses.edgemask: {"stage1", "edgemask"},
            },
        ),
        (
            mtl_builder.OWN_STAGE2,
            "true",
            {
                Losses.window: {"window"},
                Losses.closeness: {"closeness"},
                Losses.edgemask: {"edgemask"},
            },
        ),
        (
            mtl_builder.SHARED_STAGE2,
            "false",
            {
                Losses.window: {"stage1", "stage2", "window"},
                Losses.closeness: {"stage1", "stage2", "closeness"},
            },
        ),
        (
            mtl_builder.SHARED_STAGE2,
            "true",
            {Losses.window: {"window"}, Losses.closeness: {"closeness"}},
        ),
    ],
)
def test_where_the_gradient_of_a_task_ends(shared, stop, expected):
    assert expected == gradient_reach(
        f"model.mtl.shared_feature={shared}",
        f"model.mtl.stop_gradient_for_aux_tasks={stop}",
        losses=expected,
    )


@pytest.mark.parametrize(
    ("residue", "stop", "expected"),
    [
        ("true", "false", {"refiner", "classes", "stage1", "stage2"}),
        ("true", "true", {"refiner"}),
        ("false", "false", {"refiner"}),
    ],
)
def test_where_the_gradient_of_the_refinement_ends(residue, stop, expected):
    loss = Losses.refined_classification
    reached = gradient_reach(
        f"model.mtl.refine_residue={residue}",
        f"model.mtl.stop_gradient_for_prediction_org={stop}",
        losses=[loss],
    )
    assert reached == {loss: expected}


@pytest.mark.slow
def test_evaluation_reports_losses_and_metrics_of_the_tasks(detecting):
    inputs, shapes = detecting.preprocess(tiny.images(2))
    batch = groundtruth(0, 1) | {
        Batch.inputs: inputs,
        Batch.true_image_shapes: shapes,
        Groundtruth.weights: tf.ones([2, 3]),
    }
    spec = {key: tf.TensorSpec([None, *v.shape[1:]], v.dtype) for key, v in batch.items()}
    found = evaluation_step.make_infer_fn(detecting, spec, compare=True)(batch)
    for key in AUXILIARY_LOSSES.values():
        assert float(found[f"Loss/MTL/{key}"]) > 0, key
    for name in (
        Metrics.window_map,
        Metrics.window_kl,
        Metrics.closeness_diff,
        Metrics.closeness_accuracy,
        Metrics.edgemask_ap,
        Metrics.foreground_iou,
    ):
        total, count = found[name].numpy()
        assert total >= 0, name
        assert count > 0, name
    assert found[Metrics.window_map][1] == sum(NUM_WINDOWS[:2])
    assert found[Metrics.edgemask_ap][1] == 2 * 64 * 64
    windows, closeness, foreground = found[evaluation_step.COMPARISONS].values()
    np.testing.assert_array_equal(tf.reduce_sum(tf.cast(windows.exists, tf.int32), 1), [5, 2])
    np.testing.assert_allclose(tf.reduce_sum(windows.predicted, -1), np.ones([2, 5]), rtol=1e-5)
    assert closeness.predicted.shape == closeness.labels.shape == (2, 3, 4)
    assert foreground.predicted.shape == foreground.labels.shape == (2, 64, 64)


def test_training_without_labels_names_them(trained):
    truth = groundtruth(0)
    inputs, shapes = trained.preprocess(tiny.images(1))
    predictions = trained.predict(inputs, shapes, truth)
    del truth[Groundtruth.closeness]
    with pytest.raises(ValueError, match="no groundtruth_closeness"):
        trained.loss(predictions, truth)
