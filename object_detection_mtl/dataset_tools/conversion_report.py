"""What a conversion did: counts, and every kind of trouble said once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from object_detection_mtl.dataset_tools.annotated_images import some

MISSING = "pictures left out, no such file"
UNREADABLE = "pictures left out"
CLIPPED = "boxes clipped to the picture"
EMPTY = "boxes left out, nothing of them inside the picture (empty, inverted or outside)"
DIFFICULT = "objects left out as difficult"
REENCODED = "pictures of other formats stored as PNG"
RESIZED = "annotations made on a copy of another size, boxes scaled"
UPRIGHT = "pictures turned upright as their EXIF header and annotation say"
CONTRADICTION = "annotations whose size contradicts the picture, the picture's size was used"


@dataclasses.dataclass
class Summary:
    """Counts, and for each kind of trouble the files it was met in."""

    pictures: int = 0
    objects: int = 0
    pictures_without_objects: int = 0
    troubles: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def note(self, trouble: str, name: str) -> None:
        self.troubles.setdefault(trouble, []).append(name)

    def add_picture(self, num_objects: int) -> None:
        self.pictures += 1
        self.objects += num_objects
        self.pictures_without_objects += not num_objects

    def add(self, other: Summary) -> None:
        self.pictures += other.pictures
        self.objects += other.objects
        self.pictures_without_objects += other.pictures_without_objects
        for trouble, names in other.troubles.items():
            self.troubles.setdefault(trouble, []).extend(names)

    def lines(self) -> list[str]:
        """The report, one line per fact."""
        first = f"{self.pictures} pictures with {self.objects} objects written"
        if self.pictures_without_objects:
            first += f" ({self.pictures_without_objects} pictures without object)"
        return [first] + [
            f"{trouble}: {len(names)} ({some(_distinct(names))})"
            for trouble, names in self.troubles.items()
        ]


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
