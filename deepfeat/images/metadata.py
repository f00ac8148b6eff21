"""A file's metadata and what depends on them: one walk a format, which yields them part by part.

No pixel depends on comments, times, resolutions or profiles (these are never applied), so their
damage is none of the image's. A damaged part that pixels do depend on is: a transparent colour,
Adobe's marker where it alone says what the inks are, a tag of a TIFF's layout. A part is left out
only where the rest shows that it is one: a walk that ran out of step takes pixels for metadata.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

from deepfeat.images.parts import MOST_PARTS, Part, Role
from deepfeat.images.png_metadata import png_parts, printable
from deepfeat.images.walks import Entry, boxes, jpeg_segments, riff_chunks, tiff_entries

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
_HOLD_PREVIEWS = (b"Exif\0\0", _PHOTOSHOP)
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
        elif contents.startswith(_HOLD_PREVIEWS) and contents.endswith(b"\xff\xd8"):
            role = Role.LOST  # it ends too early: what follows are the segments of its preview
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


_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_WEBP_NEEDED = _WEBP_PIXELS | {b"VP8X", b"ALPH", b"ANIM"}
_WEBP_METADATA = {b"EXIF": Role.UPRIGHT, b"XMP ": Role.UPRIGHT, b"ICCP": Role.REST}


def _webp(data: bytes) -> Iterator[Part]:
    """Unknown chunks are passed over, so a chunk is left out by its name; a cut one is cut off.

    Nothing is taken for a chunk from where the walk may be out of step, bytes being lost.
    """
    stated = 8 + int.from_bytes(data[4:8], "little")
    has_pixels = False
    for name, start, body, end in riff_chunks(data):
        if name in _WEBP_NEEDED and end <= len(data):
            has_pixels |= name in _WEBP_PIXELS
        elif name not in _WEBP_METADATA:
            if not has_pixels and name not in _WEBP_NEEDED:  # it may be the first of the frames
                yield Part(f"the chunk {printable(name)}", start, end, Role.LOST)
            return
        elif end <= len(data):
            yield Part(printable(name), start, body - 4, _WEBP_METADATA[name], b"none")
        else:
            is_file_cut = len(data) < stated and end <= stated + stated % 2
            if has_pixels and (is_file_cut or len(data) == stated):
                size = (start - 8).to_bytes(4, "little")
                yield Part("RIFF", 4, 8, Role.DAMAGED, size)
                yield Part(printable(name), start, len(data), Role.DAMAGED)
            return


_GIF_EXTENSION, _GIF_IMAGE, _GIF_COMMENT, _GIF_APPLICATION = 0x21, 0x2C, 0xFE, 0xFF
_GIF_LABELS = frozenset({0x01, 0xF9, _GIF_COMMENT, _GIF_APPLICATION})


def _gif(data: bytes) -> Iterator[Part]:
    """Comments and applications' extensions ahead of the first image, and the colours of this.

    A block of no known kind says that bytes are lost: decoders look for an image behind it, and
    may find another one. Without a table of colours they make one up.
    """
    if len(data) < 13:
        return
    hidden = b"\x2c\0\0\0\0" + data[6:10]  # the head of an image as large as the screen
    has_colours = data[10] & 0x80 > 0
    at = 13 + (3 << (data[10] & 7) + 1 if has_colours else 0)
    while at + 3 <= len(data) and data[at] == _GIF_EXTENSION:
        start, label, first = at, data[at + 1], data[at + 2]
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
        if label not in _GIF_LABELS or data.find(hidden, start, at) >= 0:
            yield Part("the order of the blocks", start, at, Role.LOST)
            return
        if label == _GIF_COMMENT:
            yield Part("comment", start, at, Role.REST)
        elif label == _GIF_APPLICATION:
            role = Role.REST if first == 11 else Role.DAMAGED
            yield Part("application's extension", start, at, role)
    if at + 10 > len(data):
        return
    if data[at] != _GIF_IMAGE:
        yield Part("the order of the blocks", at, at + 1, Role.LOST)
    elif not has_colours and not data[at + 9] & 0x80:
        yield Part("the table of colours", at, at + 10, Role.LOST)


_TIFF_NEEDED = frozenset(
    {
        *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 284, 292, 293, 317),
        *(320, 322, 323, 324, 325, 332, 334, 336, 338, 339, 340, 341, 347),
        *(512, 513, 514, 515, 517, 519, 520, 521, 529, 530, 531, 532, 0xBC01, 50706),
    }
)
_TIFF_ORIENTATION = 274
_TIFF_PLACES, _TIFF_COUNTS = (273, 324), (279, 325)


def _tiff(data: bytes) -> Iterator[Part]:
    """An entry is left out by another's copy in its place: the first of a kind counts.

    Where directory, pixels and values follow one another, values that end behind the file say that
    bytes are lost: maybe of the pixels, whose last row would end in these values.
    """
    entries = list(islice(tiff_entries(data), MOST_PARTS))
    pixels_end = sum(_last_value(data, entries, tags) for tags in (_TIFF_PLACES, _TIFF_COUNTS))
    ends = {pixels_end, *(e.place + e.size for e in entries if e.place >= pixels_end)}
    copied = b""
    for tag, start, end, place, size, _ in entries:
        is_outside = size < 0 or place + size > len(data)
        if tag in _TIFF_NEEDED:
            copied = data[start:end]
            if is_outside:
                yield Part(f"tag {tag}", start, end, Role.LOST)
        elif is_outside and end <= pixels_end <= place < len(data) and ends & {place, place - 1}:
            yield Part("the length of the file", start, end, Role.LOST)
        elif copied:  # tags rise, so the first entry is of one that is needed
            role = Role.UPRIGHT if tag == _TIFF_ORIENTATION else Role.REST
            yield Part(f"tag {tag}", start, end, Role.DAMAGED if is_outside else role, copied)


def _last_value(data: bytes, entries: list[Entry], tags: tuple[int, ...]) -> int:
    """The last of an entry's values, 0 where there is none: of many, `Entry` has the first ones."""
    order: Literal["big", "little"] = "big" if data[:2] == b"MM" else "little"
    for entry in entries:
        if entry.tag in tags:
            kind = int.from_bytes(data[entry.start + 2 : entry.start + 4], order)
            unit = {3: 2, 4: 4, 13: 4, 16: 8, 18: 8}.get(kind, 0)
            end = entry.place + entry.size
            return int.from_bytes(data[end - unit : end], order)
    return 0


