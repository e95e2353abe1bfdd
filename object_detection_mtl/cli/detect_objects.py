r"""Detect objects in images with a trained detector.

    detect_objects --saved_model_dir=exported/saved_model --images=photos --output_dir=found
    detect_objects --pipeline_config_path=faster_rcnn.config --checkpoint_dir=model_dir \
        --images=one.jpg --images='more/*.png' --output_dir=found
    detect_objects --saved_model_dir=exported/saved_model --images='val.record-*' \
        --output_dir=found --output_format=tfrecord --nosave_images

Writes detections.json (a list in the COCO results format: image_id, category_id, bbox [x, y, width,
height] in pixels, score, file_name), images.json (images and classes) and drawn_images/ (the images
with boxes); with --output_format=tfrecord or both, detections.record: examples with detections in
the keys of the Object Detection API's infer_detections. Images are rotated by their EXIF
orientation, except those of records; boxes refer to the rotated image.

The same command resumes an interrupted run.

Unreadable images are skipped and reported, one line each. The exit code is 1 if no image was
detected on, else 0.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from object_detection_mtl import beam_runtime, output_paths
from object_detection_mtl.cli import command_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from object_detection_mtl.api.detector import Detector
    from object_detection_mtl.inference.detection_options import DetectionOptions
    from object_detection_mtl.inference.detection_run import DetectionSummary
    from object_detection_mtl.inference.sources.input_files import InputFile

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    _define_model_flags()
    _define_input_flags()
    _define_output_flags()
    beam_runtime.define_flags("Detect")
    flags.DEFINE_integer(
        "num_shards",
        1,
        "With --runner: number of detection files, named like detections-00000-of-00004.json.",
        lower_bound=1,
    )
    flags.mark_flags_as_required(["images", "output_dir"])


def _define_model_flags() -> None:
    flags.DEFINE_string(
        "saved_model_dir", None, "SavedModel of exporter_main_v2, of any --input_type."
    )
    flags.DEFINE_string(
        "pipeline_config_path",
        None,
        "Instead of a SavedModel: the config that the detector was trained with ...",
    )
    flags.DEFINE_string(
        "checkpoint_dir",
        None,
        "... and its checkpoint directory (the newest checkpoint is used) or a checkpoint prefix.",
    )
    flags.DEFINE_string(
        "exported_model",
        None,
        "Instead of both: model.xml or model.onnx of exporter_main_v2, or the directory of one.",
    )
    flags.DEFINE_enum(
        "engine",
        None,
        ("tensorflow", "openvino", "onnxruntime", "auto"),
        "Runtime that computes the detector. Default: TensorFlow, or the runtime of "
        "--exported_model. Other engines convert the model first; for a SavedModel they convert "
        "the checkpoint and pipeline.config that were exported beside it. auto takes the fastest "
        "installed engine whose detections equal TensorFlow's on the first image, or are within "
        "--auto_max_difference of them.",
    )
    flags.DEFINE_multi_string(
        "auto_candidates",
        [],
        "--engine=auto: further exports to compare, such as int8 and bfloat16 ones: model.xml, "
        "model.onnx or a directory with them. Those beside --saved_model_dir are compared anyway.",
    )
    flags.DEFINE_float(
        "auto_max_difference",
        0.0,
        "--engine=auto: the detections on the first 8 images may differ so much from TensorFlow's, "
        "from 0 (equal) to 1 (nothing in common).",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "engine_precision",
        "float32",
        ("float32", "bfloat16"),
        "Precision of the convolutions in OpenVINO. bfloat16 is for CPUs with bfloat16 arithmetic.",
    )
    flags.DEFINE_integer(
        "num_streams",
        1,
        "OpenVINO: number of calls that are computed at the same time, each by a part of the CPU's "
        "cores. 1 computes each call by all cores.",
        lower_bound=1,
    )
    flags.DEFINE_multi_string("override", [], "A field of the config and its value, a.b.c=value.")
    flags.DEFINE_string(
        "label_map_path",
        None,
        "Label map with the class names. Default: the label map that was exported with the "
        "SavedModel, or that of the config; classes without a name are named by number.",
    )


def _define_input_flags() -> None:
    flags.DEFINE_multi_string(
        "images",
        None,
        "An image, a directory of images, a TFRecord of tf.train.Examples, a video (needs "
        "object_detection_mtl[video]), or a quoted pattern such as 'photos/*.jpg' or "
        "'val.record-*'. TFRecords are recognized by content, videos by extension; a directory "
        "is searched for images only. Can be given repeatedly.",
    )
    flags.DEFINE_bool("recursive", False, "Search the subdirectories of a directory, too.")
    flags.DEFINE_bool(
        "exif_orientation", True, "Rotate images by their EXIF orientation, as viewers do."
    )
    flags.DEFINE_integer(
        "batch_size",
        1,
        "Maximum number of images in a batch; they have one size in the model. Needs a checkpoint, "
        "or a SavedModel that takes batches (--dynamic_batch, or an --input_type of strings).",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "num_readers",
        0,
        "Threads that decode images during detection. 0: one per CPU, at most 8.",
        lower_bound=0,
    )


def _define_output_flags() -> None:
    flags.DEFINE_string("output_dir", None, "Output directory; created if it does not exist.")
    flags.DEFINE_float(
        "min_score", 0.5, "Score from which detections are drawn.", lower_bound=0, upper_bound=1
    )
    flags.DEFINE_integer(
        "max_detections", 100, "Maximum number of detections of an image.", lower_bound=1
    )
    flags.DEFINE_bool("save_images", True, "Draw the boxes on the images.")
    flags.DEFINE_enum(
        "output_format",
        "json",
        ["json", "tfrecord", "both"],
        "Format of the detections: COCO-style JSON, a TFRecord, or both.",
    )
    flags.DEFINE_string(
        "annotations_file",
        None,
        "COCO annotations of the images, whose image ids the JSON then has, so that pycocotools' "
        "loadRes reads it. Images are found by file name, those of records also by source_id.",
    )
    flags.DEFINE_bool("discard_image_pixels", False, "Drop the encoded images from the TFRecord.")


def main() -> int:
    """Detect on all images; return the exit code."""
    _check_model_flags()
    _check_runner_flags()
    _check_engine_flags()
    from object_detection_mtl.inference.sources import input_files
    from object_detection_mtl.inference.writers import result_shards

    output_dir = Path(FLAGS.output_dir).expanduser()
    output_paths.check_output_directory("output_dir", FLAGS.output_dir)
    result_shards.check_directory(output_dir, FLAGS.num_shards)  # before the model is loaded
    find = functools.partial(
        input_files.find_input_files,
        list(FLAGS.images),
        recursive=FLAGS.recursive,
        without=output_dir,
    )
    files = find()
    try:
        if FLAGS.runner:
            summary = _detect_with_beam(find, output_dir)
        else:
            summary = _detect_here(files, output_dir)
    except KeyboardInterrupt:
        if FLAGS.runner:
            raise
        print(
            f"stopped; {output_dir} has the detections so far, and the same command resumes",
            file=sys.stderr,
        )
        return 130
    print(_report(summary, output_dir))
    return 0 if summary.num_done else 1


def _check_model_flags() -> None:
    from_checkpoint = [
        f"--{name}"
        for name in ("pipeline_config_path", "checkpoint_dir", "override")
        if FLAGS[name].value
    ]
    exported = [f"--{name}" for name in ("saved_model_dir", "exported_model") if FLAGS[name].value]
    if len(exported) > 1 or (exported and from_checkpoint):
        raise ValueError(
            f"give {exported[0]} or {', '.join(exported[1:] + from_checkpoint)}, not both"
        )
    if not exported and not (FLAGS.pipeline_config_path and FLAGS.checkpoint_dir):
        raise ValueError(
            "give the model: --saved_model_dir, --exported_model, or --pipeline_config_path and "
            "--checkpoint_dir"
        )


def _check_engine_flags() -> None:
    from object_detection_mtl.api import model_search
    from object_detection_mtl.export.runtimes import (
        runtime_choice,
        runtime_conversion,
        runtime_models,
    )

    for name in ("auto_candidates", "auto_max_difference"):
        if FLAGS[name].value and FLAGS.engine != runtime_choice.AUTO:
            raise ValueError(f"--{name} is for --engine=auto; drop it or give --engine=auto")
    runtime_choice.AutoOptions(max_difference=FLAGS.auto_max_difference)
    if FLAGS.runner and FLAGS.num_streams > 1:
        raise ValueError("--num_streams is for one machine; drop --runner")
    for path in FLAGS.auto_candidates:
        model_search.find_exported_files(path)
    if FLAGS.exported_model:
        engine = runtime_models.engine_of_file(_exported_file())
        runtime_models.check_num_streams(engine, FLAGS.num_streams)
        if FLAGS.engine not in (None, engine):
            raise ValueError(
                f"--engine={FLAGS.engine} cannot read --exported_model={FLAGS.exported_model}, "
                f"which is for {engine}; drop --engine"
            )
        if FLAGS.engine_precision != runtime_models.FLOAT32:
            raise ValueError(
                f"--engine_precision={FLAGS.engine_precision} is for models that detect_objects "
                "converts; an --exported_model has the precision of exporter_main_v2 --precision"
            )
        return
    runtime_conversion.require_conversion(_engine(), FLAGS.engine_precision, FLAGS.num_streams)
    if FLAGS.runner and _engine() != runtime_models.TENSORFLOW:
        raise ValueError(
            f"--engine={FLAGS.engine} with --runner would convert the model in every worker; "
            "export it once (exporter_main_v2 --format) and give --exported_model"
        )


def _exported_file() -> str:
    """Return the file of --exported_model, which may be its directory."""
    from object_detection_mtl.api import model_search

    given = os.path.expanduser(FLAGS.exported_model)
    if not os.path.isdir(given):
        return given
    found = model_search.find_exported_files(given)
    if len(found) > 1:
        raise ValueError(f"--exported_model: give one of {' and '.join(found)}")
    return found[0]


def _engine() -> str:
    return FLAGS.engine or "tensorflow"


def _check_runner_flags() -> None:
    if FLAGS.runner and FLAGS.num_readers:
        raise ValueError(
            "--num_readers is for one machine; with --runner set the number of workers by its own "
            "--runner_option, such as direct_num_workers=4"
        )
    if FLAGS.runner and FLAGS.annotations_file:
        raise ValueError("--annotations_file is for one machine; drop --runner")
    if not FLAGS.runner and (FLAGS.runner_option or FLAGS.num_shards > 1):
        raise ValueError("--runner_option and --num_shards need --runner")


def _detect_with_beam(
    find: Callable[[], Sequence[InputFile]], output_dir: Path
) -> DetectionSummary:
    detector = _load_detector()
    summary = detector.detect_on_workers(
        find,
        _make_options(output_dir, detector.class_names),
        runner=FLAGS.runner,
        runner_options=FLAGS.runner_option,
        num_shards=FLAGS.num_shards,
    )
    for label, message in summary.failures.items():
        print(f"{label}: {message}", file=sys.stderr)
    return summary


def _detect_here(files: list[InputFile], output_dir: Path) -> DetectionSummary:
    detector = _load_detector()
    options = _make_options(output_dir, detector.class_names, detector.version)
    return detector.detect_input_files(files, options)


def _load_detector() -> Detector:
    import object_detection_mtl as odm

    config = None
    if FLAGS.pipeline_config_path:
        config = odm.load_config(FLAGS.pipeline_config_path, FLAGS.override)
    path = _exported_file() if FLAGS.exported_model else FLAGS.checkpoint_dir
    if FLAGS.saved_model_dir:
        from object_detection_mtl.inference import model_files

        path = model_files.find_saved_model(os.path.expanduser(FLAGS.saved_model_dir))
    return odm.load_detector(
        path,
        config=config,
        class_names=_given_names(),
        engine=FLAGS.engine,
        precision=FLAGS.engine_precision,
        auto_candidates=FLAGS.auto_candidates,
        auto_max_difference=FLAGS.auto_max_difference,
        num_streams=FLAGS.num_streams,
    )


def _given_names() -> dict[int, str] | None:
    from object_detection_mtl.inference import model_files

    if not FLAGS.label_map_path:
        return None
    return model_files.names_from_label_map(FLAGS.label_map_path)


def _make_options(
    output_dir: Path, class_names: dict[int, str], model_version: str = ""
) -> DetectionOptions:
    from object_detection_mtl.inference.detection_options import DetectionOptions
    from object_detection_mtl.inference.writers import source_image_ids

    path = FLAGS.annotations_file
    return DetectionOptions(
        output_dir=output_dir,
        class_names=class_names,
        min_score=FLAGS.min_score,
        max_detections=FLAGS.max_detections,
        save_images=FLAGS.save_images,
        apply_exif_orientation=FLAGS.exif_orientation,
        model_version=model_version,
        output_format=FLAGS.output_format,
        discard_image_pixels=FLAGS.discard_image_pixels,
        batch_size=FLAGS.batch_size,
        num_readers=FLAGS.num_readers,
        image_ids=source_image_ids.read_image_ids(path) if path else None,
    )


def _report(summary: DetectionSummary, output_dir: Path) -> str:
    from object_detection_mtl.data import image_files

    details = f", {len(summary.failures)} skipped" if summary.failures else ""
    camera_formats = image_files.count_camera_formats(summary.failures.values())
    if camera_formats:
        details += f" ({camera_formats} HEIC or AVIF: convert them to JPEG)"
    if summary.num_resumed:
        details += f", {summary.num_resumed} done by an interrupted run"
    return (
        f"{summary.num_done} of {summary.num_files} images{details}: {summary.num_detections} "
        f"detections in {summary.seconds:.1f} s, written to {output_dir}"
    )


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
