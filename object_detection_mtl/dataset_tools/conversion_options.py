"""Options of the conversion of a dataset to records."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class AuxiliaryLabelOptions:
    """What stored auxiliary labels are made with.

    Attributes:
      num_classes: K, the highest number of the label map.
      num_windows: random windows of each picture.
      seed: of the windows. Those of a picture depend on it and on the picture's source_id alone.
    """

    num_classes: int
    num_windows: int = 64
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class ConversionOptions:
    """How pictures are converted.

    Attributes:
      verify_images: decode every picture, to find damage that headers do not show.
      auxiliary_labels: store windows, closeness and foreground mask; None: do not.
    """

    verify_images: bool = False
    auxiliary_labels: AuxiliaryLabelOptions | None = None
