"""Both ways in: the import root, and the hook for unchanged scripts."""

import importlib
import sys

import pytest
import tensorflow as tf

import object_detection_mtl.odapi as odapi
from object_detection_mtl import protos
from object_detection_mtl.odapi import import_hook, missing_names
from tests.odapi.scripts import run_script


@pytest.fixture
def hook():
    odapi.load_ipython_extension(None)
    yield
    odapi.unload_ipython_extension(None)
    assert "object_detection" not in sys.modules


@pytest.mark.usefixtures("hook")
def test_the_hook_gives_the_modules_of_the_package():
    aliased = importlib.import_module("object_detection.utils.label_map_util")
    ours = importlib.import_module("object_detection_mtl.odapi.utils.label_map_util")
    assert aliased is ours
    assert importlib.import_module("object_detection") is odapi
    pipeline_pb2 = importlib.import_module("object_detection.protos.pipeline_pb2")
    assert pipeline_pb2 is importlib.import_module(f"{protos.__name__}.pipeline_pb2")


@pytest.mark.usefixtures("hook")
def test_forms_of_import():
    names = {}
    exec("from object_detection.utils import label_map_util as a", names)
    exec("import object_detection.utils.label_map_util as b", names)
    exec("import object_detection; c = object_detection.utils.label_map_util", names)
    exec("from object_detection.protos.string_int_label_map_pb2 import StringIntLabelMap", names)
    assert names["a"] is names["b"] is names["c"]


@pytest.mark.parametrize("root", ["object_detection", "object_detection_mtl.odapi"])
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("from {root}.utils import label_map_utils", "did you mean .*utils.label_map_util"),
        ("from {root}.utils.label_map_util import load_label_map", "load_labelmap"),
        ("from {root}.utils.dataset_util import load_labelmap", "is in utils.label_map_util"),
        ("from {root}.legacy import trainer", "needs TensorFlow 1.*train_loop"),
        ("import {root}.models.ssd_resnet_v1_fpn_keras_feature_extractor", "model_builder"),
        ("from {root} import exporter", "export_inference_graph"),
    ],
)
@pytest.mark.usefixtures("hook")
def test_missing_names(root, statement, message):
    with pytest.raises(ImportError, match=message):
        exec(statement.format(root=root), {})


def test_another_object_detection_is_not_replaced(monkeypatch):
    monkeypatch.setitem(sys.modules, "object_detection", sys)
    with pytest.raises(ImportError, match="already imported"):
        import_hook.install()


def test_every_module_can_be_imported():
    for name in missing_names.public_names():
        importlib.import_module(f"{missing_names.PACKAGE}.{name}")


def test_private_names_are_attribute_errors():
    from object_detection_mtl.odapi.utils import label_map_util

    assert not hasattr(label_map_util, "_private")
    assert not hasattr(odapi, "__wrapped__")


def test_a_tensor_of_one_element_is_a_number():
    assert int(tf.constant([3.0])) == 3
    assert float(tf.constant([[0.5]])) == 0.5
    with pytest.raises(ValueError, match="size 1"):
        int(tf.constant([1, 2]))


SCRIPT = """
import sys
import object_detection
from object_detection.utils import label_map_util
print(label_map_util.create_category_index_from_labelmap(sys.argv[1]), __name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("by_hook", [True, False])
def test_a_script_runs_in_both_ways(tmp_path, by_hook):
    (tmp_path / "map.pbtxt").write_text('item { id: 1 name: "cat" }')
    shown = run_script(tmp_path, SCRIPT, "map.pbtxt", by_hook=by_hook)
    assert shown == "{1: {'id': 1, 'name': 'cat'}} __main__\n"
