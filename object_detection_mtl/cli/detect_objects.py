"""Finds objects on pictures with a trained detector: boxes drawn on them, JSON or TFRecord.

    detect_objects --saved_model_dir=exported/saved_model --images=photos --output_dir=found
    detect_objects --pipeline_config_path=faster_rcnn.config --checkpoint_dir=model_dir \\
        --images=one.jpg --images='more/*.png' --output_dir=found
    detect_objects --saved_model_dir=exported/saved_model --images='val.record-*' \\
        --output_dir=found --output_format=tfrecord --nosave_images

Writes detections.json (a list in the COCO results format: image_id, category_id, bbox [x, y, width,
height] in pixels, score, file_name), images.json (the pictures and the classes) and pictures/ (the
pictures with boxes); with --output_format=tfrecord or both, detections.record: examples with the
detections added, under the keys of the Object Detection API's infer_detections. Pictures are turned
as their EXIF header asks, those of records excepted; boxes refer to that.

A run that was interrupted goes on where it ended when it is started again with the same flags.

A picture that is none, or is damaged, is named in one line and left out. The exit code is 1 if
nothing could be looked at, else 0.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from object_detection_mtl import beam_runtime
from object_detection_mtl.cli import command_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from object_detection_mtl.inference.detection_options import Options
    from object_detection_mtl.inference.detection_run import Summary
    from object_detection_mtl.inference.sources.input_files import PictureFile
    from object_detection_mtl.inference.stages import Predictor

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string(
        "saved_model_dir", None, "SavedModel of exporter_main_v2, of any --input_type."
    )
    flags.DEFINE_string(
        "pipeline_config_path", None, "In place of a SavedModel: the config that was trained ..."
    )
    flags.DEFINE_string(
        "checkpoint_dir",
        None,
        "... and the directory of its checkpoints, of which the newest is taken, or the prefix of "
        "one.",
    )
    flags.DEFINE_string(
        "exported_model", None, "In place of both: model.xml or model.onnx of exporter_main_v2."
    )
    flags.DEFINE_enum(
        "engine",
        None,
        ("tensorflow", "openvino", "onnxruntime", "auto"),
        "What computes. Default: TensorFlow, or what reads --exported_model. Other engines convert "
        "the model first, a SavedModel's from the checkpoint and the pipeline.config that were "
        "exported beside it. auto takes the fastest one installed that finds what TensorFlow finds "
        "on the first picture.",
    )
    flags.DEFINE_enum(
        "engine_precision",
        "float32",
        ("float32", "bfloat16"),
        "Of the convolutions in OpenVINO. bfloat16 is for processors that multiply it.",
    )
    flags.DEFINE_multi_string("override", [], "A field of the config and its value, a.b.c=value.")
    flags.DEFINE_multi_string(
        "images",
        None,
        "A picture, a folder of pictures, a TFRecord of tf.train.Examples, a video (needs "
        "object_detection_mtl[video]), or a quoted pattern such as 'photos/*.jpg' or "
        "'val.record-*'. TFRecords are known by their content, videos by their endings; in a "
        "folder only pictures are looked for. Can be given repeatedly.",
    )
    flags.DEFINE_bool("recursive", False, "Search the folders in a folder, too.")
    flags.DEFINE_string("output_dir", None, "Where to write; created if it does not exist.")
    flags.DEFINE_string(
        "label_map_path",
        None,
        "Label map with the names of the classes. Default: the one that was exported with the "
        "SavedModel, or that the config names; classes without a name are called by number.",
    )
    flags.DEFINE_float(
        "min_score", 0.5, "Draw detections from this score on.", lower_bound=0, upper_bound=1
    )
    flags.DEFINE_integer(
        "max_detections", 100, "Of one picture, at most so many, the best.", lower_bound=1
    )
    flags.DEFINE_bool("save_images", True, "Draw the boxes on the pictures.")
    flags.DEFINE_bool(
        "exif_orientation", True, "Turn pictures as their EXIF header asks, as viewers do."
    )
    flags.DEFINE_enum(
        "output_format",
        "json",
        ["json", "tfrecord", "both"],
        "Files of detections: COCO-style JSON, a TFRecord, or both.",
    )
    flags.DEFINE_bool(
        "discard_image_pixels", False, "Leave the pictures themselves out of the TFRecord."
    )
    flags.DEFINE_integer(
        "batch_size",
        1,
        "Detect on up to so many pictures at once, of those that are equally large in the model: "
        "with a checkpoint, or a SavedModel that takes batches (--dynamic_batch, or an "
        "--input_type of strings).",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "num_readers",
        0,
        "Threads that decode pictures while the model is at work. 0: one for every processor, 8 "
        "at most.",
        lower_bound=0,
    )
    beam_runtime.define_flags("Detect")
    flags.DEFINE_integer(
        "num_shards",
        1,
        "With --runner: number of files of detections, named like detections-00000-of-00004.json.",
        lower_bound=1,
    )
    flags.mark_flags_as_required(["images", "output_dir"])


def main() -> int:
    _check_model_flags()
    _check_runner_flags()
    _check_engine_flags()
    from object_detection_mtl.inference.sources import input_files
    from object_detection_mtl.inference.writers import result_shards

    output_dir = Path(FLAGS.output_dir).expanduser()
    if output_dir.exists() and not output_dir.is_dir():
        raise ValueError(f"--output_dir={FLAGS.output_dir} is a file; give a directory")
    result_shards.refuse_others(output_dir, FLAGS.num_shards)  # before the model is loaded
    find = functools.partial(
        input_files.find, list(FLAGS.images), recursive=FLAGS.recursive, without=output_dir
    )
    files = find()
    try:
        if FLAGS.runner:
            summary = _detect_with_beam(find, output_dir)
        else:
            summary = _detect(files, output_dir)
    except KeyboardInterrupt:
        if FLAGS.runner:
            raise
        print(
            f"stopped; {output_dir} holds what was found so far, and the same command goes on",
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
    from object_detection_mtl.export.runtimes import runtime_conversion, runtime_models

    if FLAGS.exported_model:
        reader = runtime_models.engine_of(FLAGS.exported_model)
        if FLAGS.engine not in (None, reader):
            raise ValueError(
                f"--engine={FLAGS.engine} cannot read --exported_model={FLAGS.exported_model}, "
                f"which is for {reader}; leave the flag out"
            )
        if FLAGS.engine_precision != runtime_models.FLOAT32:
            raise ValueError(
                f"--engine_precision={FLAGS.engine_precision} is for models that are converted "
                "here; an --exported_model has that of exporter_main_v2 --precision"
            )
        return
    runtime_conversion.require(_engine(), FLAGS.engine_precision)
    if FLAGS.runner and _engine() != runtime_models.TENSORFLOW:
        raise ValueError(
            f"--engine={FLAGS.engine} with --runner would convert the model in every worker; "
            "export it once (exporter_main_v2 --format) and give --exported_model"
        )


def _engine() -> str:
    return FLAGS.engine or "tensorflow"


def _check_runner_flags() -> None:
    if FLAGS.runner and FLAGS.num_readers:
        raise ValueError(
            "--num_readers is for one machine; with --runner say how many work by its own "
            "--runner_option, such as direct_num_workers=4"
        )
    if not FLAGS.runner and (FLAGS.runner_option or FLAGS.num_shards > 1):
        raise ValueError("--runner_option and --num_shards need --runner")


def _detect_with_beam(find: Callable[[], Sequence[PictureFile]], output_dir: Path) -> Summary:
    from object_detection_mtl.inference import beam_detection, stages

    load, class_names = _loader()
    options = _options(output_dir, class_names)
    # What is wrong with the model is said here, and not by every worker.
    stages.require_batches(stages.staged(load()), options.batch_size)
    summary = beam_detection.detect(
        load,
        find,
        options,
        num_shards=FLAGS.num_shards,
        runner=FLAGS.runner,
        runner_options=FLAGS.runner_option,
    )
    for label, message in summary.failures.items():
        print(f"{label}: {message}", file=sys.stderr)
    return summary


def _loader() -> tuple[Callable[[], Predictor], dict[int, str]]:
    """What makes the predictor on another machine, and the names of the classes."""
    from object_detection_mtl.inference import model_files, predictor, runtime_predictor

    if FLAGS.exported_model:
        path = os.path.expanduser(FLAGS.exported_model)
        load = functools.partial(runtime_predictor.from_model, path)
        return load, _given_names() or runtime_predictor.class_names(path)
    if FLAGS.saved_model_dir:
        directory = predictor.saved_model_directory(os.path.expanduser(FLAGS.saved_model_dir))
        class_names = _given_names() or model_files.from_saved_model(directory)
        return functools.partial(predictor.from_saved_model, directory), class_names

    from object_detection_mtl import jobs
    from object_detection_mtl.config import pipeline

    config = pipeline.load(FLAGS.pipeline_config_path, FLAGS.override)
    load = functools.partial(jobs.load_predictor, pipeline.to_text(config), FLAGS.checkpoint_dir)
    return load, _given_names() or model_files.from_config(config)


def _detect(files: list[PictureFile], output_dir: Path) -> Summary:
    from object_detection_mtl.inference import (
        detection_run,
        model_files,
        predictor,
        runtime_predictor,
    )
    from object_detection_mtl.inference.sources.image_source import version_of

    if FLAGS.exported_model:
        path = os.path.expanduser(FLAGS.exported_model)
        model = runtime_predictor.from_model(path)
        class_names = _given_names() or runtime_predictor.class_names(path)
        version = version_of(Path(path))
        return detection_run.detect_files(model, files, _options(output_dir, class_names, version))
    if FLAGS.saved_model_dir and _engine() == "tensorflow":
        directory = predictor.saved_model_directory(os.path.expanduser(FLAGS.saved_model_dir))
        class_names = _given_names() or model_files.from_saved_model(directory)
        options = _options(output_dir, class_names, predictor.version(directory))
        return detection_run.detect_files(predictor.from_saved_model(directory), files, options)

    from object_detection_mtl import jobs
    from object_detection_mtl.config import pipeline

    if FLAGS.saved_model_dir:
        directory = predictor.saved_model_directory(os.path.expanduser(FLAGS.saved_model_dir))
        config_path, checkpoint = runtime_predictor.trained_beside(directory)
        config = pipeline.load(config_path)
        class_names = _given_names() or model_files.from_saved_model(directory)
    else:
        checkpoint = FLAGS.checkpoint_dir
        config = pipeline.load(FLAGS.pipeline_config_path, FLAGS.override)
        class_names = _given_names() or model_files.from_config(config)
    return jobs.predict(
        config,
        checkpoint,
        files,
        _options(output_dir, class_names),
        engine=_engine(),
        precision=FLAGS.engine_precision,
    )


def _given_names() -> dict[int, str] | None:
    from object_detection_mtl.inference import model_files

    return model_files.from_label_map(FLAGS.label_map_path) if FLAGS.label_map_path else None


def _options(output_dir: Path, class_names: dict[int, str], model: str = "") -> Options:
    from object_detection_mtl.inference import detection_options

    return detection_options.Options(
        output_dir=output_dir,
        names=class_names,
        min_score=FLAGS.min_score,
        max_detections=FLAGS.max_detections,
        save_images=FLAGS.save_images,
        apply_exif_orientation=FLAGS.exif_orientation,
        model=model,
        output_format=FLAGS.output_format,
        discard_image_pixels=FLAGS.discard_image_pixels,
        batch_size=FLAGS.batch_size,
        num_readers=FLAGS.num_readers,
    )


def _report(summary: Summary, output_dir: Path) -> str:
    failed = f", {len(summary.failures)} left out" if summary.failures else ""
    if summary.num_resumed:
        failed += f", {summary.num_resumed} of an interrupted run"
    return (
        f"{summary.num_done} of {summary.num_files} pictures{failed}: {summary.num_detections} "
        f"detections in {summary.seconds:.1f} s, written to {output_dir}"
    )


def run() -> None:
    command_line.run(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
