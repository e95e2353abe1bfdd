"""Images of a calibration: found, spread over the files, read as for detection."""

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.inference import calibration_images
from object_detection_mtl.inference.calibration_images import CalibrationImages
from tests.inference import source_files


@pytest.mark.parametrize(
    ("total", "maximum", "numbers"),
    [(3, 5, {1, 2, 3}), (9, 3, {1, 5, 9}), (5, 1, {1}), (0, 4, set())],
)
def test_numbers_are_spread(total, maximum, numbers):
    assert calibration_images.spread_numbers(total, maximum) == numbers


def test_images_of_records_and_directories(tmp_path, caplog):
    """Image files are rotated by their EXIF orientation; unreadable ones are skipped once."""
    examples = [source_files.example(source_files.png(4, 6, value)) for value in (10, 20, 30)]
    record = source_files.write_record(tmp_path / "train.record", examples)
    directory = tmp_path / "photos" / "below"
    directory.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((5, 8, 3), np.uint8)).save(directory / "a.png", exif=exif)
    (directory / "b.jpg").write_bytes(b"nothing")
    files = calibration_images.find_calibration_files([record, tmp_path / "photos"])
    images = CalibrationImages(files, 10)
    shapes = [image.shape for image in images]
    assert shapes == [(4, 6, 3), (4, 6, 3), (4, 6, 3), (8, 5, 3)]
    assert [image.shape for image in images] == shapes  # again
    assert sum("b.jpg" in record.message for record in caplog.records) == 1
    assert [int(image.max()) for image in CalibrationImages(files[:1], 2)] == [10, 30]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("train.recrd", "calibration: no file or directory .*train.recrd.*train.record"),
        ("photos", "calibration: directory .*photos.* has no image$"),
    ],
)
def test_nothing_to_calibrate_on(tmp_path, path, words):
    (tmp_path / "train.record").touch()
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match=words):
        calibration_images.find_calibration_files([tmp_path / path])
