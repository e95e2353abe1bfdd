"""Which images become equally large in a model."""

import json

import pytest

from object_detection_mtl.config import pipeline
from object_detection_mtl.inference import predictor
from tests.models import tiny

_RESIZER = "model.faster_rcnn.image_resizer"
_KEEP = f"{_RESIZER}.keep_aspect_ratio_resizer"


@pytest.mark.parametrize(
    ("overrides", "equal", "other"),
    [
        # To 600x800, by the shorter side; 900x1600 is limited by the longer one, to 576x1024.
        ([], [(300, 400), (600, 800), (1200, 1600)], (900, 1600)),
        ([f"{_KEEP}.pad_to_max_dimension=true"], [(300, 400), (9, 1)], None),
        (
            [f"{_RESIZER}.fixed_shape_resizer={{ height: 60 width: 80 }}"],
            [(300, 400), (9, 1)],
            None,
        ),
        ([f"{_RESIZER}.identity_resizer={{}}"], [(300, 400), (300, 400)], (600, 800)),
    ],
)
def test_equal_after_resizing(overrides, equal, other):
    limits = [f"{_KEEP}.min_dimension=600", f"{_KEEP}.max_dimension=1024"]
    config = tiny.config(*limits, *overrides)
    size = predictor.size_key_of_resizer(config.model.faster_rcnn.image_resizer)
    assert len({size(one) for one in equal}) == 1
    assert other is None or size(other) != size(equal[0])


def write_metadata(directory, text):
    (directory / "assets").mkdir()
    (directory / "assets" / "metadata.json").write_text(text)


def test_a_saved_model_says_itself_how_it_resizes(tmp_path):
    write_metadata(tmp_path, json.dumps({"pipeline_config": pipeline.to_text(tiny.config())}))
    size = predictor.size_key_of_saved_model(str(tmp_path))
    assert size((64, 80)) == size((128, 160)) != size((50, 40))


@pytest.mark.parametrize("metadata", [None, "no JSON", "[]", json.dumps({"pipeline_config": "x"})])
def test_without_readable_metadata_only_equal_images_are_equal(tmp_path, metadata):
    if metadata is not None:
        write_metadata(tmp_path, metadata)
    size = predictor.size_key_of_saved_model(str(tmp_path))
    assert size((64, 80)) == size((64, 80)) != size((128, 160))
