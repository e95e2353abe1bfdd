"""Code blocks of the documentation: each one runs, is parsed, or says why not.

A block that cannot run here has a comment before it: <!-- no-run: reason -->.
"""

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest
from google.protobuf import text_format

from object_detection_mtl.config import samples
from object_detection_mtl.protos import model_pb2, pipeline_pb2, train_pb2
from tests import code_blocks

BLOCKS = code_blocks.all_blocks()
SERVER = Path(__file__).with_name("block_server.py")
FRAGMENTS = (
    pipeline_pb2.TrainEvalPipelineConfig,
    model_pb2.DetectionModel,
    model_pb2.MTL,
    train_pb2.TrainConfig,
)
# TensorFlow's messages, which no user of a command should see.
CHATTER = re.compile(
    r"cuInit|devices\.cc|single_machine\.cc|op_level_cost_estimator|All log messages before absl"
    r"|cpu_feature_guard|oneDNN custom operations|PATH/label_map"
)
SAMPLE = "faster_rcnn_mobilenet_v1_mtl_synthetic.config"
# The sample's detector at the smallest size that trains.
SMALL = {
    "num_steps: 300": "num_steps: 2",
    "batch_size: 4": "batch_size: 1",
    "total_steps: 300": "total_steps: 2",
    "warmup_steps: 30": "warmup_steps: 1",
    "depth_multiplier: 0.5": "depth_multiplier: 0.25",
    "min_dimension: 256 max_dimension: 320": "min_dimension: 64 max_dimension: 96",
    "window: true": "window: false",
    "closeness: true": "closeness: false",
    "first_stage_max_proposals: 64": "first_stage_max_proposals: 8",
    "second_stage_batch_size: 24": "second_stage_batch_size: 8",
    "score_threshold: 0.01": "score_threshold: 0.0",
    "PATH/": "",
}


