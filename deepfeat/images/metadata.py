"""A file's metadata and what depends on them: one walk a format, which yields them part by part.

No pixel depends on comments, times, resolutions or profiles (these are never applied), so their
damage is none of the image's. A damaged part that pixels do depend on is: a transparent colour,
Adobe's marker where it alone says what the inks are, a tag of a TIFF's layout.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from deepfeat.images.walks import boxes, jpeg_segments, png_chunks, riff_chunks, tiff_entries

MOST_PARTS = 1 << 14  # of one file; a decoder gets more than these as they are


class Role(Enum):
    """What depends on a part, and whether it is whole."""

    REST = "nothing"
    UPRIGHT = "it may say which side is up"
    DAMAGED = "nothing, and it is damaged"
    LOST = "pixels, and it is damaged"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the file, what depends on it, and the bytes that stand for its absence."""

    name: str
    start: int
    end: int
    role: Role
    instead: bytes = b""


_MOST_INFLATED = 1 << 20  # of one chunk; Pillow refuses more
_MOST_TRIED = 64  # chunks of one file that are inflated to see whether they are whole
_PNG_LENGTHS = {  # ancillary chunks: fewest and most bytes
    b"acTL": (8, 8),
    b"bKGD": (1, 6),
    b"cHRM": (32, 32),
    b"cICP": (4, 4),
    b"cLLI": (8, 8),
    b"eXIf": (8, 1 << 31),
    b"fcTL": (26, 26),
    b"fdAT": (4, 1 << 31),
    b"gAMA": (4, 4),
    b"hIST": (2, 512),
    b"iCCP": (3, 1 << 31),
    b"mDCV": (24, 24),
    b"pHYs": (9, 9),
    b"sBIT": (1, 4),
    b"sRGB": (1, 1),
    b"tIME": (7, 7),
}
_PNG_ONCE = _PNG_LENGTHS.keys() - {b"fcTL", b"fdAT"} | {b"tRNS"}
_PNG_PIXELS = (b"IDAT", b"PLTE", b"tRNS")
_PNG_PACKED = frozenset({b"iCCP", b"iTXt", b"zTXt"})
_PNG_UPRIGHT = (b"XML:com.adobe.xmp\0", b"Raw profile type ")
_PNG_TEXT_TAKEN = re.compile(  # keywords that Pillow would take for what the pixels' chunks say
    rb"(?:bbox|blend|default_image|disposal|exif|icc_profile|interlace|transparency)(?:\0|$)"
)


def _png(data: bytes) -> Iterator[Part]:
    """A lower-case first letter says that a chunk is not needed for the pixels; tRNS is, here."""
    seen: set[bytes] = set()
    tried = 0
    for name, start, body, end in png_chunks(data):
        if not name[0] & 0x20:
            seen.add(name)
            continue
        is_cut = end > len(data)
        if is_cut and b"IDAT" not in seen:
            return
        contents = data[body : min(end, len(data)) - 4]
        crc = int.from_bytes(data[end - 4 : end], "big")
        is_sound = not is_cut and zlib.crc32(contents, zlib.crc32(name)) == crc
        if name == b"tRNS":
            if not is_sound or name in seen:
                yield Part("tRNS", start, end, Role.LOST)
        elif not is_sound and any(zlib.crc32(contents, zlib.crc32(n)) == crc for n in _PNG_PIXELS):
            yield Part("a chunk with a damaged name", start, end, Role.LOST)
        elif not is_sound or name in seen or not _is_whole_chunk(name, contents, tried):
            yield Part(_printable(name), start, end, Role.DAMAGED)
        else:
            upright = name == b"eXIf" or contents.startswith(_PNG_UPRIGHT)
            yield Part(_printable(name), start, end, Role.UPRIGHT if upright else Role.REST)
        tried += name in _PNG_PACKED
        if name in _PNG_ONCE:
            seen.add(name)


