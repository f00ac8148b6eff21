"""What a file is, by its first bytes and never by its name: one table of signatures.

A name may lie, and some decoders execute what they are given (PostScript), so nothing is handed to
a decoder before this table has recognised a format that is decoded here. Sources: the formats' own
specifications; for the boxes of AVIF and HEIC, ISO/IEC 23008-12 annex B (brands).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import Enum

HEAD_BYTES = 512


class Kind(Enum):
    """What can be done with a recognised file."""

    DECODED = "decoded"
    UNSUPPORTED = "an image that is not decoded here"
    NOT_AN_IMAGE = "not an image"


@dataclass(frozen=True, slots=True)
class Signature:
    """One row: a name, what is done with it, and the pattern its first bytes match."""

    name: str
    kind: Kind
    pattern: re.Pattern[bytes]


def _row(name: str, kind: Kind, pattern: bytes) -> Signature:
    return Signature(name, kind, re.compile(pattern, re.DOTALL))


_D, _U, _N = Kind.DECODED, Kind.UNSUPPORTED, Kind.NOT_AN_IMAGE

# A comment matches in one way only, and its repetition begins with another byte than what may
# follow: so nothing is tried twice, whatever the bytes are.
_SVG = rb"\s*(?:<!--(?:[^-]|-(?!->))*-->\s*)*(?:<(?:\?xml|!DOCTYPE svg).*?)?<svg\b"

SIGNATURES: tuple[Signature, ...] = (  # the first match counts
    _row("JPEG", _D, rb"\xff\xd8\xff"),
    _row("PNG", _D, rb"\x89PNG\r\n\x1a\n"),
    _row("GIF", _D, rb"GIF8[79]a"),
    _row("WEBP", _D, rb"RIFF....WEBP"),
    _row("Canon raw", _U, rb"II\*\x00....CR"),
    _row("TIFF", _D, rb"II[*+]\x00|MM\x00[*+]"),
    _row("BMP", _D, rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00{3}"),
    _row("PPM", _D, rb"P[1-6](?:\s+[\d#]|#)"),
    _row("JPEG2000", _D, rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    _row("AVIF", _D, rb"....ftyp(?:avi[fs]|(?:mif1|msf1|miaf).{4}(?:.{4}){0,8}?avi[fs])"),
    _row("HEIC", _U, rb"....ftyp(?:he[iv][cxms]|mif1|msf1|miaf)"),
    _row("JPEG XL", _U, rb"\xff\x0a|\x00\x00\x00\x0cJXL "),
    _row("Photoshop", _U, rb"8BPS"),
    _row("icon", _U, rb"\x00\x00[\x01\x02]\x00[\x01-\x40]\x00"),
    _row("MNG or JNG", _U, rb"\x8aMNG|\x8bJNG"),
    _row("QOI", _U, rb"qoif"),
    _row("OpenEXR", _U, rb"\x76\x2f\x31\x01"),
    _row("Radiance HDR", _U, rb"#\?(?:RADIANCE|RGBE)"),
    _row("DDS", _U, rb"DDS "),
    _row("FITS", _U, rb"SIMPLE  ="),
    _row("GIMP", _U, rb"gimp xcf"),
    _row("Apple icon", _U, rb"icns"),
    _row("DjVu", _U, rb"AT&TFORM"),
    _row("JPEG XR", _U, rb"II\xbc"),
    _row("PAM or PFM", _U, rb"P[7Ff]\s"),
    _row("Fujifilm raw", _U, rb"FUJIFILMCCD-RAW"),
    _row("Olympus or Panasonic raw", _U, rb"IIRO|IIRS|MMOR|IIU\x00"),
    _row("PDF", _N, rb"%PDF"),
    _row("PostScript", _N, rb"%!PS|\xc5\xd0\xd3\xc6|\x04%!PS"),
    _row("SVG", _N, _SVG),
    _row("HTML", _N, rb"(?i:\s*(?:<!doctype html|<html|<head|<body))"),
    _row("XML", _N, rb"(?:\xef\xbb\xbf)?\s*<\?xml"),
    _row("a pointer of Git LFS, not the file itself", _N, rb"version https://git-lfs"),
    _row("ZIP", _N, rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"),
    _row("gzip", _N, rb"\x1f\x8b"),
    _row("bzip2", _N, rb"BZh[1-9]"),
    _row("xz", _N, rb"\xfd7zXZ"),
    _row("7-Zip", _N, rb"7z\xbc\xaf"),
    _row("RAR", _N, rb"Rar!"),
    _row("tar", _N, rb".{257}ustar"),
    _row("HDF5", _N, rb"\x89HDF\r\n\x1a\n"),
    _row("a video", _N, rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |\x00\x00\x01[\xb3\xba]"),
    _row("a sound", _N, rb"RIFF....WAVE|ID3|OggS|fLaC"),
    _row("a program", _N, rb"\x7fELF|MZ"),
)
TARGA_FOOTER = b"TRUEVISION-XFILE.\x00"

FORMAT_OF: dict[str, str] = {  # lower-case extension -> the format it promises
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif", "jfi", "mpo"), "JPEG"),
    **dict.fromkeys(("png", "apng"), "PNG"),
    "gif": "GIF",
    "webp": "WEBP",
    **dict.fromkeys(("tif", "tiff"), "TIFF"),
    **dict.fromkeys(("bmp", "dib"), "BMP"),
    **dict.fromkeys(("ppm", "pgm", "pbm", "pnm"), "PPM"),
    **dict.fromkeys(("jp2", "j2k", "j2c", "jpc", "jpf", "jpx"), "JPEG2000"),
    **dict.fromkeys(("avif", "avifs"), "AVIF"),
    **dict.fromkeys(("heic", "heif", "hif"), "HEIC"),
    "jxl": "JPEG XL",
}


def recognise(data: bytes, name: str = "") -> tuple[str, Kind]:
    """Name the contents of a file.

    Parameters
    ----------
    data : bytes
        The whole file, or at least its first `HEAD_BYTES`.
    name : str
        Used for Targa alone, which has no signature at its start and need not have one at its end.

    Returns
    -------
    name, kind : str, Kind
        ``("JPEG", Kind.DECODED)``; ``("text", Kind.NOT_AN_IMAGE)`` where nothing matched.
    """
    head = data[:HEAD_BYTES]
    for row in SIGNATURES:
        if row.pattern.match(head):
            return row.name, row.kind
    if data.endswith(TARGA_FOOTER) or name.lower().endswith(".tga"):
        return "Targa", Kind.UNSUPPORTED
    return ("text" if _is_text(head) else "unknown bytes"), Kind.NOT_AN_IMAGE


def promised_format(name: str) -> str | None:
    """Return the format that a file's extension promises, or None where it promises nothing."""
    return FORMAT_OF.get(name.rpartition(".")[2].lower()) if "." in name else None


def size_in_header(name: str, data: bytes) -> tuple[int, int] | None:
    """Return (height, width) as the header states them, for formats that state them early."""
    layout = {"PNG": (16, ">II"), "GIF": (6, "<HH"), "BMP": (18, "<ii")}.get(name)
    if layout is None or len(data) < layout[0] + struct.calcsize(layout[1]):
        return None
    width, height = struct.unpack_from(layout[1], data, layout[0])
    return abs(height), abs(width)


def _is_text(head: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 27 for byte in head)
