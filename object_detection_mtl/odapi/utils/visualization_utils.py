"""Drawing of boxes, masks and keypoints on images.

Shape letters: H W an image, N boxes, M keypoints of an object, B images.

As in the OD API, functions with `image` draw on the array or Pillow image that they are given.
Frames and labels are those of `object_detection_mtl.visualization`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from object_detection_mtl.odapi import in_place_drawing, missing_names
from object_detection_mtl.visualization import drawing

__getattr__ = missing_names.module_getattr(__name__)

_NUM_COLORS = 126
_AGNOSTIC_COLOR = "darkorange"

# One color per class id, for Pillow and matplotlib.
STANDARD_COLORS = [
    "#{:02X}{:02X}{:02X}".format(*drawing.class_color(number)) for number in range(_NUM_COLORS)
]


def visualize_boxes_and_labels_on_image_array(
    image: np.ndarray,
    boxes: Any,
    classes: Any,
    scores: Any,
    category_index: Mapping[int, Mapping[str, Any]],
    instance_masks: Any = None,
    instance_boundaries: Any = None,
    keypoints: Any = None,
    keypoint_scores: Any = None,
    keypoint_edges: Any = None,
    track_ids: Any = None,
    use_normalized_coordinates: bool = False,
    max_boxes_to_draw: int | None = 20,
    min_score_thresh: float = 0.5,
    agnostic_mode: bool = False,
    line_thickness: int = 4,
    mask_alpha: float = 0.4,
    groundtruth_box_visualization_color: str = "black",
    skip_boxes: bool = False,
    skip_scores: bool = False,
    skip_labels: bool = False,
    skip_track_ids: bool = False,
) -> np.ndarray:
    """Draw detections on an image, with labels such as "car: 91%".

    Args:
        image: [H, W, 3] 0..255, changed in place.
        boxes: [N, 4].
        classes: [N] ids.
        scores: [N]; None draws ground truth, without labels and in one color.
        category_index: id -> category, from `label_map_util`.
        instance_masks: [N, H, W] of 0 and 1.
        instance_boundaries: [N, H, W] of 0 and 1.
        keypoints: [N, M, 2].
        keypoint_scores: [N, M]; keypoints below `min_score_thresh` are not drawn.
        keypoint_edges: pairs of keypoints to connect.
        track_ids: [N]; they determine the colors.
        use_normalized_coordinates: boxes and keypoints are normalized, not in pixels.
        max_boxes_to_draw: maximum number of boxes; None for all.
        min_score_thresh: boxes with this score or less are not drawn.
        agnostic_mode: show scores without class names.
        line_thickness: width of the frames in pixels.
        mask_alpha: opacity of masks.
        groundtruth_box_visualization_color: color of ground truth.
        skip_boxes: do not draw boxes and labels.
        skip_scores: do not show scores.
        skip_labels: do not show class names.
        skip_track_ids: do not show track ids.

    Returns:
        `image`.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    rows = np.arange(len(boxes))
    if scores is not None:
        scores = np.asarray(scores, np.float64).reshape(-1)
        rows = rows[scores > min_score_thresh]
    rows = rows[:max_boxes_to_draw]
    class_ids = None if classes is None else np.asarray(classes).astype(np.int64).reshape(-1)
    tracks = None if track_ids is None else np.asarray(track_ids).reshape(-1)
    if scores is None:
        colors = [in_place_drawing.rgb(groundtruth_box_visualization_color)] * len(rows)
    elif agnostic_mode:
        colors = [in_place_drawing.rgb(_AGNOSTIC_COLOR)] * len(rows)
    else:
        numbers = class_ids if tracks is None else tracks
        colors = [drawing.class_color(0 if numbers is None else numbers[row]) for row in rows]
    in_place_drawing.blend_masks(image, instance_masks, rows, colors, mask_alpha)
    in_place_drawing.blend_masks(
        image, instance_boundaries, rows, [in_place_drawing.rgb("red")] * len(rows), 1.0
    )
    if not skip_boxes:
        names = None if skip_labels or agnostic_mode else _names(class_ids, category_index)
        columns = [
            names,
            None if skip_scores or scores is None else [f"{round(100 * s)}%" for s in scores],
            None if skip_track_ids or tracks is None else [f"ID {track}" for track in tracks],
        ]
        shown = [column for column in columns if column is not None and scores is not None]
        in_place_drawing.draw_labeled_boxes(
            image,
            boxes[rows],
            colors,
            [": ".join(column[row] for column in shown) for row in rows],
            thickness=line_thickness,
            normalized=use_normalized_coordinates,
        )
    for row, color in zip(rows if keypoints is not None else (), colors, strict=False):
        in_place_drawing.draw_keypoints(
            image,
            np.asarray(keypoints[row]),
            None if keypoint_scores is None else np.asarray(keypoint_scores[row]),
            color,
            radius=max(1.0, line_thickness / 2),
            normalized=use_normalized_coordinates,
            min_score=min_score_thresh,
            edges=keypoint_edges,
        )
    return image


