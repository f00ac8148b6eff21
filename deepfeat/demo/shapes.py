"""Images made by program: a few classes of shapes and textures that differ in nothing but kind.

Colour, place, size and image size vary within every class, so that none of them gives a class away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Random = np.random.Generator
Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]


def _disc(draw: ImageDraw.ImageDraw, box: Box, colour: Colour, random: Random) -> None:
    draw.ellipse(box, fill=colour)


def _square(draw: ImageDraw.ImageDraw, box: Box, colour: Colour, random: Random) -> None:
    draw.rectangle(box, fill=colour)


def _triangle(draw: ImageDraw.ImageDraw, box: Box, colour: Colour, random: Random) -> None:
    left, top, right, bottom = box
    draw.polygon([((left + right) // 2, top), (right, bottom), (left, bottom)], fill=colour)


def _stripes(draw: ImageDraw.ImageDraw, box: Box, colour: Colour, random: Random) -> None:
    left, top, right, bottom = box
    width = int(random.integers(4, 9))
    for x in range(left, right, 2 * width):
        draw.rectangle((x, top, min(x + width, right), bottom), fill=colour)


def _checks(draw: ImageDraw.ImageDraw, box: Box, colour: Colour, random: Random) -> None:
    left, top, right, bottom = box
    side = int(random.integers(8, 15))
    for row, y in enumerate(range(top, bottom, side)):
        for x in range(left + (row % 2) * side, right, 2 * side):
            draw.rectangle((x, y, min(x + side, right), min(y + side, bottom)), fill=colour)


def _dots(draw: ImageDraw.ImageDraw, box: Box, colour: Colour, random: Random) -> None:
    left, top, right, bottom = box
    for _ in range(60):
        x, y = int(random.integers(left, right)), int(random.integers(top, bottom))
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)


CLASSES: dict[str, Callable[[ImageDraw.ImageDraw, Box, Colour, Random], None]] = {
    "checks": _checks,
    "discs": _disc,
    "dots": _dots,
    "squares": _square,
    "stripes": _stripes,
    "triangles": _triangle,
}


def make_images(folder: Path, *, per_class: int = 20, seed: int = 0) -> int:
    """Write ``per_class`` PNG files for each class into ``folder/<class>``; return how many in all.

    The same seed gives the same pixels.
    """
    random = np.random.default_rng(seed)
    for name, paint in CLASSES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            _image(paint, random).save(folder / name / f"{number:03d}.png")
    return per_class * len(CLASSES)


def _image(
    paint: Callable[[ImageDraw.ImageDraw, Box, Colour, Random], None], random: Random
) -> Image.Image:
    width, height = (int(side) for side in random.integers(160, 321, size=2))
    light, dark = random.integers(150, 256, size=3), random.integers(0, 106, size=3)
    ground, colour = (light, dark) if random.random() < 0.5 else (dark, light)
    image = Image.new("RGB", (width, height), _colour(ground))
    side = int(min(width, height) * random.uniform(0.45, 0.8))
    left, top = int(random.integers(0, width - side)), int(random.integers(0, height - side))
    box = (left, top, left + side, top + side)
    paint(ImageDraw.Draw(image), box, _colour(colour), random)
    noise = random.normal(0, 6, size=(height, width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def _colour(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Colour:
    return int(values[0]), int(values[1]), int(values[2])
