"""Quantization of an export: its calibration images and the limit of its loss of accuracy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from object_detection_mtl.api import dataset_config, number_arguments

if TYPE_CHECKING:
    from object_detection_mtl.api.detector import Detector
    from object_detection_mtl.export.calibration import AccuracyControl, Calibration
    from object_detection_mtl.export.export_options import ExportOptions
    from object_detection_mtl.inference.sources.input_files import InputFile

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class QuantizationRequest:
    """Options of a quantization to int8.

    Attributes:
        calibration: records, images or directories of images.
        calibration_images: maximum number of images, evenly spread over `calibration`.
        max_drop: maximum drop of mAP@0.5 on the validation set, in points (hundredths); None for no
            limit.
        validation: dataset of `max_drop`; None for the records of the configuration.
    """

    calibration: Paths | None = None
    calibration_images: int = 300
    max_drop: float | None = None
    validation: Any = None

    def check(self, options: ExportOptions) -> None:
        """Check the request, before a detector is loaded.

        Raises:
            FileNotFoundError: a file of the calibration does not exist, or a directory has no
                image.
            ValueError: the request does not fit the options, a number is out of range, or a package
                is not installed.
        """
        from object_detection_mtl.export import saved_model
        from object_detection_mtl.export.export_options import INT8, OPENVINO

        if options.precision != INT8:
            given = {"calibration": self._paths or None, "max_drop": self.max_drop}
            for name, value in (given | {"validation": self.validation}).items():
                if value is not None:
                    raise ValueError(
                        f"{name} is for precision {INT8!r}, and precision is "
                        f"{options.precision!r}; drop {name} or export in {INT8!r}"
                    )
            return
        number_arguments.require_whole_numbers(calibration_images=self.calibration_images)
        if self.max_drop is not None:
            number_arguments.require_numbers(max_drop=self.max_drop)
        if self.calibration_images < 1:
            raise ValueError(
                f"calibration_images is {self.calibration_images}, expected at least 1"
            )
        if self.max_drop is None and self.validation is not None:
            raise ValueError("validation is the dataset of max_drop; give max_drop, too")
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise ValueError(f"max_drop is {self.max_drop}, expected 0 to 100 points of mAP@0.5")
        if self.max_drop is not None and options.format != OPENVINO:
            raise ValueError(
                f"max_drop is for format {OPENVINO!r}, whose quantizer returns layers to float32, "
                f"and format is {options.format!r}; drop max_drop or export in {OPENVINO!r}"
            )
        self._find_files()
        saved_model.require_packages(options)

    @contextmanager
    def prepared(self, detector: Detector, options: ExportOptions) -> Iterator[Calibration | None]:
        """Provide the calibration of an export of a detector; None where it needs none."""
        from object_detection_mtl.export.calibration import Calibration
        from object_detection_mtl.export.export_options import INT8
        from object_detection_mtl.inference.calibration_images import CalibrationImages

        self.check(options)
        if options.precision != INT8:
            yield None
            return
        images = CalibrationImages(self._find_files(), self.calibration_images)
        source = ", ".join(os.fspath(path) for path in self._paths)
        with tempfile.TemporaryDirectory() as scratch:
            accuracy = self._accuracy_control(detector, scratch)
            yield Calibration(images, source, self.calibration_images, accuracy)

    @property
    def _paths(self) -> list[str | os.PathLike[str]]:
        given = self.calibration
        if given is None:
            return []
        return [given] if isinstance(given, str | os.PathLike) else list(given)

    def _find_files(self) -> list[InputFile]:
        from object_detection_mtl.inference import calibration_images

        if not self._paths:
            raise ValueError(
                "precision 'int8' needs images that show the ranges of its feature maps: give "
                "--calibration (in Python calibration=...), the training records or a directory of "
                "images"
            )
        return calibration_images.find_calibration_files(self._paths)

    def _accuracy_control(self, detector: Detector, scratch: str) -> AccuracyControl | None:
        if self.max_drop is None:
            return None
        from object_detection_mtl.builders import accuracy_builder
        from object_detection_mtl.config import validation

        config = detector.config
        assert config is not None
        if self.validation is not None:
            changed = dataset_config.DatasetConfig(config, scratch, detector.class_names)
            changed.set_validation(self.validation)
            config = changed.config
        else:
            try:
                dataset_config.refuse_placeholders(
                    config.eval_input_reader, "export_detector", "validation"
                )
                validation.require_evaluation(config)
            except ValueError as error:
                raise ValueError(
                    f"{error}; max_drop is measured on validation records, so give --validation "
                    "(in Python validation=...) or configure them"
                ) from error
        return accuracy_builder.build_accuracy_control(config, self.max_drop / 100)
