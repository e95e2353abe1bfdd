"""Export of a detector for serving and for other runtimes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from object_detection_mtl.api import model_search
from object_detection_mtl.api.quantization import Paths, QuantizationRequest
from object_detection_mtl.config import pipeline
from object_detection_mtl.dataset_tools import dataset_label_map

if TYPE_CHECKING:
    from object_detection_mtl.api.detector import Detector
    from object_detection_mtl.export.export_options import ExportOptions


def export_detector(
    detector: Detector,
    output_dir: str | os.PathLike[str],
    *,
    format: str = "saved_model",
    input_type: str = "image_tensor",
    dynamic_batch: bool = False,
    optimize: bool = True,
    precision: str = "float32",
    auxiliary_outputs: bool = False,
    calibration: Paths | None = None,
    calibration_images: int = 300,
    max_drop: float | None = None,
    validation: Any = None,
    model_repository: str | os.PathLike[str] | None = None,
    model_name: str = "detector",
) -> str:
    """Export the present weights of a detector, with the Object Detection API's files.

    Writes pipeline.config, checkpoint/ and the model: saved_model/, model.onnx, or model.xml and
    model.bin. An earlier export in the directory is replaced when the new one is complete; its
    other formats are kept if they have the same weights, configuration and class names.

    Args:
        detector: with a network: from a checkpoint or a training, not from an export.
        output_dir: created if it does not exist.
        format: "saved_model", "onnx" or "openvino"; the last two need the extra of their name.
        input_type: input of the model: "image_tensor" (uint8 [1, height, width, 3]),
            "float_image_tensor" (float32 [batch, height, width, 3], 0..255),
            "encoded_image_string_tensor" (image files, [batch] strings) or "tf_example".
        dynamic_batch: let image_tensor take any number of images of one size.
        optimize: freeze and fold the graph; otherwise weights stay variables.
        precision: "float32"; "bfloat16" for CPUs and GPUs with instructions for it; or, with
            `calibration` and in format "openvino" (extra `quantize`) or "onnx", "int8" for CPUs
            with VNNI.
        auxiliary_outputs: add the predictions of the auxiliary tasks to the outputs.
        calibration: of "int8": records, images or directories of images like those that the
            detector will see, such as the training records.
        calibration_images: maximum number of images of the calibration.
        max_drop: of "int8" in format "openvino": maximum drop of mAP@0.5, in points (hundredths).
            Layers return to float32 until it holds, which evaluates the detector many times. None
            for no limit.
        validation: dataset of `max_drop`, as for `evaluate_detector`; None for the validation
            records of the configuration.
        model_repository: also copy the model into this model repository, as the next version, for
            TensorFlow Serving (format "saved_model"), OpenVINO Model Server or Triton (formats
            "onnx" and "openvino"). None for no repository.
        model_name: name by which the clients of a server ask for the model.

    Returns:
        The path of the model: the directory saved_model, or the file. `load_detector` takes it.

    Raises:
        FileNotFoundError: a file of the calibration does not exist, or a directory has no image.
        ValueError: the detector is an export, an option is unsupported, a package is not
            installed, or `output_dir` is a file or the directory of a training.

    Example:
        >>> import object_detection_mtl as odm
        >>> detector = odm.load_detector("run")
        >>> odm.export_detector(detector, "exported_again")
        'exported_again/saved_model'
    """
    options = make_options(
        output_dir,
        input_type=input_type,
        dynamic_batch=dynamic_batch,
        optimize=optimize,
        precision=precision,
        format=format,
        auxiliary_outputs=auxiliary_outputs,
    )
    request = QuantizationRequest(calibration, calibration_images, max_drop, validation)
    repository = None if model_repository is None else (os.fspath(model_repository), model_name)
    return export_with_options(detector, output_dir, options, request, repository=repository)


def make_options(output_dir: str | os.PathLike[str], **options: Any) -> ExportOptions:
    """Return the options of an export, before a detector is loaded.

    Args:
        output_dir: see `export_detector`.
        **options: the other arguments of `export_detector`.

    Raises:
        ValueError: an option is unsupported, or the directory is not one for an export.
    """
    from object_detection_mtl.export import saved_model
    from object_detection_mtl.export.export_options import ExportOptions

    saved_model.check_output_directory(os.path.expanduser(os.fspath(output_dir)))
    return ExportOptions(**options)


def export_with_options(
    detector: Detector,
    output_dir: str | os.PathLike[str],
    options: ExportOptions,
    quantization: QuantizationRequest | None = None,
    *,
    repository: tuple[str, str] | None = None,
) -> str:
    """Export a detector; see `export_detector`.

    Args:
        detector: see `export_detector`.
        output_dir: see `export_detector`.
        options: result of `make_options`.
        quantization: calibration of precision "int8".
        repository: model repository and name of the model in it; None for none.
    """
    from object_detection_mtl.export import model_repository, saved_model

    if repository is not None:
        model_repository.check_place(*repository, options.format)
    model = detector.require_model("export it")
    assert detector.config is not None
    directory = os.path.expanduser(os.fspath(output_dir))
    request = quantization or QuantizationRequest()
    with (
        tempfile.TemporaryDirectory() as scratch,
        request.prepared(detector, options) as calibration,
    ):
        saved_model.export_detector(
            model,
            directory,
            config_text=pipeline.to_text(detector.config),
            options=options,
            label_map_path=_label_map_of(detector, Path(scratch)),
            checkpoint=detector.source,
            calibration=calibration,
        )
    path = os.path.join(directory, saved_model.FILES[options.format][0])
    if repository is not None:
        print(f"added {model_repository.add_version(path, *repository)}", flush=True)
    return path


def _label_map_of(detector: Detector, scratch: Path) -> str | None:
    """Return the label map to export: the configuration's, or one with the detector's names."""
    from object_detection_mtl.inference import model_files

    configured = model_files.find_label_map(detector.config)
    if configured and model_files.names_from_label_map(configured) == detector.class_names:
        return configured
    if not detector.class_names:
        return None
    path = scratch / model_search.LABEL_MAP_NAME
    labels = {name: number for number, name in sorted(detector.class_names.items())}
    path.write_text(dataset_label_map.to_text(labels), encoding="utf-8")
    return str(path)
