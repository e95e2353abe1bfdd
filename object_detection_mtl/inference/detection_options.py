"""Options of a detection run: output, batch size, reader threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from object_detection_mtl.inference.sources.image_source import ReadingOptions

DRAWINGS_DIRECTORY = "drawn_images"
JSON, TFRECORD, BOTH = OUTPUT_FORMATS = ("json", "tfrecord", "both")


@dataclass(frozen=True)
class DetectionOptions:
    """Options of a detection run.

    Attributes:
        output_dir: Output directory; created if it does not exist.
        class_names: Class number -> name.
        min_score: Score from which detections are drawn; the JSON has all of them.
        max_detections: Maximum number of detections of an image, drawn and written, the best first.
        save_images: Draw the detections.
        apply_exif_orientation: See `image_files.decode_image`.
        model_version: Fingerprint of the model. An interrupted run is resumed only with the same.
        output_format: Detection files, one of OUTPUT_FORMATS.
        discard_image_pixels: Drop the encoded images from the TFRecord.
        batch_size: Maximum number of images in a batch.
        num_readers: Number of threads that decode images; 0 for one per CPU, at most 8.
        image_ids: File name -> image id of the dataset for the JSON; None numbers the images.
    """

    output_dir: Path
    class_names: Mapping[int, str] = field(default_factory=dict)
    min_score: float = 0.5
    max_detections: int = 100
    save_images: bool = True
    apply_exif_orientation: bool = True
    model_version: str = ""
    output_format: str = JSON
    discard_image_pixels: bool = False
    batch_size: int = 1
    num_readers: int = 0
    image_ids: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_score <= 1.0:
            raise ValueError(f"min_score is {self.min_score}, expected 0 to 1")
        if self.max_detections < 1:
            raise ValueError(f"max_detections is {self.max_detections}, expected at least 1")
        if self.output_format not in OUTPUT_FORMATS:
            raise ValueError(
                f"output_format is {self.output_format!r}, expected one of "
                f"{', '.join(OUTPUT_FORMATS)}"
            )
        if self.discard_image_pixels and not self.writes_record:
            raise ValueError(
                "discard_image_pixels is for the TFRecord, and output_format is "
                f"{self.output_format!r}, which holds no images; drop the option or choose another "
                "output_format"
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, expected at least 1")
        if self.num_readers < 0:
            raise ValueError(f"num_readers is {self.num_readers}, expected at least 0")

    @property
    def writes_json(self) -> bool:
        """Return whether detections.json is written."""
        return self.output_format in (JSON, BOTH)

    @property
    def writes_record(self) -> bool:
        """Return whether detections.record is written."""
        return self.output_format in (TFRECORD, BOTH)

    @property
    def reading(self) -> ReadingOptions:
        """Return how images are read."""
        return ReadingOptions(
            apply_exif_orientation=self.apply_exif_orientation,
            with_example=self.writes_record,
            with_encoded=not self.discard_image_pixels,
        )

    @property
    def drawings_dir(self) -> Path:
        """Return the directory of the images with drawn detections."""
        return self.output_dir / DRAWINGS_DIRECTORY
