import csv
import io
import json
import re

import numpy as np
import pytest

from object_detection_mtl.reporting.evaluated_images import EvaluationSet, MainBranch
from object_detection_mtl.reporting.html_report import classes_csv, report_page, write_report
from object_detection_mtl.reporting.report_contents import ReportOptions, report_contents
from tests.evaluation.sets import categories
from tests.reporting.hand_made import CAT, DOG, FAR, A, B, evaluation_set, image, random_set
from tests.reporting.test_thumbnails import encoded


def page_of(evaluation, **options):
    return report_page(report_contents(evaluation, ReportOptions(**options)))


@pytest.fixture(scope="module")
def random_contents():
    figures = {"closeness": encoded(4, 4)}
    options = ReportOptions(max_gallery_images=5)
    losses = {"Loss/total_loss": 1.5}
    return report_contents(random_set(1), options, figures=figures, more_metrics=losses)


@pytest.fixture(scope="module")
def report_files(random_contents, tmp_path_factory):
    path = write_report(random_contents, tmp_path_factory.mktemp("out") / "report")
    return {item.name: item.read_text(encoding="utf-8") for item in path.parent.iterdir()}


def test_the_report_is_three_files(report_files, random_contents):
    assert set(report_files) == {"report.html", "metrics.json", "classes.csv"}
    metrics = json.loads(report_files["metrics.json"])
    assert metrics["num_images"] == 30
    assert metrics["metrics"]["PascalBoxes_Precision/mAP@0.5IOU"] == random_contents.voc_map
    assert metrics["metrics"]["Loss/total_loss"] == 1.5
    rows = list(csv.DictReader(io.StringIO(report_files["classes.csv"])))
    assert [row["class"] for row in rows] == [f"class {i}" for i in range(1, 5)]
    assert float(rows[0]["voc_ap"]) == random_contents.classes[0].voc_ap


def test_the_page_needs_no_network(report_files):
    text = report_files["report.html"]
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not re.findall(r"url\((?!#)[^)]*\)|@import|fetch\(|XMLHttpRequest", text)


def test_the_gallery_has_at_most_so_many_images(report_files):
    text = report_files["report.html"]
    assert "5 of 30 images" in text
    assert len(re.findall(r"<li data-kinds=", text)) == 5


def test_figures_of_auxiliary_predictions_are_shown(report_files):
    assert "<figcaption>closeness</figcaption>" in report_files["report.html"]


MARKUP = "<script>alert(1)</script>&\"'"
CAT_NAME, IMAGE_NAME = "\u732b", "\u753b\u50cf"


def test_names_with_markup_are_escaped_and_non_latin_names_are_kept():
    found = [(A, 0.9, DOG), (FAR, 0.8, CAT), (B, 0.7, 3)]
    images = [image([(A, CAT)], found, name=MARKUP), image([(A, 3)], [], name=IMAGE_NAME)]
    text = page_of(EvaluationSet(MARKUP, categories(MARKUP, "$x_1$", CAT_NAME), images))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert text.count("</script>") == 1
    for name in ("$x_1$", CAT_NAME, IMAGE_NAME):
        assert name in text


def test_control_characters_of_names_are_escaped_in_every_file(tmp_path):
    name = "\x1b[31m\0\u202ea\nb"
    images = [image([(A, CAT)], [(A, 0.9, DOG)], name=name)]
    joined = "\u06cc\u200c\u06a9"  # Persian is spelled with joiners.
    contents = report_contents(
        EvaluationSet(name, categories(name, joined), images, notes=(f"about {name}",))
    )
    write_report(contents, tmp_path)
    for file in tmp_path.iterdir():
        text = file.read_text()
        assert not set(text) & set("\x1b\0\u202e"), file
        assert "[31m" in text
        assert joined in text
    rows = csv.DictReader(io.StringIO((tmp_path / "classes.csv").read_text()))
    assert next(rows)["class"] == r"\x1b[31m\x00\u202ea\nb"


@pytest.mark.parametrize(
    "images",
    [[image([], [])], [image([(A, CAT)], [(A, 0.9, CAT)], difficult=[True])]],
    ids=["nothing", "difficult objects alone"],
)
def test_empty_cases_have_a_page(images):
    text = page_of(evaluation_set(images, "cat"))
    assert "nan" not in re.sub(r"<svg.*?</svg>|<script.*?</script>", "", text, flags=re.DOTALL)


def test_images_that_are_gone_and_what_a_refinement_changed():
    def gone():
        raise FileNotFoundError("gone")

    branch = MainBranch(np.array([DOG]), np.array([0.7]))
    images = [image([(A, CAT)], [(A, 0.8, CAT)], main_branch=branch, read_bytes=gone)]
    text = page_of(evaluation_set(images))
    assert "the image file does not exist" in text
    assert "repaired 1 and broke 0" in text
    assert "main: dog 0.70" in text
    pattern = r'<svg class="chart" role="img" aria-label="Refined score.*?</svg>'
    chart = re.search(pattern, text, re.DOTALL).group()
    assert "repaired (1)" in chart
    assert "unchanged (0)" in chart


def test_a_missed_object_is_marked_among_the_others():
    text = page_of(evaluation_set([image([(A, CAT), (B, DOG)], [])]))
    missed = text[text.index('id="missed"') : text.index('id="gallery"')]
    assert missed.count('<rect class="missed chosen"') == 2  # An image for each object.
    assert missed.count('<rect class="missed"') == 4
    assert text.count("<br>2 missed objects") == 1


@pytest.mark.slow
def test_a_thousand_classes():
    images = [image([(A, i + 1)], [(A, 0.9, i % 999 + 1)], f"image {i}") for i in range(0, 1000, 7)]
    names = [f"class {i}" for i in range(1, 1001)]
    text = page_of(EvaluationSet("many", categories(*names), images))
    assert len(text) < 3_000_000


def test_the_csv_has_empty_cells_where_nothing_is_known():
    (row, _) = csv.DictReader(
        io.StringIO(classes_csv(report_contents(evaluation_set([image([], [])]))))
    )
    assert row["voc_ap"] == row["best_threshold"] == ""
