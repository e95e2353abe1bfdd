"""Keys of the OD API's dictionaries."""

from __future__ import annotations

from object_detection_mtl.fields import Detections, TfExample
from object_detection_mtl.odapi import missing_names

__getattr__ = missing_names.module_getattr(__name__)


class InputDataFields:
    """Keys of examples and of ground truth."""

    image = "image"
    original_image = "original_image"
    original_image_spatial_shape = "original_image_spatial_shape"
    true_image_shape = "true_image_shape"
    key = "key"
    source_id = "source_id"
    filename = "filename"
    groundtruth_boxes = "groundtruth_boxes"
    groundtruth_classes = "groundtruth_classes"
    groundtruth_label_types = "groundtruth_label_types"
    groundtruth_image_classes = "groundtruth_image_classes"
    groundtruth_confidences = "groundtruth_confidences"
    groundtruth_weights = "groundtruth_weights"
    groundtruth_area = "groundtruth_area"
    groundtruth_is_crowd = "groundtruth_is_crowd"
    groundtruth_difficult = "groundtruth_difficult"
    groundtruth_group_of = "groundtruth_group_of"
    groundtruth_instance_masks = "groundtruth_instance_masks"
    groundtruth_keypoints = "groundtruth_keypoints"
    num_groundtruth_boxes = "num_groundtruth_boxes"
    multiclass_scores = "multiclass_scores"


class DetectionResultFields:
    """Keys of detections."""

    source_id = "source_id"
    key = "key"
    detection_boxes = Detections.boxes
    detection_scores = Detections.scores
    detection_classes = Detections.classes
    detection_multiclass_scores = Detections.multiclass_scores
    detection_anchor_indices = Detections.anchor_indices
    detection_masks = "detection_masks"
    detection_keypoints = "detection_keypoints"
    detection_keypoint_scores = "detection_keypoint_scores"
    num_detections = Detections.num_detections
    raw_detection_boxes = Detections.raw_boxes
    raw_detection_scores = Detections.raw_scores


class BoxListFields:
    """Names of the fields of a box list."""

    boxes = "boxes"
    classes = "classes"
    scores = "scores"
    weights = "weights"
    masks = "masks"
    keypoints = "keypoints"
    is_crowd = "is_crowd"
    group_of = "group_of"


class TfExampleFields:
    """Features of records."""

    image_encoded = TfExample.encoded
    image_format = TfExample.format
    filename = TfExample.filename
    source_id = TfExample.source_id
    height = TfExample.height
    width = TfExample.width
    object_bbox_ymin = TfExample.ymin
    object_bbox_xmin = TfExample.xmin
    object_bbox_ymax = TfExample.ymax
    object_bbox_xmax = TfExample.xmax
    object_class_text = TfExample.class_text
    object_class_label = TfExample.class_label
    object_segment_area = TfExample.area
    object_is_crowd = TfExample.is_crowd
    object_difficult = TfExample.difficult
    object_group_of = TfExample.group_of
    detection_class_label = TfExample.detection_label
    detection_bbox_ymin = TfExample.detection_ymin
    detection_bbox_xmin = TfExample.detection_xmin
    detection_bbox_ymax = TfExample.detection_ymax
    detection_bbox_xmax = TfExample.detection_xmax
    detection_score = TfExample.detection_score
