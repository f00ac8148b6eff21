"""Images made by program: a few classes of shapes and textures that differ in nothing but kind.

Colour, place, size and image size vary within every class, so that none of them gives a class away.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from deepfeat.datasets.listing import is_left_out
from deepfeat.errors import CannotCreate

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

    The same seed gives the same pixels. What is there and right is not written again: a run that
    was stopped knows its images by size and time.

    Raises
    ------
    CannotCreate
        Where something else is in the folder, before anything is written; or where it cannot be
        written.
    """
    random = np.random.default_rng(seed)
    pictures = {
        folder / name / f"{number:03d}.png": _png(_image(paint, random))
        for name, paint in CLASSES.items()
        for number in range(per_class)
    }
    try:
        _check_nothing_else(folder, pictures)
        lacking = [path for path, png in pictures.items() if not _is_there(path, png)]
        for path in lacking:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pictures[path])
    except OSError as error:
        raise CannotCreate(
            f"the images of the demo cannot be written: '{error.filename or folder}'",
            found=str(error.strerror),
            advice="Choose another DIR.",
        ) from error
    return len(pictures)


def _check_nothing_else(folder: Path, pictures: Mapping[Path, bytes]) -> None:
    """The folder is listed and described as a whole, so nothing of a user's may be in it."""
    ours = {path.parent for path in pictures}
    inside = [path for path in (folder, *sorted(ours)) if path.is_dir()]
    for path in (child for parent in inside for child in sorted(parent.iterdir())):
        if path not in ours and path not in pictures and not is_left_out(os.fsencode(path.name)):
            raise _foreign(path)


def _is_there(path: Path, png: bytes) -> bool:
    """Whether a picture is written; the first bytes of it are what a run that was killed leaves."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_size > len(png):
        raise _foreign(path)
    there = path.read_bytes()
    if not png.startswith(there):
        raise _foreign(path)
    return there == png


def _foreign(path: Path) -> CannotCreate:
    return CannotCreate(
        f"'{path}' is not of the demo: it is left as it is",
        advice="Choose another DIR, or move it away.",
    )


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


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
