"""Forms of an exported model: plain and frozen graphs, files of other engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.config import pipeline
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.calibration import Calibration
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.runtimes import runtime_conversion, runtime_models
from object_detection_mtl.export.runtimes.runtime_choice import ModelFunction

TENSORFLOW: dict[str, dict[str, Any]] = {
    "plain": {"optimize": False},
    "fast": {},
    "bfloat16": {"precision": "bfloat16"},
}
ENGINES: dict[str, dict[str, Any]] = {
    "onnxruntime": {"format": "onnx"},
    "onnxruntime int8": {"format": "onnx", "precision": "int8"},
    "openvino": {"format": "openvino"},
    "openvino bfloat16": {"format": "openvino", "precision": "bfloat16"},
    "openvino int8": {"format": "openvino", "precision": "int8"},
}
FORMS = TENSORFLOW | ENGINES


def installed_forms() -> list[str]:
    """Return the names of the installed forms; print those that are skipped."""
    found = list(TENSORFLOW)
    for form in ENGINES:
        try:
            runtime_conversion.require_conversion(form.split()[0])
            saved_model.require_packages(ExportOptions(**ENGINES[form]))
        except ValueError as error:
            print(f"{form}: skipped, {error}", flush=True)
        else:
            found.append(form)
    return found


def export_forms(
    write: Callable[[str, ExportOptions], object], root: str, forms: Sequence[str]
) -> dict[str, str]:
    """Export a model in some forms.

    Args:
        write: Export the model to a directory.
        root: Directory of all exports.
        forms: Names of FORMS.

    Returns:
        Form -> its SavedModel, or the file of another engine.

    Raises:
        ValueError: A form is unknown.
    """
    paths = {}
    for form in forms:
        if form not in FORMS:
            raise ValueError(f"form is {form!r}, expected one of {', '.join(FORMS)}")
        options = ExportOptions(**FORMS[form])
        write(str(Path(root) / form), options)
        # An engine loads the first of its files.
        [name, *_] = saved_model.FILES[options.format]
        paths[form] = str(Path(root) / form / name)
    return paths


def export_untrained(config: Any, root: str, forms: Sequence[str]) -> dict[str, str]:
    """Export a config's model with random weights, as `export_forms`; int8 by images of noise."""
    noise = [*np.random.RandomState(0).randint(0, 256, (2, 300, 400, 3)).astype(np.uint8)]
    calibration = Calibration(noise, "noise", len(noise))
    detector = model_builder.build(config.model, is_training=False)

    def write(directory: str, options: ExportOptions) -> None:
        text = pipeline.to_text(config)
        saved_model.export_detector(
            detector, directory, config_text=text, options=options, calibration=calibration
        )

    return export_forms(write, root, forms)


def load_form(path: str) -> ModelFunction:
    """Load an export of `export_forms` as a function from arrays by name to arrays by name."""
    if not Path(path).is_dir():
        return runtime_models.load_model(path).run
    serve = tf.saved_model.load(path).signatures[saved_model.SIGNATURE]

    def run(inputs: Mapping[str, np.ndarray]) -> runtime_models.Arrays:
        outputs = serve(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return run