def test_every_block_is_run_parsed_or_shown():
    known = (*code_blocks.EXECUTED, code_blocks.CONFIG, *code_blocks.SHOWN)
    assert not [block.place for block in BLOCKS if block.language not in known]
    for block in BLOCKS:
        assert not block.reason or block.language in code_blocks.EXECUTED, block.place
    marked = [block for block in BLOCKS if block.reason]
    executed = [b for b in BLOCKS if b.language in code_blocks.EXECUTED and not b.reason]
    assert len(executed) > 25
    print(f"{len(executed)} blocks are executed, {len(marked)} are not:")
    for block in marked:
        print(f"  {block.place}: {block.reason}")


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == code_blocks.CONFIG], ids=lambda b: b.place
)
def test_config_blocks_are_parts_of_a_config(block):
    errors = []
    for message in FRAGMENTS:
        try:
            text_format.Parse(block.code, message())
            return
        except text_format.ParseError as error:
            errors.append(f"{message.DESCRIPTOR.name}: {error}")
    pytest.fail(f"{block.place}: {errors}")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The directory of the programs of a running server (`block_server`)."""
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    directory = tmp_path_factory.mktemp("programs")
    # A user has no level of TensorFlow's log.
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    with subprocess.Popen(
        [sys.executable, str(SERVER), str(directory)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout.readline() == "ready\n"
            yield directory
            subprocess.run([str(directory / "stop_server")], check=True, timeout=60)
            print(f"code blocks: {server.stdout.read().strip()}")
        finally:
            server.kill()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, programs):
    """A directory with the files that the documents name: images, records, config, run, export."""
    directory = tmp_path_factory.mktemp("documentation")
    text = samples.path(SAMPLE).read_text()
    for old, new in SMALL.items():
        assert old in text, old
        text = text.replace(old, new)
    (directory / "my.config").write_text(text)
    sample = directory / "samples" / "configs" / SAMPLE
    sample.parent.mkdir(parents=True)
    sample.write_text(text)
    run(
        programs,
        directory,
        "setup",
        """
        create_synthetic_voc --output_dir=my_images --num_train=4 --num_val=2
        for set in train val; do
          create_pascal_tf_record --data_dir=my_images --set=$set --output_path=$set.record \
            --label_map_path=my_images/label_map.pbtxt
        done
        cp my_images/label_map.pbtxt .
        model_main_tf2 --pipeline_config_path=my.config --model_dir=model
        exporter_main_v2 --pipeline_config_path=my.config --trained_checkpoint_dir=model \
          --output_directory=exported
        mkdir new_images
        for name in $(cat my_images/ImageSets/Main/val.txt); do
          cp my_images/JPEGImages/$name.jpg new_images
        done
        cp $(ls new_images/*.jpg | head -n 1) photo.jpg
        detect_objects --saved_model_dir=exported/saved_model --images=new_images \
          --output_dir=detections
        detect_objects --saved_model_dir=exported/saved_model --images=val.record \
          --output_dir=as_records --output_format=tfrecord --save_images=false
        cp as_records/detections.record found.record
        for number in 1 2 3 4; do cp detections/detections.json run$number.json; done
        """,
    )
    write_other_forms(directory)
    return directory


def write_other_forms(directory):
    """Write COCO instances files, VOC text files, an array and a video from the images."""
    import cv2
    import numpy as np
    from PIL import Image

    labels = (directory / "label_map.pbtxt").read_text()
    names = dict(re.findall(r"id: (\d+)\s+name: \"(\w+)\"", labels))
    numbers = {name: int(number) for number, name in names.items()}
    assert numbers
    for chosen in ("train", "val"):
        images, annotations = [], []
        listed = (directory / "my_images/ImageSets/Main" / f"{chosen}.txt").read_text().split()
        for image_id, stem in enumerate(listed, start=1):
            root = xml.etree.ElementTree.parse(directory / f"my_images/Annotations/{stem}.xml")
            width, height = (int(root.findtext(f"size/{side}")) for side in ("width", "height"))
            images.append(
                {"id": image_id, "file_name": f"{stem}.jpg", "width": width, "height": height}
            )
            for item in root.iter("object"):
                left, top, right, bottom = (
                    float(item.findtext(f"bndbox/{side}"))
                    for side in ("xmin", "ymin", "xmax", "ymax")
                )
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": numbers[item.findtext("name")],
                        "bbox": [left, top, right - left, bottom - top],
                        "area": (right - left) * (bottom - top),
                        "iscrowd": 0,
                    }
                )
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        }
        (directory / f"instances_{chosen}.json").write_text(json.dumps(content))
    texts = directory / "voc_results"
    texts.mkdir()
    occurring = {item["category_id"] for item in annotations}
    for name in (name for name, number in numbers.items() if number in occurring):
        (texts / f"comp4_det_val_{name}.txt").write_text(f"{listed[0]} 0.5 10 10 60 60\n")
    pixels = np.asarray(Image.open(directory / "photo.jpg").convert("RGB"))
    np.save(directory / "image.npy", pixels[None])
    height, width = pixels.shape[:2]
    video = cv2.VideoWriter(
        str(directory / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5, (width, height)
    )
    for _ in range(2):
        video.write(pixels)
    video.release()


def run(programs, directory, place, *blocks):
    """Run blocks in a process of their own; fail with its output if a block fails."""
    listed = [
        (block.place, block.language, block.code)
        if isinstance(block, code_blocks.CodeBlock)
        else (place, "sh", block)
        for block in blocks
    ]
    file = directory / "blocks.json"
    file.write_text(json.dumps(listed))
    done = subprocess.run(
        [str(programs / "run_blocks"), str(file)],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    print(done.stdout)
    return done.stdout


def runnable(path):
    return [
        block
        for block in BLOCKS
        if block.path == path and block.language in code_blocks.EXECUTED and not block.reason
    ]


_done = collections.Counter()


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [path for path in code_blocks.DOCUMENTS if runnable(path)],
    ids=lambda path: str(path.relative_to(code_blocks.ROOT)),
)
def test_the_blocks_of_a_document_run(path, programs, workspace):
    if path.name == "runtimes.md":
        for name in ("tf2onnx", "onnxruntime", "openvino"):
            pytest.importorskip(name)
    # A block that a page before has run is not run again.
    blocks = [block for block in runnable(path) if not _done[block.code]]
    _done.update(block.code for block in blocks)
    output = run(programs, workspace, str(path), *blocks)
    assert not CHATTER.findall(output), output
