"""Scripts in the shape of tutorials, unchanged, in processes of their own."""

import numpy as np
import pytest
from PIL import Image

from tests import records
from tests.odapi.scripts import run_script

GENERATE_TFRECORD = '''
"""Usage: generate_tfrecord.py -x annotations -l label_map.pbtxt -o train.record"""
import argparse, glob, io, os
import xml.etree.ElementTree as ET
import tensorflow as tf
from PIL import Image
from object_detection.utils import dataset_util, label_map_util

parser = argparse.ArgumentParser()
parser.add_argument("-x", "--xml_dir")
parser.add_argument("-l", "--labels_path")
parser.add_argument("-o", "--output_path")
args = parser.parse_args()

label_map = label_map_util.load_labelmap(args.labels_path)
label_map_dict = label_map_util.get_label_map_dict(label_map)
writer = tf.io.TFRecordWriter(args.output_path)
for path in sorted(glob.glob(os.path.join(args.xml_dir, "*.xml"))):
    data = dataset_util.recursive_parse_xml_to_dict(ET.parse(path).getroot())["annotation"]
    with tf.io.gfile.GFile(os.path.join(args.xml_dir, data["filename"]), "rb") as fid:
        encoded = fid.read()
    width, height = Image.open(io.BytesIO(encoded)).size
    boxes = [[float(obj["bndbox"][k]) for k in ("xmin", "xmax", "ymin", "ymax")]
             for obj in data["object"]]
    names = [obj["name"] for obj in data["object"]]
    example = tf.train.Example(features=tf.train.Features(feature={
        "image/height": dataset_util.int64_feature(height),
        "image/width": dataset_util.int64_feature(width),
        "image/filename": dataset_util.bytes_feature(data["filename"].encode("utf8")),
        "image/source_id": dataset_util.bytes_feature(data["filename"].encode("utf8")),
        "image/encoded": dataset_util.bytes_feature(encoded),
        "image/format": dataset_util.bytes_feature(b"png"),
        "image/object/bbox/xmin": dataset_util.float_list_feature([b[0] / width for b in boxes]),
        "image/object/bbox/xmax": dataset_util.float_list_feature([b[1] / width for b in boxes]),
        "image/object/bbox/ymin": dataset_util.float_list_feature([b[2] / height for b in boxes]),
        "image/object/bbox/ymax": dataset_util.float_list_feature([b[3] / height for b in boxes]),
        "image/object/class/text": dataset_util.bytes_list_feature([n.encode() for n in names]),
        "image/object/class/label": dataset_util.int64_list_feature(
            [label_map_dict[n] for n in names]),
    }))
    writer.write(example.SerializeToString())
writer.close()
print("Successfully created the TFRecord file: {}".format(args.output_path))
'''

XML = (
    "<annotation><filename>{name}.png</filename><object><name>{label}</name><bndbox>"
    "<xmin>4</xmin><ymin>6</ymin><xmax>40</xmax><ymax>44</ymax></bndbox></object></annotation>"
)

# A copy of model_main_tf2 and exporter_main_v2 in one file, then detection from the export.
TRAIN_EXPORT_DETECT = """
import sys
import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from object_detection import exporter_lib_v2, model_lib_v2
from object_detection.protos import pipeline_pb2
from object_detection.utils import label_map_util, visualization_utils as viz_utils

config_path, model_dir, out_dir = sys.argv[1:]
strategy = tf.compat.v2.distribute.MirroredStrategy()
with strategy.scope():
    model_lib_v2.train_loop(
        pipeline_config_path=config_path, model_dir=model_dir, train_steps=2, use_tpu=False,
        checkpoint_every_n=1, checkpoint_max_to_keep=2, record_summaries=False)
model_lib_v2.eval_continuously(
    pipeline_config_path=config_path, model_dir=model_dir, train_steps=2,
    sample_1_of_n_eval_examples=None, sample_1_of_n_eval_on_train_examples=5,
    checkpoint_dir=model_dir, wait_interval=1, timeout=1)

pipeline_config = pipeline_pb2.TrainEvalPipelineConfig()
with tf.io.gfile.GFile(config_path, "r") as f:
    text_format.Merge(f.read(), pipeline_config)
text_format.Merge("", pipeline_config)
exporter_lib_v2.export_inference_graph(
    "image_tensor", pipeline_config, model_dir, out_dir, False, "", "", "")

detect_fn = tf.saved_model.load(out_dir + "/saved_model")
category_index = label_map_util.create_category_index_from_labelmap(
    pipeline_config.train_input_reader.label_map_path, use_display_name=True)
image_np = np.random.randint(0, 255, (48, 64, 3), np.uint8)
input_tensor = tf.convert_to_tensor(image_np)[tf.newaxis, ...]
by_name = detect_fn(input_tensor=input_tensor)
detections = detect_fn(input_tensor)
np.testing.assert_array_equal(detections["detection_boxes"], by_name["detection_boxes"])
num_detections = int(detections.pop("num_detections"))
detections = {key: value[0, :num_detections].numpy() for key, value in detections.items()}
detections["num_detections"] = num_detections
detections["detection_classes"] = detections["detection_classes"].astype(np.int64)
image_np_with_detections = image_np.copy()
viz_utils.visualize_boxes_and_labels_on_image_array(
    image_np_with_detections, detections["detection_boxes"], detections["detection_classes"],
    detections["detection_scores"], category_index, use_normalized_coordinates=True,
    max_boxes_to_draw=200, min_score_thresh=.0, agnostic_mode=False)
assert (image_np_with_detections != image_np).any()
print("done", num_detections > 0)
"""

