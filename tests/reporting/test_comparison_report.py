import csv
import dataclasses
import io
import json

import pytest
from PIL import Image

from object_detection_mtl.reporting.comparison_report import write_comparison, write_figure
from object_detection_mtl.reporting.detector_comparison import compare_detectors
from tests.reporting.test_detector_comparison import RIGHT, WITHOUT_DOGS
from tests.reporting.test_thumbnails import encoded


@pytest.fixture(scope="module")
def comparison():
    pooled = [RIGHT, RIGHT]
    return compare_detectors([("<a>", [WITHOUT_DOGS]), ("b", pooled)], num_resamples=50)


def test_the_report_of_a_comparison(comparison, tmp_path):
    path = write_comparison(comparison, tmp_path / "out", 50)
    assert {item.name for item in path.parent.iterdir()} == {
        "comparison.html",
        "differences.json",
        "differences.csv",
    }
    text = path.read_text(encoding="utf-8")
    assert "<a>" not in text
    assert "&lt;a&gt;" in text
    assert "b is better: 2 images" in text
    for title in ("at IoU 0.5", "at IoU 0.75"):
        assert f'aria-label="Precision and recall {title}, a line for each detector"' in text
    assert 'aria-label="F1 at IoU 0.5, a line for each detector"' in text
    content = json.loads((path.parent / "differences.json").read_text())
    assert [item["runs"] for item in content["detectors"]] == [1, 2]
    assert content["differences"][0]["classes"]["dog"]["difference"] == 1
    rows = list(csv.DictReader(io.StringIO((path.parent / "differences.csv").read_text())))
    assert [(row["class"], float(row["difference"])) for row in rows] == [("cat", 0), ("dog", 1)]


def test_the_figure_has_a_row_for_each_image(comparison, tmp_path):
    with pytest.raises(ValueError, match="no image can be read"):
        write_figure(comparison, tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())
    first = comparison.detectors[0].runs[0]
    images = [
        dataclasses.replace(item, read_bytes=lambda: encoded(300, 200))
        for item in first.evaluation.images
    ]
    evaluation = dataclasses.replace(first.evaluation, images=images)
    run = dataclasses.replace(first, evaluation=evaluation)
    readable = dataclasses.replace(
        comparison,
        detectors=[
            dataclasses.replace(comparison.detectors[0], runs=[run]),
            comparison.detectors[1],
        ],
    )
    sizes = []
    for count in (1, 2):
        write_figure(readable, tmp_path / "figure.png", count)
        with Image.open(tmp_path / "figure.png") as figure:
            sizes.append(figure.size)
    assert sizes[0][0] >= 600
    assert sizes[1] == (sizes[0][0], 2 * sizes[0][1])
    assert write_figure(readable, tmp_path / "figure.png", 9) == 2  # The third image is equal.
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.size == sizes[1]
