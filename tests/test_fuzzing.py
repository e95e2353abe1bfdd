"""Readers of untrusted files: any bytes are read, or are an error of one line.

    FUZZ_SECONDS=600 python -m pytest -m long tests/test_fuzzing.py

takes about ten minutes; without FUZZ_SECONDS one. The slow tests take a second for each reader.
"""

import functools
import json
import os
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from object_detection_mtl import output_lock
from object_detection_mtl.config import label_map, pipeline
from object_detection_mtl.data import (
    example_decoder,
    graph_errors,
    image_files,
    record_contents,
    record_files,
)
from object_detection_mtl.dataset_tools import coco_annotations, text_encodings, voc_xml
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes
from object_detection_mtl.evaluation.inference_journal import InferenceJournal
from object_detection_mtl.inference.writers.progress_log import PROGRESS_FILE, ProgressLog
from object_detection_mtl.reporting import detection_files, groundtruth_files
from tests import records
from tests.data.record_files import example
from tests.dataset_tools.voc_files import annotation, block_image, encoded, thing

pytestmark = pytest.mark.slow

SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
JSON = SCALAR | st.lists(SCALAR, max_size=4) | st.dictionaries(st.text(max_size=9), SCALAR)
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 30, "width": 40}],
    "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12}],
    "categories": [{"id": 3, "name": "cat", "supercategory": "animal"}],
}
FLAGS = "<difficult>0</difficult><truncated>1</truncated>"
SEEDS = {
    "voc": [
        annotation(objects=thing("cat", 1, 2, 3, 4, FLAGS)).encode(),
        b'<?xml version="1.0" encoding="gb2312"?>' + annotation("猫.jpg").encode("gb2312"),
        annotation("b.jpg").encode("utf-16"),
    ],
    "coco": [json.dumps(COCO).encode(), json.dumps(COCO).encode("utf-16")],
    "list": [b"a\nb 1\nsub/c.jpg\n", "\u732b\n".encode("gbk")],
    "label map": [b'item { id: 1 name: "cat" display_name: "House cat" }'],
    "config": [records.CONFIG.encode()],
    "detections": [b'[{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}]'],
    "lease": [b'{"host": "a", "pid": 3, "time": 1.5, "lease": "x"}'],
    "image": [encoded(block_image(), name) for name in ("JPEG", "PNG", "GIF", "TIFF", "WEBP")],
    "record file": [record_files.encode_record(example().SerializeToString()) * 2],
    "example": [example().SerializeToString()],
    "progress log": [
        b'{"model": "m"}\n' + b"".join(b'{"image": {"id": %d}, "n": []}\n' % n for n in (1, 2, 4))
    ],
}


# Inputs that break readers of text and numbers.
TOKENS = (
    b"nan inf -inf 1e999 -1 0 9223372036854775808 0x10 1_000 null true {} [] [[]] <a> </a> &x; "
    b"&#0; \\ud800 \\u0000 \xff\xfe \xef\xbb\xbf \xe2\x80\xae \xed\xa0\x80 %s {0} ../ ~ \x1b[2J "
    b"<!DOCTYPE> encoding='rot13' encoding='utf-16'"
).split(b" ")


