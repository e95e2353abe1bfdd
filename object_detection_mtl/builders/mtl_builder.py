"""`MTL` -> auxiliary tasks and refiner.

A further task is one more entry of `TASKS`: the field that switches it on, and what makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from object_detection_mtl.builders import hyperparams_builder
from object_detection_mtl.builders.second_stage_builder import RegionHeads
from object_detection_mtl.mtl.auxiliary_task import AuxiliaryTask, RegionHead
from object_detection_mtl.mtl.closeness_task import ClosenessTask
from object_detection_mtl.mtl.foreground_task import ForegroundTask
from object_detection_mtl.mtl.refinement import Refiner
from object_detection_mtl.mtl.window_task import WindowTask
from object_detection_mtl.protos import box_predictor_pb2, model_pb2

OWN_STAGE2 = "proposal_feature_maps"
SHARED_STAGE2 = "classifier_feature_maps"

# Scope of the variables of a task's region head, by the task's field.
REGION_HEAD_SCOPES = {"window": "WindowBoxPredictor", "closeness": "ClosenessBoxPredictor"}


@dataclass(frozen=True)
class Parts:
    """What the tasks of a detector are made with.

    Attributes:
        config: `mtl {}`.
        region_heads: makes heads like that of the detector's second stage.
        in_channels: of the shared feature map.
    """

    config: model_pb2.MTL
    region_heads: RegionHeads
    in_channels: int

    @property
    def num_classes(self) -> int:
        """K."""
        return self.region_heads.config.num_classes

    def region_head(self, field: str, predictor: box_predictor_pb2.BoxPredictor) -> RegionHead:
        """The head of the task that `field` switches on."""
        return self.region_heads.make(
            predictor,
            REGION_HEAD_SCOPES[field],
            owns_stage2=self.config.shared_feature == OWN_STAGE2,
            stop_gradient=self.config.stop_gradient_for_aux_tasks,
        )


def _window(parts: Parts) -> AuxiliaryTask:
    config = parts.config
    return WindowTask(
        parts.region_head("window", config.window_box_predictor),
        num_classes=parts.num_classes,
        loss_weight=config.window_class_loss_weight,
        chunk_size=config.refine_chunk_size,
    )


def _closeness(parts: Parts) -> AuxiliaryTask:
    config = parts.config
    return ClosenessTask(
        parts.region_head("closeness", config.closeness_box_predictor),
        num_classes=parts.num_classes,
        loss_weight=config.closeness_loss_weight,
        global_evidence=config.global_closeness,
    )


def _edgemask(parts: Parts) -> AuxiliaryTask:
    config = parts.config
    predictor = config.edgemask_predictor
    return ForegroundTask(
        in_channels=parts.in_channels,
        kernel_size=predictor.kernel_size,
        hyperparams=hyperparams_builder.build(predictor.conv_hyperparams),
        loss_weight=config.edgemask_loss_weight,
        weighted=config.edgemask_weighted,
        stop_gradient=config.stop_gradient_for_aux_tasks,
        trainable=predictor.trainable,
    )


# Field of `mtl {}` -> what makes the task; the order is that of the refiner's inputs.
TASKS: dict[str, Callable[[Parts], AuxiliaryTask]] = {
    "window": _window,
    "closeness": _closeness,
    "edgemask": _edgemask,
}


def build(
    config: model_pb2.MTL, region_heads: RegionHeads, in_channels: int
) -> tuple[tuple[AuxiliaryTask, ...], Refiner | None]:
    """The tasks that `mtl {}` switches on, and the refiner or None.

    Args:
        config: `mtl {}`; an empty one gives a baseline.
        region_heads: makes heads like that of the detector's second stage.
        in_channels: of the shared feature map.

    Raises:
        ValueError: an unknown `shared_feature`, a number out of range, or what the predictors
            raise.
    """
    _check(config)
    parts = Parts(config, region_heads, in_channels)
    tasks = tuple(make(parts) for field, make in TASKS.items() if getattr(config, field))
    if not config.refine:
        return tasks, None
    return tasks, Refiner(
        num_classes=parts.num_classes,
        evidence_width=sum(task.evidence_width for task in tasks),
        num_hidden_layers=config.refine_num_fc_layers,
        hyperparams=hyperparams_builder.build(config.refiner_fc_hyperparams),
        keep_probability=config.refine_dropout_rate,
        residue=config.refine_residue,
        stop_gradient_of_residue=config.stop_gradient_for_prediction_org,
        top_k=config.refine_top_k,
        loss_weight=config.refined_classification_loss_weight,
    )


def fresh_scopes(config: model_pb2.MTL) -> tuple[str, ...]:
    """Scopes of the heads whose stage-2 blocks an ImageNet checkpoint does not fill."""
    if config.share_second_stage_init:
        return ()
    return tuple(f"{scope}/" for scope in REGION_HEAD_SCOPES.values())


def _check(config: model_pb2.MTL) -> None:
    if config.shared_feature not in (OWN_STAGE2, SHARED_STAGE2):
        raise ValueError(
            f'mtl: shared_feature is "{config.shared_feature}"; '
            f'expected "{OWN_STAGE2}" or "{SHARED_STAGE2}"'
        )
    for field in ("refine_num_fc_layers", "refine_chunk_size", "refine_top_k"):
        if getattr(config, field) < 0:
            raise ValueError(f"mtl: {field} is {getattr(config, field)}; expected 0 or more")
    if not 0.0 < config.refine_dropout_rate <= 1.0:
        raise ValueError(
            f"mtl: refine_dropout_rate is {config.refine_dropout_rate}; it is the probability to "
            "KEEP a value, so expected more than 0 and at most 1"
        )
