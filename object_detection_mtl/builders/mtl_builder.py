"""`MTL` -> auxiliary tasks, their labels, and the refiner.

A new task of the package is a new entry of `TASKS`, beside its fields in model.proto, the rules for
their values in config/field_rules.py, and its own module. `register_task` adds a task of another
program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from object_detection_mtl.builders import hyperparams_builder
from object_detection_mtl.builders.second_stage_builder import RegionHeads
from object_detection_mtl.mtl import task_checks
from object_detection_mtl.mtl.auxiliary_task import AuxiliaryTask, RegionHead
from object_detection_mtl.mtl.closeness_task import ClosenessLabels, ClosenessTask
from object_detection_mtl.mtl.foreground_task import ForegroundLabels, ForegroundTask
from object_detection_mtl.mtl.loss_balance import UncertaintyBalance
from object_detection_mtl.mtl.refinement import Refiner
from object_detection_mtl.mtl.task_labels import TaskLabelMaker, TaskLabels
from object_detection_mtl.mtl.window_task import WindowLabels, WindowTask
from object_detection_mtl.protos import box_predictor_pb2, model_pb2, train_pb2

OWN_STAGE2 = "proposal_feature_maps"
SHARED_STAGE2 = "classifier_feature_maps"


@dataclass(frozen=True)
class Parts:
    """Inputs of the builders of the tasks.

    Attributes:
        config: `mtl {}`.
        region_heads: builder of heads of the same kind as the detector's second stage.
        in_channels: channels of the shared feature map.
    """

    config: model_pb2.MTL
    region_heads: RegionHeads
    in_channels: int

    @property
    def num_classes(self) -> int:
        """K."""
        return self.region_heads.config.num_classes

    def region_head(self, scope: str, predictor: box_predictor_pb2.BoxPredictor) -> RegionHead:
        """Return a region head whose variables are in `scope`."""
        return self.region_heads.make(
            predictor,
            scope,
            owns_stage2=self.config.shared_feature == OWN_STAGE2,
            stop_gradient=self.config.stop_gradient_for_aux_tasks,
            recompute=self.config.recompute_stage2,
        )


@dataclass(frozen=True)
class TaskEntry:
    """Builders and checkpoint scope of one task.

    Attributes:
        build: builds the task of a detector.
        build_labels: builds its labels in the input pipeline.
        scope: scope of its variables in checkpoints.
        restore_field: field of `train_config` that selects whether the scope is loaded from a
            detection checkpoint; None: always.
        has_region_head: the scope contains a region head, which may own a stage-2 block.
    """

    build: Callable[[Parts], AuxiliaryTask]
    build_labels: Callable[[model_pb2.MTL], TaskLabels]
    scope: str
    restore_field: str | None = None
    has_region_head: bool = False


_WINDOW_SCOPE = "WindowBoxPredictor"
_CLOSENESS_SCOPE = "ClosenessBoxPredictor"


def _window(parts: Parts) -> AuxiliaryTask:
    config = parts.config
    return WindowTask(
        parts.region_head(_WINDOW_SCOPE, config.window_box_predictor),
        num_classes=parts.num_classes,
        loss_weight=config.window_class_loss_weight,
        chunk_size=config.refine_chunk_size,
        expanded=config.refine_windows,
    )


def _window_labels(config: model_pb2.MTL) -> TaskLabels:
    transform = model_pb2.MTL.WindowLabelTransform.Name(config.window_label_transform)
    source = model_pb2.MTL.WindowSource.Name(config.window_source)
    return WindowLabels(num_windows=config.num_windows, transform=transform, source=source)


def _closeness(parts: Parts) -> AuxiliaryTask:
    config = parts.config
    return ClosenessTask(
        parts.region_head(_CLOSENESS_SCOPE, config.closeness_box_predictor),
        num_classes=parts.num_classes,
        loss_weight=config.closeness_loss_weight,
        global_mean=config.global_closeness,
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
        balance=model_pb2.MTL.EdgemaskBalance.Name(config.edgemask_balance),
        bounded=config.edgemask_tanh,
        loss_grid=model_pb2.MTL.EdgemaskLossGrid.Name(config.edgemask_loss_grid),
        stop_gradient=config.stop_gradient_for_aux_tasks,
        trainable=predictor.trainable,
    )


# Field of `mtl {}` that switches a task on -> the task; the order is that of the refiner's inputs.
TASKS: dict[str, TaskEntry] = {
    "window": TaskEntry(
        _window, _window_labels, _WINDOW_SCOPE, "restore_window", has_region_head=True
    ),
    "closeness": TaskEntry(
        _closeness,
        lambda config: ClosenessLabels(),
        _CLOSENESS_SCOPE,
        "restore_closeness",
        has_region_head=True,
    ),
    "edgemask": TaskEntry(
        _edgemask,
        lambda config: ForegroundLabels(mask_size=config.edgemask_size),
        "EdgeMaskPredictor",
        "restore_edgemask",
    ),
}


# Name in `mtl { registered_tasks }` -> a task that `register_task` has added.
REGISTERED_TASKS: dict[str, TaskEntry] = {}


def register_task(name: str, build: Callable[[Parts], AuxiliaryTask], labels: TaskLabels) -> None:
    """Add an auxiliary task that the package does not have, for this process.

    `build_detector(..., tasks=["window", name])` or `mtl { registered_tasks: "name" }` of a config
    enables it. Training, evaluation, refinement and export then treat it like the tasks of the
    package. Register it again in each process that builds the detector from its config; an exported
    model needs no registration. `examples/add_a_task.ipynb` has a complete task.

    Args:
        name: letters, digits and underscores. It replaces an earlier registration of this name.
        build: parts of the detector (`num_classes`, `in_channels` of the shared feature map,
            `config`, and `region_head`, which makes a head like the second stage's) -> the task, a
            Keras layer with the methods of `mtl.auxiliary_task.AuxiliaryTask`. Its `tf1_variables`
            begin with the name of the task and a slash.
        labels: the labels of the task, made from the boxes of each image.

    Raises:
        ValueError: the name is unusable or that of a task of the package; `build` is not callable;
            `labels` is not a `TaskLabels`. The task itself is checked when a detector is built.

    Example:
        >>> import object_detection_mtl as odm
        >>> from object_detection_mtl.mtl.foreground_task import ForegroundLabels, ForegroundTask
        >>> class Coarse(ForegroundTask):
        ...     def tf1_variables(self):
        ...         return {"coarse/kernel": self.conv.kernel, "coarse/bias": self.conv.bias}
        >>> odm.register_task(
        ...     "coarse", lambda parts: Coarse(in_channels=parts.in_channels),
        ...     ForegroundLabels(mask_size=8))
        >>> detector = odm.build_detector(
        ...     "faster_rcnn_mobilenet_v1", num_classes=2, tasks=["coarse"])
        >>> detector.config.model.mtl.registered_tasks
        ['coarse']
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"task name {name!r}; expected letters, digits and underscores")
    if name in model_pb2.MTL.DESCRIPTOR.fields_by_name or name == "foreground":
        raise ValueError(f"task name {name!r} is taken by mtl {{}}; choose another name")
    task_checks.check_registration(name, build, labels)
    REGISTERED_TASKS[name] = TaskEntry(
        functools.partial(_build_registered, name, build, labels), lambda config: labels, name
    )


