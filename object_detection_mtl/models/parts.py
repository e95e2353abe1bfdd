"""What a two-stage detector is made of.

Shape letters: B batch, H W pictures, h w resized and padded inputs, K classes without background.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.backbones.common import Backbone
from object_detection_mtl.models import box_classifier, hard_examples, rpn
from object_detection_mtl.models.postprocess import DetectionSelection, ProposalSelection
from object_detection_mtl.mtl.auxiliary_task import AuxiliaryTask
from object_detection_mtl.mtl.refinement import Refiner

ImageResizer = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class DetectorParts(keras.layers.Layer):
    """Backbone, region proposals, second stage, auxiliary tasks, refinement: all finished.

    A `keras.layers.Layer` rather than a `keras.Model`: `predict` and `loss` mean the detector's.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        image_resizer: ImageResizer,
        backbone: Backbone,
        region_proposals: rpn.RegionProposalNetwork,
        second_stage: Any,
        proposal_selection: ProposalSelection,
        proposal_sampling: box_classifier.ProposalSampling,
        detection_selection: DetectionSelection,
        classification_loss: box_classifier.ClassificationLoss,
        loss_weights: Mapping[str, float],
        is_training: bool,
        aux_tasks: Sequence[AuxiliaryTask] = (),
        refiner: Refiner | None = None,
        hard_example_miner: hard_examples.HardExampleMiner | None = None,
        cut_anchors: bool = False,
        name: str = "detector",
    ) -> None:
        """Args:
        num_classes: K.
        image_resizer: pictures [B, H, W, 3] -> inputs [B, h, w, 3] and true shapes [B, 3].
        backbone, region_proposals: the network's first stage.
        second_stage: `CropSecondStage` or `MapSecondStage`; with None the proposals are the
            detections.
        proposal_selection, proposal_sampling, detection_selection: how boxes are chosen after
            the first stage, for training, and after the second stage.
        classification_loss: of the second stage.
        loss_weights: loss name -> weight; tasks and refiner bring their own.
        is_training: sample proposals and leave out anchors that cross the image's border.
        aux_tasks: a baseline has none.
        refiner: replaces the class logits by those it makes of them and of the tasks' evidence.
        hard_example_miner: chooses the proposals to train on, instead of `proposal_sampling`.
        cut_anchors: in training, end anchors at the image's border instead of leaving out those
            that cross it.
        """
        super().__init__(name=name)
        self.num_classes = num_classes
        self.image_resizer = image_resizer
        self.backbone = backbone
        self.feature_extractor = backbone.stage1
        self.region_proposals = region_proposals
        self.second_stage = second_stage
        self.proposal_selection = proposal_selection
        self.proposal_sampling = proposal_sampling
        self.detection_selection = detection_selection
        self.classification_loss = classification_loss
        self.is_training = is_training
        self.aux_tasks = tuple(aux_tasks)
        self.refiner = refiner
        self.hard_example_miner = hard_example_miner
        self.cut_anchors = cut_anchors
        self.loss_weights = dict(loss_weights)
        for part in self.auxiliary_parts:
            self.loss_weights |= part.loss_weights
        self.built = True

    @property
    def auxiliary_parts(self) -> tuple[keras.layers.Layer, ...]:
        """What a baseline does not have: the tasks, then the refiner."""
        return self.aux_tasks if self.refiner is None else (*self.aux_tasks, self.refiner)

    @property
    def samples_proposals(self) -> bool:
        """Whether the second stage trains on a random sample, not on hard examples."""
        return self.is_training and self.hard_example_miner is None

    def regularization_loss(self) -> tf.Tensor:
        """Sum of the regularisers of all variables, frozen ones too, as TF1 counts them."""
        terms = [
            variable.regularizer(variable)
            for variable in self.variables
            if getattr(variable, "regularizer", None) is not None
        ]
        return tf.add_n(terms) if terms else tf.zeros([])
