r"""Export a trained detector as a SavedModel, with the OD API's flags, files and signature.

    exporter_main_v2 --pipeline_config_path=faster_rcnn.config \
        --trained_checkpoint_dir=model_dir --output_directory=exported

The output directory contains pipeline.config (complete: it can be loaded again), checkpoint/ckpt-0
and saved_model/. An earlier export is replaced when the new one is complete; its other formats stay
if they have the same model, else they are removed. The SavedModel needs only TensorFlow:

    detections = tf.saved_model.load("exported/saved_model")(images)

--input_type selects its input: image_tensor (uint8 [1, height, width, 3]), float_image_tensor
(float32 [batch, height, width, 3], 0..255), encoded_image_string_tensor (image files, [batch]
strings) or tf_example (serialized tf.train.Examples with image/encoded, [batch] strings).
With --dynamic_batch, image_tensor is any number of images of one size. The images of the two string
types may differ in size.

The graph is frozen, with folded batch normalization, which is faster and gives the same detections;
--no_optimize exports the original graph with its weights as variables.
"""

from __future__ import annotations

from absl import flags

from object_detection_mtl.cli import command_line

FLAGS = flags.FLAGS
INPUT_TYPES = (
    "image_tensor",
    "float_image_tensor",
    "encoded_image_string_tensor",
    "tf_example",
    "image_and_boxes_tensor",
)


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_enum(
        "input_type",
        "image_tensor",
        INPUT_TYPES,
        "Input of the SavedModel. image_and_boxes_tensor, for mask models, is unsupported.",
    )
    flags.DEFINE_string(
        "pipeline_config_path", None, "The pipeline.config of the trained detector."
    )
    flags.DEFINE_string(
        "trained_checkpoint_dir",
        None,
        "Checkpoint directory, whose newest checkpoint is exported, or a checkpoint prefix such as "
        "model_dir/ckpt-7.",
    )
    flags.DEFINE_string("output_directory", None, "Output directory; created if it does not exist.")
    flags.DEFINE_string(
        "config_override",
        "",
        "Text of a TrainEvalPipelineConfig to merge into the config: its fields replace those of "
        "the file; elements of repeated fields are appended.",
    )
    flags.DEFINE_multi_string(
        "override", [], "A field of the config and its value, a.b.c=value. Can be given repeatedly."
    )
    flags.DEFINE_bool("dynamic_batch", False, "image_tensor: any number of images instead of one.")
    flags.DEFINE_bool(
        "no_optimize", False, "Export the original graph: weights as variables, nothing folded."
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ("float32", "bfloat16", "int8"),
        "Precision of the convolutions. bfloat16 is for AVX512-BF16, AMX and GPUs. int8 is for "
        "--format=openvino (extra quantize) and onnx, gains most on CPUs with VNNI, and needs "
        "--calibration.",
    )
    _define_quantization_flags()
    flags.DEFINE_enum(
        "format",
        "saved_model",
        ("saved_model", "onnx", "openvino", "tflite"),
        "Output format: saved_model/, or with the same input and outputs model.onnx, or model.xml "
        "and model.bin for OpenVINO. The last two need the extra of their name, and cannot decode "
        "image files. tflite is unsupported: it has no operation that crops regions.",
    )
    flags.DEFINE_bool(
        "export_auxiliary_outputs",
        False,
        "Add the predictions of the auxiliary tasks to the outputs.",
    )
    flags.DEFINE_string(
        "model_repository",
        None,
        "Model repository to which the model is added, too, as the next version: of TensorFlow "
        "Serving, or with --format=onnx or openvino of OpenVINO Model Server and Triton.",
    )
    flags.DEFINE_string("model_name", "detector", "--model_repository: name of the model.")
    flags.DEFINE_bool("use_side_inputs", False, "Unsupported: inputs of Context R-CNN.")
    flags.DEFINE_string("side_input_shapes", "", "Unsupported, like use_side_inputs.")
    flags.DEFINE_string("side_input_types", "", "Unsupported, like use_side_inputs.")
    flags.DEFINE_string("side_input_names", "", "Unsupported, like use_side_inputs.")
    flags.mark_flags_as_required(
        ["pipeline_config_path", "trained_checkpoint_dir", "output_directory"]
    )


def _define_quantization_flags() -> None:
    flags.DEFINE_multi_string(
        "calibration",
        [],
        "--precision=int8: TFRecords, images or directories of images like those that the detector "
        "will see, such as the training records. Can be given repeatedly.",
    )
    flags.DEFINE_integer(
        "calibration_images", 300, "Maximum number of images of --calibration.", lower_bound=1
    )
    flags.DEFINE_float(
        "max_drop",
        None,
        "--precision=int8 --format=openvino: maximum drop of mAP@0.5 on the validation set, in "
        "points (hundredths). Layers return to float32 until it holds, which evaluates the "
        "detector many times.",
        lower_bound=0,
    )
    flags.DEFINE_multi_string(
        "validation", [], "TFRecords of --max_drop. Default: eval_input_reader of the config."
    )


def main() -> None:
    """Export the detector that the flags select."""
    _raise_if_side_inputs()
    import object_detection_mtl as odm
    from object_detection_mtl.api import detector_export, quantization
    from object_detection_mtl.config import pipeline

    options = detector_export.make_options(
        FLAGS.output_directory,
        input_type=FLAGS.input_type,
        dynamic_batch=FLAGS.dynamic_batch,
        optimize=not FLAGS.no_optimize,
        precision=FLAGS.precision,
        format=FLAGS.format,
        auxiliary_outputs=FLAGS.export_auxiliary_outputs,
    )
    request = quantization.QuantizationRequest(
        FLAGS.calibration, FLAGS.calibration_images, FLAGS.max_drop, FLAGS.validation or None
    )
    request.check(options)
    repository = (FLAGS.model_repository, FLAGS.model_name) if FLAGS.model_repository else None
    config = pipeline.load(FLAGS.pipeline_config_path, FLAGS.override, merge=FLAGS.config_override)
    detector = odm.load_detector(FLAGS.trained_checkpoint_dir, config=config)
    detector_export.export_with_options(
        detector, FLAGS.output_directory, options, request, repository=repository
    )
    print(f"exported {detector.source} to {FLAGS.output_directory} (input: {FLAGS.input_type})")


def _raise_if_side_inputs() -> None:
    given = [
        f"--{name}={FLAGS[name].value}"
        for name in ("use_side_inputs", "side_input_shapes", "side_input_types", "side_input_names")
        if FLAGS[name].value
    ]
    if given:
        raise ValueError(
            f"{' '.join(given)}: side inputs are unsupported. They are the context features of "
            "Context R-CNN, which this package does not have; omit the flag"
        )


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
