r"""Which of its inputs the refinement needs: mAP against time.

    python -m benchmarks.refinement_for_less --pipeline_config_path=run/pipeline.config \
        --checkpoint_dir=run --records=validation.record

Fits refiners that read less to a trained detector, as `refit_refiner` does, and evaluates each on
the records. The trained detector needs the window task; neither it nor its refiner is changed. The
time is that of a call of the frozen detector of such a form in TensorFlow over one without
refinement, on one random image, called in turn. The gains are differences to the main logits in
points of mAP@.5, with the 95 % interval of a bootstrap over images.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from absl import app, flags

if TYPE_CHECKING:
    from object_detection_mtl.experiments.refinement_forms import Form

FLAGS = flags.FLAGS
_CONFIG = flags.DEFINE_string("pipeline_config_path", None, "Of the training.", required=True)
_CHECKPOINT = flags.DEFINE_string("checkpoint_dir", None, "Of the training.", required=True)
_RECORDS = flags.DEFINE_list("records", [], "To evaluate on. Default: those of the config.")
_FIT_RECORDS = flags.DEFINE_list("fit_records", [], "To fit to. Default: those of the training.")
_FIT_IMAGES = flags.DEFINE_integer("fit_images", 500, "Images to fit to.", lower_bound=1)
_JITTER = flags.DEFINE_integer("jitter", 0, "Moved copies of all proposals to fit to, too.")
_L2 = flags.DEFINE_float("l2", 0.001, "Strength of the regularization of all fits.")
_HEIGHT = flags.DEFINE_integer("height", 600, "Height of the timed image.")
_WIDTH = flags.DEFINE_integer("width", 800, "Width of the timed image.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed calls of each form; 0: no times.")


def main(_: list[str]) -> None:
    from object_detection_mtl.config import pipeline
    from object_detection_mtl.experiments import refinement_forms
    from object_detection_mtl.refiner_refit import RefitRequest
    from object_detection_mtl.training.refiner_fit import FitOptions

    path, overrides = _CONFIG.value, []
    if _RECORDS.value:
        field = "eval_input_reader[0].tf_record_input_reader.input_path"
        overrides = [f"{field}=[{', '.join(_RECORDS.value)}]"]
    config = pipeline.load(path, overrides)
    forms = refinement_forms.standard_forms(config.model.mtl.closeness)
    request = RefitRequest(
        records=_FIT_RECORDS.value,
        num_images=_FIT_IMAGES.value,
        jitter=_JITTER.value,
        fit=FitOptions(_L2.value),
    )
    times = relative_times(config, forms) if _ROUNDS.value else {}
    results = refinement_forms.compare_forms(config, _CHECKPOINT.value, forms, request)
    print(refinement_forms.table(results, times))


def relative_times(config: Any, forms: list[Form]) -> dict[str, float]:
    """Return name of a form -> time of a call over that of the first form."""
    import tensorflow as tf

    from benchmarks import calls, model_flags, timing
    from object_detection_mtl.builders import model_builder
    from object_detection_mtl.config import pipeline

    image = model_flags.random_image(_HEIGHT.value, _WIDTH.value)
    detector = model_builder.build(config.model, is_training=False)
    inputs, _ = detector.preprocess(tf.cast(image, tf.float32))
    image = tf.image.resize(image, inputs.shape[1:3])  # A frozen call does not resize.
    number = config.model.faster_rcnn.first_stage_max_proposals
    functions = {}
    for form in forms:
        given = ["model.mtl.refine=true", "model.mtl.refine_residue=true"]
        changed = pipeline.load(_CONFIG.value, [*given, *form.overrides(number)])
        function = calls.frozen_inference(changed, image, "float32")
        functions[form.name] = functools.partial(function, image)
    seconds = timing.interleaved_seconds(functions, rounds=_ROUNDS.value)
    first = seconds[forms[0].name]
    return {name: timing.median_ratio(values, first) for name, values in seconds.items()}


if __name__ == "__main__":
    app.run(main)
