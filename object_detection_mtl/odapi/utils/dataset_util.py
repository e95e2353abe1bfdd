"""Features of a tf.train.Example, and annotations in XML."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from object_detection_mtl.config.pipeline import read_text
from object_detection_mtl.odapi import missing_names

__getattr__ = missing_names.module_getattr(__name__)


def int64_feature(value: int) -> tf.train.Feature:
    """Return a feature of one integer."""
    return int64_list_feature([value])


def int64_list_feature(value: Iterable[int]) -> tf.train.Feature:
    """Return a feature of integers."""
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value))


def bytes_feature(value: bytes) -> tf.train.Feature:
    """Return a feature of one byte string."""
    return bytes_list_feature([value])


def bytes_list_feature(value: Iterable[bytes]) -> tf.train.Feature:
    """Return a feature of byte strings."""
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))


def float_feature(value: float) -> tf.train.Feature:
    """Return a feature of one number."""
    return float_list_feature([value])


def float_list_feature(value: Iterable[float]) -> tf.train.Feature:
    """Return a feature of numbers."""
    return tf.train.Feature(float_list=tf.train.FloatList(value=value))


def read_examples_list(path: str | os.PathLike[str]) -> list[str]:
    """Return the first word of each line of a file, such as those of VOC's ImageSets."""
    return [line.split()[0] for line in read_text(path).splitlines() if line.strip()]


def recursive_parse_xml_to_dict(xml: Any) -> dict[str, Any]:
    """Return an XML element as nested dictionaries; the elements `object` are a list.

    Args:
        xml: an element of ElementTree or lxml.
    """
    children = [child for child in xml if isinstance(child.tag, str)]  # without comments
    if not children:
        return {xml.tag: xml.text}
    contents: dict[str, Any] = {}
    for child in children:
        value = recursive_parse_xml_to_dict(child)[child.tag]
        if child.tag == "object":
            contents.setdefault(child.tag, []).append(value)
        else:
            contents[child.tag] = value
    return {xml.tag: contents}
