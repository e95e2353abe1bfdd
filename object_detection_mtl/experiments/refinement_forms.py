"""Refiners that read less, fitted to one trained detector and compared.

The detector runs once over each set of images. The forms differ in the linear layer and in what
follows it.

Shape letters: B batch, P proposals, K classes without background.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl import refiner_refit
from object_detection_mtl.builders import input_reader_builder
from object_detection_mtl.evaluation.evaluation_loop import evaluate_detections
from object_detection_mtl.evaluation.metrics_sets import make_evaluators
from object_detection_mtl.evaluation.refiner_inputs import MAIN, RefinerInputs, is_refined
from object_detection_mtl.experiments import paired_bootstrap, stored_detections
from object_detection_mtl.experiments.run_results import MEAN_AP
from object_detection_mtl.fields import Batch, Predictions
from object_detection_mtl.models import auxiliary_stage
from object_detection_mtl.mtl.window_task import NUM_EXPANDED
from object_detection_mtl.ops.logistic_regression import LinearLogits
from object_detection_mtl.refiner_refit import RefitRequest
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage
from object_detection_mtl.reporting.object_matching import match_images
from object_detection_mtl.training import refiner_fit

WINDOW, CLOSENESS = "window", "closeness"
_METRICS = ("pascal_voc_detection_metrics", "coco_detection_metrics")
_MEAN_AP = "DetectionBoxes_Precision/mAP"
# What postprocessing reads.
_KEPT = (
    Predictions.proposal_boxes,
    Predictions.num_proposals,
    Predictions.refined_box_encodings,
    Predictions.class_predictions,
    Predictions.image_shape,
    Predictions.true_image_shapes,
)
_RESAMPLES = 1000


@dataclass(frozen=True)
class Form:
    """What a refiner reads besides the main logits.

    Attributes:
        name: in the table.
        windows: numbers of `mtl.refine_windows`; empty: not the window task.
        closeness: whether it reads the closeness task.
        share: part of the proposals that are refined, those with the highest foreground scores.
        refines: False for the main logits alone.
    """

    name: str
    windows: tuple[int, ...] = ()
    closeness: bool = False
    share: float = 1.0
    refines: bool = True

    def top_k(self, num_proposals: int) -> int:
        """Return the number of refined proposals, as `mtl.refine_top_k`: 0 for all."""
        return 0 if self.share == 1.0 else max(1, round(self.share * num_proposals))

    def overrides(self, num_proposals: int) -> list[str]:
        """Return the config overrides of a detector of this form."""
        if not self.refines:
            return [f"model.mtl.{task}=false" for task in (WINDOW, CLOSENESS, "edgemask", "refine")]
        return [
            f"model.mtl.{WINDOW}={str(bool(self.windows)).lower()}",
            f"model.mtl.{CLOSENESS}={str(self.closeness).lower()}",
            f"model.mtl.refine_windows=[{', '.join(map(str, self.windows))}]",
            f"model.mtl.refine_top_k={self.top_k(num_proposals)}",
        ]


def standard_forms(closeness: bool = True) -> list[Form]:
    """Return the forms of the table: single inputs, all but one window, fewer proposals.

    Args:
        closeness: whether the detector has the closeness task.
    """
    every = tuple(range(NUM_EXPANDED))
    forms = [Form("main logits", refines=False), Form("calibration of the main logits")]
    if closeness:
        forms.append(Form("closeness", (), closeness))
    forms += [
        Form("image", (4,), closeness),
        Form("proposal and image", (0, 4), closeness),
        Form("proposal, half way, image", (0, 2, 4), closeness),
        Form("all windows", every, closeness),
    ]
    for missing in every:
        forms.append(Form(f"all but {missing}", tuple(i for i in every if i != missing), closeness))
    if closeness:
        forms.append(Form("all windows, no closeness", every))
    forms += [
        Form(f"all windows, {share:.0%} of the proposals", every, closeness, share)
        for share in (0.5, 0.25, 0.125)
    ]
    return forms


@dataclass(frozen=True)
class FormResult:
    """What a form reaches on the evaluated images.

    Attributes:
        form: which.
        cross_entropy: of the class logits of all proposals.
        metrics: of VOC and COCO.
        resamples: mAP@.5 on resamples of the images, the same for all forms.
    """

    form: Form
    cross_entropy: float
    metrics: Mapping[str, float]
    resamples: np.ndarray

    def gain(self, other: FormResult) -> tuple[float, float]:
        """Return the 95 % interval of the mAP@.5 over that of another form, over images."""
        return paired_bootstrap.hierarchical_interval(
            other.resamples[np.newaxis], self.resamples[np.newaxis]
        )


def compare_forms(
    config: Any, checkpoint_path: str, forms: Iterable[Form], request: RefitRequest
) -> list[FormResult]:
    """Fit a refiner of each form to images of the training and evaluate it.

    Args:
        config: of the training, with the window task; the first eval_input_reader is evaluated.
        checkpoint_path: checkpoint prefix, or checkpoint directory for its newest checkpoint.
        forms: to compare.
        request: images and options of the fits.

    Raises:
        ValueError: the config lacks a task that a form reads, or reads some of the windows only.
    """
    config = refiner_refit.with_refiner(config)
    if not config.model.mtl.window or config.model.mtl.refine_windows:
        raise ValueError(
            "mtl: window is off or refine_windows is set; expected a detector that was trained "
            "with the window task, and a config without refine_windows"
        )
    detector, _ = refiner_refit.load_refining_detector(config, checkpoint_path)
    fitted = refiner_refit.collect(
        config, detector, request, request.records, jitter=request.jitter
    )
    evaluated = refiner_refit.collect(
        config,
        detector,
        RefitRequest(),
        list(config.eval_input_reader[0].tf_record_input_reader.input_path),
    )
    runner = _FormRunner(config, detector)
    results = []
    for form in forms:
        linear = None
        if form.refines:
            linear, _ = refiner_fit.fit_groups(_inputs_of(fitted, form), request.fit)
        results.append(runner.evaluate(form, linear, evaluated, request))
    return results


def _inputs_of(inputs: RefinerInputs, form: Form) -> RefinerInputs:
    """Return what a form reads."""
    return dataclasses.replace(inputs, groups=_groups_of(inputs.groups, form))


def _groups_of(groups: Mapping[str, np.ndarray], form: Form) -> dict[str, np.ndarray]:
    """Return main logits, windows and closeness [..., width] that a form reads.

    Raises:
        ValueError: the detector lacks the closeness task.
    """
    main = groups[MAIN]
    chosen = {MAIN: main}
    if form.windows:
        windows = np.split(groups[WINDOW], NUM_EXPANDED, axis=-1)
        chosen[WINDOW] = np.concatenate([windows[i] for i in form.windows], axis=-1)
    if form.closeness:
        if CLOSENESS not in groups:
            raise ValueError(f"form {form.name!r} reads mtl.closeness, which the config lacks")
        chosen[CLOSENESS] = groups[CLOSENESS]
    return chosen


class _FormRunner:
    """Evaluates refiners on stored predictions."""

    def __init__(self, config: Any, detector: Any) -> None:
        """Run the detector over the evaluated images."""
        reader = config.eval_input_reader[0]
        self._dataset = input_reader_builder.build_dataset(
            reader,
            preprocess_fn=input_reader_builder.preprocess_one(detector),
            num_classes=detector.num_classes,
            batch_size=config.eval_config.batch_size,
            is_training=False,
        )
        categories = input_reader_builder.load_label_map(reader, detector.num_classes)
        assert categories is not None
        self._categories = categories

        @tf.function(autograph=False, reduce_retracing=True)
        def predict(inputs: tf.Tensor, shapes: tf.Tensor) -> tuple[Any, Any]:
            predictions = detector.predict(inputs, shapes)
            groups = {MAIN: predictions[Predictions.class_predictions]}
            groups |= auxiliary_stage.auxiliary_logits(detector.aux_tasks, predictions)
            return {key: predictions[key] for key in _KEPT}, groups

        self._stored = [
            predict(batch[Batch.inputs], batch[Batch.true_image_shapes]) for batch in self._dataset
        ]
        self._postprocess = tf.function(
            lambda predictions: detector.postprocess(
                predictions, predictions[Predictions.true_image_shapes]
            ),
            autograph=False,
            reduce_retracing=True,
        )

    def evaluate(
        self,
        form: Form,
        linear: LinearLogits | None,
        evaluated: RefinerInputs,
        request: RefitRequest,
    ) -> FormResult:
        """Return the result of a form with its fitted layer; without one, of the main logits."""
        collector = stored_detections.Collector(self._categories)
        stored = iter(self._stored)

        def infer(batch: Any) -> Any:
            del batch
            predictions, groups = next(stored)
            logits = predictions[Predictions.class_predictions]
            if linear is not None:
                arrays = {name: values.numpy() for name, values in groups.items()}
                count = predictions[Predictions.num_proposals].numpy()
                logits = tf.constant(refined_logits(form, linear, arrays, count))
            return self._postprocess({**predictions, Predictions.refined_classes: logits})

        evaluators = [*make_evaluators(_METRICS, self._categories), collector]
        metrics = evaluate_detections(self._dataset, infer, evaluators).metrics
        images = [EvaluatedImage(name, *pair) for name, pair in collector.images().items()]
        weights = paired_bootstrap.draw_images(len(images), _RESAMPLES)
        given = _inputs_of(evaluated, form)
        logits = given.main if linear is None else linear.logits(given.inputs(), given.main)
        return FormResult(
            form,
            refiner_fit.class_fit(logits, given, request.fit).cross_entropy,
            metrics,
            paired_bootstrap.mean_ap(match_images(images), weights),
        )


def refined_logits(
    form: Form, linear: LinearLogits, groups: Mapping[str, np.ndarray], count: np.ndarray
) -> np.ndarray:
    """Return the logits [B, P, K + 1] of a form: the main ones of proposals that are not refined.

    Args:
        form: which.
        linear: its fitted layer.
        groups: logits of the main head and of the tasks, [B, P, width].
        count: number [B] of proposals that are not padding.
    """
    main = groups[MAIN]
    refined = main + linear.logits(np.concatenate([*_groups_of(groups, form).values()], axis=-1))
    rows = is_refined(main, count, form.top_k(main.shape[1])).numpy()
    return np.where(rows[..., np.newaxis], refined, main)


def table(results: Sequence[FormResult], times: Mapping[str, float]) -> str:
    """Return the table: what is read, cross-entropy, mAP, gain over the first result, time.

    Args:
        results: the first is that of the main logits.
        times: name of a form -> its time over that of the first.
    """
    first = results[0]
    lines = [
        "| refiner reads | cross-entropy | mAP@.5 | gain | mAP@[.5:.95] | time |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        gain = ""
        if result is not first:
            low, high = result.gain(first)
            points = result.metrics[MEAN_AP] - first.metrics[MEAN_AP]
            gain = f"{100 * points:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        cells = [
            result.form.name,
            f"{result.cross_entropy:.4f}",
            f"{result.metrics[MEAN_AP]:.3f}",
            gain,
            f"{result.metrics[_MEAN_AP]:.3f}",
            f"{times[result.form.name]:.2f}" if result.form.name in times else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