_JPEG2000_PASSED_OVER = frozenset({b"xml ", b"uuid", b"uinf", b"jp2i", b"asoc", b"nlst", b"lbl "})


def _jpeg2000(data: bytes) -> Iterator[Part]:
    """Boxes that need not be there; unknown ones are passed over, so a name is enough."""
    for name, start, body, end in boxes(data, 0, len(data)):
        if name == b"jp2h":
            inside = list(islice(boxes(data, body, end), MOST_PARTS))
            for inner in inside if inside and inside[-1].end == end else ():
                if inner.name == b"res ":
                    yield Part("res", inner.start + 4, inner.start + 8, Role.REST, b"none")
        elif name in _JPEG2000_PASSED_OVER and end <= len(data):
            yield Part(printable(name), start + 4, start + 8, Role.REST, b"none")
        elif name not in (b"jP  ", b"ftyp"):
            return  # the pixels, or bytes that belong to nothing


_AVIF_EXIF = re.compile(rb"infe[\x02\x03]...(?:..|....)..(Exif)", re.DOTALL)


def _avif(data: bytes) -> Iterator[Part]:
    """EXIF never says which side is up: a property of the image does.

    Where the boxes do not end with the file, bytes are lost, and may be lost among the pixels.
    """
    found = list(islice(boxes(data, 0, len(data)), MOST_PARTS))
    if not found or found[-1].end != len(data) or data.startswith(bytes(4), found[-1].start):
        return
    for name, _, body, end in found:
        if name == b"meta":
            for item in _AVIF_EXIF.finditer(data, body, end):
                yield Part("Exif", item.start(1), item.end(1), Role.REST, b"none")


WALKS: dict[str, Callable[[bytes], Iterator[Part]]] = {
    "JPEG": _jpeg,
    "PNG": png_parts,
    "WEBP": _webp,
    "GIF": _gif,
    "TIFF": _tiff,
    "JPEG2000": _jpeg2000,
    "AVIF": _avif,
}
