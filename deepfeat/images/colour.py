"""Every colour mode becomes 8-bit RGB by one row of a table, with a note of what was done.

Nothing is scaled by an image's own extremes: a mode either has a range of its own (1, 8 or 16 bit)
or it is not decoded. Transparent pixels are composed on a background, because the colours hidden
under them are arbitrary. ICC profiles are not applied. Images are converted block by block, so that
there is never a whole copy besides the one that Pillow holds and the one that is returned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from deepfeat.status import Note

Background = tuple[int, int, int]
Pixels = NDArray[np.uint8]
Convert = Callable[[Pillow.Image], Pixels]  # of a block; it has the image's palette and info
BLOCK_PIXELS = 1 << 20

_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_PALETTES = frozenset({"P", "PA"})


class UnsupportedMode(Exception):
    """The image's mode has no agreed way to 8-bit RGB; the message says which and why."""


def to_rgb(image: Pillow.Image, background: Background) -> tuple[Pixels, Note]:
    """Convert a loaded image to RGB.

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded, in any mode; its ``info`` may carry a transparent colour.
    background : tuple of three int
        What transparent pixels are composed on, 0 to 255.

    Returns
    -------
    pixels : (H, W, 3) uint8, C order
    notes : Note

    Raises
    ------
    UnsupportedMode
        For 32-bit and float pixels, LAB, HSV and modes unknown here.
    """
    convert, note = _way(image, background)
    if image.mode in _PALETTES:
        note |= Note.PALETTE_EXPANDED
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    columns = min(width, BLOCK_PIXELS)
    rows = BLOCK_PIXELS // columns
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            right, bottom = min(left + columns, width), min(top + rows, height)
            block = image.crop((left, top, right, bottom))
            pixels[top:bottom, left:right] = convert(block)
    return pixels, note


def _way(image: Pillow.Image, background: Background) -> tuple[Convert, Note]:
    """How to convert a block of the image, and the note of what that does to it."""
    if image.mode in _SIXTEEN_BIT:
        is_keyed = image.info.get("transparency") is not None
        note = Note.REDUCED_TO_8_BIT | (Note.ALPHA_COMPOSED if is_keyed else Note.NONE)
        return partial(_from_sixteen_bit, background=background), note
    if _is_transparent(image):
        return partial(_composed, background=background), Note.ALPHA_COMPOSED
    if image.mode == "CMYK":
        # Pillow inverts every four-channel JPEG, as Adobe writes them. Without Adobe's marker
        # nothing says that the inks are inverted, so that is taken back.
        is_jpeg = getattr(image, "format", None) in ("JPEG", "MPO")
        is_inverted = is_jpeg and "adobe" not in image.info
        return _from_inverted_cmyk if is_inverted else _by_pillow, Note.CMYK_CONVERTED
    if image.mode in _CONVERTED:
        return _by_pillow, Note.NONE
    raise UnsupportedMode(_WHY_NOT.get(image.mode, f"mode {image.mode} is not decoded"))


def _by_pillow(block: Pillow.Image) -> Pixels:
    """Of inks, each one's complement is multiplied by black's: no profile."""
    return np.asarray(block if block.mode == "RGB" else block.convert("RGB"))


def _from_inverted_cmyk(block: Pillow.Image) -> Pixels:
    return _by_pillow(Pillow.fromarray(255 - np.asarray(block), "CMYK"))


_CONVERTED = frozenset({"1", "L", "P", "RGB", "RGBX", "YCbCr"})
_WHY_NOT = {
    "F": "pixels are floating-point numbers of unknown range",
    "I": "pixels are 32-bit integers of unknown range",
    "LAB": "LAB colours are not converted",
    "HSV": "HSV colours are not converted",
}


def _is_transparent(image: Pillow.Image) -> bool:
    return image.mode in _WITH_ALPHA or (
        "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
    )


def _composed(block: Pillow.Image, background: Background) -> Pixels:
    """Compose on the background: round((a v + (255 - a) b) / 255) per channel."""
    if block.mode == "1":  # Pillow keys a transparent colour for L and RGB only
        transparency = block.info["transparency"]
        block = block.convert("L")
        block.info["transparency"] = transparency
    rgba = np.asarray(block if block.mode == "RGBA" else block.convert("RGBA"))
    alpha = rgba[..., 3:].astype(np.uint16)  # (rows, W, 1)
    behind = np.array(background, np.uint16)
    total = alpha * rgba[..., :3] + (255 - alpha) * behind  # at most 65,025: fits 16 bit
    composed: Pixels = ((total + 127) // 255).astype(np.uint8)
    return composed


def _from_sixteen_bit(block: Pillow.Image, background: Background) -> Pixels:
    """Reduce grey of 16 bit: round(v * 255 / 65535). 65535 is 257 * 255, and 257 has no halves."""
    values = np.asarray(block)
    grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=2)
    transparent = block.info.get("transparency")
    if transparent is not None:
        pixels[values == transparent] = background
    return pixels
