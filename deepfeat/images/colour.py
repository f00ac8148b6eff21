"""Every colour mode becomes 8-bit RGB by one row of a table, with a note of what was done.

Nothing is scaled by an image's own extremes: a mode either has a range of its own (1, 8 or 16 bit)
or it is not decoded. Transparent pixels are composed on a background, because the colours hidden
under them are arbitrary. ICC profiles are not applied.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from deepfeat.status import Note

Background = tuple[int, int, int]
Pixels = NDArray[np.uint8]
BLOCK_PIXELS = 1 << 20  # arithmetic in 16 and 32 bit goes block by block: memory stays bounded

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
    note = Note.PALETTE_EXPANDED if image.mode in _PALETTES else Note.NONE
    if image.mode in _SIXTEEN_BIT:
        pixels, more = _from_sixteen_bit(image, background)
    elif _is_transparent(image):
        pixels, more = _composed(image, background)
    elif image.mode in _CONVERSIONS:
        pixels, more = _CONVERSIONS[image.mode](image)
    else:
        raise UnsupportedMode(_WHY_NOT.get(image.mode, f"mode {image.mode} is not decoded"))
    return pixels, note | more


def _by_pillow(image: Pillow.Image) -> tuple[Pixels, Note]:
    return np.array(image.convert("RGB")), Note.NONE


def _as_is(image: Pillow.Image) -> tuple[Pixels, Note]:
    return np.array(image), Note.NONE


def _from_cmyk(image: Pillow.Image) -> tuple[Pixels, Note]:
    """Multiply each ink's complement by black's: the same arithmetic as Pillow's, no profile.

    Pillow inverts every four-channel JPEG, as Adobe writes them. Without Adobe's marker nothing
    says that the inks are inverted, so that is taken back.
    """
    if getattr(image, "format", None) in ("JPEG", "MPO") and "adobe" not in image.info:
        image = Pillow.fromarray(255 - np.asarray(image), "CMYK")
    return np.array(image.convert("RGB")), Note.CMYK_CONVERTED


_CONVERSIONS: dict[str, Callable[[Pillow.Image], tuple[Pixels, Note]]] = {
    "1": _by_pillow,
    "L": _by_pillow,
    "P": _by_pillow,
    "RGB": _as_is,
    "RGBX": _by_pillow,
    "YCbCr": _by_pillow,
    "CMYK": _from_cmyk,
}
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


def _composed(image: Pillow.Image, background: Background) -> tuple[Pixels, Note]:
    """Compose on the background: round((a v + (255 - a) b) / 255) per channel."""
    if image.mode == "1":  # Pillow keys a transparent colour for L and RGB only
        transparency = image.info["transparency"]
        image = image.convert("L")
        image.info["transparency"] = transparency
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    width, height = rgba.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, BLOCK_PIXELS // width)
    behind = np.array(background, np.uint16)
    for top in range(0, height, rows):
        block = np.asarray(rgba.crop((0, top, width, min(top + rows, height))))
        alpha = block[..., 3:].astype(np.uint16)  # (rows, W, 1)
        total = alpha * block[..., :3] + (255 - alpha) * behind  # at most 65,025: fits 16 bit
        pixels[top : top + rows] = (total + 127) // 255
    return pixels, Note.ALPHA_COMPOSED


def _from_sixteen_bit(image: Pillow.Image, background: Background) -> tuple[Pixels, Note]:
    """Reduce grey of 16 bit: round(v * 255 / 65535). 65535 is 257 * 255, and 257 has no halves."""
    values = np.asarray(image)
    pixels = np.empty((*values.shape, 3), np.uint8)
    rows = max(1, BLOCK_PIXELS // values.shape[1])
    for top in range(0, values.shape[0], rows):
        block = values[top : top + rows].astype(np.uint32)
        pixels[top : top + rows] = ((block + 128) // 257)[..., None]
    transparent = image.info.get("transparency")
    if transparent is None:
        return pixels, Note.REDUCED_TO_8_BIT
    pixels[values == transparent] = background
    return pixels, Note.REDUCED_TO_8_BIT | Note.ALPHA_COMPOSED
