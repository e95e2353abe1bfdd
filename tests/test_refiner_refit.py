"""Fitting the refiner of a finished run again, from Python and as a command."""

import json

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl import jobs, refiner_refit
from object_detection_mtl.checkpoints import checkpoint_conversion, native
from object_detection_mtl.cli import refit_refiner
from object_detection_mtl.config import pipeline
from object_detection_mtl.experiments import refinement_forms
from object_detection_mtl.refiner_refit import RefitRequest
from object_detection_mtl.training.refiner_fit import ClassFit, FitOptions
from object_detection_mtl.training.run_options import RunOptions
from tests import command_line, eager, records, tiny_backbone

WITH_TASKS = (
    tiny_backbone.OVERRIDE,
    *(f"model.mtl.{task}=true" for task in ("window", "closeness", "refine")),
    "model.mtl.window_class_loss_weight=1.0",
    "model.mtl.refined_classification_loss_weight=1.0",
    "model.mtl.refine_residue=true",
    "model.mtl.num_windows=4",
    "train_config.num_steps=2",
)
MAIN = "Loss/BoxClassifierLoss/classification_loss"
KERNEL = "model/MTLClassRefiner/fc1/weights/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.fixture(scope="module", autouse=True)
def tiny_type():
    with pytest.MonkeyPatch.context() as monkeypatch, eager.eagerly():
        tiny_backbone.register(monkeypatch)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a short training on twelve images."""
    data = tmp_path_factory.mktemp("refit")
    records.write(data, num_train=12)
    jobs.train(records.load(data, *WITH_TASKS), data / "run", RunOptions(record_summaries=False))
    return data / "run"


@pytest.fixture(scope="module")
def trained_without_refiner(trained):
    """The training's weights without the refiner, as a training without refinement leaves them."""
    config = pipeline.load(trained / "pipeline.config")
    detector, _ = refiner_refit.load_refining_detector(config, str(trained))
    names = [n for n in native.named_variables(detector) if not n.startswith("MTLClassRefiner/")]
    directory = trained.parent / "without"
    form = checkpoint_conversion.NATIVE
    checkpoint_conversion.write_checkpoint(
        detector, str(directory / "ckpt-2"), form=form, names=names, step=2
    )
    config.model.mtl.refine = config.model.mtl.refine_residue = False
    pipeline.save(config, directory / "pipeline.config")
    return directory


def assert_only_the_refiner_differs(old_dir, new_dir):
    """Every other weight of the old checkpoint is in the new one, unchanged."""
    old, new = (tf.train.load_checkpoint(str(directory)) for directory in (old_dir, new_dir))
    names = [name for name in old.get_variable_to_shape_map() if name.startswith("model/")]
    others = [name for name in names if not name.startswith("model/MTLClassRefiner/")]
    assert len(others) > 20
    for name in others:
        np.testing.assert_array_equal(new.get_tensor(name), old.get_tensor(name), err_msg=name)


@pytest.mark.slow
def test_a_refitted_run_is_exported_and_continues(trained, tmp_path, capfd):
    flags = [f"--pipeline_config_path={trained}/pipeline.config", f"--checkpoint_dir={trained}"]
    done = command_line.run(refit_refiner, *flags, f"--output_dir={tmp_path}/new", "--jitter=1")
    assert done.code == 0, done.err
    assert "fit (12 images)" in done.out
    assert "held out (3 images)" in done.out  # of eval_input_reader
    report = json.loads((tmp_path / "new" / "refit.json").read_text())
    losses = {name: fit["cross_entropy"] for name, fit in report["held_out"].items()}
    assert list(losses) == ["main logits", "as trained", "refitted"]
    assert report["helps"] == (losses["refitted"] < losses["as trained"])
    # Two steps from random weights leave much to gain.
    assert report["helps"]
    assert "written to" in done.out

    old, new = (tf.train.load_checkpoint(str(path)) for path in (trained, tmp_path / "new"))
    assert np.any(old.get_tensor(KERNEL) != new.get_tensor(KERNEL))
    assert_only_the_refiner_differs(trained, tmp_path / "new")
    config = pipeline.load(tmp_path / "new" / "pipeline.config")
    assert config == pipeline.load(trained / "pipeline.config")
    with eager.eagerly(False):
        jobs.export(config, str(tmp_path / "new"), str(tmp_path / "exported"))
    assert jobs.train(config, tmp_path / "new", RunOptions(num_steps=3)).step == 3

    done = command_line.run(refit_refiner, *flags, f"--output_dir={tmp_path}/new")
    assert done.code == 1
    assert "is not an empty directory; give a new --output_dir" in done.err

    done = command_line.run(refit_refiner, *flags, "--report_only", "--num_images=3")
    assert done.code == 0, done.err
    lines = [line.split("  ")[0] for line in done.out.splitlines()[-7:]]
    assert lines == [
        "main logits",
        "as trained",
        "cross-fitted: main",
        "cross-fitted: main + window",
        "cross-fitted: main + closeness",
        "cross-fitted: main + window + closeness",
        "refitted",
    ]


