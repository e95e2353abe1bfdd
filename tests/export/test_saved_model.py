"""Exported SavedModels: files, signature, detections of the detector."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import object_detection_mtl
from object_detection_mtl.checkpoints import native
from object_detection_mtl.checkpoints.checkpoint_search import open_checkpoint
from object_detection_mtl.config import pipeline
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule, served_detections
from object_detection_mtl.export.serving_inputs import INPUT_TYPES
from object_detection_mtl.fields import Detections
from tests.export import exported
from tests.training.tiny import tiny_detector

D, P, K = exported.MAX_DETECTIONS, exported.NUM_PROPOSALS, len(exported.NAMES)
OUTPUT_SHAPES = {
    "detection_boxes": [D, 4],
    "detection_scores": [D],
    "detection_classes": [D],
    "num_detections": [],
    "detection_multiclass_scores": [D, K + 1],
    "detection_anchor_indices": [D],
    "raw_detection_boxes": [P, 4],
    "raw_detection_scores": [P, K + 1],
}


def signature(input_type, **more):
    return exported.loaded(input_type, **more).signatures["serving_default"]


def files_below(directory):
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())


def encoded(*names):
    return [(exported.images() / name).read_bytes() for name in names]


def decoded(data):
    return tf.io.decode_image(data, channels=3, expand_animations=False)


def expected_of(images):
    """Return the detector's own detections, as they are served."""
    detector = exported.detector()
    inputs, shapes = detector.preprocess(images)
    outputs = detector.postprocess(detector.predict(inputs, shapes), shapes)
    return {name: value.numpy() for name, value in outputs.items()}


def check_equal(actual, expected):
    assert expected[Detections.num_detections].min() > 1  # something is compared
    for name, value in expected.items():
        if name == Detections.classes:
            value = value + 1
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_layout():
    directory = exported.export("image_tensor")
    assert files_below(directory) == [
        "checkpoint/checkpoint",
        "checkpoint/ckpt-0.data-00000-of-00001",
        "checkpoint/ckpt-0.index",
        "pipeline.config",
        "saved_model/assets.extra/tf_serving_warmup_requests",
        "saved_model/assets/label_map.pbtxt",
        "saved_model/assets/metadata.json",
        "saved_model/fingerprint.pb",
        "saved_model/saved_model.pb",
        "saved_model/variables/variables.data-00000-of-00001",
        "saved_model/variables/variables.index",
    ]
    assert (directory / "saved_model" / saved_model.LABEL_MAP).read_text() == exported.LABEL_MAP
    # The scratch directory is removed.
    assert not list(directory.parent.glob("*.incomplete*"))


@pytest.mark.parametrize("input_type", INPUT_TYPES)
def test_signature(input_type):
    model = exported.loaded(input_type)
    assert list(model.signatures) == ["serving_default"]
    kind = INPUT_TYPES[input_type]
    [positional, named] = signature(input_type).structured_input_signature
    assert positional == ()
    assert list(named) == ["input_tensor"]
    assert named["input_tensor"].dtype == kind.dtype
    assert tuple(named["input_tensor"].shape) == kind.shape
    outputs = signature(input_type).structured_outputs
    assert {spec.dtype for spec in outputs.values()} == {tf.float32}
    assert {name: spec.shape.as_list() for name, spec in outputs.items()} == {
        name: [kind.shape[0], *shape] for name, shape in OUTPUT_SHAPES.items()
    }


def test_image_tensor_gives_the_detections_of_the_detector():
    images = decoded(*encoded("a.jpg"))[tf.newaxis]
    actual = signature("image_tensor")(input_tensor=images)
    check_equal(actual, expected_of(images))
    number = int(actual["num_detections"][0])
    classes = actual["detection_classes"].numpy()[0]
    assert 1 < number < D
    assert set(classes[:number]) <= set(exported.NAMES)
    assert (classes[number:] == 1).all()  # the OD API's padding
    for name in ("detection_boxes", "detection_scores", "detection_multiclass_scores"):
        assert not actual[name].numpy()[0, number:].any()
    scores = actual["detection_scores"].numpy()[0]
    assert (np.diff(scores) <= 0).all()
    assert scores[0] > 0


def test_the_loaded_object_can_be_called_with_one_tensor():
    """Tutorials of the OD API do: `detect_fn = tf.saved_model.load(path)`, `detect_fn(tensor)`."""
    images = decoded(*encoded("b.png"))[tf.newaxis]
    named = signature("image_tensor")(input_tensor=images)
    called = exported.loaded("image_tensor")(images)
    assert called.keys() == named.keys()
    for name, value in named.items():
        np.testing.assert_array_equal(called[name], value)


