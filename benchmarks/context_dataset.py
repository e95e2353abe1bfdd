"""Generated dataset in which the context of an object decides its class: a positive control.

    python -m benchmarks.context_dataset --output_dir=context

Every image shows one pot or one racket, and up to three identical rings. With a pot in the image
a ring is a "lid", with a racket a "hoop". The ring and its surroundings carry no information about
the class: at least `GAP` pixels lie between a ring's box and the context's box, more than the 110
pixels that a cell of MobileNet's stage-1 feature map sees in each direction. A detector that
classifies a proposal by its own crop can only guess; one that also reads windows around it can
know.

The dataset is a PASCAL VOC directory. The same seed draws the same images.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw

CLASSES = ("pot", "racket", "lid", "hoop")
CLASS_OF_RING = {"pot": "lid", "racket": "hoop"}
SIDE = 384  # pixels of an image
GAP = 130  # least distance of a ring's box to the context's box, in x or in y
_CONTEXT_SIDE = (84, 108)
_RING_SIDE = (44, 56)
_MAX_RINGS = 3
_ATTEMPTS = 200
_OVERSAMPLING = 2

Box = tuple[int, int, int, int]  # xmin, ymin, xmax, ymax


def draw_context_image(index: int, seed: int) -> tuple[Image.Image, list[tuple[str, Box]]]:
    """Return image number `index` of a seed, SIDE x SIDE RGB, and its objects (class, box)."""
    rng = np.random.default_rng([seed, index])
    context = ("pot", "racket")[index % 2]
    objects = [(context, _context_box(rng))]
    for _ in range(int(rng.integers(1, _MAX_RINGS + 1))):
        box = _ring_box(rng, objects)
        if box is not None:
            objects.append((CLASS_OF_RING[context], box))
    image = _background(rng).resize((SIDE * _OVERSAMPLING,) * 2, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for name, box in objects:
        left, top, right, bottom = (value * _OVERSAMPLING for value in box)
        _DRAWINGS.get(name, _draw_ring)(draw, (left, top, right, bottom), rng)
    image = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    noisy = np.asarray(image) + rng.normal(0.0, 6.0, (SIDE, SIDE, 1))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), objects


def _context_box(rng: np.random.Generator) -> Box:
    """Place the context along a random border, so that rings have room on the far side."""
    width, height = rng.integers(_CONTEXT_SIDE[0], _CONTEXT_SIDE[1] + 1, 2)
    along = int(rng.integers(0, SIDE - int(max(width, height)) + 1))
    depth = int(rng.integers(0, 24))
    side = int(rng.integers(4))
    left = (along, along, depth, SIDE - depth - width)[side]
    top = (depth, SIDE - depth - height, along, along)[side]
    return int(left), int(top), int(left + width), int(top + height)


def _ring_box(rng: np.random.Generator, objects: list[tuple[str, Box]]) -> Box | None:
    """Return a square box at least GAP from the context and apart from other rings, or None."""
    for _ in range(_ATTEMPTS):
        side = int(rng.integers(_RING_SIDE[0], _RING_SIDE[1] + 1))
        left, top = (int(value) for value in rng.integers(0, SIDE - side + 1, 2))
        box = (left, top, left + side, top + side)
        gaps = (GAP, *[4] * (len(objects) - 1))
        if all(
            box_distance(box, other) >= gap for (_, other), gap in zip(objects, gaps, strict=True)
        ):
            return box
    return None


def box_distance(first: Box, second: Box) -> int:
    """Return the larger of the gaps between two boxes in x and in y, pixels; 0 if they overlap."""
    gaps = [max(first[axis] - second[axis + 2], second[axis] - first[axis + 2]) for axis in (0, 1)]
    return max(0, *gaps)


def _background(rng: np.random.Generator) -> Image.Image:
    """Return a small image of soft colored blotches."""
    base = rng.integers(110, 190, 3)
    blotches = base + rng.normal(0.0, 18.0, (9, 9, 3))
    return Image.fromarray(np.clip(blotches, 0, 255).astype(np.uint8))


def _draw_ring(draw: ImageDraw.ImageDraw, box: Box, rng: np.random.Generator) -> None:
    """Draw a pale ring that fills its box."""
    shade = int(rng.integers(215, 250))
    width = max(6, (box[2] - box[0]) // 6)
    draw.ellipse(_inside(box), outline=(shade, shade, shade - 15), width=width)


def _draw_pot(draw: ImageDraw.ImageDraw, box: Box, rng: np.random.Generator) -> None:
    """Draw a dark blue pot with two handles."""
    left, top, right, bottom = _inside(box)
    third = (right - left) // 6
    blue = (30, 40, int(rng.integers(110, 170)))
    draw.rectangle((left, top + third, right, top + 2 * third), fill=(70, 70, 80))
    draw.rounded_rectangle((left + third, top, right - third, bottom), third, fill=blue)


def _draw_racket(draw: ImageDraw.ImageDraw, box: Box, rng: np.random.Generator) -> None:
    """Draw a red racket with strings."""
    left, top, right, bottom = _inside(box)
    neck = top + (bottom - top) * 2 // 3
    middle, step = (left + right) // 2, max(4, (right - left) // 7)
    red = (int(rng.integers(170, 230)), 40, 40)
    for x in range(left + step, right - step, step):
        draw.line((x, top + step, x, neck - step), fill=(235, 235, 225), width=3)
    draw.ellipse((left, top, right, neck), outline=red, width=step // 2 + 3)
    draw.rectangle((middle - step // 2, neck, middle + step // 2, bottom), fill=(60, 40, 30))


def _inside(box: Box) -> Box:
    """Return the last pixels that a drawing of `box` may color."""
    return box[0], box[1], box[2] - 1, box[3] - 1


_DRAWINGS = {"pot": _draw_pot, "racket": _draw_racket}


def write_context_dataset(output_dir: str | Path, splits: dict[str, int], seed: int = 0) -> None:
    """Write a VOC directory.

    Args:
        output_dir: receives Annotations, JPEGImages and ImageSets/Main.
        splits: name of each set -> its number of images, numbered consecutively.
        seed: of everything that is drawn at random.
    """
    root = Path(output_dir)
    for directory in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    first = 0
    for split, count in splits.items():
        names = [f"context_{index:05d}" for index in range(first, first + count)]
        for index, name in enumerate(names, start=first):
            image, objects = draw_context_image(index, seed)
            image.save(root / "JPEGImages" / f"{name}.jpg", quality=92, subsampling=0)
            _annotation(name, objects).write(root / "Annotations" / f"{name}.xml")
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
        first += count


def _annotation(name: str, objects: list[tuple[str, Box]]) -> ElementTree.ElementTree:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = f"{name}.jpg"
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", SIDE), ("height", SIDE), ("depth", 3)):
        ElementTree.SubElement(size, key).text = str(value)
    for class_name, box in objects:
        node = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(node, "name").text = class_name
        corners = ElementTree.SubElement(node, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(corners, key).text = str(value)
    return ElementTree.ElementTree(root)


def define_flags() -> None:
    """Define the flags of the command; not at import, where they would meet those of others."""
    flags.DEFINE_string("output_dir", None, "VOC directory to write.", required=True)
    flags.DEFINE_integer("trainval", 800, "Images of the set trainval.", lower_bound=1)
    flags.DEFINE_integer("test", 200, "Images of the set test.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the drawings.", lower_bound=0)


def main(_: list[str]) -> None:
    """Write the dataset that the flags describe."""
    given = flags.FLAGS
    splits = {"trainval": given.trainval, "test": given.test}
    write_context_dataset(given.output_dir, splits, given.seed)
    print(f"{sum(splits.values())} images in {given.output_dir}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
