"""Detection and evaluation with engines other than TensorFlow, by their flags."""

import json
import re
import sys

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl import jobs
from object_detection_mtl.api import model_search
from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import native
from object_detection_mtl.cli import detect_objects
from object_detection_mtl.export.runtimes import runtime_conversion, runtime_models
from object_detection_mtl.inference import model_files
from tests import command_line, records
from tests.export import exported

needs_openvino = pytest.mark.usefixtures("openvino")


@pytest.fixture
def openvino():
    pytest.importorskip("openvino", reason="needs the extra openvino")


@pytest.fixture
def onnx():
    for package in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra onnx")


def detections(output, *arguments):
    done = command_line.run(
        detect_objects,
        *map(str, arguments),
        f"--images={exported.images()}",
        f"--output_dir={output}",
        "--nosave_images",
    )
    assert done.code == 0, done.err
    return json.loads((output / "detections.json").read_text()), done.out


def check_same(found, expected):
    assert len(found) == len(expected) > 3
    for actual, row in zip(found, expected, strict=True):
        assert actual["category_id"] == row["category_id"]
        assert actual["score"] == pytest.approx(row["score"], abs=1e-4)
        assert actual["bbox"] == pytest.approx(row["bbox"], abs=0.05)


def saved_model():
    return f"--saved_model_dir={exported.export('image_tensor') / 'saved_model'}"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_an_engine_converts_the_checkpoint_beside_the_saved_model(engine, tmp_path, request):
    request.getfixturevalue("openvino" if engine == "openvino" else "onnx")
    expected, _ = detections(tmp_path / "tensorflow", saved_model())
    found, _ = detections(tmp_path / engine, saved_model(), f"--engine={engine}")
    check_same(found, expected)


@pytest.mark.slow
@needs_openvino
def test_an_exported_model_and_batches_of_it(tmp_path):
    path = exported.export("image_tensor", dynamic_batch=True, format="openvino") / "model.xml"
    expected, _ = detections(tmp_path / "tensorflow", saved_model())
    found, _ = detections(tmp_path / "model", f"--exported_model={path}", "--batch_size=2")
    check_same(found, expected)
    assert model_files.names_from_exported_model(str(path)) == exported.NAMES


@pytest.mark.long
@needs_openvino
def test_streams_find_the_same_in_the_same_order(tmp_path):
    path = exported.export("image_tensor", dynamic_batch=True, format="openvino") / "model.xml"
    flag = f"--exported_model={path}"
    expected, _ = detections(tmp_path / "one", flag)
    found, _ = detections(tmp_path / "two", flag, "--num_streams=2")
    check_same(found, expected)
    assert [row["image_id"] for row in found] == [row["image_id"] for row in expected]


def test_streams_of_other_engines_are_refused(tmp_path):
    def refused(*flags):
        done = command_line.run(
            detect_objects,
            f"--images={exported.images()}",
            f"--output_dir={tmp_path / 'out'}",
            "--num_streams=2",
            *flags,
        )
        assert done.code == 1
        return done.err

    model = "--saved_model_dir=gone"
    assert "num_streams is 2, which is for engine 'openvino', not for 'tensorflow'" in refused(
        model
    )
    assert "not for 'auto'" in refused(model, "--engine=auto")
    assert "not for 'onnxruntime'" in refused("--exported_model=gone.onnx")
    assert "--num_streams is for one machine" in refused(model, "--runner=direct")


@pytest.mark.slow
@needs_openvino
def test_auto_prints_its_choice_and_the_reasons(tmp_path):
    """Installed engines, and exports that take one image at a time."""
    candidate = exported.export("image_tensor", format="openvino")
    flags = [f"--auto_candidates={candidate}", "--auto_max_difference=0.05"]
    _, out = detections(tmp_path / "auto", saved_model(), "--engine=auto", *flags)
    [line, _] = out.splitlines()
    assert "detections equal TensorFlow's or differ by at most 0.05 on 3 images (" in line
    assert re.search(rf"{candidate}/model.xml \d+\.\d+ s", line)
    assert re.search(r"tensorflow \d+\.\d+", line)
    assert re.search(r"openvino \d+\.\d+", line)


