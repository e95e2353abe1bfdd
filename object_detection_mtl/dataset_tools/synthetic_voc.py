"""Draws a small dataset in the format of PASCAL VOC, for demonstrations and tests.

    create_synthetic_voc --output_dir=synthetic --num_train=200 --num_val=40

Six kinds of things stand in scenes as they do in the world: cups on tables, balls near rackets,
cars near signs. Some images are empty, some are crowded. The same seed gives the same files, byte
for byte with one version of Pillow, and image i does not depend on how many there are.
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
from object_detection_mtl.dataset_tools import dataset_label_map, synthetic_shapes, voc_annotations

FLAGS = flags.FLAGS
CLASSES = tuple(synthetic_shapes.DRAWINGS)
LABELS = {name: number for number, name in enumerate(CLASSES, start=1)}

_NAME = "synthetic_"  # begins the name of every file
_OVERSAMPLING = 2  # Drawn at twice the size and halved: smooth edges.
_DIFFICULT_BELOW = 0.6  # visible share of a thing
_ATTEMPTS = 60


@dataclasses.dataclass(frozen=True)
class Scene:
    """Things that stand together; sizes are shares of the image's shorter side.

    Attributes:
        main: stands once, large.
        companions: one kind of these is drawn for each of `count` smaller things.
        count: least and largest number of companions.
        on_top: companions stand on the main thing, not beside it.
        overlap: share of a thing that another may cover.
    """

    main: str | None = None
    companions: tuple[str, ...] = ()
    count: tuple[int, int] = (0, 0)
    on_top: bool = False
    overlap: float = 0.1


# How often, and what.
SCENES: dict[str, tuple[float, Scene]] = {
    "room": (0.26, Scene("table", ("cup",), (1, 2), on_top=True)),
    "court": (0.24, Scene("racket", ("ball",), (1, 2))),
    "street": (0.24, Scene("car", ("sign",), (1, 2))),
    "garden": (0.08, Scene("table", ("ball", "racket"), (1, 2))),
    "crowd": (0.10, Scene(None, CLASSES, (6, 9), overlap=0.5)),
    "empty": (0.08, Scene()),
}
_MAIN_SIZE = (0.45, 0.62)
_COMPANION_SIZE = (0.24, 0.34)
_CROWD_SIZE = (0.18, 0.3)


@dataclasses.dataclass
class _Placed:
    name: str
    image: Image.Image  # RGBA, oversampled
    left: int
    top: int

    @property
    def box(self) -> np.ndarray:
        """ymin, xmin, ymax, xmax in oversampled pixels, possibly beyond the image."""
        return np.array(
            [self.top, self.left, self.top + self.image.height, self.left + self.image.width]
        )


def draw_image(
    index: int, seed: int = 0, height: int = 256, width: int = 320
) -> tuple[Image.Image, list[voc_annotations.VocObject]]:
    """Draws image number `index` of the dataset of `seed`.

    Returns:
        The image and what stands on it, the boxes in its pixels and inside it.
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


def _arrange(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> list[_Placed]:
    """Places the things of a scene; one that finds no room is left out."""
    placed: list[_Placed] = []
    main = None
    if scene.main:
        # A main thing may be cut by the border a little.
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
    placed: Sequence[_Placed],
    rng: np.random.Generator,
    beside: _Placed | None,
    slack: float = 0.0,
) -> _Placed | None:
    """Tries places until one leaves the others visible enough."""
    drawing, aspect = synthetic_shapes.DRAWINGS[name]
    side = min(size) * rng.uniform(*size_range)
    # `side` is the longer one.
    width, height = round(side * min(1.0, aspect)), round(side * min(1.0, 1.0 / aspect))
    if beside is None and aspect > 1.0:
        width, height = round(width * 1.25), round(height * 1.25)
    image = drawing(width, height, rng)
    for _ in range(_ATTEMPTS):
        left = rng.uniform(-slack * width, size[0] - width * (1 - slack))
        # What carries others leaves room above.
        room = _COMPANION_SIZE[1] * min(size) if scene.on_top else -slack * height
        top = rng.uniform(room, size[1] - height * (1 - slack))
        if beside is not None and scene.on_top:
            left = rng.uniform(beside.left, beside.left + beside.image.width - width)
            top = beside.top - height + 0.04 * beside.image.height
        elif beside is not None:
            left = rng.normal(beside.left + beside.image.width / 2, size[0] * 0.25) - width / 2
        thing = _Placed(name, image, round(left), round(top))
        if _fits(thing, size, slack) and all(
            _covered(thing.box, other.box) <= scene.overlap for other in placed
        ):
            return thing
    return None


