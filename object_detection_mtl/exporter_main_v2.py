"""Exports a trained detector as a SavedModel; flags, files and signature are the OD API's.

    exporter_main_v2 --pipeline_config_path=faster_rcnn.config \\
        --trained_checkpoint_dir=model_dir --output_directory=exported

The output directory holds pipeline.config (complete: it can be loaded again), checkpoint/ckpt-0 and
saved_model/. An earlier export there is replaced, but not before the new one is complete. The
SavedModel needs nothing but TensorFlow:

    detections = tf.saved_model.load("exported/saved_model")(images)

--input_type says what it takes: image_tensor (uint8 [1, height, width, 3]), float_image_tensor
(float32 [batch, height, width, 3], 0..255), encoded_image_string_tensor (image files, [batch]
strings) or tf_example (serialized tf.train.Examples with image/encoded, [batch] strings).
--dynamic_batch lets image_tensor take any number of images of one size. The images of the two
string types may differ in size.

The graph is frozen, with batch norm folded, which is faster and detects the same; --no_optimize
exports the detector's own graph with its weights as variables.
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
    flags.DEFINE_enum(
        "input_type",
        "image_tensor",
        INPUT_TYPES,
        "What the SavedModel takes. image_and_boxes_tensor, of mask models, is not supported.",
    )
    flags.DEFINE_string("pipeline_config_path", None, "The pipeline.config that was trained.")
    flags.DEFINE_string(
        "trained_checkpoint_dir",
        None,
        "Directory with the checkpoints, of which the newest is taken, or one checkpoint's prefix "
        "such as model_dir/ckpt-7.",
    )
    flags.DEFINE_string("output_directory", None, "Where to write; created if it does not exist.")
    flags.DEFINE_string(
        "config_override",
        "",
        "Text of a TrainEvalPipelineConfig to merge into the config: fields replace those of the "
        "file, elements of repeated fields are appended.",
    )
    flags.DEFINE_multi_string(
        "override", [], "A field of the config and its value, a.b.c=value. Can be given repeatedly."
    )
    flags.DEFINE_bool("dynamic_batch", False, "image_tensor: any number of images, not just one.")
    flags.DEFINE_bool(
        "no_optimize", False, "Export the plain graph: weights as variables, nothing folded."
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ("float32", "bfloat16"),
        "Of the convolutions. bfloat16 is for processors that multiply it: AVX512-BF16, AMX, GPUs.",
    )
    flags.DEFINE_enum(
        "format",
        "saved_model",
        ("saved_model", "onnx", "openvino", "tflite"),
        "What to write: saved_model/, or with the same input and outputs model.onnx, or model.xml "
        "and model.bin for OpenVINO. These need the extra of their name, and decode no image "
        "files. tflite is not supported: it has no crop of regions.",
    )
    flags.DEFINE_bool(
        "export_auxiliary_outputs",
        False,
        "Serve the predictions of the auxiliary tasks beside the detections.",
    )
    flags.DEFINE_bool("use_side_inputs", False, "Not supported: inputs of Context R-CNN.")
    flags.DEFINE_string("side_input_shapes", "", "Not supported, as use_side_inputs.")
    flags.DEFINE_string("side_input_types", "", "Not supported, as use_side_inputs.")
    flags.DEFINE_string("side_input_names", "", "Not supported, as use_side_inputs.")
    flags.mark_flags_as_required(
        ["pipeline_config_path", "trained_checkpoint_dir", "output_directory"]
    )


def main() -> None:
    _refuse_side_inputs()
    from object_detection_mtl import jobs
    from object_detection_mtl.config import pipeline
    from object_detection_mtl.export.export_options import ExportOptions

    options = ExportOptions(
        input_type=FLAGS.input_type,
        dynamic_batch=FLAGS.dynamic_batch,
        optimize=not FLAGS.no_optimize,
        precision=FLAGS.precision,
        format=FLAGS.format,
        auxiliary_outputs=FLAGS.export_auxiliary_outputs,
    )
    config = pipeline.load(FLAGS.pipeline_config_path, FLAGS.override, merge=FLAGS.config_override)
    checkpoint = jobs.export(
        config, FLAGS.trained_checkpoint_dir, FLAGS.output_directory, options=options
    )
    print(f"exported {checkpoint} to {FLAGS.output_directory} (input: {FLAGS.input_type})")


def _refuse_side_inputs() -> None:
    given = [
        f"--{name}={FLAGS[name].value}"
        for name in ("use_side_inputs", "side_input_shapes", "side_input_types", "side_input_names")
        if FLAGS[name].value
    ]
    if given:
        raise ValueError(
            f"{' '.join(given)}: side inputs are not supported. They are the context features of "
            "Context R-CNN, which this package does not build; leave the flag out"
        )


def run() -> None:
    command_line.run(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
