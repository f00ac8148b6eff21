"""The size rule and the filter: the shorter side becomes exactly Q pixels, the longer follows.

The longer side is ``(long * Q) // short`` in integers, so that it does not depend on a platform's
floating point and equals torchvision's. The filter is Pillow's on 8-bit pixels, widened by the
scale when shrinking (antialiasing), rounded to 8 bit; it is the reference that others are compared
with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from deepfeat.errors import UsageError
from deepfeat.tables import look_up

NATIVE = "native"
LONGEST_SIDE = 65_535  # pixels after resizing
FILTERS = {
    "bilinear": Pillow.Resampling.BILINEAR,
    "bicubic": Pillow.Resampling.BICUBIC,
    "lanczos": Pillow.Resampling.LANCZOS,
    "nearest": Pillow.Resampling.NEAREST,
}


def shorter_side(scale: str) -> int | None:
    """Return Q of a scale's name, or None for ``native``; `UsageError` for anything else."""
    if scale == NATIVE:
        return None
    if not (scale.isascii() and scale.isdigit() and 1 <= int(scale) <= LONGEST_SIDE):
        raise UsageError(
            f"'{scale}' is not a scale",
            expected=f"the shorter side in pixels, 1 to {LONGEST_SIDE}, or '{NATIVE}'",
        )
    return int(scale)


def resized_size(height: int, width: int, scale: str, *, upscale: bool = True) -> tuple[int, int]:
    """Return (height, width) of an image at a scale.

    Parameters
    ----------
    height, width : int
        Of the upright image, at least 1.
    scale : str
        ``"native"``, or Q as a decimal number.
    upscale : bool
        Enlarge images whose shorter side is below Q; otherwise they keep their size.
    """
    side = shorter_side(scale)
    short, long = sorted((height, width))
    if side is None or short == side or (short < side and not upscale):
        return height, width
    long = long * side // short
    return (side, long) if height <= width else (long, side)


def resize(
    pixels: NDArray[np.uint8], size: tuple[int, int], filter: str = "bilinear"
) -> NDArray[np.uint8]:
    """Resize (H, W, 3) uint8 to (h, w, 3) uint8, C order; the same size is the same pixels."""
    if pixels.shape[:2] == size:
        return pixels
    method = look_up(FILTERS, filter, "filter")
    height, width = size
    return np.array(Pillow.fromarray(pixels).resize((width, height), method))
