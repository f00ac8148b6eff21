"""Colours of a large image: block by block the same values, and memory for the result alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as Pillow

from deepfeat.images import colour
from deepfeat.images.colour import to_rgb

BACKGROUND = (10, 20, 30)
KINDS = {  # mode, what its info says, format
    "1": ("1", {}, None),
    "1, keyed": ("1", {"transparency": 255}, None),
    "grey": ("L", {}, None),
    "grey, keyed": ("L", {"transparency": 7}, None),
    "grey with alpha": ("LA", {}, None),
    "grey of 16 bit": ("I;16", {}, None),
    "grey of 16 bit, keyed": ("I;16", {"transparency": 7}, None),
    "palette": ("P", {}, None),
    "palette, keyed": ("P", {"transparency": b"\0\x80"}, None),
    "RGB": ("RGB", {}, None),
    "RGB, keyed": ("RGB", {"transparency": (7, 7, 7)}, None),
    "RGBA": ("RGBA", {}, None),
    "inks": ("CMYK", {}, None),
    "inks of a JPEG": ("CMYK", {}, "JPEG"),
}
CHILD = """
import resource, sys
from PIL import Image as Pillow
from deepfeat.images import colour
from deepfeat.images.colour import to_rgb

colour.BLOCK_PIXELS = 1 << 16
mode, info, format = eval(sys.argv[1])
image = Pillow.new(mode, (3000, 3000), 7 if mode in ("1", "L", "P", "I;16") else None)
image.info.update(info)
image.format = format
to_rgb(Pillow.new(mode, (9, 9)), (10, 20, 30))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
to_rgb(image, (10, 20, 30))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
RESULT_KIB = 3000 * 3000 * 3 // 1024


def noise(kind: str, size: tuple[int, int]) -> Pillow.Image:
    mode, info, format_name = KINDS[kind]
    random = np.random.default_rng(1)
    pixel = {"1": (), "L": (), "P": (), "I;16": (), "LA": (2,), "RGB": (3,)}.get(mode, (4,))
    values = random.integers(0, 12, (size[1], size[0], *pixel), np.uint8)
    if mode == "I;16":
        image = Pillow.fromarray(values.astype(np.uint16) * 5 + 2)
    elif mode == "1":
        image = Pillow.fromarray(values > 5)
    else:
        raw = "L" if mode == "P" else mode
        image = Pillow.frombytes(raw, size, values.tobytes())
        if mode == "P":
            image.putpalette(random.integers(0, 256, 36, np.uint8).tobytes())
    assert image.mode == mode
    image.info.update(info)
    image.format = format_name
    return image


@pytest.mark.parametrize("size", [(41, 29), (100, 1), (1, 100)])
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_give_the_pixels_that_the_whole_gives(
    kind: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(kind, size)
    whole, notes = to_rgb(image, BACKGROUND)
    monkeypatch.setattr(colour, "BLOCK_PIXELS", 37)
    pixels, again = to_rgb(image, BACKGROUND)
    assert np.array_equal(pixels, whole)
    assert again == notes
    if not image.info and image.format is None and image.mode in ("1", "L", "P", "RGB", "CMYK"):
        assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["grey of 16 bit, keyed", "inks of a JPEG", "RGBA", "RGB, keyed"])
def test_conversion_takes_little_memory_besides_its_result(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, repr(KINDS[kind])],
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) < RESULT_KIB + 8_000