def _build_registered(
    name: str, build: Callable[[Parts], AuxiliaryTask], labels: TaskLabels, parts: Parts
) -> AuxiliaryTask:
    task = build(parts)
    task_checks.check_task(name, task, TaskLabelMaker((labels,), parts.num_classes).specs.keys())
    return task


def enabled_tasks(config: model_pb2.MTL) -> dict[str, TaskEntry]:
    """Return the entries of the tasks that `mtl {}` enables, by field or registered name.

    Raises:
        ValueError: a task is not registered, or listed twice.
    """
    enabled = {field: entry for field, entry in TASKS.items() if getattr(config, field)}
    for name in config.registered_tasks:
        if name not in REGISTERED_TASKS:
            known = ", ".join(REGISTERED_TASKS) or "none"
            raise ValueError(
                f"mtl: registered_tasks has {name!r}, which this process has not registered "
                f"(registered: {known}). Call register_task({name!r}, ...) first, in Python"
            )
        if name in enabled:
            raise ValueError(f"mtl: registered_tasks has {name!r} twice; list each task once")
        enabled[name] = REGISTERED_TASKS[name]
    return enabled


def build(
    config: model_pb2.MTL, region_heads: RegionHeads, in_channels: int
) -> tuple[tuple[AuxiliaryTask, ...], Refiner | None]:
    """Return the tasks that `mtl {}` enables, and the refiner or None.

    Args:
        config: `mtl {}`; an empty one gives a baseline.
        region_heads: builds heads like that of the detector's second stage.
        in_channels: number of channels of the shared feature map.

    Raises:
        ValueError: an unknown `shared_feature`, a number out of range, an error of the predictors,
            or a registered task that breaks the interface.
    """
    _check(config)
    parts = Parts(config, region_heads, in_channels)
    tasks = tuple(entry.build(parts) for entry in enabled_tasks(config).values())
    task_checks.check_together(tasks)
    if not config.refine:
        return tasks, None
    return tasks, Refiner(
        num_classes=parts.num_classes,
        auxiliary_width=sum(task.auxiliary_width for task in tasks),
        num_hidden_layers=config.refine_num_fc_layers,
        hyperparams=hyperparams_builder.build(config.refiner_fc_hyperparams),
        keep_probability=config.refine_dropout_rate,
        residue=config.refine_residue,
        stop_gradient_of_residue=config.stop_gradient_for_prediction_org,
        top_k=config.refine_top_k,
        standardize_inputs=config.refine_standardize_inputs,
        main_logits_dropout=config.refine_main_logits_dropout,
        learning_rate_multiplier=config.refine_learning_rate_multiplier,
        loss_weight=config.refined_classification_loss_weight,
    )


