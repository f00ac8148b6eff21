"""Whole images of a known format in a variant that is not decoded here: which one it is.

A file's own fields decide: the frame marker of a JPEG, the first chunk of a PNG, the tags of a
TIFF. The words of a decoder that gave up seldom tell a variant from damage.
"""

from __future__ import annotations

import io
import struct
from functools import cache

from PIL import Image as Pillow
from PIL import TiffImagePlugin

from deepfeat.images.walks import codestream, jpeg_segments, png_chunks, tiff_entries

_JPEG_FRAMES = {  # ITU-T T.81, table B.1; T.87 for JPEG-LS
    0xC3: "lossless JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xDE), "hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA), "JPEG with arithmetic coding"),
    0xCB: "lossless JPEG with arithmetic coding",
    **dict.fromkeys((0xCD, 0xCE, 0xCF), "hierarchical JPEG with arithmetic coding"),
    0xF7: "JPEG-LS",
}
_JPEG_DECODED = frozenset({0xC0, 0xC1, 0xC2})
_BMP_COMPRESSIONS = {
    4: "BMP holding a JPEG",
    5: "BMP holding a PNG",
    **dict.fromkeys((11, 12, 13), "BMP of CMYK inks"),
}
_TIFF_COMPRESSIONS = {  # tag 259
    **dict.fromkeys((9, 10, 34661), "JBIG"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    32766: "NeXT",
    **dict.fromkeys((32895, 32896, 32897, 32898), "IT8"),
    **dict.fromkeys((32908, 32909), "Pixar"),
    **dict.fromkeys((32947, 34713, 65000), "camera raw"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    34715: "JBIG2",
    **dict.fromkeys((34718, 34719, 34720), "Microsoft Document Imaging"),
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    **dict.fromkeys((34926, 50000), "Zstandard"),
    **dict.fromkeys((34927, 50001), "WebP"),
    34933: "PNG",
    48124: "Jetraw",
    **dict.fromkeys((50002, 52546), "JPEG XL"),
}
_TIFF_UNCHECKED = {  # libtiff decodes these, and what they hold could be damaged unseen
    32771: "CCITT RLE of 16-bit words",
    32809: "ThunderScan",
    **dict.fromkeys((34676, 34677), "SGI LogLuv"),
}
_TIFF_COLOURS = {  # tag 262
    **dict.fromkeys((8, 9, 10), "TIFF of LAB colours"),
    **dict.fromkeys((32803, 34892), "camera raw data"),
    **dict.fromkeys((32844, 32845), "TIFF of logarithmic colours"),
}
_TIFF_SAMPLES = {  # tag 339
    2: "TIFF of signed samples",
    3: "TIFF of floating-point samples",
    **dict.fromkeys((5, 6), "TIFF of complex samples"),
}
_JPEG_IN_TIFF = 7
_TIFF_BITS = frozenset({1, 2, 4, 8, 16})


def unsupported_variant(format_name: str, data: bytes) -> str | None:
    """Name the variant for people, or None where the file is of none that is known here.

    Parameters
    ----------
    format_name : str
        The format as `signatures.recognise` names it.
    """
    finder = _FINDERS.get(format_name)
    return finder(data) if finder else None


def _jpeg(data: bytes) -> str | None:
    for marker, start, _, _ in jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            return _JPEG_FRAMES[marker]
        if marker in _JPEG_DECODED and len(data) >= start + 10:
            bits, height, parts = struct.unpack_from(">BHxxB", data, start + 4)
            if bits != 8:
                return f"JPEG of {bits} bit"
            if height == 0:
                return "JPEG that states its height behind its pixels (DNL)"
            return None if parts in (1, 3, 4) else f"JPEG of {parts} components"
    return None


def _png(data: bytes) -> str | None:
    first = next(png_chunks(data), None)
    return "PNG for iOS (CgBI)" if first and first.name == b"CgBI" else None


def _bmp(data: bytes) -> str | None:
    """Read the compression in a header that has one; OS/2's of 64 bytes numbers its own ones."""
    if len(data) < 34 or data[14] in (12, 64):
        return None
    return _BMP_COMPRESSIONS.get(int.from_bytes(data[30:34], "little"))


def tiff_variant(data: bytes) -> str | None:
    """Name what a TIFF's tags say alone: also where it would decode, to other pixels than meant."""
    if data.startswith(b"MM\0+"):
        return "BigTIFF with the high byte first"
    tags = _tags(data)
    if 50706 in tags:
        return "camera raw data (DNG)"
    compression = tags.get(259, (1,))[0]
    if compression in _TIFF_COMPRESSIONS and not _libtiff_has(compression):
        return f"TIFF with {_TIFF_COMPRESSIONS[compression]} compression"
    if compression in _TIFF_UNCHECKED:
        return f"TIFF with {_TIFF_UNCHECKED[compression]} compression"
    if tags.get(254, (0,))[0] & 1:
        return "TIFF whose first page is a reduced copy: camera raw data, or a pyramid"
    if (compression, *(tags.get(tag, (1,))[0] for tag in (266, 284))) == (1, 2, 2):
        return "TIFF of separate planes, uncompressed, the lowest bit first"  # Pillow turns no bits
    colours = tags.get(262, (0,))[0]
    if colours in _TIFF_COLOURS:
        return _TIFF_COLOURS[colours]
    samples = max(tags.get(339, (1,)))
    if samples in _TIFF_SAMPLES:
        return _TIFF_SAMPLES[samples]
    odd = sorted(set(tags.get(258, (1,))) - _TIFF_BITS)
    return f"TIFF of {', '.join(map(str, odd))} bit" if odd else None


def _tiff(data: bytes) -> str | None:
    """Look into a JPEG in its first strip or tile, too, which may be of any variant."""
    variant, tags = tiff_variant(data), _tags(data)
    if variant is None and tags.get(259, (1,))[0] == _JPEG_IN_TIFF:
        at = (tags.get(324) or tags.get(273) or (len(data),))[0]
        variant = _jpeg(data[at : at + (1 << 16)])
        return variant and f"TIFF holding {variant}"
    return variant


def _tags(data: bytes) -> dict[int, tuple[int, ...]]:
    """Whole-numbered tags with their first values; the first of a kind counts."""
    tags: dict[int, tuple[int, ...]] = {}
    for entry in tiff_entries(data):
        if entry.values:
            tags.setdefault(entry.tag, entry.values)
    return tags


@cache
def _libtiff_has(compression: int) -> bool:
    """Try it with a small image: what libtiff was built with cannot be asked for."""
    name = TiffImagePlugin.COMPRESSION_INFO.get(compression)
    if name is None:
        return False
    try:
        Pillow.new("RGB", (8, 8)).save(io.BytesIO(), "TIFF", compression=name)
    except Exception:  # whatever an encoder raises says that it is not there
        return False
    return True


def _jpeg2000(data: bytes) -> str | None:
    """Read the SIZ segment (ITU-T T.800, A.5.1)."""
    at = codestream(data)
    if at is None or len(data) < at + 42:
        return None
    (count,) = struct.unpack_from(">H", data, at + 40)
    parts = data[at + 42 : at + 42 + 3 * count]
    if not 1 <= count <= 4:
        return f"JPEG 2000 of {count} components"
    bits = max((part & 0x7F) + 1 for part in parts[::3] or b"\x07")
    if bits > 16:
        return f"JPEG 2000 of {bits} bit"
    return "JPEG 2000 of subsampled components" if set(parts[1::3] + parts[2::3]) > {1} else None


_FINDERS = {"JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "TIFF": _tiff, "JPEG2000": _jpeg2000}
