"""Names of dictionary keys and TFRecord features.

Shape letters: B batch, G padded ground-truth boxes, A anchors, P proposals, D detections,
K classes without background, H W an image, h w the resized image, C channels.
Boxes are [ymin, xmin, ymax, xmax] float32, normalized to the true (unpadded) image unless stated
otherwise.
"""


def values_of(keys: type) -> set[str]:
    """Return the keys that a class of this module lists."""
    return {value for name, value in vars(keys).items() if not name.startswith("_")}


class Batch:
    """Keys of one batch of the input pipeline."""

    inputs = "inputs"  # [B, h, w, 3] float32, resized and normalized by the model, zero padded
    true_image_shapes = "true_image_shapes"  # [B, 3] int32, (height, width, 3) before padding
    original_image_shapes = "original_image_shapes"  # [B, 3] int32, of the decoded image
    original_images = "original_images"  # [B, H, W, 3] uint8, if retained
    image_id = "image_id"  # [B] string
    example_number = "example_number"  # [B] int64, position in the run's order of examples
    issues = "example_issues"  # [B, 5] int64, counts by data/example_issues.py
    # [B, S] int64, 1 + number of each corrupt example skipped before this one; 0 = padding.
    skipped = "skipped_example_numbers"


class Groundtruth:
    """Keys of padded ground truth in the same flat batch dictionary."""

    boxes = "groundtruth_boxes"  # [B, G, 4] float32
    classes = "groundtruth_classes"  # [B, G] int32, 1..K, 0 = padding
    num_boxes = "num_groundtruth_boxes"  # [B] int32
    weights = "groundtruth_weights"  # [B, G] float32, 0 excludes the box from the losses
    is_crowd = "groundtruth_is_crowd"  # [B, G] bool
    difficult = "groundtruth_difficult"  # [B, G] bool
    group_of = "groundtruth_group_of"  # [B, G] bool
    # Evaluation only: classes that annotators looked for in the image, present or not; 0 = padding.
    image_classes = "groundtruth_image_classes"  # [B, V] int64
    area = "groundtruth_area"  # [B, G] float32, square pixels of the original image
    # Labels of the auxiliary tasks; W padded windows, S cells along a side of the mask.
    closeness = "groundtruth_closeness"  # [B, G, K+1] float32
    window_boxes = "window_boxes"  # [B, W, 4] float32
    num_windows = "num_window_boxes"  # [B] int32; if missing, all W
    window_classes = "window_classes"  # [B, W, K+1] float32
    edgemask = "groundtruth_edgemask_masks"  # [B, 2, S, S] float32: mask, weight
    # Added by the detector for the auxiliary tasks.
    proposal_matches = "proposal_matches"  # [B, P] int32, row of the object, negative: none
    proposal_weights = "proposal_weights"  # [B, P] float32, 0 without object


class Predictions:
    """Keys of `detector.predict`; the names of the OD API."""

    preprocessed_inputs = "preprocessed_inputs"  # [B, h, w, 3]
    image_shape = "image_shape"  # [4] int32, of the (padded) inputs
    true_image_shapes = "true_image_shapes"  # [B, 3] int32
    rpn_features_to_crop = "rpn_features_to_crop"  # [B, fh, fw, C]
    rpn_box_predictor_features = "rpn_box_predictor_features"  # [B, fh, fw, depth]
    rpn_box_encodings = "rpn_box_encodings"  # [B, A, 4]
    rpn_objectness = "rpn_objectness_predictions_with_background"  # [B, A, 2] logits
    anchors = "anchors"  # [A, 4] absolute pixels of the inputs; [B, A, 4] if clipped in training
    anchors_inside = "anchors_inside_image"  # [B, A] bool: trained on (training only)
    proposal_boxes = "proposal_boxes"  # [B, P, 4] absolute pixels of the inputs
    proposal_boxes_normalized = "proposal_boxes_normalized"  # [B, P, 4]
    proposal_scores = "proposal_scores"  # [B, P]
    num_proposals = "num_proposals"  # [B] int32
    refined_box_encodings = "refined_box_encodings"  # [B, P, K, 4] or [B, P, 1, 4] (shared)
    class_predictions = "class_predictions_with_background"  # [B, P, K+1] logits
    # Of the auxiliary tasks and the refinement; W windows, R refined proposals (at most P).
    windows = "window_class_predictions"  # [B, W, K+1] logits, if windows are given
    expanded_windows = "expand_window_class_predictions"  # [B, R, E, K+1] logits
    closeness = "closeness_predictions"  # [B, P, K+1] logits
    edgemask = "edgemask_predictions"  # [B, fh, fw, 2] logits
    refined_classes = "mtl_refined_class_predictions_with_background"  # [B, P, K+1] logits


