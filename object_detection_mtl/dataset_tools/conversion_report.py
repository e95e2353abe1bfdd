"""Report of a conversion: counts, and the files of each issue."""

from __future__ import annotations

import collections
import dataclasses
import unicodedata
from collections.abc import Iterable, Sequence

from object_detection_mtl.config.errors import quoted, shortened
from object_detection_mtl.dataset_tools.annotated_images import list_names

# Issues, in the words of the report.
MISSING = "images skipped, file not found"
UNREADABLE = "images skipped, unreadable"
CAMERA_FORMAT = "of these HEIC or AVIF; convert them to JPEG"
CLIPPED = "boxes clipped to the image"
EMPTY = "boxes dropped, no area inside the image (empty, inverted or outside)"
TINY = "boxes of one pixel or less, perhaps fractions of the image"
DIFFICULT = "objects dropped as difficult"
REENCODED = "images of other formats stored as PNG"
RESIZED = "annotations made on a copy of another size, boxes scaled"
UPRIGHT = "images turned upright by their EXIF orientation, as annotated"
NOT_UPRIGHT = "images kept as stored despite their EXIF orientation, as annotated"
CONTRADICTION = "annotations whose size contradicts the image, the size of the image was used"


@dataclasses.dataclass
class ConversionReport:
    """Counts of a conversion, and for each issue the files that have it.

    Attributes:
        images: number of images written.
        objects: number of objects written.
        images_without_objects: number of images written that have no object.
        classes: class name -> number of objects written.
        issues: issue -> names of the files that have it.
    """

    images: int = 0
    objects: int = 0
    images_without_objects: int = 0
    issues: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    classes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def note(self, issue: str, name: str) -> None:
        """Add a file that has an issue."""
        self.issues.setdefault(issue, []).append(name)

    def add_image(self, names: Sequence[str]) -> None:
        """Count an image that was written with objects of these classes."""
        self.images += 1
        self.objects += len(names)
        self.images_without_objects += not names
        self.classes.update(names)

    def add(self, other: ConversionReport) -> None:
        """Add the counts and issues of another report."""
        self.images += other.images
        self.objects += other.objects
        self.images_without_objects += other.images_without_objects
        self.classes.update(other.classes)
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

    def class_lines(self) -> list[str]:
        """Return lines on the classes: numbers of objects, and names that are nearly equal."""
        if not self.classes:
            return ["no image has a usable object: the record cannot train a detector"]
        counts = [f"{shortened(name, 80)} {self.classes[name]}" for name in sorted(self.classes)]
        lines = [f"objects of each class: {list_names(counts, 100)}"]
        for names in similar_names(self.classes):
            lines.append(
                "classes whose names differ only by case, spaces or invisible characters: "
                + ", ".join(quoted(name) for name in names)
            )
        return lines


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ only by case, spaces or invisible characters."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        folded = unicodedata.normalize("NFKC", name).casefold()
        visible = (
            letter
            for letter in folded
            if not letter.isspace() and unicodedata.category(letter) not in ("Cf", "Cc")
        )
        groups.setdefault("".join(visible), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