def _fits(thing: _Placed, size: tuple[int, int], slack: float) -> bool:
    ymin, xmin, ymax, xmax = thing.box
    y_slack, x_slack = slack * (ymax - ymin) + 1, slack * (xmax - xmin) + 1
    return (
        ymin >= -y_slack
        and xmin >= -x_slack
        and ymax <= size[1] + y_slack
        and xmax <= size[0] + x_slack
    )


def _covered(box1: np.ndarray, box2: np.ndarray) -> float:
    """Overlap as a share of the smaller box."""
    overlap = np.minimum(box1[2:], box2[2:]) - np.maximum(box1[:2], box2[:2])
    areas = [np.prod(box[2:] - box[:2]) for box in (box1, box2)]
    return float(np.prod(np.maximum(overlap, 0)) / min(areas))


def _annotate(
    thing: _Placed, number: int, owner: np.ndarray, rng: np.random.Generator
) -> voc_annotations.VocObject:
    """The object as an annotator would mark it: its whole extent inside the image."""
    limits = np.array([*owner.shape, *owner.shape])
    alpha = np.asarray(thing.image.getchannel("A")) > 127
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    extent = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
    whole = extent + np.array([thing.top, thing.left, thing.top, thing.left])
    box = np.clip(whole, 0, limits) / _OVERSAMPLING
    ymin, xmin, ymax, xmax = (float(value) for value in box)
    return voc_annotations.VocObject(
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
    """Writes a VOC directory with a label map beside it.

    Args:
        output_dir: the directory; Annotations, JPEGImages, ImageSets/Main and label_map.pbtxt go in
            it.
        splits: name of each set and its number of images, numbered on from set to set.
        seed: of everything that is drawn.
        height, width: pixels of every image, at least 64.

    Returns:
        The path of the label map.

    Raises:
        ValueError: a size or number that is too small.
        FileExistsError: the directory holds a dataset that was not drawn here.
    """
    if min(height, width) < 64:
        raise ValueError(f"images of {width}x{height} pixels are too small, expected 64 or more")
    if not splits or min(splits.values()) < 1:
        raise ValueError(f"every set needs at least one image, got {splits}")
    root = Path(output_dir)
    _refuse_other_data(root)
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


def _refuse_other_data(root: Path) -> None:
    """The lists of sets and the label map would be overwritten, and the images be mixed."""
    others = sorted(
        path
        for directory in (root / voc_annotations.ANNOTATIONS, root / voc_annotations.IMAGES)
        if directory.is_dir()
        for path in directory.iterdir()
        if not path.name.startswith(_NAME)
    )
    if others:
        raise FileExistsError(
            f"--output_dir {str(root)!r} holds a dataset of another origin ({others[0]}), whose "
            "lists and label map would be overwritten; choose a new directory"
        )


def annotation_text(
    filename: str, height: int, width: int, objects: Iterable[voc_annotations.VocObject]
) -> str:
    """A VOC annotation file."""
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
    flags.DEFINE_string("output_dir", None, "Directory to write the dataset to.")
    flags.DEFINE_integer("num_train", 200, "Images of the set 'train'.", lower_bound=1)
    flags.DEFINE_integer("num_val", 40, "Images of the set 'val'.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of everything that is drawn by chance.", lower_bound=0)
    flags.DEFINE_integer("height", 256, "Height of the images, pixels.", lower_bound=64)
    flags.DEFINE_integer("width", 320, "Width of the images, pixels.", lower_bound=64)
    flags.mark_flag_as_required("output_dir")


def main() -> None:
    splits = {"train": FLAGS.num_train, "val": FLAGS.num_val}
    label_map = write_dataset(
        FLAGS.output_dir, splits, seed=FLAGS.seed, height=FLAGS.height, width=FLAGS.width
    )
    print(f"{sum(splits.values())} images in {FLAGS.output_dir}, label map {label_map}")


def run() -> None:
    command_line.run(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