def _is_whole_chunk(name: bytes, contents: bytes, tried: int) -> bool:
    least, most = _PNG_LENGTHS.get(name, (0, 1 << 31))
    if not least <= len(contents) <= most:
        return False
    if name in (b"tEXt", b"zTXt", b"iTXt") and _PNG_TEXT_TAKEN.match(contents):
        return False
    if name not in _PNG_PACKED or tried >= _MOST_TRIED:
        return True
    _, _, rest = contents.partition(b"\0")
    if name in (b"iCCP", b"zTXt"):
        return rest[:1] == b"\0" and _inflates(rest[1:])
    text = rest[2:].split(b"\0", 2)  # language, translated keyword, text
    is_packed = rest[:1] != b"\0"
    return len(text) == 3 and (not is_packed or (rest[1:2] == b"\0" and _inflates(text[2])))


def _inflates(packed: bytes) -> bool:
    """Whether it is a whole zlib stream of no more than a decoder takes."""
    try:
        stream = zlib.decompressobj()
        stream.decompress(packed, _MOST_INFLATED)
    except zlib.error:
        return False
    return stream.eof


def _printable(name: bytes) -> str:
    return ascii(name)[2:-1]


_COMMENT, _START_OF_IMAGE = 0xFE, 0xD8
_SHORTEST = {  # marker -> (what its contents begin with, their least length)
    0xE0: (b"JFIF\0", 14),
    0xE1: (b"Exif\0\0", 14),
    0xE2: (b"ICC_PROFILE\0", 15),
    0xEE: (b"Adobe", 12),
}
_DECIDE_COLOURS, _JFIF_OR_ADOBE = (0xE0, 0xEE), (b"JFIF\0", b"Adobe")
_UPRIGHT = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")
_PHOTOSHOP = b"Photoshop 3.0\0"
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})


def _jpeg(data: bytes) -> Iterator[Part]:
    """APPn and COM; of these JFIF and Adobe, where whole, decide colours and stay."""
    has_jfif, components, photoshops, found = False, 0, 0, []
    for segment in islice(jpeg_segments(data), MOST_PARTS):
        marker, start, end, _ = segment
        if marker == _START_OF_IMAGE:  # of a preview, in a segment whose length is wrong
            yield Part("the place of the image", start, end, Role.LOST)
        contents = data[start + 4 : end]
        is_short = _is_short(marker, contents)
        if marker in _FRAMES:
            components = data[start + 9] if start + 9 < len(data) else 0
        elif marker in _DECIDE_COLOURS and not is_short and contents.startswith(_JFIF_OR_ADOBE):
            has_jfif |= marker == 0xE0
        elif 0xE0 <= marker <= 0xEF or marker == _COMMENT:
            photoshops += contents.startswith(_PHOTOSHOP)
            found.append((segment, contents, is_short))
    decides = components == 4 or (components == 3 and not has_jfif)
    for (marker, start, end, following), contents, is_short in found:
        role = Role.REST
        if marker == 0xEE and is_short:
            role = Role.LOST if decides else Role.DAMAGED
        elif data[end:following].strip(b"\xff"):  # its length is wrong: the rest may be a preview
            role = Role.LOST if b"\xff\xd8\xff" in data[start : following + 1] else Role.DAMAGED
        elif is_short or (photoshops == 1 and not _is_whole_photoshop(contents)):
            role = Role.DAMAGED
        elif contents.startswith(_UPRIGHT):
            role = Role.UPRIGHT
        name = "COM" if marker == _COMMENT else f"APP{marker - 0xE0}"
        yield Part(name, start, following, role)


def _is_short(marker: int, contents: bytes) -> bool:
    """Whether it begins as a kind that has a shortest length and is shorter, its name even."""
    name, length = _SHORTEST.get(marker, (b"", 0))
    return name.startswith(contents[: len(name)]) and len(contents) < length


