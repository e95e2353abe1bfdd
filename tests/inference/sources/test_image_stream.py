"""Stream of the images of files, records and videos."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.data import image_files
from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.inference.sources import image_stream, input_files
from object_detection_mtl.inference.sources.image_source import ReadingOptions
from object_detection_mtl.inference.sources.image_stream import SourceFailure
from object_detection_mtl.inference.sources.input_files import FileKind, InputFile
from object_detection_mtl.inference.sources.video_source import VideoSource
from tests.inference import source_files
from tests.inference.source_files import example, png, write_record, write_video


def look_at(*paths, done=(), **reading):
    """Return number -> (label, content or error) of the images, and the list of failures."""
    files = input_files.find_input_files(map(str, paths))
    opened = image_stream.open_sources(files, ReadingOptions(**reading))
    read, failures = {}, []
    labels = [file.path.name for file in files]
    for item in image_stream.stream_images(opened, labels, lambda number: number in done):
        if isinstance(item, SourceFailure):
            failures.append(item)
            continue
        try:
            read[item.number] = item.entry.label, item.entry.load()
        except ImageError as error:
            read[item.number] = item.entry.label, error
    return read, failures


@pytest.fixture
def record(tmp_path):
    return write_record(
        tmp_path / "some.record",
        [
            example(png(4, 6), filename=b"first.png", source_id=b"77"),
            example(png(5, 6)),
            example(png(6, 6)),
        ],
    )


# Kinds ------------------------------------------------------------------------------------------


def test_the_kind_of_a_file(tmp_path, record):
    kinds = {"a.jpg": FileKind.IMAGE, "b.MP4": FileKind.VIDEO, "image": FileKind.IMAGE}
    kinds |= {name: FileKind.RECORD for name in ("c.tfrecord", "c.record-00001-of-00010")}
    for name, kind in kinds.items():
        (tmp_path / name).write_bytes(b"")
        assert input_files.file_kind(tmp_path / name) == kind, name
    os.rename(record, tmp_path / "coco_val")
    assert input_files.file_kind(tmp_path / "coco_val") == FileKind.RECORD
    assert input_files.file_kind(tmp_path / "nowhere") == FileKind.IMAGE


def test_a_directory_is_searched_for_images_only(tmp_path, record):
    (tmp_path / "a.jpg").write_bytes(b"")
    assert [file.path.name for file in input_files.find_input_files([str(tmp_path)])] == ["a.jpg"]
    matching = input_files.find_input_files([str(tmp_path / "*")])
    assert [file.kind for file in matching] == [FileKind.IMAGE, FileKind.RECORD]


# Records ----------------------------------------------------------------------------------------


def test_the_images_of_a_record(record):
    read, failures = look_at(record)
    assert not failures
    assert list(read) == [1, 2, 3]
    label, content = read[1]
    assert label == f"{record}:0"
    assert content.pixels.shape == (4, 6, 3)
    assert content.description == {
        "file_name": "first.png",
        "record": f"{record}:0",
        "source_id": "77",
    }
    assert content.example is None
    assert read[2][1].description == {"file_name": f"{record}:1", "record": f"{record}:1"}
    assert look_at(record, with_example=True)[0][1][1].example == example(
        png(4, 6), filename=b"first.png", source_id=b"77"
    )


def test_images_that_are_done_are_not_read_again(tmp_path, record):
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    read, _ = look_at(record, tmp_path / "a.png", record.parent / "a.png", done={1, 3})
    assert [(number, one[0]) for number, one in read.items()] == [
        (2, f"{record}:1"),
        (4, str(tmp_path / "a.png")),
    ]


def test_corrupt_records_among_good_ones(tmp_path):
    path = write_record(
        tmp_path / "a.record",
        [
            example(b"no image"),
            b"\xff\xff no example",
            example(b"", height=b"x"),
            example(png(7, 8)),
            example(png(4, 6)),
        ],
    )
    source_files.damage(path, 3)
    read, failures = look_at(path)
    assert not failures
    assert [str(read[number][1]) for number in (1, 2, 3, 4)] == [
        "not an image of a supported format (expected JPEG, PNG, BMP, GIF, TIFF, WebP, PPM, JPEG "
        "2000 or AVIF)",
        "the record is not a tf.train.Example",
        "the record has no image in 'image/encoded' (it has image/encoded, image/height)",
        "the record is corrupt: its checksum does not match",
    ]
    assert read[5][1].pixels.shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("length", "number", "words"),
    [
        (-7, 2, "is truncated: record number 2 .counted from 0.* .2 before it used.$"),
        (5, 0, "is truncated: record number 0 "),
        (0, 0, "the file is empty"),
    ],
)
def test_the_records_before_a_truncation_are_used(record, length, number, words):
    data = record.read_bytes()
    record.write_bytes(data[:length])
    read, [failure] = look_at(record)
    assert list(read) == list(range(1, number + 1))
    assert failure.label == "some.record"
    with pytest.raises(ValueError, match=words):
        raise ValueError(failure.reason)


def test_a_corrupt_header_ends_a_record(record):
    data = bytearray(record.read_bytes())
    second = source_files.HEADER + int.from_bytes(data[:8], "little") + source_files.FOOTER
    data[second] ^= 1
    record.write_bytes(data)
    read, [failure] = look_at(record)
    assert list(read) == [1]
    assert "the header is invalid (1 before it" in failure.reason


def test_compressed_records_are_reported(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(b"\x1f\x8b\x08" + bytes(20))
    read, [failure] = look_at(tmp_path / "a.tfrecord")
    assert not read
    assert failure.reason == "is compressed with gzip (byte 0): decompress it first"


def test_the_version_of_a_record_changes_with_its_content(record):
    def version():
        return image_stream.open_sources(
            input_files.find_input_files([str(record)]), ReadingOptions()
        )[0].version

    before = version()
    assert version() == before
    write_record(record, [example(png(4, 6))])
    assert version() != before


def turned_jpeg():
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_images_of_records_are_not_rotated(tmp_path):
    (tmp_path / "a.jpg").write_bytes(turned_jpeg())
    path = write_record(tmp_path / "a.record", [example(turned_jpeg())])
    read, _ = look_at(tmp_path / "a.jpg", path)
    assert [read[number][1].pixels.shape for number in (1, 2)] == [(60, 40, 3), (40, 60, 3)]


# Examples of files ------------------------------------------------------------------------------


def encoded_of(path, **reading):
    read, _ = look_at(path, with_example=True, **reading)
    features = read[1][1].example.features.feature
    assert features["image/filename"].bytes_list.value == [path.as_posix().encode()]
    [height], [width] = (features[f"image/{key}"].int64_list.value for key in ("height", "width"))
    assert (height, width) == read[1][1].pixels.shape[:2]
    if "image/encoded" not in features:
        return None
    [encoded] = features["image/encoded"].bytes_list.value
    [kind] = features["image/format"].bytes_list.value
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.format.lower() == kind.decode()
    np.testing.assert_array_equal(
        image_files.decode_image(encoded, apply_exif_orientation=False), read[1][1].pixels
    )
    return encoded


def test_the_example_of_a_file_decodes_to_the_image_of_the_detector(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(turned_jpeg())
    assert encoded_of(path) != turned_jpeg()
    assert encoded_of(path, apply_exif_orientation=False) == turned_jpeg()
    assert encoded_of(path, with_encoded=False) is None
    Image.new("RGB", (5, 3), (1, 2, 3)).save(tmp_path / "b.png")
    assert encoded_of(tmp_path / "b.png") == (tmp_path / "b.png").read_bytes()
    Image.new("RGB", (5, 3), (1, 2, 3)).save(tmp_path / "c.bmp")
    assert encoded_of(tmp_path / "c.bmp") == png_of((1, 2, 3))


def png_of(color):
    return image_files.encode_png(np.tile(np.uint8(color), (3, 5, 1)))


# Videos -----------------------------------------------------------------------------------------


def test_the_frames_of_a_video(tmp_path):
    pytest.importorskip("cv2")
    path = write_video(tmp_path / "clip.avi", [10, 120, 240])
    read, failures = look_at(path, done={2})
    assert not failures
    assert list(read) == [1, 3]
    label, content = read[3]
    assert label == f"{path}:2"
    assert content.description == {"file_name": label}
    assert content.pixels.shape == (96, 128, 3)
    assert content.pixels.dtype == np.uint8
    assert abs(int(content.pixels.mean()) - 240) < 5
    read, _ = look_at(path, with_example=True)
    encoded = read[1][1].example.features.feature["image/encoded"].bytes_list.value[0]
    np.testing.assert_array_equal(image_files.decode_image(encoded), read[1][1].pixels)


def test_a_truncated_video(tmp_path):
    pytest.importorskip("cv2")
    path = write_video(tmp_path / "clip.avi", range(0, 200, 10))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    read, [failure] = look_at(path)
    assert 5 < len(read) < 15
    assert failure.reason.startswith(f"ends after {len(read)} of ")


def test_a_file_that_is_not_a_video(tmp_path):
    pytest.importorskip("cv2")
    (tmp_path / "clip.mp4").write_bytes(b"nothing")
    read, [failure] = look_at(tmp_path / "clip.mp4")
    assert not read
    assert failure.reason.startswith("not a readable video")


def test_a_playlist_opens_no_other_file(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = write_video(tmp_path / "a.avi", [1, 2])
    playlist = tmp_path / "clip.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n")
    source = VideoSource(InputFile(playlist, playlist, FileKind.VIDEO), ReadingOptions())
    with pytest.raises(image_files.ImageError, match="not a readable video"):
        list(source.entries(lambda position: False))
    assert "format_whitelist" in os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"]
    assert cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).isOpened()


def test_without_opencv_the_error_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match=r"pip install 'object_detection_mtl\[video\]'"):
        look_at(tmp_path / "clip.mp4")