@pytest.mark.slow
@needs_openvino
def test_an_evaluation_has_the_same_metrics_without_losses(tmp_path):
    records.write(tmp_path / "data")
    config = records.load(tmp_path / "data", "eval_config.batch_size=2")
    detector = model_builder.build(config.model, is_training=False)
    tf.train.CheckpointManager(
        tf.train.Checkpoint(
            step=tf.Variable(7, dtype=tf.int64),
            model=native.tree(native.named_variables(detector)),
        ),
        str(tmp_path / "run"),
        max_to_keep=1,
    ).save()

    def evaluate(**engine):
        return jobs.evaluate(config, str(tmp_path / "run"), tmp_path / "run", once=True, **engine)

    expected, found = evaluate(), evaluate(engine="openvino")
    losses = {name for name in expected if name.startswith("Loss/")}
    assert losses
    assert found.keys() == expected.keys() - losses
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)


def test_a_missing_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "openvino", None)
    done = command_line.run(
        detect_objects,
        saved_model(),
        f"--images={exported.images()}",
        f"--output_dir={tmp_path / 'out'}",
        "--engine=openvino",
    )
    assert done.code == 1
    assert not (tmp_path / "out").exists()
    assert "pip install 'object_detection_mtl[openvino]'" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--exported_model=a.pb"],
            "has an unknown format; expected a file with extension .xml or",
        ),
        (["--exported_model=a.onnx", "--engine=openvino"], "which is for onnxruntime"),
        (
            ["--exported_model=a.onnx", "--engine_precision=bfloat16"],
            "has the precision of exporter",
        ),
        (["--exported_model=a.xml", "--saved_model_dir=b"], "not both"),
        (["--saved_model_dir=a", "--engine_precision=bfloat16"], "is for engine 'openvino', not"),
        (
            ["--saved_model_dir=a", "--engine=auto", "--engine_precision=bfloat16"],
            "name the engine",
        ),
        ([], "--exported_model, or --pipeline_config_path and --checkpoint_dir"),
        (
            ["--saved_model_dir=a", "--auto_max_difference=0.1"],
            "--auto_max_difference is for --engine=auto",
        ),
        (
            ["--saved_model_dir=a", "--engine=auto", "--auto_max_difference=1"],
            "expected 0 to less than 1",
        ),
        (
            ["--saved_model_dir=a", "--engine=auto", "--auto_candidates=none"],
            "no model.xml or model.onnx at 'none'",
        ),
    ],
)
def test_contradictory_flags(arguments, words, tmp_path):
    done = command_line.run(
        detect_objects,
        *arguments,
        f"--images={exported.images()}",
        f"--output_dir={tmp_path / 'out'}",
    )
    assert done.code == 1
    assert words in done.err


def test_a_directory_with_both_formats_is_ambiguous(tmp_path):
    for name in ("model.onnx", "model.xml"):
        (tmp_path / name).touch()
    done = command_line.run(
        detect_objects,
        f"--exported_model={tmp_path}",
        f"--images={exported.images()}",
        f"--output_dir={tmp_path / 'out'}",
    )
    assert done.code == 1
    assert "--exported_model: give one of" in done.err
    assert model_search.find_exported_files(tmp_path) == [
        str(tmp_path / "model.onnx"),
        str(tmp_path / "model.xml"),
    ]


def test_a_corrupt_model_is_an_error(tmp_path):
    for name, engine in (("model.xml", "openvino"), ("model.onnx", "onnxruntime")):
        pytest.importorskip(engine, reason=f"needs {engine}")
        with pytest.raises(FileNotFoundError, match="the file does not exist"):
            runtime_models.load_model(str(tmp_path / name))
        (tmp_path / name).write_text("nothing")
        with pytest.raises(ValueError, match=f"{engine} cannot read .* corrupt"):
            runtime_models.load_model(str(tmp_path / name))


def test_a_saved_model_without_its_checkpoint_is_an_error(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="missing: .*pipeline.config.*give --exported_model"
    ):
        model_files.find_exported_checkpoint(str(tmp_path / "saved_model"))


def test_unknown_engines_are_an_error():
    with pytest.raises(ValueError, match="engine is 'tvm', expected one of tensorflow, openvino"):
        runtime_conversion.require_conversion("tvm")
