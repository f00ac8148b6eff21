"""Whether the pixels that a decoder handed out are all there: one check for each format.

A decoder that stops early, or mends what it cannot read, hands out an image of which a part is
grey, black or garbage, and says nothing. Formats that are not in the table have decoders that say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from PIL import Image as Pillow

from deepfeat.images.bmp_runs import fault_in_bmp
from deepfeat.images.jpeg2000_tiles import fault_in_jpeg2000
from deepfeat.images.jpeg_scans import fault_in_jpeg
from deepfeat.images.png_rows import fault_in_png
from deepfeat.images.tiff_parts import fault_in_tiff

_FAULTS: dict[str, Callable[[bytes, Pillow.Image], str | None]] = {
    "JPEG": lambda data, image: fault_in_jpeg(data),
    "PNG": lambda data, image: fault_in_png(data),
    "TIFF": fault_in_tiff,
    "BMP": lambda data, image: fault_in_bmp(data),
    "JPEG2000": lambda data, image: fault_in_jpeg2000(data),
}


def fault_in(format_name: str, data: bytes, image: Pillow.Image) -> str | None:
    """Return what is wrong with the data that the pixels were made of, in words, or None.

    Parameters
    ----------
    format_name : str
        As `signatures.recognise` names it.
    data : bytes
        The file.
    image : PIL.Image.Image
        Loaded from it, not yet converted.

    Raises
    ------
    UnsupportedMode
        For a variant of which nothing could tell.
    """
    finder = _FAULTS.get(format_name)
    return (finder(data, image) if finder else None) or _colour_lacking(image)


def _colour_lacking(image: Pillow.Image) -> str | None:
    """Damaged codes of a GIF or PNG may give pixels of colours that the palette does not have."""
    if image.mode != "P" or image.palette is None:
        return None
    colours = len(image.palette.palette) // len(image.palette.mode)
    _, highest = cast(tuple[int, int], image.getextrema())
    if highest < colours or highest == image.info.get("transparency"):
        return None
    return f"a pixel has colour {highest}, and the palette ends before, with {colours} colours"
