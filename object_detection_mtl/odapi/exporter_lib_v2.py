"""Export of a trained model, as in the OD API's `exporter_lib_v2`."""

from __future__ import annotations

import os

from object_detection_mtl import jobs
from object_detection_mtl.config import pipeline
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.protos import pipeline_pb2

__getattr__ = missing_names.module_getattr(__name__)


def export_inference_graph(
    input_type: str,
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig,
    trained_checkpoint_dir: str | os.PathLike[str],
    output_directory: str | os.PathLike[str],
    use_side_inputs: bool = False,
    side_input_shapes: str = "",
    side_input_types: str = "",
    side_input_names: str = "",
) -> None:
    """Export the newest checkpoint of a directory as a SavedModel.

    Args:
        input_type: `image_tensor`, `float_image_tensor`, `encoded_image_string_tensor` or
            `tf_example`.
        pipeline_config: the config of the training.
        trained_checkpoint_dir: directory of the checkpoint.
        output_directory: gets `saved_model`, `checkpoint` and `pipeline.config`.
        use_side_inputs: unsupported.
        side_input_shapes: has no effect without `use_side_inputs`.
        side_input_types: as `side_input_shapes`.
        side_input_names: as `side_input_shapes`.

    Raises:
        ValueError: the input type is unsupported, side inputs are requested, or as `jobs.export`.
        FileNotFoundError: there is no checkpoint.
    """
    if use_side_inputs:
        raise ValueError("side inputs are those of Context R-CNN, which is unsupported")
    config = pipeline.complete(pipeline_config, "pipeline_config")
    jobs.export(
        config,
        os.fspath(trained_checkpoint_dir),
        os.fspath(output_directory),
        options=ExportOptions(input_type=input_type),
    )
