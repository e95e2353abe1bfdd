"""`TrainConfig` -> model, options, first weights."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_mtl.builders import train_config_builder
from object_detection_mtl.checkpoints import native
from object_detection_mtl.mtl.refinement import Refiner
from object_detection_mtl.protos import train_pb2
from object_detection_mtl.training.run_options import RunOptions
from tests.training.tiny import tiny_detector

OPTIMIZER = "optimizer { momentum_optimizer { learning_rate { constant_learning_rate {} } } }"


def parse(text):
    return text_format.Parse(OPTIMIZER + text, train_pb2.TrainConfig())


def build(text):
    return train_config_builder.build_model(parse(text), tiny_detector())


def test_step_options():
    options = build("seed: 7 gradient_clipping_by_norm: 10.0").step_options
    assert (options.seed, options.clip_norm, options.clip_per_variable) == (7, 10.0, False)
    assert options.add_regularization
    assert set(options.gradient_multipliers) == {1.0}
    options = build(
        "gradient_clipping_mode: PER_VARIABLE add_regularization_loss: false"
    ).step_options
    assert options.clip_per_variable
    assert not options.add_regularization


def test_gradient_multipliers():
    model = build("batch_size: 4 grad_multiplier: 2.0 divide_grad_by_batch: true "
                  "bias_grad_multiplier: 3.0")  # fmt: skip
    factors = dict(zip(model.trained, model.step_options.gradient_multipliers, strict=True))
    assert factors["FirstStageBoxPredictor/Conv/weights"] == 0.5
    assert factors["FirstStageBoxPredictor/Conv/biases"] == 1.5
    assert factors["FirstStageFeatureExtractor/TinyNet/Conv2d_0/BatchNorm/beta"] == 0.5


def test_learning_rate_of_the_refiner():
    """Its variables alone have another rate; without a refiner, or with factor 1, none has."""
    detector = tiny_detector()
    assert train_config_builder.build_model(parse(""), detector).optimizer.rate_multipliers == ()
    for multiplier in (1.0, 4.0):
        detector = tiny_detector()
        detector.refiner = Refiner(
            num_classes=2, auxiliary_width=1, learning_rate_multiplier=multiplier
        )
        model = train_config_builder.build_model(parse(""), detector)
        if multiplier == 1.0:
            assert model.optimizer.rate_multipliers == ()
            continue
        factors = dict(zip(model.trained, model.optimizer.rate_multipliers, strict=True))
        assert {name for name, factor in factors.items() if factor == 4.0} == {
            "MTLClassRefiner/fc1/weights",
            "MTLClassRefiner/fc1/biases",
        }
        assert set(factors.values()) == {1.0, 4.0}


def test_trained_variables():
    model = build("")
    trainable = {id(variable) for variable in model.detector.trainable_variables}
    assert {id(variable) for variable in model.trained.values()} == trainable
    frozen = build('freeze_variables: "FeatureExtractor/"').trained
    assert frozen
    assert not any("FeatureExtractor" in name for name in frozen)
    updated = build('update_trainable_variables: "ClassPredictor/weights$"').trained
    assert sorted(updated) == [
        "FirstStageBoxPredictor/ClassPredictor/weights",
        "SecondStageBoxPredictor/ClassPredictor/weights",
    ]


def test_loop_options():
    options = train_config_builder.build_loop_options(
        parse("num_steps: 70 keep_checkpoint_every_n_hours: 5"), RunOptions(checkpoint_every_n=20)
    )
    assert (options.num_steps, options.checkpoint_every_n) == (70, 20)
    assert options.keep_every_n_hours == 5
    assert train_config_builder.build_loop_options(parse(""), RunOptions(3)).num_steps == 3
    assert train_config_builder.build_loop_options(parse("")).num_steps is None
    with pytest.raises(ValueError, match="num_steps is 0"):
        train_config_builder.build_loop_options(parse(""), RunOptions(0))


def test_forms_of_auxiliary_gradients():
    default = build("").step_options
    assert default.auxiliary_gradients == "SUM"
    assert (default.auxiliary_warmup_start, default.auxiliary_warmup_steps) == (0, 0)
    assert default.measure_every_n == 0
    chosen = build(
        "auxiliary_gradients: PROJECT auxiliary_warmup_start: 3 auxiliary_warmup_steps: 4 "
        "log_gradient_norms_every_n: 50"
    ).step_options
    assert chosen.auxiliary_gradients == "PROJECT"
    assert (chosen.auxiliary_warmup_start, chosen.auxiliary_warmup_steps) == (3, 4)
    assert chosen.measure_every_n == 50
    # The first stage is shared, the heads are not.
    assert 0 < sum(chosen.is_shared) < len(chosen.is_shared)


def test_largest_number_of_boxes_acts_where_it_is_written():
    assert train_config_builder.max_boxes(parse("")) is None
    assert train_config_builder.max_boxes(parse("max_number_of_boxes: 100")) == 100


def values(detector):
    return {name: v.numpy() for name, v in native.named_variables(detector).items()}


def save(detector, directory):
    tree = native.tree(native.named_variables(detector))
    return tf.train.CheckpointManager(tf.train.Checkpoint(model=tree), str(directory), 1).save()


@pytest.mark.parametrize(
    ("fields", "scopes"),
    [
        ("", ("FirstStageFeatureExtractor", "SecondStageFeatureExtractor")),
        ("restore_box_predictor: true", ("",)),
        ('fine_tune_checkpoint_type: "full"', ("",)),
        ("load_all_detection_checkpoint_vars: true", ("",)),
    ],
)
def test_first_weights(tmp_path, fields, scopes, capsys):
    source = tiny_detector(seed=5)
    path = save(source, tmp_path / "pretrained")
    config = parse(f'fine_tune_checkpoint: "{path}" fine_tune_checkpoint_type: "detection"')
    text_format.Merge(fields, config)
    detector = tiny_detector(seed=1)
    before, wanted = values(detector), values(source)
    train_config_builder.build_initializer(config, tmp_path / "run")(detector)
    for name, value in values(detector).items():
        expected = wanted if name.startswith(scopes) else before
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert "weights from a checkpoint of this package" in capsys.readouterr().out


def test_all_variables_that_fit(tmp_path, capsys):
    """load_all_detection_checkpoint_vars keeps heads of another size or without a counterpart."""
    source = tiny_detector(seed=5)
    kept = {
        "FirstStageBoxPredictor/ClassPredictor/weights": None,
        "SecondStageBoxPredictor/BoxEncodingPredictor/biases": np.zeros(3, np.float32),
    }
    names = {**native.named_variables(source), **kept}
    tree = native.tree({n: v for n, v in names.items() if v is not None})
    tree = tf.nest.map_structure(tf.Variable, tree)
    path = tf.train.Checkpoint(model=tree).save(str(tmp_path / "pretrained"))
    config = parse(
        f'fine_tune_checkpoint: "{path}" fine_tune_checkpoint_type: "detection" '
        "load_all_detection_checkpoint_vars: true"
    )
    detector = tiny_detector(seed=1)
    before, wanted = values(detector), values(source)
    train_config_builder.build_initializer(config, tmp_path / "run")(detector)
    for name, value in values(detector).items():
        expected = before if name in kept else wanted
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    shown = capsys.readouterr().out
    assert "ClassPredictor/weights: not in the checkpoint" in shown
    assert "BoxEncodingPredictor/biases: [3]" in shown


def test_no_checkpoint_changes_nothing(tmp_path):
    detector = tiny_detector()
    before = values(detector)
    train_config_builder.build_initializer(parse(""), tmp_path)(detector)
    for name, value in values(detector).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_checkpoint_in_the_runs_own_directory_is_refused(tmp_path):
    for path in (tmp_path / "ckpt-3", tmp_path, f"{tmp_path}/../{tmp_path.name}/ckpt-3"):
        with pytest.raises(ValueError, match="lies in the model directory of this run"):
            train_config_builder.build_initializer(
                parse(f'fine_tune_checkpoint: "{path}"'), tmp_path
            )


def test_a_missing_checkpoint_is_an_error_of_a_new_run_only(tmp_path):
    config = parse(f'fine_tune_checkpoint: "{tmp_path}/gone/ckpt-1"')
    initialize = train_config_builder.build_initializer(config, tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="directory '.*gone' does not exist"):
        initialize(tiny_detector())
