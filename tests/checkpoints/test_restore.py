"""Restoring weights: what is loaded, what is left, and every way it can go wrong."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import native
from object_detection_mtl.checkpoints.checkpoint_search import open_checkpoint
from object_detection_mtl.checkpoints.restore import preview_restore, restore
from object_detection_mtl.checkpoints.restore_plan import RestoreRequest
from object_detection_mtl.protos import model_pb2
from tests.checkpoints.test_slim import REAL_CHECKPOINT
from tests.checkpoints.tf1_files import write_tf1
from tests.training.tiny import tiny_detector

BACKBONE = ("FirstStageFeatureExtractor/", "SecondStageFeatureExtractor/")


def save_native(detector, directory, **items):
    tree = native.tree(native.named_variables(detector))
    checkpoint = tf.train.Checkpoint(model=tree, step=tf.Variable(7), **items)
    return tf.train.CheckpointManager(checkpoint, str(directory), 3).save()


def classifier(detector, scope="TinyNet"):
    """A TF-Slim classifier with the tiny backbone's variables, and an unused head."""
    rng = np.random.RandomState(0)
    arrays = {
        name.split("/", 1)[1].replace("TinyNet", scope): rng.rand(*v.shape).astype(np.float32)
        for name, v in native.named_variables(detector).items()
        if name.startswith(BACKBONE)
    }
    return arrays | {f"{scope}/Logits/biases": np.zeros(3, np.float32), "global_step": np.array(9)}


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def snapshot(detector):
    return {name: v.numpy() for name, v in native.named_variables(detector).items()}


def test_slim_classifier_fills_both_stages_and_nothing_else(tmp_path, capsys):
    detector = tiny_detector()
    before, arrays = snapshot(detector), classifier(detector)
    for version in (1, 2):
        prefix = write_tf1(tmp_path / f"net{version}.ckpt", arrays, version=version)
        report = restore(detector, prefix, checkpoint_type="classification")
        for name, value in snapshot(detector).items():
            expected = arrays.get(name.split("/", 1)[1], before[name])
            np.testing.assert_array_equal(value, expected, err_msg=name)
        assert len(report.loaded) == 10
        assert not report.missing
        assert not report.mismatched
        assert report.unused == ("TinyNet/Logits/biases", "global_step")
        assert "FirstStageBoxPredictor/Conv/weights" in report.kept
    table = capsys.readouterr().out
    assert "weights from a TF-Slim classifier TinyNet" in table
    assert "kept as initialized" in table
    assert " 10  FirstStageFeatureExtractor" in table


def test_a_variable_that_the_classifier_lacks_is_an_error(tmp_path):
    detector = tiny_detector()
    arrays, before = classifier(detector), snapshot(detector)
    del arrays["TinyNet/Conv2d_1/weights"]
    prefix = write_tf1(tmp_path / "net.ckpt", arrays)
    with pytest.raises(
        ValueError,
        match="lacks 1 of the 10 requested variables of the model: SecondStageFeatureExtractor/"
        "TinyNet/Conv2d_1/weights. The checkpoint is of another version of the network",
    ):
        restore(detector, prefix)
    assert_equal(snapshot(detector), before)
    request = RestoreRequest()
    report = preview_restore(detector, open_checkpoint(prefix), request)
    assert report.missing == ("SecondStageFeatureExtractor/TinyNet/Conv2d_1/weights",)


def test_own_checkpoint_by_type(tmp_path):
    source = tiny_detector(seed=5)
    path = save_native(source, tmp_path)
    for checkpoint_type, include, expected in (
        ("", (), BACKBONE),
        ("detection", (), BACKBONE),
        ("detection", ("SecondStageBoxPredictor",), (*BACKBONE, "SecondStageBoxPredictor")),
        ("full", (), ("",)),
    ):
        detector = tiny_detector(seed=1)
        before = snapshot(detector)
        report = restore(
            detector, path, checkpoint_type=checkpoint_type, include=include, verbose=False
        )
        for name, value in snapshot(detector).items():
            loaded = name.startswith(expected)
            assert (name in report.loaded) == loaded
            reference = snapshot(source) if loaded else before
            np.testing.assert_array_equal(value, reference[name], err_msg=name)


def test_detection_serves_any_number_of_classes_full_does_not(tmp_path):
    save_native(tiny_detector(num_classes=5), tmp_path)
    detector = tiny_detector(num_classes=2)
    before = snapshot(detector)
    with pytest.raises(ValueError, match=r"BoxEncodingPredictor/weights: \[4, 20\], \[4, 8\]"):
        restore(detector, tmp_path, checkpoint_type="full")
    for name, value in snapshot(detector).items():
        np.testing.assert_array_equal(value, before[name])
    assert len(restore(detector, tmp_path, checkpoint_type="detection").loaded) == 10


def test_full_needs_every_weight_but_no_state_of_random_generators(tmp_path):
    path = save_native(tiny_detector(seed=5), tmp_path / "run")
    detector = tiny_detector(dropout_keep_probability=0.5)
    report = restore(detector, path, checkpoint_type="full")
    (state,) = report.kept
    assert state.startswith("unnamed/")
    path = save_native(detector, tmp_path / "with_state")
    assert state in restore(detector, path, checkpoint_type="full").loaded
    names = native.named_variables(tiny_detector())
    del names["SecondStageBoxPredictor/ClassPredictor/biases"]
    path = tf.train.Checkpoint(model=native.tree(names)).save(str(tmp_path / "less"))
    with pytest.raises(ValueError, match=r"lacks 1 of the 20 .*ClassPredictor/biases.*detection"):
        restore(detector, path, checkpoint_type="full")


