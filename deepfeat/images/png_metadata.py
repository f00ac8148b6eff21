"""What a PNG has besides its pixels, and whether the chunks that make these stand as they must.

A decoder passes over a palette or a transparent colour that is not where it belongs, and shows
other colours. So their order, number and lengths are looked at in the file as it is.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from deepfeat.images.parts import Part, Role
from deepfeat.images.walks import png_chunks

_MOST_INFLATED = 1 << 20  # of one chunk; Pillow refuses more
_MOST_TRIED = 64  # chunks of one file that are inflated to see whether they are whole
_LENGTHS = {  # ancillary chunks: fewest and most bytes
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
_ONCE = _LENGTHS.keys() - {b"fcTL", b"fdAT"} | {b"tRNS"}
_PIXELS = (b"IDAT", b"PLTE", b"tRNS")
_PACKED = frozenset({b"iCCP", b"iTXt", b"zTXt"})
_PALETTE = 3  # a colour type
_KEY_LENGTHS = {0: 2, 2: 6, 4: -1, 6: -1}  # of tRNS, by colour type; none beside alpha
_AHEAD_OF_PALETTE = frozenset({b"PLTE", b"IDAT", b"tRNS"})  # none of them may be
_END = b"\0\0\0\0IEND\xaeB`\x82"
_UPRIGHT = (b"XML:com.adobe.xmp\0", b"Raw profile type ")
_TEXT_TAKEN = re.compile(  # keywords that Pillow would take for what the pixels' chunks say
    rb"(?:bbox|blend|default_image|disposal|exif|icc_profile|interlace|transparency)(?:\0|$)"
)


def png_parts(data: bytes) -> Iterator[Part]:
    """A lower-case first letter says that a chunk is not needed for the pixels; tRNS is, here."""
    yield from _misplaced(data)
    seen: set[bytes] = set()
    tried = 0
    for name, start, body, end in png_chunks(data):
        is_cut = end > len(data)
        if not name[0] & 0x20 and (name != b"IEND" or is_cut):
            seen.add(name)
            continue
        if is_cut and b"IDAT" not in seen:
            return
        contents = data[body : min(end, len(data)) - 4]
        crc = int.from_bytes(data[end - 4 : end], "big")
        is_sound = not is_cut and zlib.crc32(contents, zlib.crc32(name)) == crc
        if name == b"IEND":
            if contents or not is_sound:
                yield Part("IEND", start, end, Role.DAMAGED, _END)
        elif name == b"tRNS":
            if not is_sound:
                yield Part("tRNS", start, end, Role.LOST)
        elif not is_sound and any(zlib.crc32(contents, zlib.crc32(n)) == crc for n in _PIXELS):
            yield Part("a chunk with a damaged name", start, end, Role.LOST)
        elif not is_sound or name in seen or not _is_whole_chunk(name, contents, tried):
            yield Part(printable(name), start, end, Role.DAMAGED)
        else:
            upright = name == b"eXIf" or contents.startswith(_UPRIGHT)
            yield Part(printable(name), start, end, Role.UPRIGHT if upright else Role.REST)
        tried += name in _PACKED
        if name in _ONCE:
            seen.add(name)


def _misplaced(data: bytes) -> Iterator[Part]:
    """The first chunk that pixels are made of and that cannot be right (third edition, 5.6, 11)."""
    chunks = png_chunks(data)
    first = next(chunks, None)
    if first is None:
        return
    header = data[first.body : first.end - 4]
    is_known = len(header) == 13 and header[10:12] == b"\0\0" and header[12] in (0, 1)
    if first.name != b"IHDR" or not is_known:
        yield Part("the header (IHDR)", first.start, first.end, Role.LOST)
        return
    seen, before = {b"IHDR"}, b"IHDR"
    for name, start, body, end in chunks:
        length = end - 4 - body
        if name == b"PLTE":
            is_wrong = bool(seen & _AHEAD_OF_PALETTE) or length % 3 > 0 or not 3 <= length <= 768
        elif name == b"tRNS":
            # What a palette has no colour for is no pixel's; some writers give always 256.
            most = _KEY_LENGTHS.get(header[9], 256)
            least = most if header[9] in _KEY_LENGTHS else 1
            is_wrong = bool(seen & {b"tRNS", b"IDAT"}) or not least <= length <= most
        elif name == b"IDAT":
            lacks_palette = header[9] == _PALETTE and b"PLTE" not in seen
            is_wrong = lacks_palette or (name in seen and before != name)
        elif name == b"IEND":
            is_wrong = b"IDAT" not in seen
        else:  # a chunk that is not known and needed; one that goes on behind the file is its end
            is_wrong = not name[0] & 0x20 and not (b"IDAT" in seen and end > len(data))
        if is_wrong:
            yield Part(f"the place or length of {printable(name)}", start, end, Role.LOST)
            return
        seen.add(name)
        before = name


def _is_whole_chunk(name: bytes, contents: bytes, tried: int) -> bool:
    least, most = _LENGTHS.get(name, (0, 1 << 31))
    if not least <= len(contents) <= most:
        return False
    if name in (b"tEXt", b"zTXt", b"iTXt") and _TEXT_TAKEN.match(contents):
        return False
    if name not in _PACKED or tried >= _MOST_TRIED:
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


def printable(name: bytes) -> str:
    return ascii(name)[2:-1]