def _is_whole_photoshop(contents: bytes) -> bool:
    """Whether the resources end within the segment; one alone is never continued in another."""
    if not contents.startswith(_PHOTOSHOP):
        return True
    at = len(_PHOTOSHOP)
    while contents[at : at + 4] == b"8BIM":
        if at + 12 > len(contents):
            return False
        at += 6 + (contents[at + 6] // 2 + 1) * 2  # the name with its length is padded
        length = int.from_bytes(contents[at : at + 4], "big")
        at += 4 + length
        if at > len(contents):
            return False
        at += length % 2
    return at >= len(contents) or not b"8BIM".startswith(contents[at:])


def _webp(data: bytes) -> Iterator[Part]:
    """Unknown chunks are passed over, so a chunk is left out by its name; a cut one is cut off."""
    has_pixels = False
    for name, start, body, end in riff_chunks(data):
        has_pixels |= name in (b"VP8 ", b"VP8L", b"ANMF")
        if name in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            continue
        if end > len(data):
            if has_pixels:
                size = (start - 8).to_bytes(4, "little")
                yield Part("RIFF", 4, 8, Role.DAMAGED, size)
                yield Part(_printable(name), start, len(data), Role.DAMAGED)
            return
        role = Role.UPRIGHT if name in (b"EXIF", b"XMP ") else Role.REST
        yield Part(_printable(name), start, body - 4, role, b"none")


_GIF_COMMENT, _GIF_APPLICATION = 0xFE, 0xFF


def _gif(data: bytes) -> Iterator[Part]:
    """Comments and applications' extensions ahead of the first image."""
    if len(data) < 13:
        return
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at + 3 <= len(data) and data[at] == 0x21:
        start, label, first = at, data[at + 1], data[at + 2]
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
        if label == _GIF_COMMENT:
            yield Part("comment", start, at, Role.REST)
        elif label == _GIF_APPLICATION:
            role = Role.REST if first == 11 else Role.DAMAGED
            yield Part("application's extension", start, at, role)


_TIFF_NEEDED = frozenset(
    {
        *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 284, 292, 293, 317),
        *(320, 322, 323, 324, 325, 332, 334, 336, 338, 339, 340, 341, 347),
        *(512, 513, 514, 515, 517, 519, 520, 521, 529, 530, 531, 532, 0xBC01, 50706),
    }
)
_TIFF_ORIENTATION = 274


def _tiff(data: bytes) -> Iterator[Part]:
    """An entry is left out by another's copy in its place: the first of a kind counts."""
    copied = b""
    for tag, start, end, place, size, _ in tiff_entries(data):
        is_outside = size < 0 or place + size > len(data)
        if tag in _TIFF_NEEDED:
            copied = data[start:end]
            if is_outside:
                yield Part(f"tag {tag}", start, end, Role.LOST)
        elif copied:  # tags rise, so the first entry is of one that is needed
            role = Role.UPRIGHT if tag == _TIFF_ORIENTATION else Role.REST
            yield Part(f"tag {tag}", start, end, Role.DAMAGED if is_outside else role, copied)


def _jpeg2000(data: bytes) -> Iterator[Part]:
    """Boxes that need not be there; unknown ones are passed over, so a name is enough."""
    for name, start, body, end in boxes(data, 0, len(data)):
        if name == b"jp2h":
            for inner in boxes(data, body, end):
                if inner.name == b"res ":
                    yield Part("res", inner.start + 4, inner.start + 8, Role.REST, b"none")
        elif name == b"jp2c":
            return
        elif name not in (b"jP  ", b"ftyp"):
            yield Part(_printable(name), start + 4, start + 8, Role.REST, b"none")


_AVIF_EXIF = re.compile(rb"infe[\x02\x03]...(?:..|....)..(Exif)", re.DOTALL)


def _avif(data: bytes) -> Iterator[Part]:
    """EXIF never says which side is up: a property of the image does."""
    for name, _, body, end in boxes(data, 0, len(data)):
        if name == b"meta":
            for item in _AVIF_EXIF.finditer(data, body, min(end, len(data))):
                yield Part("Exif", item.start(1), item.end(1), Role.REST, b"none")


WALKS: dict[str, Callable[[bytes], Iterator[Part]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
    "TIFF": _tiff,
    "JPEG2000": _jpeg2000,
    "AVIF": _avif,
}
