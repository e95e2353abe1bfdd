"""What a run over pictures is to write, and how it works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from object_detection_mtl.inference.sources.image_source import Reading

PICTURES_FOLDER = "pictures"
JSON, TFRECORD, BOTH = OUTPUT_FORMATS = ("json", "tfrecord", "both")


@dataclass(frozen=True)
class Options:
    """What to write.

    Attributes:
        output_dir: created where it does not exist.
        names: class number -> name.
        min_score: detections below are not drawn; the JSON has them all the same.
        max_detections: of one picture, the best ones, drawn and in the JSON.
        save_images: draw.
        apply_exif_orientation: see `pictures.read`.
        model: what detects. An interrupted run goes on only with the same.
        output_format: what to write besides drawings, one of OUTPUT_FORMATS.
        discard_image_pixels: leave the pictures' bytes out of the TFRecord.
        batch_size: detect on up to so many pictures at once, where their sizes allow it.
        num_readers: threads that decode pictures; 0 for as many as there are processors.
    """

    output_dir: Path
    names: Mapping[int, str] = field(default_factory=dict)
    min_score: float = 0.5
    max_detections: int = 100
    save_images: bool = True
    apply_exif_orientation: bool = True
    model: str = ""
    output_format: str = JSON
    discard_image_pixels: bool = False
    batch_size: int = 1
    num_readers: int = 0

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
                "discard_image_pixels is for the TFRecord; JSON holds no pictures anyway, leave it "
                "out or choose another output_format"
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, expected at least 1")
        if self.num_readers < 0:
            raise ValueError(f"num_readers is {self.num_readers}, expected at least 0")

    @property
    def writes_json(self) -> bool:
        return self.output_format in (JSON, BOTH)

    @property
    def writes_record(self) -> bool:
        return self.output_format in (TFRECORD, BOTH)

    @property
    def reading(self) -> Reading:
        return Reading(
            apply_exif_orientation=self.apply_exif_orientation,
            with_example=self.writes_record,
            with_encoded=not self.discard_image_pixels,
        )

    @property
    def pictures_dir(self) -> Path:
        return self.output_dir / PICTURES_FOLDER
