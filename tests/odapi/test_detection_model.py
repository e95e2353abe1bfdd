"""The OD API's model methods around a detector, in the forms that scripts use."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import native
from object_detection_mtl.odapi.builders import model_builder
from object_detection_mtl.odapi.utils import config_util
from tests import records

LOSSES = {
    "Loss/RPNLoss/localization_loss",
    "Loss/RPNLoss/objectness_loss",
    "Loss/BoxClassifierLoss/localization_loss",
    "Loss/BoxClassifierLoss/classification_loss",
}
BOX = tf.constant([[0.2, 0.2, 0.8, 0.7]])


@pytest.fixture(scope="module")
def model_config(tmp_path_factory):
    path = records.write(tmp_path_factory.mktemp("records"))
    return config_util.get_configs_from_pipeline_file(path)["model"]


@pytest.fixture(scope="module")
def detecting(model_config):
    return model_builder.build(model_config=model_config, is_training=False)


@pytest.fixture(scope="module")
def training(model_config):
    return model_builder.build(model_config, True, add_summaries=False)


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return random.integers(0, 255, (2, 48, 64, 3)).astype(np.float32)


def provide(model, boxes=(BOX, BOX), classes=None, **options):
    classes = classes or [tf.one_hot([0] * len(box), 2) for box in boxes]
    model.provide_groundtruth(
        groundtruth_boxes_list=list(boxes), groundtruth_classes_list=classes, **options
    )


def losses_of(model, images):
    inputs, shapes = model.preprocess(tf.convert_to_tensor(images))
    return model.loss(model.predict(inputs, shapes), shapes)


def test_detections(detecting, images):
    image, shapes = detecting.preprocess(tf.convert_to_tensor(images[:1]))
    predictions = detecting.predict(image, shapes)
    detections = detecting.postprocess(predictions, shapes)
    assert detections["detection_boxes"].shape == [1, 5, 4]
    num_detections = int(detections.pop("num_detections"))
    assert 0 < num_detections <= 5
    arrays = {key: value[0, :num_detections].numpy() for key, value in detections.items()}
    classes = (arrays["detection_classes"] + 1).astype(int)
    assert set(classes) <= {1, 2}
    again = detecting(images[:1])
    np.testing.assert_array_equal(again["detection_scores"], detections["detection_scores"])


@pytest.mark.slow
def test_a_function_compiled_by_the_script(detecting, images):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
    def detect(image):
        image, shapes = detecting.preprocess(image)
        predictions = detecting.predict(image, shapes)
        return detecting.postprocess(predictions, shapes), predictions, tf.reshape(shapes, [-1])

    found = detect(images[:1])[0]["detection_scores"]
    np.testing.assert_allclose(found, detecting(images[:1])["detection_scores"], atol=1e-6)


def test_shapes_may_be_lists(detecting, images):
    inputs, shapes = detecting.preprocess(images)
    found = detecting.postprocess(
        detecting.predict(inputs, shapes.numpy().tolist()), tf.constant(shapes)
    )
    assert found["detection_boxes"].shape[0] == 2


def test_a_training_step_changes_the_weights(training, images):
    provide(training, groundtruth_weights_list=[[1.0], [1.0]])
    with tf.GradientTape() as tape:
        losses = losses_of(training, images)
        total = tf.add_n(list(losses.values()))
    assert set(losses) == LOSSES
    variables = training.trainable_variables
    assert all(isinstance(variable, tf.Variable) for variable in variables)
    gradients = tape.gradient(total, variables)
    assert all(gradient is not None for gradient in gradients)
    before = variables[-1].numpy()  # of the second stage's heads
    optimizer = tf.keras.optimizers.SGD(learning_rate=0.01, momentum=0.9)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    assert np.isfinite(float(total))
    assert (variables[-1].numpy() != before).any()


def test_samples_differ_between_predictions_and_agree_with_the_loss(training, images):
    provide(training)
    inputs, shapes = training.preprocess(images)
    first, second = (training.predict(inputs, shapes) for _ in range(2))
    assert (first["random_seed"].numpy() != second["random_seed"].numpy()).any()
    losses = [training.loss(first, shapes) for _ in range(2)]
    for key in LOSSES:
        assert losses[0][key] == losses[1][key]


def test_numbers_of_objects_may_differ(training, images):
    provide(training, [tf.zeros([0, 4]), tf.concat([BOX, BOX / 2], axis=0)])
    assert np.isfinite(sum(losses_of(training, images).values()).numpy())
    provide(training, [tf.zeros([0, 4]), tf.zeros([0, 4])])
    assert losses_of(training, images)["Loss/BoxClassifierLoss/localization_loss"] == 0


def test_ground_truth_is_padded(training):
    provide(training, [BOX, tf.concat([BOX, BOX / 2], axis=0)])
    stored = training._groundtruth
    assert stored["groundtruth_boxes"].shape == [2, 2, 4]
    assert stored["groundtruth_classes"].numpy().tolist() == [[1, 0], [1, 1]]
    assert stored["num_groundtruth_boxes"].numpy().tolist() == [1, 2]
    assert stored["groundtruth_weights"].numpy().tolist() == [[1, 0], [1, 1]]


def test_a_row_of_zeros_has_no_class_loss(detecting, images):
    inputs, shapes = detecting.preprocess(images)
    predictions = detecting.predict(inputs, shapes)
    # Every proposal matches the one object exactly.
    predictions["proposal_boxes"] = tf.broadcast_to(BOX * 48, [2, 6, 4])
    box = [tf.constant([[0.2, 0.15, 0.8, 0.525]])] * 2
    key = "Loss/BoxClassifierLoss/classification_loss"
    for one_hot, is_zero in ((tf.zeros([1, 2]), True), (tf.constant([[0.0, 1.0]]), False)):
        provide(detecting, box, [one_hot] * 2)
        assert (float(detecting.loss(predictions, shapes)[key]) == 0) is is_zero


def test_losses_of_a_model_built_for_detecting_reach_the_pixels(detecting, images):
    provide(detecting)
    pixels = tf.Variable(images)
    with tf.GradientTape() as tape:
        inputs, shapes = detecting.preprocess(pixels)
        losses = detecting.loss(detecting.predict(inputs, shapes), shapes)
        total = sum(losses.values())
    assert set(losses) == LOSSES
    gradient = tape.gradient(total, pixels)
    assert np.isfinite(gradient.numpy()).all()
    assert np.abs(gradient.numpy()).max() > 0


def test_training_without_ground_truth_is_an_error(model_config, images):
    model = model_builder.build(model_config, is_training=True)
    inputs, shapes = model.preprocess(images)
    with pytest.raises(RuntimeError, match="provide_groundtruth"):
        model.predict(inputs, shapes)
    with pytest.raises(RuntimeError, match="provide_groundtruth"):
        model.loss({}, shapes)
    with pytest.raises(ValueError, match="side inputs are unsupported"):
        model.predict(inputs, shapes, context_features=1)


def test_what_is_ignored_is_named(detecting, caplog):
    provide(detecting, groundtruth_masks_list=[1], groundtruth_keypoints_list=[2])
    assert "ignored: groundtruth_masks_list, groundtruth_keypoints_list" in caplog.text


def test_checkpoints_in_the_forms_of_scripts(model_config, training, detecting, tmp_path):
    training.trainable_variables[0].assign_add(tf.ones_like(training.trainable_variables[0]))
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(model=training, step=tf.Variable(1)), str(tmp_path), max_to_keep=1
    )
    manager.save()
    checkpoint = tf.compat.v2.train.Checkpoint(model=detecting)
    checkpoint.restore(tf.train.latest_checkpoint(str(tmp_path))).expect_partial()
    for ours, theirs in zip(training.variables, detecting.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_both_feature_extractors_alone(model_config, training, tmp_path):
    prefix = tf.train.Checkpoint(model=training).save(str(tmp_path / "ckpt"))
    saved = native.named_variables(training.detector)
    for kind in ("by function", "by hand", "full"):
        model = model_builder.build(model_config, is_training=False)
        if kind == "by hand":
            objects = {
                "model": tf.train.Checkpoint(
                    FirstStageFeatureExtractor=model._feature_extractor_for_proposal_features
                )
            }
        else:
            objects = model.restore_from_objects("full" if kind == "full" else "detection")
        before = {k: v.numpy() for k, v in native.named_variables(model.detector).items()}
        status = tf.train.Checkpoint(**objects).restore(prefix)
        status.expect_partial().assert_existing_objects_matched()
        for name, variable in native.named_variables(model.detector).items():
            scopes = {
                "by hand": "FirstStageF",
                "full": "",
                "by function": ("FirstStageF", "Second"),
            }
            expected = before[name]
            if name.startswith(scopes[kind]) and "BoxPredictor" not in name or kind == "full":
                expected = saved[name].numpy()
            np.testing.assert_array_equal(variable.numpy(), expected, err_msg=f"{kind} {name}")
    with pytest.raises(ValueError, match="expected 'detection' or 'full'"):
        model.restore_from_objects("classification")


@pytest.mark.slow
def test_saving_as_a_saved_model(detecting, images, tmp_path):
    class Module(tf.Module):
        def __init__(self, model):
            super().__init__()
            self._model = model

        @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)])
        def __call__(self, input_tensor):
            return self._model(input_tensor)

    tf.saved_model.save(Module(detecting), str(tmp_path / "saved_model"))
    image = images[:1].astype(np.uint8)
    found = tf.saved_model.load(str(tmp_path / "saved_model"))(image)
    np.testing.assert_allclose(
        found["detection_scores"], detecting(image)["detection_scores"], atol=1e-6
    )


def test_parts_that_scripts_call(detecting, images):
    inputs, _ = detecting.preprocess(images)
    features, endpoints = detecting._extract_proposal_features(inputs)
    assert endpoints == {}
    assert features.shape[0] == 2
    crops = tf.zeros([3, 7, 7, features.shape[-1]])
    assert detecting._extract_box_classifier_features(crops).shape[0] == 3
    assert detecting.num_classes == 2
    assert len(detecting.regularization_losses()) == 1
    assert detecting.updates() == []
