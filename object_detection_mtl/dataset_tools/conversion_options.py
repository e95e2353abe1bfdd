"""Options of the conversion of a dataset to records."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class AuxiliaryLabelOptions:
    """Options of the auxiliary labels that are stored in records.

    Attributes:
        num_classes: K, the highest number of the label map.
        num_windows: random windows of each image.
        seed: seed of the windows. The windows of an image depend only on it and on the source_id
            of the image.
    """

    num_classes: int
    num_windows: int = 64
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class ConversionOptions:
    """Options of the conversion of images.

    Attributes:
        verify_images: decode every image, to find corrupt data that its header does not show.
        auxiliary_labels: options of windows, closeness labels and foreground mask; None: store no
            auxiliary labels.
    """

    verify_images: bool = True
    auxiliary_labels: AuxiliaryLabelOptions | None = None
