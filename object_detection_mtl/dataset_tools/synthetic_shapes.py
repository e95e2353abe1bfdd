"""Drawings of the objects of the synthetic dataset.

A drawing is a function (width, height, rng) -> RGBA image of that size, transparent around the
object, which touches all sides. Its shape and its range of colors depend on the class; shade, side
of a handle and number of strings are random.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Drawing = Callable[[int, int, np.random.Generator], Image.Image]


def color(
    rng: np.random.Generator,
    hue: tuple[float, float],
    saturation: tuple[float, float] = (0.6, 0.95),
    value: tuple[float, float] = (0.6, 0.95),
) -> Color:
    """Return a color from ranges of hue, saturation and value, each 0..1 (hues may exceed 1)."""
    red, green, blue = colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    )
    return round(red * 255), round(green * 255), round(blue * 255)


def _shaded(base: Color, factor: float) -> Color:
    red, green, blue = (min(255, round(channel * factor)) for channel in base)
    return red, green, blue


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGBA", (width, height))
    return image, ImageDraw.Draw(image)


def table(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Draw a brown slab on two legs, with wood grain."""
    image, draw = _canvas(width, height)
    wood = color(rng, (0.06, 0.09), (0.55, 0.75), (0.45, 0.65))
    top, leg = round(height * 0.24), max(2, round(width * 0.1))
    inset = round(width * rng.uniform(0.04, 0.12))
    for left in (inset, width - inset - leg):
        draw.rectangle((left, top, left + leg - 1, height - 1), fill=_shaded(wood, 0.75))
    draw.rectangle((0, 0, width - 1, top - 1), fill=wood)
    for line in range(1, 4):
        y = round(top * line / 4)
        draw.line((0, y, width, y), fill=_shaded(wood, 0.85), width=max(1, height // 60))
    return image


def cup(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Draw a blue body that tapers downwards, with a light rim and a handle on one side."""
    image, draw = _canvas(width, height)
    glaze = color(rng, (0.52, 0.64))
    body, rim = round(width * 0.74), round(height * 0.16)
    thickness = max(2, round(width * 0.09))
    draw.ellipse(
        (round(width * 0.5), round(height * 0.28), width - 1, round(height * 0.76)),
        outline=_shaded(glaze, 0.8),
        width=thickness,
    )
    draw.polygon(
        [
            (0, rim // 2),
            (body, rim // 2),
            (round(body * 0.84), height - 1),
            (round(body * 0.16), height - 1),
        ],
        fill=glaze,
    )
    draw.ellipse((0, 0, body, rim), fill=(238, 238, 230), outline=_shaded(glaze, 0.7))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def racket(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Draw an oval red frame with strings on a transparent ground, and a dark handle."""
    image, draw = _canvas(width, height)
    frame = color(rng, (0.95, 1.02), (0.75, 0.95), (0.65, 0.9))
    head = round(height * 0.62)
    strings = int(rng.integers(5, 8))
    inside = Image.new("L", (width, height))
    ImageDraw.Draw(inside).ellipse((0, 0, width - 1, head - 1), fill=255)
    net, net_draw = _canvas(width, height)
    thin = max(1, width // 40)
    for line in range(1, strings):
        x, y = round(width * line / strings), round(head * line / strings)
        net_draw.line((x, 0, x, head), fill=(240, 240, 235, 255), width=thin)
        net_draw.line((0, y, width, y), fill=(240, 240, 235, 255), width=thin)
    image.paste(net, (0, 0), inside)
    draw.ellipse((0, 0, width - 1, head - 1), outline=frame, width=max(2, round(width * 0.09)))
    grip = max(2, round(width * 0.09))
    centre = width // 2
    draw.rectangle((centre - grip, head - 2, centre + grip, height - 1), fill=(45, 40, 45))
    return image


def ball(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Draw a yellow-green disc with two pale seams."""
    image, draw = _canvas(width, height)
    felt = color(rng, (0.17, 0.24), (0.7, 0.9), (0.8, 0.98))
    draw.ellipse((0, 0, width - 1, height - 1), fill=felt, outline=_shaded(felt, 0.75))
    seam = max(2, width // 16)
    bend = round(width * rng.uniform(0.55, 0.7))
    for left in (-bend, width - 1 - round(width * 0.3)):
        draw.arc(
            (left, 0, left + bend + round(width * 0.3), height - 1), 0, 360, (250, 250, 240), seam
        )
    # The arcs are clipped to the ball.
    inside = Image.new("L", (width, height))
    ImageDraw.Draw(inside).ellipse((0, 0, width - 1, height - 1), fill=255)
    return Image.composite(image, Image.new("RGBA", (width, height)), inside)


def car(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Draw a purple to red body, a cabin with windows, two dark wheels."""
    image, draw = _canvas(width, height)
    paint = color(rng, (0.72, 0.9), (0.5, 0.9), (0.5, 0.9))
    wheel = round(height * 0.34)
    floor = height - 1 - wheel // 2
    left, right = round(width * 0.2), round(width * 0.78)
    draw.polygon(
        [
            (left, floor // 2),
            (round(width * 0.32), 0),
            (round(width * 0.66), 0),
            (right, floor // 2),
        ],
        fill=_shaded(paint, 0.9),
    )
    draw.polygon(
        [
            (round(width * 0.27), floor // 2),
            (round(width * 0.35), round(height * 0.07)),
            (round(width * 0.63), round(height * 0.07)),
            (round(width * 0.71), floor // 2),
        ],
        fill=(190, 215, 225),
    )
    draw.rounded_rectangle((0, floor // 2, width - 1, floor), max(2, height // 8), fill=paint)
    for centre in (0.24, 0.76):
        x = round(width * centre) - wheel // 2
        box = (x, height - 1 - wheel, x + wheel, height - 1)
        draw.ellipse(box, fill=(30, 30, 32), outline=(150, 150, 150), width=max(1, wheel // 7))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def sign(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Draw a white triangle with a red border on a gray pole."""
    image, draw = _canvas(width, height)
    border = color(rng, (0.98, 1.03), (0.8, 0.95), (0.75, 0.95))
    plate = round(height * 0.55)
    pole = max(2, round(width * 0.06))
    centre = width // 2
    draw.rectangle((centre - pole, plate // 2, centre + pole, height - 1), fill=(120, 122, 125))
    draw.polygon([(centre, 0), (width - 1, plate), (0, plate)], fill=border)
    draw.polygon(
        [
            (centre, round(plate * 0.3)),
            (round(width * 0.78), round(plate * 0.87)),
            (round(width * 0.22), round(plate * 0.87)),
        ],
        fill=(245, 243, 235),
    )
    return image


# Class -> drawing, and its width / height.
DRAWINGS: dict[str, tuple[Drawing, float]] = {
    "ball": (ball, 1.0),
    "car": (car, 2.0),
    "cup": (cup, 1.05),
    "racket": (racket, 0.48),
    "sign": (sign, 0.55),
    "table": (table, 1.55),
}


def background(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Draw a gradient between two pale colors, with blotches."""
    first, second = (
        np.array(color(rng, (0.0, 1.0), (0.05, 0.3), (0.45, 0.9)), np.float64) for _ in range(2)
    )
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    slope = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) + 0.71) / 1.42
    pixels = first + slope[..., np.newaxis] * (second - first)
    blotches = Image.fromarray(rng.integers(0, 256, (6, 8), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    pixels += (np.asarray(blotches, np.float64)[..., np.newaxis] - 128) * rng.uniform(0.05, 0.25)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
