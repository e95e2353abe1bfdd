"""Notebooks in examples/: each one runs from a clean directory."""

import ast
import json
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbclient: install .[test]")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
# Text of the notebooks -> text with which they run in seconds.
SMALL = {
    '"model", 120': '"model", 4',
    '{"train": 80, "val": 10}': '{"train": 4, "val": 3}',
    "batch_size=2": "batch_size=1",
    "min_dimension=192": "min_dimension=64",
    "max_dimension=240": "max_dimension=96",
    "log_every_n=10": "log_every_n=2",
    '        f".total_steps={STEPS}",\n': """
        f".total_steps={STEPS}",
        "train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate"
        ".warmup_steps=1",
        "model.faster_rcnn.feature_extractor.depth_multiplier=0.25",
        "model.faster_rcnn.first_stage_max_proposals=8",
        "model.faster_rcnn.second_stage_batch_size=8",
        "model.mtl.num_windows=4",
""",
}
# Messages of TensorFlow, which a user of the package should not see.
CHATTER = re.compile(
    r"cuInit|devices\.cc|single_machine\.cc|op_level_cost_estimator|All log messages before absl"
    r"|cpu_feature_guard|oneDNN custom operations|INFO:tensorflow"
)
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def make_small(notebook):
    """Replace each text of SMALL, which every notebook has."""
    for old, new in SMALL.items():
        cells = [cell for cell in notebook.cells if old in cell.source]
        assert cells, f"no cell has {old}"
        for cell in cells:
            cell.source = cell.source.replace(old, new)


@notebooks
def test_a_notebook_is_short_and_has_no_paths_of_a_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 25
    text = json.dumps(notebook)
    assert "/root/" not in text
    assert "/home/" not in text


@notebooks
def test_what_a_notebook_imports_exists(path):
    """Its imports run, and the package has every name that the cells use of it."""
    pytest.importorskip("ipykernel", reason="needs ipykernel: install .[test]")
    notebook = nbformat.read(path, as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    names = {}
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), path.name, "exec"), names)
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = names.get(node.value.id)
            if getattr(owner, "__name__", "").startswith("object_detection_mtl"):
                assert hasattr(owner, node.attr), f"{node.value.id}.{node.attr}"


# The cells of fine_tune.ipynb are like the code blocks of docs/getting_started/own_images.md; those
# of add_a_task.ipynb train as auxiliary_tasks.ipynb does, with a task as in
# tests/builders/test_fourth_task.py.
LONG = ("fine_tune", "add_a_task")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.long if path.stem in LONG else ()) for path in NOTEBOOKS],
    ids=lambda path: path.name,
)
def test_a_notebook_runs(path, tmp_path):
    """With a toy detector and few steps; the cells are otherwise those of the file."""
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: install .[test]")
    pytest.importorskip("ipykernel", reason="needs ipykernel: install .[test]")
    notebook = nbformat.read(path, as_version=4)
    make_small(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error"]
    texts = [output.text for output in outputs if output.output_type == "stream"]
    assert not CHATTER.findall("".join(texts)), texts
