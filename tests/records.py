"""Small record files and a config for training and evaluation."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from object_detection_mtl.config import pipeline
from object_detection_mtl.data.example_format import build_example

NAMES = ("square", "stripe")

# MobileNet v1 at full width; all else as small as possible.
CONFIG = """
config_dialect: ODAPI
model {
  faster_rcnn {
    num_classes: 2
    image_resizer { keep_aspect_ratio_resizer { min_dimension: 48 max_dimension: 64 } }
    feature_extractor { type: "faster_rcnn_mobilenet_v1" }
    first_stage_anchor_generator {
      grid_anchor_generator { height: 32 width: 32 scales: 1.0 aspect_ratios: 1.0 }
    }
    first_stage_box_predictor_depth: 8
    first_stage_max_proposals: 6
    first_stage_minibatch_size: 8
    initial_crop_size: 2
    maxpool_kernel_size: 1
    maxpool_stride: 1
    second_stage_batch_size: 4
    second_stage_box_predictor { mask_rcnn_box_predictor { fc_hyperparams {} } }
    second_stage_post_processing {
      batch_non_max_suppression {
        score_threshold: 0.0
        iou_threshold: 0.5
        max_detections_per_class: 3
        max_total_detections: 5
      }
      score_converter: SOFTMAX
    }
  }
}
train_config {
  batch_size: 2
  num_steps: 3
  seed: 5
  optimizer {
    momentum_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.01 } } }
    use_moving_average: true
    moving_average_decay: 0.5
  }
  gradient_clipping_by_norm: 10.0
  data_augmentation_options { random_horizontal_flip {} }
}
train_input_reader {
  tf_record_input_reader { input_path: "%(directory)s/train.record" }
  label_map_path: "%(directory)s/label_map.pbtxt"
}
eval_config {
  metrics_set: "pascal_voc_detection_metrics"
  num_visualizations: 2
}
eval_input_reader {
  name: "val"
  tf_record_input_reader { input_path: "%(directory)s/val.record" }
  label_map_path: "%(directory)s/label_map.pbtxt"
}
"""


def write(directory: Path, *, num_train: int = 6, num_val: int = 3) -> str:
    """Write record files, a label map and the config that reads them; return the config's path."""
    directory.mkdir(parents=True, exist_ok=True)
    write_record(directory / "train.record", range(num_train))
    write_record(directory / "val.record", range(100, 100 + num_val))
    items = [f'item {{ id: {i} name: "{name}" }}' for i, name in enumerate(NAMES, start=1)]
    (directory / "label_map.pbtxt").write_text("\n".join(items))
    path = directory / "pipeline.config"
    path.write_text(CONFIG % {"directory": directory})
    return str(path)


def load(directory: Path, *overrides: str):
    """Return the resolved config in a directory that `write` made."""
    return pipeline.load(directory / "pipeline.config", overrides)


def write_record(path: Path, numbers) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in numbers:
            writer.write(_example(number).SerializeToString())


def _example(number: int) -> tf.train.Example:
    """Return an example of a noisy image of 48x64 or 64x48 with one bright object."""
    rng = np.random.RandomState(number)
    height, width = ((48, 64), (64, 48))[number % 2]
    pixels = rng.randint(0, 80, (height, width, 3)).astype(np.uint8)
    label = 1 + number % 2
    tall, wide = ((0.5, 0.5), (0.25, 0.75))[label - 1]
    top, left = rng.uniform(0, 1 - tall), rng.uniform(0, 1 - wide)
    rows = slice(round(top * height), round((top + tall) * height))
    columns = slice(round(left * width), round((left + wide) * width))
    pixels[rows, columns] = 220
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return build_example(
        encoded=file.getvalue(),
        image_format="png",
        height=height,
        width=width,
        filename=f"{number}.png",
        source_id=str(number),
        boxes=np.array([[top, left, top + tall, left + wide]]),
        class_texts=[NAMES[label - 1]],
        class_labels=[label],
    )