FEW_SHOT = """
import sys
import tensorflow as tf
from object_detection.builders import model_builder
from object_detection.utils import config_util

configs = config_util.get_configs_from_pipeline_file(sys.argv[1])
model_config = configs["model"]
model_config.faster_rcnn.num_classes = 1
detection_model = model_builder.build(model_config=model_config, is_training=True)
images = tf.random.uniform([2, 48, 64, 3], maxval=255.0)
optimizer = tf.keras.optimizers.SGD(learning_rate=0.01, momentum=0.9)

@tf.function
def train_step(image_tensors, boxes_list, classes_list):
    shapes = tf.constant(2 * [[48, 64, 3]], dtype=tf.int32)
    detection_model.provide_groundtruth(
        groundtruth_boxes_list=boxes_list, groundtruth_classes_list=classes_list)
    with tf.GradientTape() as tape:
        preprocessed = tf.concat(
            [detection_model.preprocess(image)[0] for image in image_tensors], axis=0)
        prediction_dict = detection_model.predict(preprocessed, shapes)
        losses_dict = detection_model.loss(prediction_dict, shapes)
        total_loss = sum(losses_dict.values())
    variables = detection_model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(total_loss, variables), variables))
    return total_loss

boxes = [tf.constant([[0.2, 0.2, 0.8, 0.7]])] * 2
classes = [tf.one_hot([0], 1)] * 2
losses = [float(train_step([images[:1], images[1:]], boxes, classes)) for _ in range(3)]
print("done", all(loss == loss for loss in losses))
"""


@pytest.fixture
def config(tmp_path):
    return records.write(tmp_path / "records")


@pytest.mark.slow
def test_generate_tfrecord_from_xml(tmp_path):
    for number, label in enumerate(records.NAMES):
        pixels = np.full((48, 64, 3), number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{label}.png")
        (tmp_path / f"{label}.xml").write_text(XML.format(name=label, label=label))
    (tmp_path / "map.pbtxt").write_text(
        "\n".join(f'item {{ id: {i + 1} name: "{n}" }}' for i, n in enumerate(records.NAMES))
    )
    options = ("-x", ".", "-l", "map.pbtxt", "-o", "train.record")
    shown = run_script(tmp_path, GENERATE_TFRECORD, *options, name="generate_tfrecord.py")
    assert "Successfully created the TFRecord file: train.record" in shown
    assert (tmp_path / "train.record").stat().st_size > 400


@pytest.mark.slow
def test_train_evaluate_export_and_detect(tmp_path, config):
    model_dir = tmp_path / "model"
    shown = run_script(tmp_path, TRAIN_EXPORT_DETECT, config, model_dir, tmp_path / "export")
    assert "finished at step 2" in shown
    assert shown.endswith("done True\n")
    assert list((model_dir / "eval" / "val").glob("metrics-*.json"))


@pytest.mark.slow
def test_an_eager_training_loop(tmp_path, config):
    assert run_script(tmp_path, FEW_SHOT, config).endswith("done True\n")
