"""Two-stage detector: forward pass, losses, post-processing.

Shape letters: B batch, H W images, h w resized and padded inputs, A anchors, P proposals,
G padded ground-truth boxes, K classes without background, D detections.

Boxes of arguments and results are normalized to the TRUE image; anchors and proposals inside are in
absolute pixels of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.backbones.backbone import Backbone
from object_detection_mtl.checkpoints.object_graph import CheckpointableDetector
from object_detection_mtl.data import image_resizing
from object_detection_mtl.fields import Losses, Predictions
from object_detection_mtl.models import (
    auxiliary_stage,
    box_classifier,
    coordinate_frames,
    proposals,
    rpn,
)
from object_detection_mtl.models.postprocess import (
    DetectionSelection,
    proposals_as_detections,
    select_detections,
)
from object_detection_mtl.mtl.auxiliary_task import AuxiliaryTask, Comparison
from object_detection_mtl.mtl.loss_balance import UncertaintyBalance
from object_detection_mtl.mtl.refinement import Refiner
from object_detection_mtl.ops import boxes as box_ops
from object_detection_mtl.ops import losses as loss_ops
from object_detection_mtl.ops import sampler
from object_detection_mtl.ops.targets import Targets

Tensors = dict[str, tf.Tensor]
ImageResizer = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class TwoStageDetector(CheckpointableDetector, keras.layers.Layer):
    """Backbone, region proposals, second stage, auxiliary tasks and refinement.

    A `keras.layers.Layer` rather than a `keras.Model`: `predict` and `loss` are the detector's own.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: Backbone,
        second_stage: Any,
        region_proposals: rpn.RegionProposalNetwork | None = None,
        image_resizer: ImageResizer = image_resizing.short_side_600,
        proposal_selection: proposals.ProposalSelection | None = None,
        proposal_sampling: proposals.ProposalSampling | None = None,
        detection_selection: DetectionSelection | None = None,
        classification_loss: box_classifier.ClassificationLoss = loss_ops.softmax_cross_entropy,
        loss_weights: Mapping[str, float] = box_classifier.LOSS_WEIGHTS,
        is_training: bool = False,
        aux_tasks: Sequence[AuxiliaryTask] = (),
        refiner: Refiner | None = None,
        loss_balance: UncertaintyBalance | None = None,
        hard_example_miner: box_classifier.HardExampleMiner | None = None,
        clip_anchors: bool = False,
        name: str = "detector",
    ) -> None:
        """Make the detector.

        Args:
            num_classes: K.
            backbone: stage 1, copies of stage 2 and the normalization of images.
            second_stage: `CropSecondStage` or `MapSecondStage`; with None the proposals are the
                detections.
            region_proposals: the rest of the first stage; by default with the usual 12 anchors.
            image_resizer: images [B, H, W, 3] -> inputs [B, h, w, 3] and true shapes [B, 3].
            proposal_selection: suppression after the first stage.
            proposal_sampling: sample of the proposals that the second stage trains on.
            detection_selection: suppression after the second stage.
            classification_loss: loss function of the second stage.
            loss_weights: loss name -> weight, by default those of the sample configs; tasks and
                refiner bring their own.
            is_training: default of the argument `training` of `predict` and `loss`. In training,
                proposals are sampled and anchors that cross the image's border are dropped.
            aux_tasks: a baseline has none.
            refiner: makes new class logits from the second stage's and the auxiliary logits.
            loss_balance: trained weights of the auxiliary losses; None for those of the config.
            hard_example_miner: chooses the proposals to train on, instead of `proposal_sampling`.
            clip_anchors: in training, clip anchors to the image instead of dropping those that
                cross its border.
            name: name of the layer.
        """
        super().__init__(name=name)
        self.num_classes = num_classes
        self.image_resizer = image_resizer
        self.backbone = backbone
        self.feature_extractor = backbone.stage1
        self.region_proposals = region_proposals or rpn.RegionProposalNetwork(
            in_channels=backbone.stage1.output_shape[-1]
        )
        self.second_stage = second_stage
        self.proposal_selection = proposal_selection or proposals.ProposalSelection()
        self.proposal_sampling = proposal_sampling or proposals.ProposalSampling()
        self.detection_selection = detection_selection or DetectionSelection()
        self.classification_loss = classification_loss
        self.is_training = is_training
        self.aux_tasks = tuple(aux_tasks)
        self.refiner = refiner
        self.loss_balance = loss_balance
        self.hard_example_miner = hard_example_miner
        self.clip_anchors = clip_anchors
        self.loss_weights = dict(loss_weights)
        for part in self.auxiliary_parts:
            self.loss_weights |= part.loss_weights
        self.built = True

    @property
    def auxiliary_parts(self) -> tuple[keras.layers.Layer, ...]:
        """The auxiliary tasks, then the refiner; a baseline has none."""
        return self.aux_tasks if self.refiner is None else (*self.aux_tasks, self.refiner)

    def _is_training(self, training: bool | None) -> bool:
        return self.is_training if training is None else training

    def regularization_loss(self) -> tf.Tensor:
        """Return the sum of all regularizers, those of frozen variables too (as TF1 does)."""
        terms = [
            variable.regularizer(variable)
            for variable in self.variables
            if getattr(variable, "regularizer", None) is not None
        ]
        return tf.add_n(terms) if terms else tf.zeros([])

    # Images to inputs ---------------------------------------------------------------------

    def preprocess(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Resize and normalize images of one size.

        Args:
            images: [B, H, W, 3] uint8 or float in 0..255.

        Returns:
            inputs [B, h, w, 3] float32 and true_image_shapes [B, 3] int32: (height, width, 3) of
            the part that is not padding.
        """
        resized, true_image_shapes = self.image_resizer(tf.cast(images, tf.float32))
        return self.normalize(resized), true_image_shapes

    def normalize(self, resized: tf.Tensor) -> tf.Tensor:
        """Return images in 0..255 in the range that the backbone was trained on."""
        return self.backbone.normalize(tf.cast(resized, tf.float32))

    # Inputs to predictions ------------------------------------------------------------------

    def predict(
        self,
        inputs: tf.Tensor,
        true_image_shapes: tf.Tensor,
        groundtruth: Mapping[str, tf.Tensor] | None = None,
        seed: sampler.Seed | None = None,
        *,
        training: bool | None = None,
    ) -> Tensors:
        """Return the raw outputs of both stages (the keys of `fields.Predictions`).

        Args:
            inputs: [B, h, w, 3] from `preprocess`, zero padded to one size.
            true_image_shapes: [B, 3] int32.
            groundtruth: padded ground truth (`fields.Groundtruth`), needed in training.
            seed: int32 [2] of this step's random samples, or a `sampler.BatchSeed`; (0, 0) when
                None.
            training: whether the predictions are for a training step; None for `is_training`.
        """
        training = self._is_training(training)
        predictions = self.propose(inputs, true_image_shapes, groundtruth, seed, training=training)
        if self.second_stage is None:
            return predictions
        return predictions | self.classify(predictions, groundtruth, training=training)

    def propose(
        self,
        inputs: tf.Tensor,
        true_image_shapes: tf.Tensor,
        groundtruth: Mapping[str, tf.Tensor] | None = None,
        seed: sampler.Seed | None = None,
        *,
        training: bool | None = None,
    ) -> Tensors:
        """Return the outputs of the first stage; see `predict` for the arguments."""
        training = self._is_training(training)
        features = tf.cast(self.feature_extractor(inputs, training=training), tf.float32)
        predictions = {
            Predictions.preprocessed_inputs: inputs,
            Predictions.image_shape: tf.shape(inputs),
            Predictions.true_image_shapes: true_image_shapes,
            Predictions.rpn_features_to_crop: features,
            **self.region_proposals(features),
        }
        windows = coordinate_frames.image_windows(true_image_shapes)
        offset = self.region_proposals.anchor_generator.offset
        if training:
            if groundtruth is None:
                raise ValueError("training needs `groundtruth`; training=False detects without")
            anchors, usable, extra = proposals.select_training_anchors(
                predictions, windows, clip=self.clip_anchors, offset=offset
            )
            if self.second_stage is None:
                return predictions | extra
        else:
            anchors, usable, extra = proposals.select_inference_anchors(
                predictions, windows, offset=offset
            )
        predictions |= extra
        predictions |= proposals.propose(
            predictions, anchors, usable, windows, self.proposal_selection
        )
        if training and groundtruth is not None and self.hard_example_miner is None:
            predictions |= proposals.sample_proposals(
                predictions,
                box_classifier.absolute_groundtruth(
                    groundtruth, true_image_shapes, self.num_classes
                ),
                self.proposal_sampling,
                sampler.seed_stream(seed, sampler.PROPOSAL_STREAM),
            )
        predictions[Predictions.proposal_boxes_normalized] = box_ops.change_coordinate_frame(
            predictions[Predictions.proposal_boxes], windows
        )
        return predictions

    def classify(
        self,
        predictions: Tensors,
        groundtruth: Mapping[str, tf.Tensor] | None = None,
        *,
        training: bool | None = None,
    ) -> Tensors:
        """Return the outputs of second stage, auxiliary tasks and refinement.

        Args:
            predictions: predictions of the first stage.
            groundtruth: padded ground truth; only the windows are read.
            training: see `predict`.
        """
        training = self._is_training(training)
        features = predictions[Predictions.rpn_features_to_crop]
        image_shape = predictions[Predictions.image_shape]
        regions = self.second_stage.read(
            features,
            coordinate_frames.absolute_to_map(predictions[Predictions.proposal_boxes], image_shape),
            training=training,
        )
        outputs = self.second_stage.predict(regions, training=training)
        if not self.auxiliary_parts:
            return outputs
        return outputs | auxiliary_stage.predict(
            self.aux_tasks,
            self.refiner,
            {**predictions, **outputs},
            regions,
            groundtruth or {},
            training=training,
        )

    # Predictions to losses ------------------------------------------------------------------

    def loss(
        self,
        predictions: Tensors,
        groundtruth: Mapping[str, tf.Tensor],
        seed: sampler.Seed | None = None,
        *,
        training: bool | None = None,
    ) -> Tensors:
        """Return named, unweighted scalar losses; `loss_weights` has the weight of each.

        Args:
            predictions: result of `predict`, in training with the same `training`.
            groundtruth: the padded ground truth that `predict` was given.
            seed: that of `predict`.
            training: whether every auxiliary task must have its labels; otherwise tasks without
                labels have no loss. None for `is_training`.
        """
        true_image_shapes = predictions[Predictions.true_image_shapes]
        absolute = box_classifier.absolute_groundtruth(
            groundtruth, true_image_shapes, self.num_classes
        )
        losses = self.region_proposals.loss(
            predictions,
            absolute.boxes,
            absolute.num_boxes,
            absolute.weights,
            sampler.seed_stream(seed, sampler.ANCHOR_STREAM),
        )
        if self.second_stage is None:
            return losses
        return losses | self._second_stage_losses(
            predictions, groundtruth, self._is_training(training)
        )

    def _second_stage_losses(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor], training: bool
    ) -> Tensors:
        """Return the losses of second stage, auxiliary tasks and refinement."""
        count = predictions[Predictions.num_proposals]
        assigned = self.assign_groundtruth(predictions, groundtruth)
        encodings = predictions[Predictions.refined_box_encodings]
        logits = predictions[Predictions.class_predictions]
        trained = assigned
        if self.hard_example_miner is not None:
            trained = box_classifier.keep_hard_examples(
                assigned,
                encodings,
                logits,
                predictions[Predictions.proposal_boxes],
                count,
                classification_loss=self.classification_loss,
                miner=self.hard_example_miner,
            )
        losses = box_classifier.box_classifier_loss(
            encodings, logits, count, trained, classification_loss=self.classification_loss
        )
        losses |= auxiliary_stage.losses(
            self.aux_tasks, predictions, groundtruth, assigned, require_labels=training
        )
        if self.refiner is not None:
            losses[Losses.refined_classification] = box_classifier.class_loss(
                predictions[Predictions.refined_classes], count, trained, self.classification_loss
            )
        return losses

    def auxiliary_metrics(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> Tensors:
        """Return metrics of the tasks that have labels: name -> [2], a sum and its divisor."""
        if not self.aux_tasks:
            return {}
        assigned = self.assign_groundtruth(predictions, groundtruth)
        return auxiliary_stage.metrics(self.aux_tasks, predictions, groundtruth, assigned)

    def auxiliary_comparisons(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> dict[str, Comparison]:
        """Return figures of the tasks that have labels: caption -> predictions and labels."""
        if not self.aux_tasks:
            return {}
        assigned = self.assign_groundtruth(predictions, groundtruth)
        return auxiliary_stage.compare(self.aux_tasks, predictions, groundtruth, assigned)

    def assign_groundtruth(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> Targets:
        """Return the targets of the proposals; see `predict` and `loss` for the arguments."""
        absolute = box_classifier.absolute_groundtruth(
            groundtruth, predictions[Predictions.true_image_shapes], self.num_classes
        )
        return box_classifier.assign(
            predictions[Predictions.proposal_boxes],
            predictions[Predictions.num_proposals],
            absolute,
            self.proposal_sampling.matched_threshold,
        )

    # Predictions to detections --------------------------------------------------------------

    def postprocess(self, predictions: Tensors, true_image_shapes: tf.Tensor) -> Tensors:
        """Return detections (the keys of `fields.Detections`), normalized to the true image.

        Args:
            predictions: result of `predict`.
            true_image_shapes: [B, 3] int32.
        """
        windows = coordinate_frames.image_windows(true_image_shapes)
        if self.second_stage is None:
            return proposals_as_detections(predictions, windows)
        is_refined = self.refiner is not None
        scored = Predictions.refined_classes if is_refined else Predictions.class_predictions
        return select_detections(
            predictions[Predictions.refined_box_encodings],
            predictions[scored],
            predictions[Predictions.proposal_boxes],
            predictions[Predictions.num_proposals],
            windows,
            self.detection_selection,
        )