@pytest.mark.slow
def test_a_run_without_refinement_gets_a_refiner_and_is_evaluated(
    trained_without_refiner, tmp_path, capfd
):
    run = trained_without_refiner
    flags = [f"--pipeline_config_path={run}/pipeline.config"]
    flags += [f"--checkpoint_dir={run}", f"--output_dir={tmp_path}/new"]
    done = command_line.run(refit_refiner, *flags)
    assert done.code == 0, done.err
    assert "a refiner is added" in done.out
    fits = json.loads((tmp_path / "new" / "refit.json").read_text())["held_out"]
    assert fits["as trained"] == fits["main logits"]
    assert fits["refitted"]["cross_entropy"] < fits["main logits"]["cross_entropy"]

    old, new = (pipeline.load(path / "pipeline.config") for path in (run, tmp_path / "new"))
    assert (old.model.mtl.refine, new.model.mtl.refine) == (False, True)
    assert new.model.mtl.refine_residue
    assert_only_the_refiner_differs(run, tmp_path / "new")
    metrics = jobs.evaluate(new, str(tmp_path / "new"), tmp_path / "evaluation", once=True)
    assert metrics["Loss/MTL/refined_classification_loss"] < metrics[MAIN]


@pytest.mark.slow
def test_a_refiner_of_fewer_windows_replaces_the_trained_one(trained, tmp_path, capfd, caplog):
    flags = [f"--pipeline_config_path={trained}/pipeline.config", f"--checkpoint_dir={trained}"]
    flags += [f"--output_dir={tmp_path}/new", "--override=model.mtl.refine_windows=[0, 4]"]
    done = command_line.run(refit_refiner, *flags, f"--records={trained.parent}/val.record")
    assert done.code == 1
    assert "needs as many images with proposals; there are 3. Give more images" in done.err
    done = command_line.run(refit_refiner, *flags)
    assert done.code == 0, done.err
    assert "is replaced: it does not read the 12 inputs of the config" in caplog.text
    kernel = tf.train.load_checkpoint(str(tmp_path / "new")).get_tensor(KERNEL)
    assert kernel.shape == (3 * (1 + 2 + 1), 3)  # main logits, two windows, closeness
    assert_only_the_refiner_differs(trained, tmp_path / "new")
    config = pipeline.load(tmp_path / "new" / "pipeline.config")
    assert list(config.model.mtl.refine_windows) == [0, 4]
    metrics = jobs.evaluate(config, str(tmp_path / "new"), tmp_path / "evaluation", once=True)
    assert metrics["Loss/MTL/refined_classification_loss"] < metrics[MAIN]


@pytest.mark.slow
def test_refiners_that_read_less_are_compared(trained):
    config = pipeline.load(trained / "pipeline.config")
    forms = refinement_forms.standard_forms()
    request = RefitRequest(fit=FitOptions(l2=0.001))
    results = refinement_forms.compare_forms(config, str(trained), forms, request)
    losses = {result.form.name: result.cross_entropy for result in results}
    # Two steps from random weights leave much to gain, for a calibration already.
    assert losses["calibration of the main logits"] < losses["main logits"]
    assert len(set(losses.values())) > len(losses) / 2
    assert losses["all windows"] == losses["all windows, 50% of the proposals"]
    table = refinement_forms.table(results, {})
    assert table.count("\n") == len(forms) + 1
    lacking = pipeline.load(trained / "pipeline.config", ["model.mtl.refine_windows=[4]"])
    with pytest.raises(ValueError, match="expected a detector that was trained with the window"):
        refinement_forms.compare_forms(lacking, str(trained), forms, request)


@pytest.mark.parametrize(
    ("sampled", "given", "num_images", "every"),
    [
        (1, False, None, 1),
        (3, False, None, 3),  # as in training
        (3, False, 2, 6),  # 4 of 12 are of the training, every second one is read
        (3, False, 100, 3),
        (3, True, None, 1),  # other records are read whole
        (3, True, 4, 3),
    ],
)
def test_the_images_are_those_of_the_training(tmp_path, sampled, given, num_images, every):
    records.write(tmp_path, num_train=12)
    config = records.load(tmp_path, f"train_input_reader.sample_1_of_n_examples={sampled}")
    paths = list(config.train_input_reader.tf_record_input_reader.input_path) if given else []
    reader = refiner_refit.reader_of(config, RefitRequest(num_images=num_images), paths)
    assert reader.sample_1_of_n_examples == every
    assert config.train_input_reader.sample_1_of_n_examples == sampled


def test_no_output_directory_is_an_error_before_any_work(tmp_path):
    path = records.write(tmp_path, num_train=1, num_val=1)
    done = command_line.run(
        refit_refiner, f"--pipeline_config_path={path}", f"--checkpoint_dir={tmp_path}"
    )
    assert done.code == 1
    assert "--output_dir is missing" in done.err


@pytest.mark.parametrize("flag", ["records", "held_out_records"])
def test_missing_records_are_named_by_their_flag(tmp_path, flag):
    done = command_line.run(
        refit_refiner,
        "--pipeline_config_path=none.config",
        "--checkpoint_dir=none",
        "--output_dir=new",
        f"--{flag}={tmp_path}/none.record",
    )
    assert done.code == 1
    assert f"--{flag}: no file matches '{tmp_path}/none.record'" in done.err


def test_an_output_directory_with_contents_is_refused(tmp_path):
    config = pipeline.load(records.write(tmp_path, num_train=1, num_val=1))
    with pytest.raises(ValueError, match="is not an empty directory"):
        refiner_refit.refit_refiner(config, "nowhere", tmp_path, RefitRequest())


def test_a_table_of_two_sets_of_images():
    fit = ClassFit(0.25, 0.5)
    table = refiner_refit.table_of_fits(
        {"training": {"main logits": fit, "refitted": fit}, "evaluation": {"main logits": fit}}
    )
    assert [line.split() for line in table.splitlines()] == [
        ["training", "evaluation"],
        ["cross-entropy", "accuracy"] * 2,
        ["main", "logits", "0.2500", "0.500", "0.2500", "0.500"],
        ["refitted", "0.2500", "0.500"],
    ]
