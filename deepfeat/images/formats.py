"""What is peculiar to each decoded format: who opens it, and what only its header says.

Pillow's own search through all its plug-ins is never used: it would try decoders nobody asked for.
A format is opened by the one class that stands in the table here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as Pillow

from deepfeat.images.colour import UnsupportedMode
from deepfeat.images.variants import tiff_variant
from deepfeat.images.walks import codestream, png_chunks
from deepfeat.status import Note

OPENERS: dict[str, Callable[[io.BytesIO], Pillow.Image]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,  # gives the first image of an MPO, too
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}

_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _PHOTOMETRIC = 256, 257, 258, 262
_WHITE_IS_ZERO = 0


@dataclass(frozen=True, slots=True)
class Header:
    """What is known before any pixel is decoded.

    Parameters
    ----------
    size : tuple of two int
        (height, width) as stored, before orientation.
    bits : int
        Bits of the deepest channel, as far as the header says; 8 otherwise.
    turns_by_itself : bool
        Pillow applies the orientation of this format while loading.
    """

    size: tuple[int, int]
    bits: int
    turns_by_itself: bool


def read_header(image: Pillow.Image, data: bytes) -> Header:
    """Look at an opened image before it is loaded.

    Raises
    ------
    UnsupportedMode
        Where the format's variant would decode to something other than the image that is meant.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _tiff_header(image, data)
    bits = 8
    if isinstance(image, PngImagePlugin.PngImageFile):
        bits = data[24]
        take_transparency(image, data)
        if bits == 16 and image.mode == "RGB" and "transparency" in image.info:
            # Pillow hands out the high bytes; other colours than the transparent one share them.
            raise UnsupportedMode("PNG of 16 bit with a transparent colour")
    elif isinstance(image, PpmImagePlugin.PpmImageFile):
        bits = 16 if image.mode.startswith("I") or _ppm_maximum(image) > 255 else 8
    elif isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile):
        bits = _jpeg2000_bits(data)
    return Header((image.height, image.width), bits, turns_by_itself=False)


def take_transparency(image: Pillow.Image, data: bytes | None = None) -> None:
    """Give a PNG that is not loaded the transparency that its tRNS means (third edition, 11.3.1.1).

    Only as many low bits count as a sample has. Pillow takes all of them, does not scale a grey
    as it scales the samples, and takes text named so for transparency. Without ``data`` they are
    read from the image's own file.
    """
    if not isinstance(image, PngImagePlugin.PngImageFile) or not image.tile or image.fp is None:
        return
    if data is None:
        place = image.fp.tell()
        image.fp.seek(0)
        data = image.fp.read()
        image.fp.seek(place)
    image.info.pop("transparency", None)
    key = next((data[c.body : c.end - 4] for c in png_chunks(data) if c.name == b"tRNS"), None)
    if key is None:
        return
    most = (1 << data[24]) - 1
    values = [value & most for (value,) in struct.iter_unpack(">H", key[: len(key) // 2 * 2])]
    if image.mode == "P":
        image.info["transparency"] = key
    elif image.mode == "RGB":
        image.info["transparency"] = tuple(values[:3])
    elif image.mode in ("1", "L"):
        image.info["transparency"] = values[0] * (255 // most)
    elif image.mode == "I;16":
        image.info["transparency"] = values[0]


def with_range_of_format(image: Pillow.Image) -> Pillow.Image:
    """Give loaded pixels the range and the alpha that only their format knows.

    16-bit grey gets the mode that says so (0 black). A BMP whose alpha is 0 throughout has none:
    many programs leave the fourth byte empty.
    """
    if isinstance(image, PpmImagePlugin.PpmImageFile) and image.mode == "I":
        return image.convert("I;16")  # Pillow scales to 65,535
    is_tiff = isinstance(image, TiffImagePlugin.TiffImageFile)
    if is_tiff and image.mode.startswith("I;16") and _is_white_zero(image):
        # Pillow inverts this for 8 bit only.
        return Pillow.fromarray(65535 - np.asarray(image).astype(np.uint16))
    is_bmp = isinstance(image, BmpImagePlugin.BmpImageFile)
    if is_bmp and image.mode == "RGBA" and image.getchannel("A").getbbox() is None:
        return image.convert("RGB")  # drops alpha and composes nothing
    return image


def _is_white_zero(image: Pillow.Image) -> bool:
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def _tiff_header(image: TiffImagePlugin.TiffImageFile, data: bytes) -> Header:
    variant = tiff_variant(data)
    if variant:  # some of them decode, to other pixels than are meant
        raise UnsupportedMode(variant)
    tags = image.tag_v2
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
    return Header((tags[_HEIGHT], tags[_WIDTH]), bits, turns_by_itself=True)


def _ppm_maximum(image: Pillow.Image) -> int:
    arguments = image.tile[0].args if isinstance(image, PpmImagePlugin.PpmImageFile) else ()
    last = arguments[-1] if isinstance(arguments, tuple) and arguments else 255
    return last if isinstance(last, int) else 255


def _jpeg2000_bits(data: bytes) -> int:
    """Read Ssiz of the first component in the SIZ segment (ITU-T T.800, A.5.1)."""
    start = codestream(data)
    place = len(data) if start is None else start + 2 + 40
    return (data[place] & 0x7F) + 1 if place < len(data) else 8


def note_of_depth(header: Header) -> Note:
    """Say that channels were reduced to 8 bit; float and 32-bit pixels are refused elsewhere."""
    return Note.REDUCED_TO_8_BIT if header.bits > 8 else Note.NONE