@st.composite
def changed(draw, seeds):
    """Bytes of a valid file with some of them replaced, removed or repeated."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        same = st.just(bytes(data[start:end]) * 3)
        data[start:end] = draw(st.binary(max_size=8) | same | st.sampled_from(TOKENS))
    return bytes(data)


def read_voc(path):
    voc_xml.parse_annotation(path)

    voc_xml.parse_annotation(path, EntryNotes())


def read_coco(path):
    file = coco_annotations.read_coco_file(path)
    coco_annotations.find_images(path.parent, file)
    "\n".join(file.notes).encode()


def read_list(path):
    for text in text_encodings.decode_list(path.read_bytes()):
        text.encode()


def read_detections(path):
    truth = path.with_name("truth.json")
    truth.write_text(json.dumps(COCO))
    found = path.rename(path.with_suffix(".json"))
    detection_files.read_detections(found, groundtruth_files.read_groundtruth(truth))


def read_lease(path):
    with output_lock.hold_lease(str(path), "output", clock=lambda: 1e9):
        pass


def read_label_map(path):
    label_map.load(path)


def read_config(path):
    pipeline.load(path)


def read_image(path):
    image_files.read_image(path)
    encoded_image = image_files.read_encoded_image(path, verify=True)
    if encoded_image.orientation > 1:
        image_files.rotate_upright(encoded_image)


def read_record_file(path):
    index = record_files.index_records(str(path))
    contents = record_contents.examine_records(index, {"cat": 1}, [1])
    record_contents.form_of_boxes(contents)
    record_contents.no_object(contents)


@functools.cache
def decoder():
    """Return a compiled decoder of parsed examples."""
    decode = example_decoder.make_decoder(3)
    return tf.function(lambda parsed: decode(parsed, tf.constant("place")), reduce_retracing=True)


def read_example(path):
    parsed = example_decoder.parse_now(tf.constant(path.read_bytes()), "place")
    try:
        decoder()(parsed)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(graph_errors.explain(error)) from error


def read_progress_log(path):
    path.rename(path.with_name(PROGRESS_FILE))
    with ProgressLog(path.parent, {"model": "m"}) as log:
        assert len(list(log.entries())) == log.num_done
        log.add({"image": {"id": 9}})
    with ProgressLog(path.parent, {"model": "m"}) as log:
        assert log.is_done(9)


READERS = {
    "voc": (read_voc, voc_xml.VocError),
    "coco": (read_coco, coco_annotations.CocoError),
    "list": (read_list, ()),
    "detections": (read_detections, ValueError),
    "lease": (read_lease, output_lock.OutputInUseError),
    "label map": (read_label_map, label_map.ConfigError),
    "config": (read_config, label_map.ConfigError),
    "image": (read_image, image_files.ImageError),
    "record file": (read_record_file, ValueError),
    "example": (read_example, ValueError),
    "progress log": (read_progress_log, ()),
}
# Each of the readers, the two tests below included, has the same share of the time.
LONG = float(os.environ.get("FUZZ_SECONDS", "60")) / (len(READERS) + 2)


@pytest.fixture(params=[1.0, pytest.param(LONG, marks=pytest.mark.long)], ids=["short", "long"])
def fuzz(request):
    """Return what calls a function with drawn data for the time of the tier, 50 times or more."""
    return functools.partial(call_with_drawn_data, seconds=request.param)


def call_with_drawn_data(check, seconds):
    """Call `check` with drawn data until its time is over."""

    @settings(
        max_examples=50,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def check_examples(data):
        check(data)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check_examples()


@pytest.mark.parametrize("reader", READERS)
def test_bytes(tmp_path, reader, fuzz):
    read, expected = READERS[reader]

    def check(data):
        path = tmp_path / "file"
        path.write_bytes(data.draw(changed(SEEDS[reader])))
        message, decoding_failed = "", False
        try:
            with image_files.ignore_size_warnings():
                read(path)
        except expected as error:
            message, decoding_failed = str(error), isinstance(error, UnicodeError)
        assert len(message) < 4000
        assert "{{function_node" not in message
        assert not decoding_failed

    fuzz(check)


def test_coco_values(tmp_path, fuzz):
    def check(data):
        content = json.loads(json.dumps(COCO))
        for _ in range(data.draw(st.integers(1, 3))):
            part = content[data.draw(st.sampled_from(sorted(COCO)))]
            if part and isinstance(part[0], dict):
                part[0][data.draw(st.sampled_from(sorted(part[0])))] = data.draw(JSON)
        path = tmp_path / "file.json"
        path.write_text(json.dumps(content))
        message = ""
        try:
            read_coco(path)
        except coco_annotations.CocoError as error:
            message = str(error)
        assert len(message) < 4000

    fuzz(check)


def test_journal(tmp_path, fuzz):
    """What a damaged journal has lost is computed again."""
    path = tmp_path / "journal"
    batches = [{"image_id": np.array([name])} for name in (b"a", b"b", b"c")]

    def results(journal):
        infer = journal.record(lambda batch: {"n": np.frombuffer(batch["image_id"], np.uint8)})
        found = [infer(batch)["n"].tolist() for batch in batches]
        journal.close()
        return found

    wanted = results(InferenceJournal(str(path), "identity"))
    whole = path.read_bytes()

    def check(data):
        path.write_bytes(data.draw(changed([whole])))
        assert results(InferenceJournal(str(path), "identity")) == wanted
        journal = InferenceJournal(str(path), "identity")
        journal.close()
        assert journal.num_recorded == 3

    fuzz(check)


def test_the_seeds_are_valid(tmp_path):
    for reader, seeds in SEEDS.items():
        for seed in seeds:
            (tmp_path / "file").write_bytes(seed)
            READERS[reader][0](tmp_path / "file")
