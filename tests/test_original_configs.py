"""The authors' own configurations: train, evaluate, export, serve.

`benchmarks/original_configs.py` does it for all eighteen, which takes long and, for model22, more
memory than a test should need. Here is one of each kind: MobileNet with the tasks on small images,
with and without them at full size; Faster R-CNN with ResNet-101 on COCO's classes at its batch size
of three, and R-FCN with all tasks, on small images. model3x have the models of model1x, model7x of
model4x, model8x of model5x, model9x of model6x; model1x differ from model2x by classes and crop
size. The goldens test Inception-ResNet-v2 (model6x), which takes as long as all of these.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden import original_configs

ROOT = Path(__file__).parents[1]
IMAGES = Path(__file__).parent / "golden" / "images"

OBJECT = """
  <object>
    <name>{name}</name>
    <bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>
  </object>"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The configurations, and a VOC directory: images of 640x480 with made-up objects."""
    root = tmp_path_factory.mktemp("originals")
    original_configs.write(root)
    for name in ("Annotations", "JPEGImages"):
        (root / "voc" / name).mkdir(parents=True)
    for number, path in enumerate(sorted(IMAGES.iterdir())):
        objects = [
            OBJECT.format(name=name, left=left, top=top, right=left + 200, bottom=top + 150)
            for name, left, top in [("person", 40 * number, 30), ("tvmonitor", 300, 200)]
        ]
        (root / "voc" / "JPEGImages" / path.name).write_bytes(path.read_bytes())
        (root / "voc" / "Annotations" / f"{path.stem}.xml").write_text(
            f"<annotation><filename>{path.name}</filename>{''.join(objects)}</annotation>"
        )
    return root


@pytest.mark.long
@pytest.mark.parametrize(
    ("models", "max_side"),
    [
        (["model52"], 160),
        (["model51", "model52"], 0),
        (["model21", "model42"], 160),
    ],
    ids=["MobileNet on small images", "MobileNet at full size", "ResNet-101 on small images"],
)
def test_from_records_to_detections(directory, tmp_path, models, max_side):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.original_configs"),
            *(f"--configs_dir={directory}", f"--data_dir={directory / 'voc'}", "--num_images=2"),
            *(f"--work_dir={tmp_path}", f"--max_side={max_side}", f"--models={','.join(models)}"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    rows = [line for line in done.stdout.splitlines() if line.startswith("| model")]
    for model, row in zip(models, rows[-len(models) :], strict=True):
        cells = row.strip("|").split("|")
        assert cells[0].strip() == model
        assert all(cell.strip() for cell in cells), row
