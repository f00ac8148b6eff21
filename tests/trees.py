"""Small trees of VOC and Caltech made by program, whose images show their classes.

Each class has a colour, a direction of stripes and a width of them, so that descriptors of even a
network without training separate the classes, and a figure on a tree is far from chance. The same
arguments give the same bytes.

    from trees import make_caltech, make_voc
"""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
CALTECH101 = tuple(
    line.split("\t")[0]
    for line in (Path(__file__).parent / "golden/caltech101-counts.tsv").read_text().splitlines()
)
CALTECH256 = ("001.ak47", "002.american-flag", "003.backpack", "004.baseball-bat", "257.clutter")


def make_voc(
    root: Path,
    year: str | int = "2007",
    n: int | Mapping[str, int] = 40,
    *,
    sizes: tuple[int, int] = (64, 96),
    seed: int = 0,
    missing: Collection[str] = (),
) -> Path:
    """Make ``root/VOC<year>`` with lists and images; return that folder.

    Parameters
    ----------
    n : int or mapping
        Images of each of train, val and test; trainval is the first two together. From 20 on every
        class has a positive image in every set. Every 7th image also has a difficult object.
    sizes : (int, int)
        Shortest and longest side in pixels.
    missing : collection of str
        Identifiers (``000005``, of 2012 ``2008_000005``) whose image is not written.
    """
    random = np.random.default_rng(seed)
    folder = root / f"VOC{year}"
    lists = folder / "ImageSets/Main"
    lists.mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    prefix = "2008_" if str(year) == "2012" else ""
    labels: dict[str, dict[str, list[int]]] = {}
    number = 0
    for name in ("train", "val", "test"):
        labels[name] = {}
        for position in range(n if isinstance(n, int) else n.get(name, 0)):
            number += 1
            identifier = f"{prefix}{number:06d}"
            labels[name][identifier] = row = _objects(position, random)
            shown = [column for column, label in enumerate(row) if label != -1]
            pixels = _picture(shown, len(VOC_CLASSES), sizes, random)
            if identifier not in missing:
                _save(pixels, folder / f"JPEGImages/{identifier}.jpg")
    labels["trainval"] = {**labels["train"], **labels["val"]}
    for name, rows in labels.items():
        (lists / f"{name}.txt").write_text("".join(f"{one}\n" for one in rows))
        for column, a_class in enumerate(VOC_CLASSES):
            lines = [f"{one} {row[column]:2d}\n" for one, row in rows.items()]  # "x  1", "x -1"
            (lists / f"{a_class}_{name}.txt").write_text("".join(lines))
    return folder


def make_caltech(
    root: Path,
    classes: int | Sequence[str] = 5,
    per_class: int | Sequence[int] = 8,
    *,
    seed: int = 0,
    sizes: tuple[int, int] = (64, 96),
    digits: str = "101",
) -> Path:
    """Make ``root/101_ObjectCategories`` (or 256) with images; return that folder.

    Parameters
    ----------
    classes : int or names of folders
        A number takes the first of the official ones, the background class included.
    per_class : int or one number a class
    digits : {"101", "256"}
    """
    random = np.random.default_rng(seed)
    names = CALTECH101 if digits == "101" else CALTECH256
    chosen = sorted(names[:classes] if isinstance(classes, int) else classes)
    counts = [per_class] * len(chosen) if isinstance(per_class, int) else list(per_class)
    folder = root / f"{digits}_ObjectCategories"
    for own, (name, count) in enumerate(zip(chosen, counts, strict=True)):
        (folder / name).mkdir(parents=True)
        for number in range(1, count + 1):
            file = f"image_{number:04d}.jpg" if digits == "101" else f"{name[:3]}_{number:04d}.jpg"
            _save(_picture([own], len(chosen), sizes, random), folder / name / file)
    return folder


def _objects(position: int, random: np.random.Generator) -> list[int]:
    """Labels of one image: a class by turns, often a second one, now and then a difficult one."""
    row = [-1] * len(VOC_CLASSES)
    if position % 7 == 3:
        row[int(random.integers(len(row)))] = 0
    if random.random() < 0.4:
        row[int(random.integers(len(row)))] = 1
    row[position % len(row)] = 1
    return row


def _picture(
    classes: Sequence[int], of: int, sizes: tuple[int, int], random: np.random.Generator
) -> NDArray[np.uint8]:
    """(H, W, 3): stripes of each class, side by side, with a random phase and noise."""
    height, width = random.integers(sizes[0], sizes[1] + 1, 2)
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.zeros((height, width, 3))
    borders = np.linspace(0, width, len(classes) + 1).astype(int)
    for own, left, right in zip(classes, borders[:-1], borders[1:], strict=True):
        angle, length = np.pi * own / of, 6 + 3 * (own % 4)
        along = rows * np.sin(angle) + columns * np.cos(angle)
        wave = 0.5 + 0.4 * np.sin(2 * np.pi * (along / length + random.random()))  # (H, W)
        colour = np.array(colorsys.hsv_to_rgb(own / of, 0.8, 1.0))
        pixels[:, left:right] = (255 * wave[..., None] * colour)[:, left:right]
    return (pixels + random.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(pixels).save(path, quality=90)
