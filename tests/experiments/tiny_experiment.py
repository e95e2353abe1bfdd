"""A VOC directory and overrides for experiments that train for a few steps."""

from __future__ import annotations

from pathlib import Path

from tests.dataset_tools import voc_files

RESIZER = "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer"
OVERRIDES = (
    f"{RESIZER}.min_dimension=64",
    f"{RESIZER}.max_dimension=64",
    "model.faster_rcnn.first_stage_max_proposals=8",
    "model.faster_rcnn.second_stage_batch_size=4",
    "model.faster_rcnn.feature_extractor.depth_multiplier=0.25",
    "model.mtl.num_windows=4",
)
FLAGS = tuple(f"--override={override}" for override in OVERRIDES)


def image_names(number: int) -> list[str]:
    return [f"image{index}" for index in range(number)]


def make_voc_directory(
    directory: Path, number: int, image_sets: dict[str, str] | None = None
) -> Path:
    """Return the directory with `number` images, each with an object of the classes a and b."""
    names = image_names(number)
    objects = voc_files.thing("b", 2, 4, 28, 30) + voc_files.thing("a", 5, 20, 25, 38)
    return voc_files.make_voc_directory(
        directory,
        {name: voc_files.annotation(f"{name}.jpg", objects) for name in names},
        {
            f"{name}.jpg": voc_files.encoded(voc_files.block_image(seed=index))
            for index, name in enumerate(names)
        },
        image_sets,
    )
