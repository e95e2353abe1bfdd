"""An export directory holds one model, in one or more formats."""

import json
import os

import pytest
import tensorflow as tf

from object_detection_mtl.export import directory_exchange, export_formats, saved_model
from object_detection_mtl.export.export_options import ExportOptions
from tests.export import exported

MODEL = {"weights": (1.0, 2.0), "config": "a", "names": "cat"}


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Return a function that exports a fake model; only its checkpoint is a real one."""

    def write(module, detector, directory, config_text, options, label_map_path, **others):
        weights, names = detector
        with open(os.path.join(directory, "pipeline.config"), "w") as file:
            file.write(config_text)
        prefix = os.path.join(directory, "checkpoint", "ckpt-0")
        tf.train.Checkpoint(weights=tf.Variable(weights)).write(prefix)
        text = json.dumps({"class_names": {"1": names}})
        for name in export_formats.FILES[options.format]:
            path = os.path.join(directory, name)
            if name == "saved_model":
                path = os.path.join(path, "assets", "metadata.json")
                os.makedirs(os.path.dirname(path))
            with open(path, "w") as file:
                file.write(text.replace('"', "&quot;") if name == "model.xml" else text)

    monkeypatch.setattr(saved_model, "DetectionModule", lambda detector, options: None)
    monkeypatch.setattr(saved_model, "_write_parts", write)
    for conversion in saved_model._CONVERTED_FORMATS.values():
        monkeypatch.setattr(conversion, "require_converter", lambda: None)
    monkeypatch.setattr(
        saved_model, "names_of_classes", lambda count, path: {"1": path} if path else {}
    )

    def run(format, weights, config, names):
        options = ExportOptions(format=format)
        saved_model.export_detector(
            (weights, names),
            str(tmp_path / "out"),
            config_text=config,
            options=options,
            label_map_path=names,
        )
        found = {*os.listdir(tmp_path / "out")} - {"pipeline.config", "checkpoint"}
        return found - {"saved_model"}, "saved_model" in found

    return run


def test_formats_of_one_model_stand_beside_each_other(export):
    assert export("saved_model", **MODEL) == (set(), True)
    assert export("onnx", **MODEL) == ({"model.onnx"}, True)
    assert export("openvino", **MODEL) == ({"model.onnx", "model.xml", "model.bin"}, True)
    assert export("saved_model", **MODEL) == ({"model.onnx", "model.xml", "model.bin"}, True)


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "moves"])
@pytest.mark.parametrize(
    "change",
    [{"weights": (1.0, 3.0)}, {"weights": (1.0,)}, {"config": "b"}, {"names": "dog"}],
    ids=lambda change: next(iter(change)),
)
def test_another_model_removes_the_other_formats(export, change, exchange, capsys, monkeypatch):
    if not exchange:
        monkeypatch.setattr(directory_exchange, "exchange", lambda first, second: False)
    for model_format in ("saved_model", "openvino"):
        export(model_format, **MODEL)
    assert "removed" not in capsys.readouterr().out
    assert export("onnx", **{**MODEL, **change}) == ({"model.onnx"}, False)
    assert capsys.readouterr().out == (
        "removed saved_model, model.xml, model.bin, of an earlier export of another model\n"
    )


def test_a_model_of_unknown_weights_is_another_one(export, tmp_path):
    export("saved_model", **MODEL)
    for path in (tmp_path / "out" / "checkpoint").iterdir():
        path.write_bytes(b"damaged")
    assert export("onnx", **MODEL) == ({"model.onnx"}, False)


def test_outdated_files_return_if_the_new_ones_cannot_be_moved(export, tmp_path, monkeypatch):
    export("saved_model", **MODEL)
    rename = tf.io.gfile.rename

    def fail_for_new_model(source, target):
        if source.endswith("/model.onnx") and "incomplete" in source:
            raise tf.errors.PermissionDeniedError(None, None, "locked")
        rename(source, target)

    monkeypatch.setattr(tf.io.gfile, "rename", fail_for_new_model)
    monkeypatch.setattr(directory_exchange, "replace_directory", lambda *directories: False)
    monkeypatch.setattr(directory_exchange, "exchange", lambda first, second: False)
    with pytest.raises(OSError, match="locked"):
        export("onnx", **{**MODEL, "names": "dog"})
    assert (tmp_path / "out" / "saved_model" / "assets" / "metadata.json").is_file()


@pytest.mark.parametrize(
    "model_format",
    [
        "saved_model",
        pytest.param("onnx", marks=pytest.mark.slow),
        pytest.param("openvino", marks=pytest.mark.slow),
    ],
)
def test_class_names_are_found_in_every_format(model_format):
    if model_format != "saved_model":
        pytest.importorskip({"onnx": "tf2onnx"}.get(model_format, model_format))
    directory = str(exported.export("image_tensor", format=model_format))
    names = {str(number): name for number, name in exported.NAMES.items()}
    assert export_formats.has_class_names(directory, model_format, names)
    other = {**names, "1": "cell"}
    assert not export_formats.has_class_names(directory, model_format, other)
