"""Image files for tests."""

import zlib

from object_detection_mtl.data import image_files
from tests.dataset_tools.voc_files import block_image, encoded


def read_encoded(tmp_path, data, verify=False, name="a.jpg"):
    (tmp_path / name).write_bytes(data)
    return image_files.read_encoded_image(tmp_path / name, verify)


def huge_png(width, height):
    """Return a PNG whose header states this size; its pixels are those of a small image."""
    data = bytearray(encoded(block_image(), "PNG"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)
