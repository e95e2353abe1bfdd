"""detect_objects with an exported model and with a checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.cli import detect_objects
from object_detection_mtl.data import image_files
from object_detection_mtl.data.image_files import ignore_size_warnings
from tests import command_line
from tests.export import exported
from tests.inference import source_files


def saved_model():
    return f"--saved_model_dir={exported.export('image_tensor') / 'saved_model'}"


def config_and_checkpoint():
    exported.run()
    return [
        f"--pipeline_config_path={exported.CONFIG_PATH}",
        f"--checkpoint_dir={exported.MODEL_DIR}",
    ]


def run(*arguments):
    return command_line.run(detect_objects, *map(str, arguments))


def read(path):
    return json.loads(Path(path).read_text())


def error(done):
    """Return the error line of a failed run."""
    assert done.code == 1
    [line] = [line for line in done.err.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Run a SavedModel on a directory; return the output directory."""
    output = tmp_path_factory.mktemp("detect") / "out"
    done = run(saved_model(), f"--images={exported.images()}", f"--output_dir={output}")
    assert done.code == 0, done.err
    [line] = done.out.splitlines()
    number = len(read(output / "detections.json"))
    assert line.startswith(f"3 of 3 images: {number} detections in ")
    assert line.endswith(f"written to {output}")
    return output


@pytest.mark.slow
def test_a_saved_model_over_a_directory(found):
    images = read(found / "images.json")
    sizes = [(image["height"], image["width"]) for image in images["images"]]
    assert sizes == exported.IMAGE_SHAPES
    assert {item["id"]: item["name"] for item in images["categories"]} == exported.NAMES
    rows = read(found / "detections.json")
    assert {row["image_id"] for row in rows} == {1, 2, 3}
    for row in rows:
        height, width = sizes[row["image_id"] - 1]
        x, y, w, h = row["bbox"]
        assert 0 <= x < x + w <= width + 1e-2
        assert 0 <= y < y + h <= height + 1e-2
        assert row["category_id"] in exported.NAMES
        assert 0 < row["score"] <= 1
    assert sorted(os.listdir(found / "drawn_images")) == ["a.jpg", "b.jpg", "c.jpg"]


def test_config_and_checkpoint_give_equal_detections(found, tmp_path):
    done = run(
        *config_and_checkpoint(),
        f"--images={exported.images()}/*.jpg",
        f"--images={exported.images() / 'c.bmp'}",
        f"--output_dir={tmp_path}",
        "--nosave_images",
    )
    assert done.code == 0, done.err
    assert sorted(os.listdir(tmp_path)) == ["detections.json", "images.json"]
    assert read(tmp_path / "images.json")["categories"] == read(found / "images.json")["categories"]
    of_saved_model = [row for row in read(found / "detections.json") if row["image_id"] != 2]
    rows = read(tmp_path / "detections.json")
    assert len(rows) == len(of_saved_model) > 4
    for row, expected in zip(rows, of_saved_model, strict=True):
        assert row["file_name"] == expected["file_name"]
        assert row["category_id"] == expected["category_id"]
        assert row["score"] == pytest.approx(expected["score"], abs=1e-4)
        assert row["bbox"] == pytest.approx(expected["bbox"], abs=1e-2)