def _names(
    class_ids: np.ndarray | None, category_index: Mapping[int, Mapping[str, Any]]
) -> list[str] | None:
    """Return the class names; "N/A" for classes that the index lacks."""
    if class_ids is None:
        return None
    return [str(category_index.get(int(i), {}).get("name", "N/A")) for i in class_ids]


def draw_bounding_box_on_image_array(
    image: np.ndarray,
    ymin: float,
    xmin: float,
    ymax: float,
    xmax: float,
    color: str = "red",
    thickness: int = 4,
    display_str_list: Sequence[str] = (),
    use_normalized_coordinates: bool = True,
) -> None:
    """Draw one box, with an optional label, on an array."""
    in_place_drawing.draw_labeled_boxes(
        image,
        np.array([[ymin, xmin, ymax, xmax]], np.float64),
        [in_place_drawing.rgb(color)],
        [" ".join(display_str_list)],
        thickness=thickness,
        normalized=use_normalized_coordinates,
    )


def draw_bounding_box_on_image(
    image: Image.Image,
    ymin: float,
    xmin: float,
    ymax: float,
    xmax: float,
    color: str = "red",
    thickness: int = 4,
    display_str_list: Sequence[str] = (),
    use_normalized_coordinates: bool = True,
) -> None:
    """Draw one box, with an optional label, on a Pillow image."""
    array = np.array(image.convert("RGB"))
    draw_bounding_box_on_image_array(
        array,
        ymin,
        xmin,
        ymax,
        xmax,
        color,
        thickness,
        display_str_list,
        use_normalized_coordinates,
    )
    image.paste(Image.fromarray(array))