def build_loss_balance(
    config: model_pb2.MTL, tasks: Iterable[AuxiliaryTask], refiner: Refiner | None
) -> UncertaintyBalance | None:
    """Return the trained weights of the auxiliary losses; None for fixed weights.

    Args:
        config: `mtl {}`.
        tasks: tasks of the detector.
        refiner: its refiner, if it has one.
    """
    weights = {key: weight for task in tasks for key, weight in task.loss_weights.items()}
    if refiner is not None:
        weights |= refiner.loss_weights
    if config.loss_balance == model_pb2.MTL.FIXED or not weights:
        return None
    return UncertaintyBalance(weights)


def fresh_scopes(config: model_pb2.MTL) -> tuple[str, ...]:
    """Return the scopes of heads whose stage-2 blocks are not loaded from ImageNet checkpoints."""
    if config.share_second_stage_init:
        return ()
    return tuple(f"{entry.scope}/" for entry in TASKS.values() if entry.has_region_head)


def restored_scopes(config: train_pb2.TrainConfig) -> tuple[str, ...]:
    """Return the scopes of the tasks that are loaded from a detection checkpoint."""
    return tuple(
        f"{entry.scope}/"
        for entry in (*TASKS.values(), *REGISTERED_TASKS.values())
        if entry.restore_field is None or getattr(config, entry.restore_field)
    )


def _check(config: model_pb2.MTL) -> None:
    if config.shared_feature not in (OWN_STAGE2, SHARED_STAGE2):
        raise ValueError(
            f'mtl: shared_feature is "{config.shared_feature}"; '
            f'expected "{OWN_STAGE2}" or "{SHARED_STAGE2}"'
        )
    for field in ("refine_num_fc_layers", "refine_chunk_size", "refine_top_k"):
        if getattr(config, field) < 0:
            raise ValueError(f"mtl: {field} is {getattr(config, field)}; expected 0 or more")
    if config.refine_learning_rate_multiplier <= 0.0:
        raise ValueError(
            f"mtl: refine_learning_rate_multiplier is {config.refine_learning_rate_multiplier}; "
            "expected more than 0"
        )
    if not 0.0 <= config.refine_main_logits_dropout < 1.0:
        raise ValueError(
            f"mtl: refine_main_logits_dropout is {config.refine_main_logits_dropout}; it is the "
            "probability to DROP the main logits, so expected at least 0 and less than 1"
        )
    if not 0.0 < config.refine_dropout_rate <= 1.0:
        raise ValueError(
            f"mtl: refine_dropout_rate is {config.refine_dropout_rate}; it is the probability to "
            "KEEP a value, so expected more than 0 and at most 1"
        )
