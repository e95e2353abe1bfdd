"""Every kind of checkpoint that can be read, in the order in which they are recognised."""

from __future__ import annotations

from object_detection_mtl.checkpoints import native, odapi_tf2, slim, tf1_detection
from object_detection_mtl.checkpoints.files import CheckpointFile
from object_detection_mtl.checkpoints.plan import Source
from object_detection_mtl.checkpoints.report import some

SOURCES: tuple[Source, ...] = (
    native.SOURCE,
    odapi_tf2.DETECTOR,
    odapi_tf2.BACKBONE,
    tf1_detection.SOURCE,
    slim.SOURCE,
)


def source_of(checkpoint: CheckpointFile) -> Source:
    """The kind of a checkpoint.

    Raises:
        ValueError: none that is known; the message says what is in it.
    """
    for source in SOURCES:
        if source.recognises(checkpoint):
            return source
    kind = "object-based" if checkpoint.is_object_based else "name-based"
    raise ValueError(
        f"checkpoint {checkpoint.prefix!r} ({kind}, variables such as "
        f"{some(sorted(checkpoint.shapes))}) is of no known kind: "
        f"{'; '.join(source.title for source in SOURCES)}"
    )