@pytest.mark.slow
def test_records_in_batches_give_equal_detections(tmp_path):
    """With and without batches, from files and from a record."""
    shapes = [(64, 80), (50, 40), (64, 80), (64, 80)]
    random = np.random.RandomState(6)
    encoded = [
        image_files.encode_png(random.randint(0, 256, (*shape, 3)).astype(np.uint8))
        for shape in shapes
    ]
    record = source_files.write_record(
        tmp_path / "some.record", [source_files.example(one) for one in (*encoded, b"none")]
    )
    record.write_bytes(record.read_bytes()[:-3])  # truncate the last record
    for number, one in enumerate(encoded):
        (tmp_path / f"{number}.png").write_bytes(one)
    batched = exported.export("image_tensor", dynamic_batch=True)
    done = run(
        f"--saved_model_dir={batched}",
        f"--images={tmp_path}/*.record",
        f"--output_dir={tmp_path / 'batched'}",
        "--batch_size=2",
        "--output_format=both",
    )
    assert done.code == 0, done.err
    assert done.out.startswith("4 of 5 images, 1 skipped: ")
    assert f"{record}: is truncated: record number 4" in done.err
    done = run(saved_model(), f"--images={tmp_path}/*.png", f"--output_dir={tmp_path / 'single'}")
    assert done.code == 0, done.err
    rows, expected = (read(tmp_path / name / "detections.json") for name in ("batched", "single"))
    assert len(rows) == len(expected) > 4
    for row, single in zip(rows, expected, strict=True):
        for key in ("image_id", "category_id"):
            assert row[key] == single[key]
        assert row["score"] == pytest.approx(single["score"], abs=1e-4)
        assert row["bbox"] == pytest.approx(single["bbox"], abs=1e-2)
    examples = source_files.read_record(tmp_path / "batched" / "detections.record")
    scores = [e.features.feature["image/detection/score"].float_list.value for e in examples]
    assert [len(one) for one in scores] == [
        sum(row["image_id"] == number for row in rows) for number in (1, 2, 3, 4)
    ]


def test_batches_need_a_dynamic_batch(tmp_path):
    image = f"--images={exported.images() / 'a.jpg'}"
    done = run(saved_model(), image, f"--output_dir={tmp_path / 'out'}", "--batch_size=4")
    assert "takes 1 image at a time; export it with --dynamic_batch" in error(done)


def test_names_from_a_label_map_and_fewer_detections(tmp_path):
    label_map = tmp_path / "other.pbtxt"
    label_map.write_text('item { id: 2 name: "owl" }')
    done = run(
        saved_model(),
        f"--images={exported.images() / 'a.jpg'}",
        f"--output_dir={tmp_path / 'out'}",
        f"--label_map_path={label_map}",
        "--max_detections=2",
    )
    assert done.code == 0, done.err
    rows = read(tmp_path / "out" / "detections.json")
    assert len(rows) == 2
    names = {c["id"]: c["name"] for c in read(tmp_path / "out" / "images.json")["categories"]}
    assert names == {row["category_id"]: f"class {row['category_id']}" for row in rows} | {2: "owl"}


