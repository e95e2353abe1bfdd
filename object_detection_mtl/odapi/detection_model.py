"""Detector with the methods of the OD API's models.

Shape letters: B batch, H W images, h w resized inputs, N objects of an image, G padded objects,
K classes without background.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from object_detection_mtl.checkpoints import restore_plan
from object_detection_mtl.checkpoints.object_graph import ObjectGraph, object_graph
from object_detection_mtl.checkpoints.odapi_tf2 import STAGE1, STAGE2
from object_detection_mtl.evaluation.evaluation_step import anchors_of_images
from object_detection_mtl.fields import Groundtruth, Predictions
from object_detection_mtl.models.two_stage import TwoStageDetector
from object_detection_mtl.training import summary_names

_logger = logging.getLogger(__name__)

Tensors = dict[str, tf.Tensor]
# Seed of the random samples of `predict`, for `loss`.
SEED = "random_seed"
# Stage in the OD API's files -> in this package's.
_EXTRACTORS = {
    STAGE1.split("/")[1]: restore_plan.FIRST_STAGE.rstrip("/"),
    STAGE2.split("/")[1]: restore_plan.SECOND_STAGE.rstrip("/"),
}
_MAX_SEED = 2**31 - 1


class DetectionModel(tf.Module):
    """A `TwoStageDetector` behind the OD API's `DetectionModel`.

    Ground truth is stored by `provide_groundtruth`, losses are weighted and have the names of
    TensorBoard, and `tf.train.Checkpoint(model=model)` has the names of checkpoints.

    Attributes:
        detector: the detector.
    """

    detector: TwoStageDetector
    _groundtruth: Tensors | None

    def __init__(self, detector: TwoStageDetector) -> None:
        """Wrap a detector, all of whose variables exist."""
        super().__init__(name="detection_model")
        # Not by setattr: a tf.Module would track both under these names.
        self.__dict__["detector"] = detector
        self.__dict__["_groundtruth"] = None

    # Variables and checkpoints --------------------------------------------------------------

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        return dict(object_graph(self.detector).saved)

    def _lookup_dependency(self, name: str, cached_dependencies: Any = None) -> Any:
        if "detector" not in self.__dict__:  # The constructor of tf.Module asks.
            return None
        return object_graph(self.detector).find(name)

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """All variables."""
        return tuple(variable.value for variable in self.detector.variables)

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that are trained."""
        return tuple(variable.value for variable in self.detector.trainable_variables)

    @property
    def _feature_extractor_for_proposal_features(self) -> Any:
        return _FeatureExtractors(self.detector).part(STAGE1)

    @property
    def _feature_extractor_for_box_classifier_features(self) -> Any:
        return _FeatureExtractors(self.detector).part(STAGE2)

    def restore_from_objects(self, fine_tune_checkpoint_type: str = "detection") -> dict[str, Any]:
        """Return the objects for `tf.train.Checkpoint(**objects).restore(checkpoint)`.

        Args:
            fine_tune_checkpoint_type: `detection` for both feature extractors, `full` for all.

        Raises:
            ValueError: another type.
        """
        if fine_tune_checkpoint_type == restore_plan.DETECTION:
            return {"model": _FeatureExtractors(self.detector)}
        if fine_tune_checkpoint_type == restore_plan.FULL:
            return {"model": self}
        raise ValueError(
            f"fine_tune_checkpoint_type {fine_tune_checkpoint_type!r}: expected 'detection' or "
            "'full'. object_detection_mtl.checkpoints.restore loads classifiers"
        )

    # Prediction -----------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """K."""
        return self.detector.num_classes

    @property
    def is_training(self) -> bool:
        """Whether the model was built for training."""
        return self.detector.is_training

    def preprocess(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Resize and normalize images [B, H, W, 3] of values 0..255.

        Returns:
            inputs [B, h, w, 3] float32 and true image shapes [B, 3] int32.
        """
        return self.detector.preprocess(tf.convert_to_tensor(inputs))

    def predict(
        self, preprocessed_inputs: Any, true_image_shapes: Any, **side_inputs: Any
    ) -> Tensors:
        """Return the raw outputs of both stages.

        Args:
            preprocessed_inputs: [B, h, w, 3] from `preprocess`.
            true_image_shapes: [B, 3].
            **side_inputs: inputs of Context R-CNN, which are unsupported.

        Raises:
            RuntimeError: the model was built for training, and there is no ground truth.
            ValueError: side inputs are given.
        """
        if side_inputs:
            raise ValueError(
                f"side inputs are unsupported, got {', '.join(side_inputs)}; only Context R-CNN "
                "reads them"
            )
        if self.is_training and self._groundtruth is None:
            raise RuntimeError(
                "the model was built with is_training=True, so predict() needs ground truth; call "
                "provide_groundtruth() first, or build it with is_training=False"
            )
        inputs = tf.convert_to_tensor(preprocessed_inputs)
        shapes = tf.cast(true_image_shapes, tf.int32)
        seed = tf.random.uniform([2], maxval=_MAX_SEED, dtype=tf.int32)
        groundtruth = self._groundtruth if self.is_training else None
        predictions = self.detector.predict(inputs, shapes, groundtruth, seed=seed)
        return {**predictions, SEED: seed}

    def postprocess(self, prediction_dict: Mapping[str, Any], true_image_shapes: Any) -> Tensors:
        """Return detections with boxes normalized to the image and classes from 0."""
        shapes = tf.cast(true_image_shapes, tf.int32)
        return self.detector.postprocess(dict(prediction_dict), shapes)

    def __call__(self, inputs: Any) -> Tensors:
        """Return the detections of images [B, H, W, 3]."""
        preprocessed, shapes = self.preprocess(inputs)
        return self.postprocess(self.predict(preprocessed, shapes), shapes)

    # Training -------------------------------------------------------------------------------

    def provide_groundtruth(
        self,
        groundtruth_boxes_list: Sequence[Any],
        groundtruth_classes_list: Sequence[Any],
        groundtruth_masks_list: Any = None,
        groundtruth_weights_list: Sequence[Any] | None = None,
        groundtruth_is_crowd_list: Sequence[Any] | None = None,
        groundtruth_difficult_list: Sequence[Any] | None = None,
        groundtruth_group_of_list: Sequence[Any] | None = None,
        **ignored: Any,
    ) -> None:
        """Store the ground truth of a batch for `predict` and `loss`.

        Args:
            groundtruth_boxes_list: B times [N, 4], normalized to the image.
            groundtruth_classes_list: B times [N, K], one-hot, without background.
            groundtruth_masks_list: ignored.
            groundtruth_weights_list: B times [N]; None for all 1.
            groundtruth_is_crowd_list: B times [N]; None for all False.
            groundtruth_difficult_list: as `groundtruth_is_crowd_list`.
            groundtruth_group_of_list: as `groundtruth_is_crowd_list`.
            **ignored: labels of masks, keypoints, tracks and other models.
        """
        given = {"groundtruth_masks_list": groundtruth_masks_list, **ignored}
        names = [name for name, value in given.items() if value is not None]
        if names:
            _logger.warning("provide_groundtruth: ignored: %s", ", ".join(names))
        boxes = [tf.reshape(tf.cast(box, tf.float32), [-1, 4]) for box in groundtruth_boxes_list]
        counts = [tf.shape(box)[0] for box in boxes]
        size = tf.maximum(tf.reduce_max(tf.stack(counts)), 1)

        def padded(values: Sequence[Any] | None, dtype: tf.DType, default: Any) -> tf.Tensor:
            lists: Sequence[Any] = (
                [tf.fill([count], default) for count in counts] if values is None else values
            )
            rows = [tf.reshape(tf.cast(row, dtype), [-1]) for row in lists]
            return tf.stack([tf.pad(row, [[0, size - tf.shape(row)[0]]]) for row in rows])

        self.__dict__["_groundtruth"] = {
            Groundtruth.boxes: tf.stack(
                [
                    tf.pad(box, [[0, size - count], [0, 0]])
                    for box, count in zip(boxes, counts, strict=True)
                ]
            ),
            Groundtruth.classes: padded(
                [_class_numbers(one_hot, self.num_classes) for one_hot in groundtruth_classes_list],
                tf.int32,
                0,
            ),
            Groundtruth.num_boxes: tf.stack(counts),
            Groundtruth.weights: padded(groundtruth_weights_list, tf.float32, 1.0),
            Groundtruth.is_crowd: padded(groundtruth_is_crowd_list, tf.bool, False),
            Groundtruth.difficult: padded(groundtruth_difficult_list, tf.bool, False),
            Groundtruth.group_of: padded(groundtruth_group_of_list, tf.bool, False),
        }

    def loss(
        self, prediction_dict: Mapping[str, Any], true_image_shapes: Any, scope: Any = None
    ) -> Tensors:
        """Return the weighted losses: `Loss/RPNLoss/localization_loss` and so on.

        Args:
            prediction_dict: result of `predict`.
            true_image_shapes: [B, 3]; those of `predict` are used.
            scope: has no effect.

        Raises:
            RuntimeError: there is no ground truth.
        """
        if self._groundtruth is None:
            raise RuntimeError("loss() needs ground truth; call provide_groundtruth() first")
        predictions = dict(prediction_dict)
        if Predictions.anchors_inside not in predictions:
            predictions |= anchors_of_images(self.detector, predictions)
        terms = self.detector.loss(predictions, self._groundtruth, seed=predictions.get(SEED))
        return {
            summary_names.weighted(key): self.detector.loss_weights[key] * loss
            for key, loss in terms.items()
        }

    def regularization_losses(self) -> list[tf.Tensor]:
        """Return the regularization losses, already summed, in a list."""
        return [self.detector.regularization_loss()]

    def updates(self) -> list[Any]:
        """Return no updates: moving averages are updated by the forward pass."""
        return []

    # Parts that scripts call ------------------------------------------------------------------

    def _extract_proposal_features(self, preprocessed_inputs: Any) -> tuple[tf.Tensor, Tensors]:
        features = self.detector.feature_extractor(
            tf.convert_to_tensor(preprocessed_inputs), training=self.is_training
        )
        return features, {}

    def _extract_box_classifier_features(self, flattened_feature_maps: Any) -> tf.Tensor:
        stage2 = self.detector.second_stage.head.stage2
        return stage2(flattened_feature_maps, training=self.is_training)


def _class_numbers(one_hot: Any, num_classes: int) -> tf.Tensor:
    """Return classes 1..K of [N, K]; -1, which has no class loss, for rows of zeros."""
    one_hot = tf.reshape(tf.cast(one_hot, tf.float32), [-1, num_classes])
    numbers = tf.argmax(one_hot, axis=-1, output_type=tf.int32) + 1
    return tf.where(tf.reduce_any(one_hot > 0, axis=-1), numbers, -1)


class _FeatureExtractors(tf.Module):
    """Both feature extractors, under the names of this package's and of the OD API's files."""

    _graph: ObjectGraph

    def __init__(self, detector: TwoStageDetector) -> None:
        super().__init__()
        self.__dict__["_graph"] = object_graph(detector)

    def part(self, root: str) -> Any:
        """Return one of them by its root in the OD API's files, such as `STAGE1`."""
        name = root.split("/")[1]
        return self._graph.find(name) or self._graph.find(_EXTRACTORS[name])

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        names = [name for pair in _EXTRACTORS.items() for name in pair]
        return {name: self._graph.saved[name] for name in names if name in self._graph.saved}

    def _lookup_dependency(self, name: str, cached_dependencies: Any = None) -> Any:
        is_extractor = name in _EXTRACTORS or name in _EXTRACTORS.values()
        return self._graph.find(name) if is_extractor else None