def test_moving_averages(tmp_path):
    detector = tiny_detector()
    name = "SecondStageBoxPredictor/ClassPredictor/biases"
    averages = {name: tf.Variable([1.0, 2.0, 3.0])}
    path = save_native(detector, tmp_path, optimizer={"average": native.tree(averages)})
    other = tiny_detector(seed=3)
    report = restore(other, path, checkpoint_type="full", use_moving_averages=True)
    assert not report.missing
    assert not report.unused
    expected = snapshot(detector) | {name: np.array([1.0, 2.0, 3.0], np.float32)}
    for key, value in snapshot(other).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)
    restore(other, path, checkpoint_type="full")
    np.testing.assert_array_equal(snapshot(other)[name], snapshot(detector)[name])


def test_moving_averages_that_are_not_there(tmp_path):
    detector = tiny_detector()
    path = save_native(detector, tmp_path)
    with pytest.raises(ValueError, match="holds no moving averages"):
        restore(detector, path, checkpoint_type="full", use_moving_averages=True)
    slim_path = write_tf1(tmp_path / "net.ckpt", classifier(detector))
    with pytest.raises(ValueError, match="holds no moving averages"):
        restore(detector, slim_path, use_moving_averages=True)


def test_types_that_a_checkpoint_cannot_serve(tmp_path):
    detector = tiny_detector()
    slim_path = write_tf1(tmp_path / "net.ckpt", classifier(detector))
    for checkpoint_type in ("detection", "full"):
        with pytest.raises(ValueError, match=f"{checkpoint_type!r} needs a detector's checkpoint"):
            restore(detector, slim_path, checkpoint_type=checkpoint_type)
    path = save_native(detector, tmp_path)
    with pytest.raises(ValueError, match="use 'detection' or 'full'"):
        restore(detector, path, checkpoint_type="classification")
    with pytest.raises(ValueError, match="'fine_tune' is unknown; expected one of classification"):
        restore(detector, path, checkpoint_type="fine_tune")


def test_checkpoints_of_other_models(tmp_path):
    detector = tiny_detector()
    other = write_tf1(tmp_path / "other.ckpt", classifier(detector, scope="resnet_v1_50"))
    with pytest.raises(ValueError, match="architecture, resnet_v1_50; .* extractor is TinyNet"):
        restore(detector, other)
    wide = write_tf1(tmp_path / "wide.ckpt", classifier(tiny_detector(channels=6)))
    with pytest.raises(
        ValueError, match=r"belongs to another model: 10 variables .*\[8, 8, 3, 6\]"
    ):
        restore(detector, wide)
    path = save_native(tiny_detector(backbone_scope="OtherNet"), tmp_path)
    with pytest.raises(ValueError, match="architecture, OtherNet; .* extractor is TinyNet"):
        restore(detector, path)
    stranger = tf.train.Checkpoint(net=tf.Variable(1.0)).save(str(tmp_path / "stranger"))
    with pytest.raises(
        ValueError, match=r"object-based, variables such as net/.*is of an unknown kind"
    ):
        restore(detector, stranger)
    ssd = tf.train.Checkpoint(model={"_feature_extractor": {"x": tf.Variable(1.0)}})
    with pytest.raises(ValueError, match="looks like an SSD or CenterNet of the Object Detection"):
        restore(detector, ssd.save(str(tmp_path / "ssd")))


def test_a_classifier_of_the_right_name_with_nothing_that_fits(tmp_path):
    path = write_tf1(tmp_path / "net.ckpt", {"TinyNet/Logits/biases": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="no variable of .*has TinyNet/Logits.*expects FirstStage"):
        restore(tiny_detector(), path)


def test_a_corrupt_file_changes_nothing(tmp_path):
    detector = tiny_detector()
    path = save_native(tiny_detector(seed=9), tmp_path)
    data = f"{path}.data-00000-of-00001"
    with open(data, "r+b") as file:
        file.truncate(600)
    before = snapshot(detector)
    with pytest.raises(ValueError, match="corrupt or truncated"):
        restore(detector, path, checkpoint_type="full")
    for name, value in snapshot(detector).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.skipif(
    not REAL_CHECKPOINT.with_suffix(".ckpt.index").exists(), reason="no real checkpoint here"
)
def test_real_mobilenet_fills_every_backbone_variable():
    config = text_format.Parse(
        """
        faster_rcnn {
          num_classes: 3
          image_resizer { identity_resizer {} }
          feature_extractor { type: "faster_rcnn_mobilenet_v1" }
          first_stage_anchor_generator {
            grid_anchor_generator { scales: 1.0 aspect_ratios: 1.0 }
          }
          initial_crop_size: 7
          maxpool_kernel_size: 1
          maxpool_stride: 1
          second_stage_box_predictor { mask_rcnn_box_predictor {} }
        }
        """,
        model_pb2.DetectionModel(),
    )
    detector = model_builder.build(config, is_training=True)
    report = restore(detector, REAL_CHECKPOINT, checkpoint_type="classification", verbose=False)
    names = native.named_variables(detector)
    assert sorted(report.loaded) == sorted(n for n in names if n.startswith(BACKBONE))
    assert not report.missing
    # The classifier's head, and its batch norms that the linearised layers cannot hold.
    assert all("/Logits/" in name or name == "global_step" for name in report.unused), report.unused