def test_images_of_every_kind_on_an_exported_model(tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    Image.new("RGB", (1, 1)).save(source / "one_pixel.png")
    Image.new("L", (40, 30), 99).save(source / "grey.jpg")
    Image.new("CMYK", (40, 30)).save(source / "cmyk.jpg")
    Image.new("I;16", (40, 30), 30000).save(source / "deep.png")
    Image.new("RGB", (3000, 2)).save(source / "strip.png")
    (source / "truncated.jpg").write_bytes((exported.images() / "a.jpg").read_bytes()[:900])
    done = run(saved_model(), f"--images={source}", f"--output_dir={tmp_path / 'out'}")
    assert done.code == 0
    assert "5 of 6 images, 1 skipped:" in done.out
    [line] = [line for line in done.err.splitlines() if "skipped" in line]
    assert line.startswith(
        f"{source / 'truncated.jpg'}: skipped, cannot be decoded: image file is trunc"
    )
    assert len(os.listdir(tmp_path / "out" / "drawn_images")) == 5


@pytest.mark.slow
def test_an_image_of_108_million_pixels(tmp_path):
    Image.new("RGB", (12000, 9000), (200, 30, 30)).save(tmp_path / "huge.jpg")
    done = run(saved_model(), f"--images={tmp_path / 'huge.jpg'}", f"--output_dir={tmp_path}")
    assert done.code == 0, done.err
    path = tmp_path / "drawn_images" / "huge.jpg"
    with ignore_size_warnings(), Image.open(path) as drawn:
        assert drawn.size == (12000, 9000)


def test_the_run_fails_if_all_images_fail(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    (tmp_path / "b.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    os.mkfifo(tmp_path / "c.png")
    done = run(saved_model(), f"--images={tmp_path}", f"--output_dir={tmp_path / 'out'}")
    assert done.code == 1
    assert "0 of 3 images, 3 skipped (1 HEIC or AVIF: convert them to JPEG): 0 det" in done.out
    assert "c.png: skipped, not a regular file, but a pipe" in done.err
    assert read(tmp_path / "out" / "detections.json") == []


def test_wrong_paths_are_an_error(tmp_path):
    output = f"--output_dir={tmp_path / 'out'}"
    image = f"--images={exported.images() / 'a.jpg'}"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "sharded").mkdir()
    (tmp_path / "sharded" / "images-00000-of-00002.json").write_text("")
    for arguments, words in [
        ([saved_model(), output, f"--images={tmp_path / 'empty'}"], "has no image"),
        ([saved_model(), output, f"--images={tmp_path / 'a.jpg'}"], "no file or directory"),
        ([f"--saved_model_dir={tmp_path}", output, image], "it has no saved_model.pb"),
        ([saved_model(), f"--output_dir={tmp_path / 'file'}", image], "is a file"),
        ([saved_model(), "--output_dir=/proc/out", image], "'/proc' accepts no new directories"),
        ([saved_model(), f"--output_dir={tmp_path / 'sharded'}", image], "another --num_shards"),
        ([saved_model(), output, image, "--label_map_path=x.pbtxt"], "x.pbtxt does not exist"),
        ([output, image], "give the model: --saved_model_dir, --exported_model, or"),
        ([saved_model(), output, image, "--num_shards=2"], "--num_shards need --runner"),
        (
            [saved_model(), output, image, "--runner=DirectRunner", "--num_readers=2"],
            "such as direct_num_workers=4",
        ),
        ([output, image, "--checkpoint_dir=x"], "give the model"),
        ([saved_model(), output, image, "--checkpoint_dir=x"], "or --checkpoint_dir, not both"),
        (
            [
                *config_and_checkpoint()[:1],
                f"--checkpoint_dir={tmp_path / 'empty'}",
                output,
                image,
            ],
            "holds no checkpoint",
        ),
    ]:
        assert words in error(run(*arguments)), arguments
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image=a.jpg"], "Did you mean: images"),
        (["--images=a.jpg"], "--output_dir is required"),
        (["--images=a", "--output_dir=b", "--min_score=2"], "--min_score=2"),
        (["--images=a", "--output_dir=b", "--max_detections=0"], "--max_detections=0"),
    ],
)
def test_invalid_flags_are_an_error(arguments, words):
    done = run(*arguments)
    assert done.code == 1
    assert words in done.err


def test_an_interrupted_run_keeps_its_detections(tmp_path, monkeypatch):
    from object_detection_mtl.inference.writers import detection_writer, drawn_images

    draw = drawn_images.save_drawing

    def interrupt_at_the_second(image, found, target, options):
        if target.name == "b.jpg":
            raise KeyboardInterrupt
        draw(image, found, target, options)

    monkeypatch.setattr(detection_writer, "save_drawing", interrupt_at_the_second)
    done = run(saved_model(), f"--images={exported.images()}", f"--output_dir={tmp_path}")
    assert done.code == 130
    assert f"stopped; {tmp_path} has the detections so far" in done.err
    # An image is done when it is drawn.
    assert {row["image_id"] for row in read(tmp_path / "detections.json")} == {1}


def test_help_explains_the_output():
    done = subprocess.run(
        [sys.executable, "-m", "object_detection_mtl.cli.detect_objects", "--help"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    for words in ("--images:", "--saved_model_dir:", "detections.json", "The exit code is 1 if"):
        assert words in done.stdout
    assert done.returncode == 0
