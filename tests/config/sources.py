"""Configurations that the tests of `config` start from."""

from pathlib import Path

from object_detection_mtl.config import pipeline
from object_detection_mtl.protos import pipeline_pb2

DATA = Path(__file__).parent / "data"

# The smallest valid configuration. All its fields exist in both dialects.
MINIMAL = """
model {
  faster_rcnn {
    num_classes: 3
    image_resizer { keep_aspect_ratio_resizer {} }
    feature_extractor { type: "faster_rcnn_mobilenet_v1" }
    first_stage_anchor_generator {
      grid_anchor_generator { scales: 1.0 aspect_ratios: 1.0 }
    }
    initial_crop_size: 7
    maxpool_kernel_size: 1
    maxpool_stride: 1
    second_stage_box_predictor { mask_rcnn_box_predictor {} }
  }
}
train_config {
  optimizer { momentum_optimizer { learning_rate { constant_learning_rate {} } } }
}
train_input_reader {
  tf_record_input_reader { input_path: "train.record" }
}
eval_input_reader {
  tf_record_input_reader { input_path: "val.record" }
}
"""


def parse(*overrides: str, text: str = MINIMAL) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Return the minimal configuration with overrides."""
    return pipeline.parse(text, overrides)
