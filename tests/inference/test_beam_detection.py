"""Detection as a Beam pipeline, on the runner in this process."""

import functools
import importlib.util
import json

import numpy as np
import pytest

from object_detection_mtl.cli import detect_objects
from object_detection_mtl.inference import predictor
from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.detection_run import detect_files
from object_detection_mtl.inference.predictor import ImageDetections, PreparedImage, StagedPredictor
from object_detection_mtl.inference.sources import input_files
from tests import command_line
from tests.export import exported
from tests.inference import source_files

# Not imported, which would take seconds in every process of the test run.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="needs the extra [beam]"
)


def find_width(widths):
    boxes = np.array([[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]], np.float32)
    scores = np.array([0.9, 0.6], np.float32)
    return [ImageDetections(boxes, scores, np.array([width, 1])) for width in widths]


def load_batched():
    """Return a predictor whose first detection has the image's width as class."""
    return StagedPredictor(lambda p: PreparedImage(p.shape[1], group=p.shape[1]), find_width)


def load_single():
    return lambda image: find_width([image.shape[1]])[0]


@pytest.fixture
def finder(tmp_path):
    """Return two records, an image between them, and an unreadable file of each kind."""
    records = [
        source_files.write_record(
            tmp_path / f"{name}.record",
            [
                source_files.example(
                    b"none" if width is None else source_files.png(20, width),
                    source_id=b"%d" % place,
                )
                for place, width in enumerate(widths)
            ],
        )
        for name, widths in (("a", [11, 12, None, 11]), ("c", [13, 12, 12, 15]))
    ]
    records[0].write_bytes(records[0].read_bytes()[:-1])
    (tmp_path / "b.png").write_bytes(source_files.png(20, 14))
    (tmp_path / "d.jpg").write_bytes(b"none")
    names = [records[0], tmp_path / "b.png", tmp_path / "d.jpg", records[1]]
    return functools.partial(input_files.find_input_files, [str(name) for name in names])


def run(load, finder, output, num_shards, **more):
    from object_detection_mtl.inference import beam_detection

    return beam_detection.detect_with_beam(
        load, finder, DetectionOptions(output, **more), num_shards=num_shards
    )


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize(("load", "batch_size"), [(load_batched, 3), (load_single, 1)])
def test_results_equal_those_of_one_machine(finder, tmp_path, load, batch_size):
    output = tmp_path / "beam"
    options = {"output_format": "both", "batch_size": batch_size, "class_names": {1: "cat"}}
    summary = run(load, finder, output, 2, **options)
    at_once = detect_files(load(), finder(), DetectionOptions(tmp_path / "one", **options))
    assert summary.num_done == at_once.num_done == 7
    assert summary.num_detections == at_once.num_detections == 14
    assert summary.failures == at_once.failures
    assert len(summary.failures) == 3

    suffixes = ["00000-of-00002", "00001-of-00002"]
    assert sorted(path.name for path in output.iterdir()) == [
        *(f"detections-{suffix}.json" for suffix in suffixes),
        *(f"detections.record-{suffix}" for suffix in suffixes),
        "drawn_images",
        *(f"images-{suffix}.json" for suffix in suffixes),
    ]
    rows = [row for suffix in suffixes for row in read(output / f"detections-{suffix}.json")]
    assert sorted(rows, key=lambda row: (row["image_id"], -row["score"])) == read(
        tmp_path / "one" / "detections.json"
    )
    images = [
        row for suffix in suffixes for row in read(output / f"images-{suffix}.json")["images"]
    ]
    expected = read(tmp_path / "one" / "images.json")["images"]
    assert sorted(images, key=lambda row: row["id"]) == expected

    def contents(*paths):
        return sorted(
            example.SerializeToString(deterministic=True)
            for path in paths
            for example in source_files.read_record(path)
        )

    assert contents(*output.glob("*.record-*")) == contents(tmp_path / "one" / "detections.record")

    def drawn(directory):
        return sorted(
            str(path.relative_to(directory)) for path in (directory / "drawn_images").rglob("*.jpg")
        )

    assert drawn(output) == drawn(tmp_path / "one")
    assert len(drawn(output)) == 7


def test_results_in_another_number_of_files_are_an_error(finder, tmp_path):
    (tmp_path / "images-00000-of-00003.json").touch()
    with pytest.raises(FileExistsError, match="another --num_shards"):
        run(load_single, finder, tmp_path, 2)


def test_a_shard_without_images_exists(tmp_path):
    (tmp_path / "a.png").write_bytes(source_files.png(20, 14))
    finder = functools.partial(input_files.find_input_files, [str(tmp_path / "a.png")])
    output = tmp_path / "out"
    run(load_single, finder, output, 2, output_format="both", save_images=False)
    assert read(output / "detections-00000-of-00002.json") == []
    assert source_files.read_record(output / "detections.record-00000-of-00002") == []
    assert len(read(output / "detections-00001-of-00002.json")) == 2


def test_the_model_handler_alone():
    import apache_beam as beam
    from apache_beam.ml.inference.base import RunInference
    from apache_beam.testing.util import assert_that, equal_to

    from object_detection_mtl import beam_runtime
    from object_detection_mtl.inference.beam_model_handler import DetectorHandler

    pipeline = beam_runtime.make_pipeline("DirectRunner", [])
    found = (
        pipeline
        | beam.Create([np.zeros((4, width, 3), np.uint8) for width in (5, 7, 5)])
        | RunInference(DetectorHandler(load_batched, batch_size=2))
        | beam.Map(lambda result: (result.example.shape[1], int(result.inference.classes[0])))
    )
    assert_that(found, equal_to([(5, 5), (7, 7), (5, 5)]))
    beam_runtime.run_pipeline(pipeline, "DirectRunner")


@pytest.mark.slow
def test_the_command_with_a_runner(tmp_path):
    """An exported SavedModel gives the same results as without Beam."""
    model = f"--saved_model_dir={exported.export('encoded_image_string_tensor')}"
    arguments = [model, f"--images={exported.images()}", "--nosave_images"]
    with_beam = [*arguments, "--runner=DirectRunner", "--runner_option=direct_num_workers=1"]
    done = command_line.run(
        detect_objects, *with_beam, f"--output_dir={tmp_path / 'beam'}", "--batch_size=2"
    )
    assert done.code == 0, done.err
    assert done.out.startswith("3 of 3 images: ")
    assert (
        command_line.run(detect_objects, *arguments, f"--output_dir={tmp_path / 'one'}").code == 0
    )
    rows = read(tmp_path / "beam" / "detections.json")
    rows.sort(key=lambda row: (row["image_id"], -row["score"]))
    expected = read(tmp_path / "one" / "detections.json")
    assert len(rows) == len(expected) > 4
    for row, single in zip(rows, expected, strict=True):
        assert (row["image_id"], row["file_name"]) == (single["image_id"], single["file_name"])
        assert row["category_id"] == single["category_id"]
        assert row["score"] == pytest.approx(single["score"], abs=1e-4)
        assert row["bbox"] == pytest.approx(single["bbox"], abs=1e-2)


def test_a_batch_size_without_batching_is_an_error():
    with pytest.raises(ValueError, match="batch_size is 2"):
        predictor.check_batch_size(predictor.as_staged_predictor(load_single()), 2)
