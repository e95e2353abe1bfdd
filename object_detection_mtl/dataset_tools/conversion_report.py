"""Report of a conversion: counts, and the files of each issue."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from object_detection_mtl.dataset_tools.annotated_images import list_names

# Issues, in the words of the report.
MISSING = "images skipped, file not found"
UNREADABLE = "images skipped, unreadable"
CLIPPED = "boxes clipped to the image"
EMPTY = "boxes dropped, no area inside the image (empty, inverted or outside)"
DIFFICULT = "objects dropped as difficult"
REENCODED = "images of other formats stored as PNG"
RESIZED = "annotations made on a copy of another size, boxes scaled"
UPRIGHT = "images rotated upright by their EXIF orientation, as annotated"
CONTRADICTION = "annotations whose size contradicts the image, the size of the image was used"


@dataclasses.dataclass
class ConversionReport:
    """Counts of a conversion, and for each issue the files that have it.

    Attributes:
        images: number of images written.
        objects: number of objects written.
        images_without_objects: number of images written that have no object.
        issues: issue -> names of the files that have it.
    """

    images: int = 0
    objects: int = 0
    images_without_objects: int = 0
    issues: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def note(self, issue: str, name: str) -> None:
        """Add a file that has an issue."""
        self.issues.setdefault(issue, []).append(name)

    def add_image(self, num_objects: int) -> None:
        """Count an image that was written with this number of objects."""
        self.images += 1
        self.objects += num_objects
        self.images_without_objects += not num_objects

    def add(self, other: ConversionReport) -> None:
        """Add the counts and issues of another report."""
        self.images += other.images
        self.objects += other.objects
        self.images_without_objects += other.images_without_objects
        for issue, names in other.issues.items():
            self.issues.setdefault(issue, []).extend(names)

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        first = f"{self.images} images with {self.objects} objects written"
        if self.images_without_objects:
            first += f" ({self.images_without_objects} images without objects)"
        return [first] + [
            f"{issue}: {len(names)} ({list_names(_distinct(names))})"
            for issue, names in self.issues.items()
        ]


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