class Losses:
    """Keys of `detector.loss`; the names of the OD API."""

    rpn_localization = "first_stage_localization_loss"
    rpn_objectness = "first_stage_objectness_loss"
    box_localization = "second_stage_localization_loss"
    box_classification = "second_stage_classification_loss"
    window = "window_class_loss"
    closeness = "closeness_classification_loss"
    edgemask = "edgemask_loss"
    refined_classification = "refined_classification_loss"


class Metrics:
    """Keys of the auxiliary tasks' metrics: the authors' names, and descriptive ones."""

    prefix = "mtl/"
    window_map = "mtl/window_map"
    window_kl = "mtl/window_kl"
    closeness_diff = "mtl/closeness_diff"
    closeness_accuracy = "mtl/closeness_accuracy"
    edgemask_ap = "mtl/edgemask_ap"
    foreground_iou = "mtl/foreground_iou"
    # Of a mask that is foreground everywhere, and nowhere, for comparison with the head.
    foreground_iou_of_all = "mtl/foreground_iou_of_all_foreground"
    foreground_iou_of_none = "mtl/foreground_iou_of_no_foreground"


class Detections:
    """Keys of `detector.postprocess` and of the exported signature."""

    boxes = "detection_boxes"  # [B, D, 4]
    scores = "detection_scores"  # [B, D] descending, zero padded
    classes = "detection_classes"  # [B, D] float32, 0-based (1-based in the exported model)
    num_detections = "num_detections"  # [B] float32
    multiclass_scores = "detection_multiclass_scores"  # [B, D, K+1]
    # Of a detector with refinement, in evaluation: the best class by the main class logits.
    main_scores = "main_detection_scores"  # [B, D]
    main_classes = "main_detection_classes"  # [B, D], 0-based
    anchor_indices = "detection_anchor_indices"  # [B, D] float32, row of the proposal
    raw_boxes = "raw_detection_boxes"  # [B, P, 4] before non-maximum suppression
    raw_scores = "raw_detection_scores"  # [B, P, K+1] before non-maximum suppression


# Outputs of every exported detector, in the order of `ImageDetections`.
SERVED_OUTPUTS = (
    Detections.boxes,
    Detections.scores,
    Detections.classes,
    Detections.num_detections,
)


class TfExample:
    """Feature keys of the OD API's TFRecords."""

    encoded = "image/encoded"
    format = "image/format"
    filename = "image/filename"
    source_id = "image/source_id"
    sha256 = "image/key/sha256"
    height = "image/height"
    width = "image/width"
    ymin = "image/object/bbox/ymin"
    xmin = "image/object/bbox/xmin"
    ymax = "image/object/bbox/ymax"
    xmax = "image/object/bbox/xmax"
    class_label = "image/object/class/label"
    class_text = "image/object/class/text"
    area = "image/object/area"
    is_crowd = "image/object/is_crowd"
    difficult = "image/object/difficult"
    truncated = "image/object/truncated"
    view = "image/object/view"
    group_of = "image/object/group_of"
    image_class_label = "image/class/label"
    weight = "image/object/weight"

    # Detections, as written by the OD API's infer_detections.
    detection_ymin = "image/detection/bbox/ymin"
    detection_xmin = "image/detection/bbox/xmin"
    detection_ymax = "image/detection/bbox/ymax"
    detection_xmax = "image/detection/bbox/xmax"
    detection_label = "image/detection/label"
    detection_score = "image/detection/score"

    # Auxiliary labels in records of the authors' layout.
    window_ymin = "image/window/bbox/ymin"
    window_xmin = "image/window/bbox/xmin"
    window_ymax = "image/window/bbox/ymax"
    window_xmax = "image/window/bbox/xmax"
    window_box = (window_ymin, window_xmin, window_ymax, window_xmax)
    window_labels = "image/window/labels/text"  # a text of K+1 numbers for each window
    closeness = "image/object/closeness/text"  # the same for each object
    edgemask = "image/edgemask/masks"  # mask, then weight, row by row
    edgemask_height = "image/edgemask/height"
    edgemask_width = "image/edgemask/width"


class ScoreSource:
    """Where the class scores of an evaluated detector come from; names in results and reports."""

    as_trained = "as trained"
    main_logits = "main logits"  # of a detector with refinement
    refitted = "refitted"  # its refiner to images of the training
    refitted_to_validation = "refitted to validation"  # to images that no weight was trained on
