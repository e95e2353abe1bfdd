"""Fixtures of the tests of detection."""

import pytest
from PIL import Image

from tests.inference.detection_images import GREY


@pytest.fixture
def directory(tmp_path):
    """Return a directory whose a.jpg and c.png are images and b.jpg is not."""
    source = tmp_path / "photos"
    source.mkdir()
    for name, size in (("a.jpg", (400, 330)), ("c.png", (500, 350))):
        Image.new("RGB", size, (GREY,) * 3).save(source / name)
    (source / "b.jpg").write_bytes(b"no image")
    return source
