"""Draw a small synthetic dataset in PASCAL VOC's format, for demonstrations and tests.

    create_synthetic_voc --output_dir=synthetic --num_train=200 --num_val=40

Six classes of objects are placed as in real scenes: cups on tables, balls near rackets, cars near
signs. Some images are empty, some are crowded. The same seed gives the same files (the same bytes
with the same version of Pillow), and image i does not depend on the number of images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from absl import flags
from PIL import Image
from tqdm import tqdm

from object_detection_mtl import output_paths
from object_detection_mtl.cli import command_line
from object_detection_mtl.dataset_tools import (
    dataset_label_map,
    synthetic_shapes,
    voc_annotations,
    voc_xml,
)

FLAGS = flags.FLAGS
CLASSES = tuple(synthetic_shapes.DRAWINGS)
LABELS = {name: number for number, name in enumerate(CLASSES, start=1)}

_NAME = "synthetic_"  # begins the name of every file
_OVERSAMPLING = 2  # images are drawn at twice the size and resized, for smooth edges
_DIFFICULT_BELOW = 0.6  # visible fraction of an object
_ATTEMPTS = 60


@dataclasses.dataclass(frozen=True)
class Scene:
    """A kind of scene.

    Attributes:
        main: class of the one large object, or None.
        companions: classes of the smaller objects, chosen at random.
        count: smallest and largest number of companions.
        on_top: companions are placed on the main object, not beside it.
        overlap: fraction of an object that another object may cover.
    """

    main: str | None = None
    companions: tuple[str, ...] = ()
    count: tuple[int, int] = (0, 0)
    on_top: bool = False
    overlap: float = 0.1


# Name -> probability and scene.
SCENES: dict[str, tuple[float, Scene]] = {
    "room": (0.26, Scene("table", ("cup",), (1, 2), on_top=True)),
    "court": (0.24, Scene("racket", ("ball",), (1, 2))),
    "street": (0.24, Scene("car", ("sign",), (1, 2))),
    "garden": (0.08, Scene("table", ("ball", "racket"), (1, 2))),
    "crowd": (0.10, Scene(None, CLASSES, (6, 9), overlap=0.5)),
    "empty": (0.08, Scene()),
}
# Sizes are fractions of the image's shorter side.
_MAIN_SIZE = (0.45, 0.62)
_COMPANION_SIZE = (0.24, 0.34)
_CROWD_SIZE = (0.18, 0.3)


@dataclasses.dataclass
class _PlacedObject:
    name: str
    image: Image.Image  # RGBA, oversampled
    left: int
    top: int

    @property
    def box(self) -> np.ndarray:
        """Box ymin, xmin, ymax, xmax in oversampled pixels, possibly outside the image."""
        return np.array(
            [self.top, self.left, self.top + self.image.height, self.left + self.image.width]
        )


def draw_image(
    index: int, seed: int = 0, height: int = 256, width: int = 320
) -> tuple[Image.Image, list[voc_xml.VocObject]]:
    """Draw one image of a dataset.

    Args:
        index: number of the image.
        seed: seed of the dataset.
        height: in pixels.
        width: in pixels.

    Returns:
        The image and its objects, whose boxes are in pixels and inside the image.
    """
    rng = np.random.default_rng([seed, index])
    names = list(SCENES)
    scene = SCENES[names[rng.choice(len(names), p=[SCENES[name][0] for name in names])]][1]
    size = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    placed = _arrange(scene, size, rng)
    canvas = synthetic_shapes.background(*size, rng).convert("RGBA")
    owner = np.full(size[::-1], -1)
    for number, thing in enumerate(placed):
        layer = Image.new("RGBA", size)
        layer.paste(thing.image, (thing.left, thing.top))
        canvas.alpha_composite(layer)
        owner[np.asarray(layer.getchannel("A")) > 127] = number
    image = canvas.convert("RGB").resize((width, height), Image.Resampling.BOX)
    grain = rng.normal(0.0, 5.0, (height, width, 1))
    image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    objects = [_annotate(thing, number, owner, rng) for number, thing in enumerate(placed)]
    return image, objects


def _arrange(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> list[_PlacedObject]:
    """Place the objects of a scene; an object for which there is no space is skipped."""
    placed: list[_PlacedObject] = []
    main = None
    if scene.main:
        # A small part of the main object may be outside the image.
        main = _place(scene.main, _MAIN_SIZE, size, scene, placed, rng, None, slack=0.08)
        if main:
            placed.append(main)
    companion_size = _COMPANION_SIZE if scene.main else _CROWD_SIZE
    for _ in range(int(rng.integers(scene.count[0], scene.count[1] + 1))):
        name = scene.companions[int(rng.integers(len(scene.companions)))]
        thing = _place(name, companion_size, size, scene, placed, rng, main)
        if thing:
            placed.append(thing)
    return placed


def _place(
    name: str,
    size_range: tuple[float, float],
    size: tuple[int, int],
    scene: Scene,
    placed: Sequence[_PlacedObject],
    rng: np.random.Generator,
    beside: _PlacedObject | None,
    slack: float = 0.0,
) -> _PlacedObject | None:
    """Place an object without hiding the others; return None if every attempt fails."""
    drawing, aspect = synthetic_shapes.DRAWINGS[name]
    side = min(size) * rng.uniform(*size_range)
    # `side` is the longer side.
    width, height = round(side * min(1.0, aspect)), round(side * min(1.0, 1.0 / aspect))
    if beside is None and aspect > 1.0:
        width, height = round(width * 1.25), round(height * 1.25)
    image = drawing(width, height, rng)
    for _ in range(_ATTEMPTS):
        left = rng.uniform(-slack * width, size[0] - width * (1 - slack))
        # An object that carries others needs space above.
        space = _COMPANION_SIZE[1] * min(size) if scene.on_top else -slack * height
        top = rng.uniform(space, size[1] - height * (1 - slack))
        if beside is not None and scene.on_top:
            left = rng.uniform(beside.left, beside.left + beside.image.width - width)
            top = beside.top - height + 0.04 * beside.image.height
        elif beside is not None:
            left = rng.normal(beside.left + beside.image.width / 2, size[0] * 0.25) - width / 2
        thing = _PlacedObject(name, image, round(left), round(top))
        if _fits(thing, size, slack) and all(
            _covered(thing.box, other.box) <= scene.overlap for other in placed
        ):
            return thing
    return None


def _fits(thing: _PlacedObject, size: tuple[int, int], slack: float) -> bool:
    ymin, xmin, ymax, xmax = thing.box
    y_slack, x_slack = slack * (ymax - ymin) + 1, slack * (xmax - xmin) + 1
    return (
        ymin >= -y_slack
        and xmin >= -x_slack
        and ymax <= size[1] + y_slack
        and xmax <= size[0] + x_slack
    )


def _covered(box1: np.ndarray, box2: np.ndarray) -> float:
    """Return the overlap as a fraction of the smaller box."""
    overlap = np.minimum(box1[2:], box2[2:]) - np.maximum(box1[:2], box2[:2])
    areas = [np.prod(box[2:] - box[:2]) for box in (box1, box2)]
    return float(np.prod(np.maximum(overlap, 0)) / min(areas))


def _annotate(
    thing: _PlacedObject, number: int, owner: np.ndarray, rng: np.random.Generator
) -> voc_xml.VocObject:
    """Return the annotation of an object: its whole extent inside the image."""
    limits = np.array([*owner.shape, *owner.shape])
    alpha = np.asarray(thing.image.getchannel("A")) > 127
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    extent = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
    whole = extent + np.array([thing.top, thing.left, thing.top, thing.left])
    box = np.clip(whole, 0, limits) / _OVERSAMPLING
    ymin, xmin, ymax, xmax = (float(value) for value in box)
    return voc_xml.VocObject(
        name=thing.name,
        ymin=ymin,
        xmin=xmin,
        ymax=ymax,
        xmax=xmax,
        difficult=bool((owner == number).sum() < _DIFFICULT_BELOW * alpha.sum()),
        truncated=bool((whole != np.clip(whole, 0, limits)).any()),
    )


def write_dataset(
    output_dir: str | Path,
    splits: dict[str, int],
    *,
    seed: int = 0,
    height: int = 256,
    width: int = 320,
) -> Path:
    """Write a VOC directory with a label map.

    Args:
        output_dir: directory of Annotations, JPEGImages, ImageSets/Main and label_map.pbtxt.
        splits: name of each set -> its number of images, which are numbered across the sets.
        seed: seed of the dataset.
        height: height of every image in pixels, at least 64.
        width: width of every image in pixels, at least 64.

    Returns:
        The path of the label map.

    Raises:
        ValueError: a size or a number of images is too small.
        FileExistsError: the directory has a dataset that this command did not write.
    """
    if min(height, width) < 64:
        raise ValueError(f"images of {width}x{height} pixels are too small, expected 64 or more")
    if not splits or min(splits.values()) < 1:
        raise ValueError(f"every set needs at least one image, got {splits}")
    root = Path(output_dir)
    _raise_if_other_data(root)
    for directory in (voc_annotations.ANNOTATIONS, voc_annotations.IMAGES, voc_annotations.SETS):
        output_paths.make_directory(root / directory)
    names = [f"{_NAME}{index:06d}" for index in range(sum(splits.values()))]
    for index, name in enumerate(tqdm(names, desc="drawing", unit="image", disable=None)):
        image, objects = draw_image(index, seed, height, width)
        image.save(root / voc_annotations.IMAGES / f"{name}.jpg", quality=92, subsampling=0)
        text = annotation_text(f"{name}.jpg", height, width, objects)
        (root / voc_annotations.ANNOTATIONS / f"{name}.xml").write_text(text, encoding="utf-8")
    start = 0
    for split, number in splits.items():
        lines = "".join(f"{name}\n" for name in names[start : start + number])
        (root / voc_annotations.SETS / f"{split}.txt").write_text(lines, encoding="utf-8")
        start += number
    label_map = root / "label_map.pbtxt"
    label_map.write_text(dataset_label_map.to_text(LABELS), encoding="utf-8")
    return label_map


def _raise_if_other_data(root: Path) -> None:
    """Raise a FileExistsError if the directory has images of another dataset."""
    others = sorted(
        path
        for directory in (root / voc_annotations.ANNOTATIONS, root / voc_annotations.IMAGES)
        if directory.is_dir()
        for path in directory.iterdir()
        if not path.name.startswith(_NAME)
    )
    if others:
        raise FileExistsError(
            f"--output_dir {str(root)!r} has another dataset ({others[0]}), whose lists and label "
            "map would be overwritten; choose a new directory"
        )


def annotation_text(
    filename: str, height: int, width: int, objects: Iterable[voc_xml.VocObject]
) -> str:
    """Return the text of a VOC annotation file."""
    lines = [
        "<annotation>",
        f"  <filename>{escape(filename)}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for item in objects:
        corners = "".join(
            f"<{key}>{getattr(item, key):g}</{key}>" for key in ("xmin", "ymin", "xmax", "ymax")
        )
        lines += [
            "  <object>",
            f"    <name>{escape(item.name)}</name>",
            f"    <pose>{escape(item.pose)}</pose>",
            f"    <truncated>{item.truncated:d}</truncated>",
            f"    <difficult>{item.difficult:d}</difficult>",
            f"    <bndbox>{corners}</bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("output_dir", None, "Directory to write the dataset to.")
    flags.DEFINE_integer("num_train", 200, "Number of images of the set 'train'.", lower_bound=1)
    flags.DEFINE_integer("num_val", 40, "Number of images of the set 'val'.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the dataset.", lower_bound=0)
    flags.DEFINE_integer("height", 256, "Height of the images, pixels.", lower_bound=64)
    flags.DEFINE_integer("width", 320, "Width of the images, pixels.", lower_bound=64)
    flags.mark_flag_as_required("output_dir")


def main() -> None:
    """Write the dataset that the flags describe."""
    splits = {"train": FLAGS.num_train, "val": FLAGS.num_val}
    label_map = write_dataset(
        FLAGS.output_dir, splits, seed=FLAGS.seed, height=FLAGS.height, width=FLAGS.width
    )
    print(f"{sum(splits.values())} images in {FLAGS.output_dir}, label map {label_map}")


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