def draw_bounding_boxes_on_image_array(
    image: np.ndarray,
    boxes: Any,
    color: str = "red",
    thickness: int = 4,
    display_str_list_list: Sequence[Sequence[str]] = (),
) -> None:
    """Draw normalized boxes [N, 4], with optional labels, on an array."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    texts = [" ".join(texts) for texts in display_str_list_list] or [""] * len(boxes)
    in_place_drawing.draw_labeled_boxes(
        image,
        boxes,
        [in_place_drawing.rgb(color)] * len(boxes),
        texts,
        thickness=thickness,
        normalized=True,
    )


def draw_bounding_boxes_on_image_tensors(
    images: Any,
    boxes: Any,
    classes: Any,
    scores: Any,
    category_index: Mapping[int, Mapping[str, Any]],
    original_image_spatial_shape: Any = None,
    true_image_shape: Any = None,
    instance_masks: Any = None,
    keypoints: Any = None,
    keypoint_scores: Any = None,
    keypoint_edges: Any = None,
    track_ids: Any = None,
    max_boxes_to_draw: int = 20,
    min_score_thresh: float = 0.2,
    use_normalized_coordinates: bool = True,
) -> Any:
    """Draw detections on a batch of images, eagerly or in a graph.

    Args:
        images: [B, H, W, 3] uint8.
        boxes: [B, N, 4].
        classes: [B, N] ids.
        scores: [B, N].
        category_index: id -> category.
        original_image_spatial_shape: [B, 2]; the images are not resized, so it is ignored.
        true_image_shape: [B, 3]; boxes are relative to this part of each image.
        instance_masks: as `visualize_boxes_and_labels_on_image_array`, with a batch dimension.
        keypoints: as `instance_masks`.
        keypoint_scores: as `instance_masks`.
        keypoint_edges: pairs of keypoints to connect.
        track_ids: as `instance_masks`.
        max_boxes_to_draw: maximum number of boxes of an image.
        min_score_thresh: boxes with this score or less are not drawn.
        use_normalized_coordinates: boxes and keypoints are normalized.

    Returns:
        [B, H, W, 3] uint8.
    """
    import tensorflow as tf

    images = tf.convert_to_tensor(images)
    per_image = {
        "instance_masks": instance_masks,
        "keypoints": keypoints,
        "keypoint_scores": keypoint_scores,
        "track_ids": track_ids,
    }
    given = {name: value for name, value in per_image.items() if value is not None}
    shapes = tf.shape(images)[1:] if true_image_shape is None else true_image_shape
    shapes = tf.broadcast_to(tf.cast(shapes, tf.int32), [tf.shape(images)[0], 3])

    def draw(images: Any, shapes: Any, boxes: Any, classes: Any, scores: Any, *rest: Any) -> Any:
        drawn = np.array(images, np.uint8)
        for i, (height, width, _) in enumerate(shapes):
            visualize_boxes_and_labels_on_image_array(
                drawn[i, :height, :width],
                boxes[i],
                classes[i],
                scores[i],
                category_index,
                keypoint_edges=keypoint_edges,
                max_boxes_to_draw=max_boxes_to_draw,
                min_score_thresh=min_score_thresh,
                use_normalized_coordinates=use_normalized_coordinates,
                **{name: values[i] for name, values in zip(given, rest, strict=True)},
            )
        return drawn

    arguments = [images, shapes, boxes, classes, scores, *given.values()]
    drawn = tf.numpy_function(draw, arguments, tf.uint8)
    return tf.ensure_shape(drawn, images.shape)


def draw_mask_on_image_array(
    image: np.ndarray, mask: Any, color: str = "red", alpha: float = 0.4
) -> None:
    """Blend a mask [H, W] of 0 and 1 into an array."""
    in_place_drawing.blend_mask(image, np.asarray(mask), in_place_drawing.rgb(color), alpha)


def draw_keypoints_on_image_array(
    image: np.ndarray,
    keypoints: Any,
    keypoint_scores: Any = None,
    min_score_thresh: float = 0.5,
    color: str = "red",
    radius: float = 2,
    use_normalized_coordinates: bool = True,
    keypoint_edges: Sequence[tuple[int, int]] | None = None,
    keypoint_edge_color: str = "green",
    keypoint_edge_width: int = 2,
) -> None:
    """Draw the keypoints [M, 2] of one object on an array."""
    in_place_drawing.draw_keypoints(
        image,
        np.asarray(keypoints),
        None if keypoint_scores is None else np.asarray(keypoint_scores),
        in_place_drawing.rgb(color),
        radius=radius,
        normalized=use_normalized_coordinates,
        min_score=min_score_thresh,
        edges=keypoint_edges,
        edge_color=in_place_drawing.rgb(keypoint_edge_color),
        edge_width=keypoint_edge_width,
    )


def encode_image_array_as_png_str(image: np.ndarray) -> bytes:
    """Return an array as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(in_place_drawing.as_bytes(image)).save(buffer, "PNG")
    return buffer.getvalue()


def save_image_array_as_png(image: np.ndarray, output_path: str | os.PathLike[str]) -> None:
    """Write an array as a PNG file."""
    with open(output_path, "wb") as file:
        file.write(encode_image_array_as_png_str(image))