def test_float_images_of_a_batch():
    image = tf.cast(decoded(*encoded("a.jpg")), tf.float32)
    images = tf.stack([image, 255.0 - image])
    check_equal(signature("float_image_tensor")(input_tensor=images), expected_of(images))


@pytest.mark.parametrize("input_type", ["encoded_image_string_tensor", "tf_example"])
def test_files_of_different_sizes_in_one_batch(input_type):
    data = encoded("a.jpg", "b.png", "c.bmp")
    requests = data
    if input_type == "tf_example":
        feature = [tf.train.Feature(bytes_list=tf.train.BytesList(value=[d])) for d in data]
        requests = [
            tf.train.Example(
                features=tf.train.Features(feature={"image/encoded": f})
            ).SerializeToString()
            for f in feature
        ]
    serve = signature(input_type)
    actual = serve(input_tensor=tf.constant(requests))
    assert actual["detection_boxes"].shape == (3, D, 4)
    for index, request in enumerate(requests):
        alone = serve(input_tensor=tf.constant([request]))
        check_equal(alone, expected_of(decoded(data[index])[tf.newaxis]))
    # In the batch each is the detector's answer to the same padded inputs and true shapes.
    inputs, shapes = INPUT_TYPES[input_type].to_inputs(exported.detector(), tf.constant(requests))
    outputs = exported.detector().postprocess(exported.detector().predict(inputs, shapes), shapes)
    check_equal(actual, {name: value.numpy() for name, value in outputs.items()})


def test_an_empty_batch_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="the batch is empty"):
        signature("tf_example")(input_tensor=tf.constant([], tf.string))


def test_an_image_of_one_pixel():
    outputs = signature("image_tensor")(input_tensor=np.zeros((1, 1, 1, 3), np.uint8))
    assert all(np.isfinite(value).all() for value in outputs.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("input_type", "optimize"),
    [*((name, True) for name in INPUT_TYPES), ("image_tensor", False), ("tf_example", False)],
)
def test_the_graph_has_only_tensorflows_own_operations(input_type, optimize):
    """TensorFlow Serving's loader is C++: it has neither Python nor operations of plug-ins."""
    graph = signature(input_type, optimize=optimize).graph.as_graph_def()
    functions = graph.library.function
    operations = {node.op for node in graph.node}
    operations |= {node.op for function in functions for node in function.node_def}
    operations -= {function.signature.name for function in functions}
    assert "Conv2D" in operations
    known = set(dir(tf.raw_ops))
    assert not {name for name in operations if not name.startswith("_") and name not in known}
    assert not [name for name in operations if "PyFunc" in name]
    # The variables of the frozen graph are kernels of convolutions: see test_freezing.
    assert ("Rsqrt" in operations) != optimize  # of batch norm


@pytest.mark.slow
def test_weights_are_written_once():
    """They are in neither the graph nor a second trace."""
    weights = sum(v.numpy().nbytes for v in native.named_variables(exported.detector()).values())
    for more, part in [({}, 1.0), ({"optimize": False}, 1.0), ({"precision": "bfloat16"}, 0.5)]:
        directory = exported.export("image_tensor", **more) / "saved_model"
        size = sum((directory / name).stat().st_size for name in files_below(directory))
        assert (directory / "saved_model.pb").stat().st_size < 0.1 * weights
        assert size < (part + 0.15) * weights, more


@pytest.mark.slow
def test_variables_of_the_plain_graph_are_named_as_in_checkpoints():
    directory = exported.export("image_tensor", optimize=False)
    names = native.named_variables(exported.detector())
    in_model = open_checkpoint(str(directory / "saved_model/variables/variables"))
    for name, variable in names.items():
        key = native.checkpoint_key("model", name)
        np.testing.assert_array_equal(in_model.read(key), variable.numpy())
    assert len(signature("image_tensor", optimize=False).variables) <= len(names)


@pytest.mark.slow
def test_the_checkpoint_has_the_weights():
    for optimize in (True, False):
        directory = exported.export("image_tensor", optimize=optimize)
        in_checkpoint = open_checkpoint(str(directory / "checkpoint"))
        for name, variable in native.named_variables(exported.detector()).items():
            key = native.checkpoint_key("model", name)
            np.testing.assert_array_equal(in_checkpoint.read(key), variable.numpy())


def test_metadata_are_an_asset():
    model = exported.loaded("image_tensor")
    description = json.loads(Path(model.metadata.asset_path.numpy().decode()).read_text())
    versions = description.pop("versions")
    assert versions["tensorflow"] == tf.__version__
    assert versions["object_detection_mtl"] == object_detection_mtl.__version__
    assert description == {
        "format_version": 1,
        "checkpoint": f"{exported.MODEL_DIR}/ckpt-1",
        "export": {
            "input_type": "image_tensor",
            "dynamic_batch": False,
            "optimize": True,
            "precision": "float32",
            "format": "saved_model",
            "auxiliary_outputs": False,
        },
        "num_classes": K,
        "class_names": {str(number): name for number, name in exported.NAMES.items()},
        "pipeline_config": pipeline.to_text(exported.config()),
    }
    assert Path(model.label_map.asset_path.numpy().decode()).read_text() == exported.LABEL_MAP


