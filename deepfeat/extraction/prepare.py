"""One image prepared for the network: read, decoded, turned upright and resized to every scale.

These are the values that travel between a run and its workers, and the one function between them.
It is the same function in a worker and in memory, so both give the same pixels.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import UsageError
from deepfeat.extraction.resize import FILTERS, LONGEST_SIDE, resize, resized_size, shorter_side
from deepfeat.images.decode import WHITE, Image, decode_file
from deepfeat.images.limits import Limits
from deepfeat.status import Note, Status
from deepfeat.tables import look_up

LONGEST_TIMEOUT_S = 10**7


@dataclass(frozen=True, slots=True)
class Task:
    """A file to prepare, and the bytes that the listing found, -1 not to compare."""

    path: str | bytes | os.PathLike[str]
    size: int = -1


@dataclass(frozen=True, slots=True)
class Settings:
    """How images become pixels of the network's input size.

    Parameters
    ----------
    scales : tuple of str
        Shorter sides in pixels, or ``native``; all different.
    filter : str
        A name of `resize.FILTERS`.
    upscale, exif : bool
    background : tuple of three int
        Colour under transparent pixels, 0 to 255.
    limits : Limits
    smallest_side : int
        Pixels that the network needs for one position of its map.
    timeout_s : float
        Seconds of processor time that one image may take, at most `LONGEST_TIMEOUT_S`.

    Raises
    ------
    UsageError
        For anything that could not hold for any image.
    """

    scales: tuple[str, ...]
    filter: str = "bilinear"
    upscale: bool = True
    exif: bool = True
    background: tuple[int, int, int] = WHITE
    limits: Limits = field(default_factory=Limits)
    smallest_side: int = 1
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        look_up(FILTERS, self.filter, "filter")
        for scale in self.scales:
            shorter_side(scale)
        if not self.scales or len(set(self.scales)) != len(self.scales):
            raise UsageError(
                "scales must be given, and differ from each other", found=str(self.scales)
            )
        if len(self.background) != 3 or not all(0 <= part <= 255 for part in self.background):
            raise UsageError(
                "the background is not a colour",
                expected="three numbers from 0 to 255",
                found=str(self.background),
            )
        if not 0 < self.timeout_s <= LONGEST_TIMEOUT_S:
            raise UsageError(
                "a time limit must be positive, and a time that a clock can count",
                expected=f"at most {LONGEST_TIMEOUT_S:,} s",
                found=f"{self.timeout_s:g} s",
            )


@dataclass(frozen=True, slots=True)
class Decoded:
    """A prepared image, or a status.

    Parameters
    ----------
    shape : tuple of two int
        (height, width) upright, before resizing; (0, 0) where there is no image.
    views : dict from scale to (h, w, 3) uint8 RGB
        One for each scale; empty unless status is ok.
    decode_s : float
        Seconds of reading, decoding and resizing.

    The other fields are those of `deepfeat.images.decode.Image`.
    """

    status: Status
    notes: Note
    detail: str
    size_bytes: int
    sha256: bytes
    shape: tuple[int, int]
    views: dict[str, NDArray[np.uint8]]
    decode_s: float


def prepare_file(task: Task, settings: Settings) -> Decoded:
    """Read, decode and resize one file. Never raises for a bad file."""
    started = time.monotonic()
    image = decode_file(
        task.path,
        exif=settings.exif,
        background=settings.background,
        limits=settings.limits,
        size=task.size,
    )
    return prepare(image, settings, started=started)


def prepare(image: Image, settings: Settings, *, started: float | None = None) -> Decoded:
    """Resize an image to every scale of the settings.

    Parameters
    ----------
    started : float, optional
        ``time.monotonic()`` when work on this image began; now by default.

    Returns
    -------
    Decoded
        ``too-small`` where a scale leaves no position on the map, ``too-large`` where a longer side
        would pass 65,535 pixels: no view is made of such an image, not even at its other scales.
    """
    started = time.monotonic() if started is None else started
    status, notes, detail = image.status, image.notes, image.detail
    shape, views = (0, 0), {}
    if image.pixels is not None:
        shape = (image.pixels.shape[0], image.pixels.shape[1])
        sizes = {
            scale: resized_size(*shape, scale, upscale=settings.upscale)
            for scale in settings.scales
        }
        status, reason = _fit(sizes, settings.smallest_side)
        detail = reason or detail
        if status is Status.OK:
            if any(min(size) > min(shape) for size in sizes.values()):
                notes |= Note.ENLARGED
            try:
                views = {s: resize(image.pixels, sizes[s], settings.filter) for s in sizes}
            except MemoryError:
                status, detail = Status.OUT_OF_MEMORY, "resizing ran out of memory"
    return Decoded(
        status=status,
        notes=notes if status is Status.OK else Note.NONE,
        detail=detail,
        size_bytes=image.size_bytes,
        sha256=image.sha256,
        shape=shape,
        views=views,
        decode_s=time.monotonic() - started,
    )


def _fit(sizes: dict[str, tuple[int, int]], smallest_side: int) -> tuple[Status, str]:
    for scale, (height, width) in sizes.items():
        where = f"{width} x {height} pixels at scale {scale}"
        if max(height, width) > LONGEST_SIDE:
            return Status.TOO_LARGE, f"{where}, the limit of a side is {LONGEST_SIDE}"
        if min(height, width) < smallest_side:
            return Status.TOO_SMALL, f"{where}, the network needs {smallest_side}"
    return Status.OK, ""
