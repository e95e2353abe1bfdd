"""Reference pages that are generated from the schema and the commands' flags."""

import importlib.util
import re

import pytest

import object_detection_mtl

if importlib.util.find_spec("grpc_tools") is None:
    pytest.skip("needs grpcio-tools: install .[docs]", allow_module_level=True)

from scripts import generate_reference  # noqa: E402


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    paths = generate_reference.write_pages(tmp_path_factory.mktemp("pages"))
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}


def row(page, name):
    (found,) = [
        line for line in page.splitlines() if line.startswith((f"| `{name}` |", f"| `{name}`<br>"))
    ]
    return found


def section(page, name):
    return page.split(f"\n## {name}\n")[1].split("\n## ")[0]


def test_a_field_has_type_default_and_comment(pages):
    mtl = section(pages["config_model"], "MTL")
    assert row(mtl, "num_windows") == (
        "| `num_windows`<br>int32 | `64` | Random windows per image. Must be at least 1. *Field of "
        "this package.* |"
    )
    assert "Applies with `edgemask: true` only." in row(mtl, "edgemask_tanh")
    assert "[BoxPredictor](#config-boxpredictor)" in row(mtl, "window_box_predictor")
    assert "- `AREA`: The fraction itself." in mtl


def test_dialects_are_marked_and_their_defaults_given(pages):
    readers = section(pages["config_input"], "InputReader")
    assert "OD API `64` fork `8`" in row(readers, "num_readers")
    assert "*Fork.*" in row(section(pages["config_model"], "DetectionModel"), "init_file")
    faster_rcnn = section(pages["config_model"], "FasterRcnn")
    assert "*OD API.*" in row(faster_rcnn, "use_static_shapes")


def test_fields_without_effect_are_named(pages):
    model = section(pages["config_model"], "DetectionModel")
    assert "Unsupported." in row(model, "ssd")
    assert "## Ssd" not in "".join(pages.values())
    assert "Ignored: masks and keypoints are not predicted." in pages["config_model"]


def test_every_unsupported_field_exists():
    schema = generate_reference.read_schema()
    for key in generate_reference.UNSUPPORTED:
        message, _, field = key.rpartition(".")
        assert field in {each.name for each in schema.messages[message].field}, key


def test_every_link_has_a_target(pages):
    targets = set(re.findall(r"^\((config-[\w-]+)\)=$", "".join(pages.values()), re.MULTILINE))
    links = set(re.findall(r"\(#(config-[\w-]+)\)", "".join(pages.values())))
    assert links
    assert links <= targets


def test_every_command_and_flag_is_listed(pages):
    page = pages["commands"]
    names = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert names == list(generate_reference.commands())
    training = section(page, "model_main_tf2")
    assert row(training, "--model_dir").startswith("| `--model_dir` | required |")
    assert "repeat this option" not in page
    assert row(training, "--num_workers").split(" | ")[1] == "`1`"
    engines = "`tensorflow` \\| `openvino` \\| `onnxruntime` \\| `auto`: Runtime"
    assert engines in row(training, "--engine")


def test_text_of_a_table_cell_is_escaped():
    assert generate_reference.escape("a|b *c* `d|*e*` <f>") == r"a\|b \*c\* `d\|*e*` \<f\>"


def test_pages_that_have_not_changed_keep_their_time(tmp_path):
    before = {path: path.stat().st_mtime_ns for path in generate_reference.write_pages(tmp_path)}
    after = {path: path.stat().st_mtime_ns for path in generate_reference.write_pages(tmp_path)}
    assert before == after


def test_every_public_name_of_the_package_is_listed(pages):
    page = pages["python_api"]
    listed = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(object_detection_mtl.__all__)
    assert ".. autofunction:: object_detection_mtl.load_config" in page
    assert ".. autoclass:: object_detection_mtl.Detections\n   :members:" in page