@pytest.mark.slow
def test_any_number_of_images_of_one_size():
    images = np.random.RandomState(2).randint(0, 256, (3, 50, 70, 3)).astype(np.uint8)
    serve = signature("image_tensor", dynamic_batch=True)
    [spec] = serve.structured_input_signature[1].values()
    assert (spec.dtype, spec.shape.as_list()) == (tf.uint8, [None, None, None, 3])
    assert serve.structured_outputs["detection_boxes"].shape.as_list() == [None, D, 4]
    for number in (1, 3):
        check_equal(serve(input_tensor=images[:number]), expected_of(images[:number]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="the batch is empty"):
        serve(input_tensor=images[:0])


@pytest.mark.slow
def test_saved_model_cli_runs_it(tmp_path):
    """TensorFlow's own tool, in a process without this package."""
    np.save(tmp_path / "image.npy", decoded(*encoded("a.jpg")).numpy()[np.newaxis])
    tool = Path(sys.executable).with_name("saved_model_cli")
    done = subprocess.run(
        [str(tool), "run", "--dir", str(exported.export("image_tensor") / "saved_model")]
        + ["--tag_set", "serve", "--signature_def", "serving_default"]
        + ["--inputs", f"input_tensor={tmp_path}/image.npy", "--outdir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    expected = signature("image_tensor")(decoded(*encoded("a.jpg"))[tf.newaxis])
    for name in OUTPUT_SHAPES:
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected[name], rtol=1e-5)


def test_the_exported_config_is_the_same():
    assert pipeline.load(exported.export("image_tensor") / "pipeline.config") == exported.config()


ALONE = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused!r}:
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Refuse())
import tensorflow as tf
model = tf.saved_model.load({directory!r})
data = tf.io.read_file({image!r})
out = model.signatures["serving_default"](input_tensor=data[tf.newaxis])
assert not {refused!r} & {{name.split(".")[0] for name in sys.modules}}
print(float(out["num_detections"][0]), out["detection_scores"].numpy()[0, 0])
"""
# All that `pip install object_detection_mtl` adds to `pip install tensorflow`.
OURS = {"object_detection_mtl", "orbit", "official", "tf_keras", "tf_slim", "pycocotools", "PIL"}


def alone(python, refused, *options):
    code = ALONE.format(
        refused=refused,
        directory=str(exported.export("encoded_image_string_tensor") / "saved_model"),
        image=str(exported.images() / "a.jpg"),
    )
    done = subprocess.run(
        [python, *options, "-c", code], capture_output=True, text=True, timeout=900, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    number, score = map(float, done.stdout.split())
    expected = signature("encoded_image_string_tensor")(tf.constant(encoded("a.jpg")))
    assert number == expected["num_detections"][0]
    np.testing.assert_allclose(score, expected["detection_scores"][0, 0], rtol=1e-5)


@pytest.mark.slow
def test_serving_imports_nothing_but_tensorflow():
    alone(sys.executable, OURS, "-I")


@pytest.mark.long
def test_serving_in_an_environment_with_only_tensorflow(tmp_path):
    """Needs a package index; without one the environment cannot be made."""
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    install = [python, "-m", "pip", "install", "-q", f"tensorflow=={tf.__version__}"]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"tensorflow cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    missing = subprocess.run([python, "-I", "-c", "import object_detection_mtl"], cwd="/")
    assert missing.returncode != 0
    alone(python, set(), "-I")


# Writing ----------------------------------------------------------------------------------------


def test_a_detector_built_for_training_is_served_as_one_built_for_inference():
    detectors = [tiny_detector(is_training=is_training) for is_training in (True, False)]
    values = native.named_variables(detectors[0])
    for name, variable in native.named_variables(detectors[1]).items():
        variable.assign(values[name])
    image = tf.constant(np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3)), tf.uint8)
    first, second = (DetectionModule(each, ExportOptions()).detect(image) for each in detectors)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_allclose(first[key], second[key], atol=1e-6)


def test_served_classes_start_at_one():
    outputs = served_detections(
        {Detections.classes: tf.constant([[2.0, 0.0]]), "n": tf.constant([3])}
    )
    np.testing.assert_array_equal(outputs[Detections.classes], [[3.0, 1.0]])
    assert outputs["n"].dtype == tf.float32
