"""Detections of one image, and their forms for other packages.

Shape letters: N detections, M selected detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from object_detection_mtl import optional_packages


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of one image, best first.

    Attributes:
        boxes: [N, 4] float32, (ymin, xmin, ymax, xmax) in pixels of the image.
        scores: [N] float32, 0 to 1.
        class_ids: [N] int64, the class numbers of the label map, from 1.
        class_names: N names, "class 3" for a class without a name.
        image_size: height and width of the image in pixels.
        path: file of the image, "" if it was given as an array.
        image: the image that `draw` uses: a path, a Pillow image or an array [H, W, 3] uint8.

    Raises:
        ValueError: the lengths or shapes do not fit together.

    Example:
        >>> import object_detection_mtl as odm
        >>> detections = odm.Detections(
        ...     boxes=[[10, 20, 50, 80]], scores=[0.9], class_ids=[1], class_names=["cat"],
        ...     image_size=(100, 200))
        >>> detections
        Detections(1 in 100x200: cat 0.90)
        >>> detections.boxes_xyxy.tolist()
        [[20.0, 10.0, 80.0, 50.0]]
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    class_names: Sequence[str]
    image_size: tuple[int, int]
    path: str = ""
    image: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        values: dict[str, Any] = {
            "boxes": np.asarray(self.boxes, np.float32).reshape(-1, 4),
            "scores": np.asarray(self.scores, np.float32).reshape(-1),
            "class_ids": np.asarray(self.class_ids, np.int64).reshape(-1),
            "class_names": tuple(self.class_names),
            "image_size": (int(self.image_size[0]), int(self.image_size[1])),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        for name in ("scores", "class_ids", "class_names"):
            if len(values[name]) != len(values["boxes"]):
                raise ValueError(
                    f"{name} has {len(values[name])} elements for {len(values['boxes'])} boxes; "
                    "give one for each box"
                )
        if min(values["image_size"]) < 1:
            raise ValueError(
                f"image_size is {self.image_size}; expected height and width in pixels"
            )

    def __len__(self) -> int:
        """Return N."""
        return len(self.scores)

    def __repr__(self) -> str:
        """Return the number of detections, the size of the image and the best detections."""
        best = [f"{self.class_names[row]} {self.scores[row]:.2f}" for row in range(len(self))[:3]]
        more = ", ..." if len(self) > 3 else ""
        listed = f": {', '.join(best)}{more}" if best else ""
        return f"Detections({len(self)} in {self.image_size[0]}x{self.image_size[1]}{listed})"

    def __getitem__(self, rows: Any) -> Detections:
        """Return some of the detections.

        Args:
            rows: a slice, a boolean mask [N] or row numbers [M]; a single number selects one row.
        """
        numbers = np.arange(len(self))[rows].reshape(-1)
        return Detections(
            boxes=self.boxes[numbers],
            scores=self.scores[numbers],
            class_ids=self.class_ids[numbers],
            class_names=[self.class_names[number] for number in numbers],
            image_size=self.image_size,
            path=self.path,
            image=self.image,
        )

    @property
    def boxes_normalized(self) -> np.ndarray:
        """Boxes [N, 4] float32, (ymin, xmin, ymax, xmax) as fractions of the image."""
        height, width = self.image_size
        return self.boxes / np.array([height, width, height, width], np.float32)

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """Boxes [N, 4] float32, (xmin, ymin, xmax, ymax) in pixels, as other packages have them."""
        return self.boxes[:, [1, 0, 3, 2]]

    def with_min_score(self, min_score: float) -> Detections:
        """Return the detections with at least this score."""
        return self[self.scores >= min_score]

    def draw(
        self, image: Any = None, *, min_score: float = 0.5, max_boxes: int | None = None
    ) -> Image.Image:
        """Return the image with drawn boxes, class names and scores.

        Args:
            image: path, Pillow image or array [H, W, 3] uint8 to draw on; None for the image that
                was detected on. A small image is enlarged, so that labels are legible.
            min_score: detections with a lower score are not drawn.
            max_boxes: maximum number of boxes; None for all.

        Raises:
            ValueError: there is no image, or it is not an RGB image.
            FileNotFoundError: the file of the image no longer exists.
        """
        from object_detection_mtl.api import image_inputs
        from object_detection_mtl.visualization import box_drawing

        image = self.image if image is None else image
        if image is None:
            raise ValueError("these detections have no image to draw on; give draw(image)")
        drawn = box_drawing.draw_boxes(
            image_inputs.read_single_image(image).pixels,
            self.boxes_normalized,
            self.class_ids,
            self.scores,
            names=dict(zip(self.class_ids.tolist(), self.class_names, strict=True)),
            min_score=min_score,
            max_boxes=max_boxes,
        )
        return Image.fromarray(drawn)

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO results: image_id, category_id, bbox (x, y, width, height in pixels), score.

        Args:
            image_id: number of the image in the COCO dataset.
        """
        from object_detection_mtl.inference.image_detections import ImageDetections
        from object_detection_mtl.inference.writers import coco_results

        found = ImageDetections(self.boxes_normalized, self.scores, self.class_ids)
        description = {"file_name": self.path}
        rows = coco_results.image_result(image_id, description, *self.image_size, found)
        for row in rows["detections"]:
            if not self.path:
                del row["file_name"]
        return rows["detections"]

    def to_torchvision(self) -> dict[str, np.ndarray]:
        """Return boxes [N, 4] (xmin, ymin, xmax, ymax in pixels), labels [N] and scores [N].

        The keys and meanings are those of torchvision's detectors. The values are arrays;
        `{key: torch.from_numpy(value) for key, value in ...}` makes tensors of them.
        """
        return {"boxes": self.boxes_xyxy, "labels": self.class_ids, "scores": self.scores}

    def to_supervision(self) -> Any:
        """Return a `supervision.Detections`, with the class names in its data.

        Raises:
            ValueError: the package supervision is not installed.
        """
        supervision = optional_packages.import_package(
            "supervision", "supervision", "to_supervision needs the package supervision"
        )
        return supervision.Detections(
            xyxy=self.boxes_xyxy,
            confidence=self.scores,
            class_id=self.class_ids,
            data={"class_name": np.array(self.class_names, dtype=str)},
        )

    def to_pandas(self) -> Any:
        """Return a data frame: ymin, xmin, ymax, xmax (pixels), score, class_id, class_name.

        Raises:
            ValueError: the package pandas is not installed.
        """
        pandas = optional_packages.import_package(
            "pandas", "pandas", "to_pandas needs the package pandas"
        )
        columns: Mapping[str, Any] = {
            **dict(zip(("ymin", "xmin", "ymax", "xmax"), self.boxes.T, strict=True)),
            "score": self.scores,
            "class_id": self.class_ids,
            "class_name": list(self.class_names),
        }
        return pandas.DataFrame(columns)
