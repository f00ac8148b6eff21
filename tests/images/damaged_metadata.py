"""Images with damaged metadata and whole pixels, made by program and by a seed.

Every maker takes a random generator and gives the undamaged file, the damaged one, and whether the
damage is one that can be seen from outside: bytes of a comment may be anything.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image as Pillow

Maker = Callable[[np.random.Generator], tuple[bytes, bytes, bool]]


def pixels(random: np.random.Generator) -> np.ndarray:
    """A smooth image of its own: (H, W, 3) uint8."""
    height, width = random.integers(9, 40, 2)
    y, x = np.mgrid[0:height, 0:width]
    slopes, starts = random.uniform(-3, 3, (2, 3)), random.integers(0, 256, 3)
    waves = [starts[i] + slopes[0, i] * x + slopes[1, i] * y for i in range(3)]
    return np.stack(waves, 2).clip(0, 255).astype(np.uint8)


def saved(image: Pillow.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int = 1) -> bytes:
    tags = Pillow.Exif()
    tags[0x0112], tags[0x010E], tags[0x011A] = orientation, "a description of this", 72.0
    return tags.tobytes()


# PNG


def chunk(name: bytes, data: bytes, crc: int | None = None) -> bytes:
    right = zlib.crc32(name + data)
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", right if crc is None else crc)
    )


PNG_CHUNKS = {
    b"tEXt": b"Comment\0text",
    b"zTXt": b"Comment\0\0" + zlib.compress(b"text" * 9),
    b"iTXt": b"Comment\0\1\0en\0\0" + zlib.compress(b"text" * 9),
    b"iCCP": b"name\0\0" + zlib.compress(bytes(128)),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": bytes(32),
    b"sRGB": b"\0",
    b"pHYs": struct.pack(">IIB", 2835, 2835, 1),
    b"tIME": b"\x07\xe0\1\1\1\1\1",
    b"bKGD": bytes(6),
    b"sBIT": b"\x08\x08\x08",
    b"eXIf": exif()[6:],
    b"prVt": b"private",
}
ONCE = sorted(PNG_CHUNKS.keys() - {b"tEXt", b"zTXt", b"iTXt", b"prVt"})
SIZED = (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME")
PACKED = (b"zTXt", b"iTXt", b"iCCP")


def wrong_checksum(random: np.random.Generator, name: bytes) -> bytes:
    data = PNG_CHUNKS[name]
    if random.integers(2):
        return chunk(name, data, int(zlib.crc32(name + data) ^ (1 << int(random.integers(32)))))
    at = int(random.integers(len(data)))
    bent = data[:at] + bytes([data[at] ^ (1 << int(random.integers(8)))]) + data[at + 1 :]
    return chunk(name, bent, zlib.crc32(name + data))


def wrong_length(random: np.random.Generator, _: bytes) -> bytes:
    name = SIZED[random.integers(len(SIZED))]
    data = PNG_CHUNKS[name]
    if random.integers(2):
        return chunk(name, data + bytes(int(random.integers(1, 9))))
    return chunk(name, data[: int(random.integers(len(data)))])


def wrong_packing(random: np.random.Generator, _: bytes) -> bytes:
    name = PACKED[random.integers(len(PACKED))]
    head = {b"zTXt": b"K\0", b"iCCP": b"K\0", b"iTXt": b"K\0\1"}[name]
    middle = b"\0\0" if name == b"iTXt" else b""
    packed = zlib.compress(b"text" * 50)
    return [
        chunk(name, head + b"\7" + middle + packed),  # an unknown method
        chunk(name, head + b"\0" + middle + b"no zlib" * 9),
        chunk(name, head + b"\0" + middle + packed[: len(packed) // 2]),
        chunk(name, head + b"\0" + middle + zlib.compress(bytes(3 << 20))),  # a bomb
    ][random.integers(4)]


def twice(random: np.random.Generator, _: bytes) -> bytes:
    name = ONCE[random.integers(len(ONCE))]
    return 2 * chunk(name, PNG_CHUNKS[name])


def misnamed_text(random: np.random.Generator, _: bytes) -> bytes:
    """Keywords that a decoder may take for what another chunk says."""
    words = (b"transparency", b"interlace", b"bbox", b"icc_profile")
    return chunk(b"tEXt", words[random.integers(len(words))] + b"\x001")


def animation(random: np.random.Generator, _: bytes) -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 1, 0, 0)
    return [
        chunk(b"acTL", bytes(3)),
        chunk(b"acTL", bytes(8), 1),
        chunk(b"fcTL", control[:9]),
        chunk(b"fcTL", control, 1),
        chunk(b"fdAT", b"\0"),
    ][random.integers(5)]


PNG_DAMAGE = (wrong_checksum, wrong_length, wrong_packing, twice, misnamed_text, animation)


def png_with(file: bytes, more: bytes, behind: bool) -> bytes:
    at = file.rindex(b"IEND") - 4 if behind else file.index(b"IDAT") - 4
    return file[:at] + more + file[at:]


def png(random: np.random.Generator) -> tuple[bytes, bytes, bool]:
    turned = {"exif": exif(int(random.integers(1, 9)))} if random.integers(2) else {}
    file = saved(Pillow.fromarray(pixels(random)), "PNG", **turned)
    names = sorted(PNG_CHUNKS.keys() - ({b"eXIf"} if turned else set()))
    damage = PNG_DAMAGE[random.integers(len(PNG_DAMAGE))]
    bad = damage(random, names[random.integers(len(names))])
    return file, png_with(file, bad, bool(random.integers(2))), True


def apng(random: np.random.Generator) -> tuple[bytes, bytes, bool]:
    """A checksum of the animation is wrong; the first image is whole."""
    image = Pillow.fromarray(pixels(random))
    file = saved(image, "PNG", save_all=True, append_images=[image.transpose(0), image])
    names = (b"acTL", b"fcTL", b"fdAT")
    at = file.index(names[random.integers(3)])
    end = at + 4 + int.from_bytes(file[at - 4 : at], "big")
    wrong = bytes([file[end] ^ 1 << int(random.integers(8))])
    return file, file[:end] + wrong + file[end + 1 :], True


# JPEG


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


PHOTOSHOP = b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\x10" + bytes(16)
MPF = b"MPF\0MM\0*\0\0\0\x08\0\x01\xb0\0\0\x07\0\0\0\x040100\0\0\0\0"


def bad_segment(random: np.random.Generator) -> tuple[bytes, bool]:
    """A segment, and whether its damage can be seen."""
    cut = int(random.integers(1, 27))
    return [
        (segment(0xED, PHOTOSHOP[:-cut]), True),
        (segment(0xED, PHOTOSHOP + b"8BIM\x04\x04" + bytes(int(random.integers(5)))), True),
        (segment(0xE0, b"JFIF\0\1\1\0"[: int(random.integers(4, 9))]), True),
        (segment(0xE2, b"ICC_PROFILE\0" + bytes(int(random.integers(3)))), True),
        (segment(0xE1, b"Exif\0\0" + random.bytes(int(random.integers(8)))), True),
        (segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08" + random.bytes(40)), False),
        (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + random.bytes(50)), False),
        (segment(0xE2, MPF[: int(random.integers(4, 24))]), True),
        (segment(0xE2, b"MPF\0" + random.bytes(40)), True),
        (segment(0xFE, random.bytes(cut)), False),
        (segment(0xE0 + int(random.integers(3, 13)), random.bytes(cut)), False),
    ][random.integers(11)]


def jpeg(random: np.random.Generator) -> tuple[bytes, bytes, bool]:
    image = Pillow.fromarray(pixels(random))
    if random.integers(4) == 0:
        image = image.convert("CMYK")
    options = {"progressive": True} if random.integers(2) else {}
    if random.integers(2):
        options["exif"] = exif(int(random.integers(1, 9)))
    file = saved(image, "JPEG", quality=90, **options)
    bad, shows = bad_segment(random)
    if "exif" in options:  # a second one of the same would be read as its continuation
        while bad[4:].startswith(b"Exif"):
            bad, shows = bad_segment(random)
    at = file.index(b"\xff\xdb")
    return file, file[:at] + bad + file[at:], shows


def jpeg_short_adobe(random: np.random.Generator) -> tuple[bytes, bytes, bool]:
    """Adobe's marker is short beside JFIF's, which says enough."""
    file = saved(Pillow.fromarray(pixels(random)), "JPEG", quality=90)
    at = file.index(b"\xff\xdb")
    bad = segment(0xEE, b"Adobe\0d\0\0\0\0"[: int(random.integers(5, 12))])
    return file, file[:at] + bad + file[at:], True


def mpo(random: np.random.Generator) -> tuple[bytes, bytes, bool]:
    image = Pillow.fromarray(pixels(random))
    file = saved(image, "MPO", quality=90, save_all=True, append_images=[image.transpose(0)])
    at = file.index(b"MPF\0") + 4
    kind = random.integers(3)
    if kind == 0:
        return file, file[:at] + random.bytes(20) + file[at + 20 :], True
    if kind == 1:
        return file, file[:at] + b"XX" + file[at + 2 :], True
    bad = segment(0xED, PHOTOSHOP[:-9])
    start = at - 8
    return file, file[:start] + bad + file[start:], True


# TIFF


def tiff(random: np.random.Generator) -> tuple[bytes, bytes, bool]:
    """A tag that no pixel depends on points behind the end, or is of another type."""
    compression = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")[random.integers(4)]
    turned = int(random.integers(1, 9))
    tags = {270: "a description of this", 282: 72.0, 283: 72.0, 305: "a program", 274: turned}
    tags |= {306: "2020:01:01 00:00:00", 700: b"<xmp of some length>", 33432: "somebody's"}
    image = Pillow.fromarray(pixels(random))
    options = {"compression": compression, "big_tiff": not random.integers(4)}
    file = saved(image, "TIFF", tiffinfo=tags, **options)
    big = file[2] == 43  # libtiff's own writer knows the classic form only
    long, order = (20, "<HHQQ") if big else (12, "<HHII")
    (at,) = struct.unpack_from("<Q" if big else "<I", file, 8 if big else 4)
    (count,) = struct.unpack_from("<Q" if big else "<H", file, at)
    at += 8 if big else 2
    entries = [at + long * i for i in range(count)]
    harmless = [e for e in entries if struct.unpack_from("<H", file, e)[0] in tags.keys() - {274}]
    place = harmless[random.integers(len(harmless))]
    tag, kind, values, _ = struct.unpack_from(order, file, place)
    wrong = [
        struct.pack(order, tag, kind, values, len(file) + int(random.integers(1, 9999))),
        struct.pack(order, tag, kind, 1 << 28, 8),
        struct.pack(order, tag, 99, values, 8),
    ][random.integers(3)]
    shows = not (big and tag in (282, 283))  # a long entry holds these in itself
    return file, file[:place] + wrong + file[place + long :], shows


# WebP, GIF, JPEG 2000


def riff(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def webp(random: np.random.Generator) -> tuple[bytes, bytes, bool]:
    image = Pillow.fromarray(pixels(random))
    kind = random.integers(3)
    if kind == 0:
        file = saved(image, "WEBP", lossless=True, exif=b"Exif\0\0" + random.bytes(40))
        return saved(image, "WEBP", lossless=True), file, True
    file = saved(image, "WEBP", lossless=True, xmp=b"<xmp of some length>" * 3)
    if kind == 1:
        return file, file[: -int(random.integers(2, 50))], True  # cut within what follows
    end = len(file) + 8
    lying = b"RIFF" + struct.pack("<I", end) + file[8:] + b"EXIF\xff\xff\0\0" + random.bytes(8)
    return file, lying, True


def gif(random: np.random.Generator) -> tuple[bytes, bytes, bool]:
    file = saved(Pillow.fromarray(pixels(random)).quantize(16), "GIF")
    at = 13 + (3 << (file[10] & 7) + 1)
    kind = random.integers(4)
    body = random.bytes(int(random.integers(1, 200)))
    bad = [
        b"!\xff\x05NETSC\x03\1\0\0\0",
        b"!\xff" + bytes([len(body)]) + body + b"\0",
        b"!\xff\x0bNETSCAPE2.0\x01\1\0",
        b"!\xfe" + bytes([len(body)]) + body + b"\0",
    ][kind]
    shows = kind == 0 or (kind == 1 and len(body) != 11)
    return file, file[:at] + bad + file[at:], shows


def box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + name + data


def jpeg2000(random: np.random.Generator) -> tuple[bytes, bytes, bool]:
    """A resolution too short for its numbers within the header."""
    file = saved(Pillow.fromarray(pixels(random)), "JPEG2000")
    at = file.index(b"jp2h") - 4
    end = at + int.from_bytes(file[at : at + 4], "big")
    short = box(b"res ", box(b"resc", bytes(int(random.integers(10)))))
    header = struct.pack(">I", end - at + len(short)) + file[at + 4 : end] + short
    return file, file[:at] + header + file[end:], True


MAKERS: tuple[Maker, ...] = (
    *(png, png, jpeg, jpeg, tiff),
    *(apng, jpeg_short_adobe, mpo, webp, gif, jpeg2000),
)
