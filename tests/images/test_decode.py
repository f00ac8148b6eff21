"""Options of decoding, pixels from memory, and the law that no bytes make the decoder raise."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, ImageFile
from PIL import Image as Pillow

from deepfeat.errors import UsageError
from deepfeat.images.decode import decode_bytes, from_array, from_pil
from deepfeat.images.endings import end_of
from deepfeat.images.signatures import FORMAT_OF, Kind, recognise
from deepfeat.status import Note, Status

PIXELS = np.random.default_rng(7).integers(0, 256, (6, 9, 3), np.uint8)


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(PIXELS).save(file, kind, **options)
    return file.getvalue()


def turned(kind: str, orientation: int) -> bytes:
    exif = Pillow.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return saved(kind, exif=exif)


VALID = {kind: saved(kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_without_exif_pixels_stay_as_stored(kind: str, orientation: int) -> None:
    image = decode_bytes(turned(kind, orientation), exif=False)
    assert np.array_equal(image.pixels, PIXELS)
    assert Note.ORIENTED not in image.notes


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_found_size_is_the_stored_one(kind: str, orientation: int) -> None:
    assert decode_bytes(turned(kind, orientation)).found_size == (6, 9)


def test_background_shows_through_clear_pixels() -> None:
    clear = Pillow.new("RGBA", (2, 1), (9, 9, 9, 0))
    image = from_pil(clear, background=(1, 2, 3))
    assert image.pixels.tolist() == [[[1, 2, 3], [1, 2, 3]]]


@pytest.mark.parametrize("alpha", range(256))
def test_composition_is_the_rounded_mean(alpha: int) -> None:
    values = np.arange(256)
    rgba = np.zeros((1, 256, 4), np.uint8)
    rgba[0, :, 0], rgba[..., 3] = values, alpha
    red = from_pil(Pillow.fromarray(rgba), background=(77, 0, 0)).pixels[0, :, 0]
    assert red.tolist() == [(v * alpha + 77 * (255 - alpha)) * 2 // 255 + 1 >> 1 for v in values]


def test_sixteen_bit_is_rounded_to_the_nearest() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = from_pil(Pillow.fromarray(values)).pixels
    nearest = np.abs(np.arange(256) * 257 - values[..., None].astype(int)).argmin(2)
    assert np.array_equal(pixels[..., 1], nearest)


@pytest.mark.parametrize("mode", ["F", "I", "LAB", "HSV"])
def test_mode_without_a_range_is_unsupported(mode: str) -> None:
    assert from_pil(Pillow.new(mode, (3, 3))).status is Status.UNSUPPORTED


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"])
def test_mode_with_a_range_is_decoded(mode: str) -> None:
    assert from_pil(Pillow.new(mode, (3, 2))).pixels.shape == (2, 3, 3)


@pytest.mark.parametrize("kind", VALID)
def test_pil_image_gives_the_pixels_of_its_file(kind: str) -> None:
    here = from_pil(Pillow.open(io.BytesIO(VALID[kind])))
    assert np.array_equal(here.pixels, decode_bytes(VALID[kind]).pixels)


def test_truncated_pil_image_is_corrupt() -> None:
    assert from_pil(Pillow.open(io.BytesIO(VALID["JPEG"][:-9]))).status is Status.CORRUPT


def test_array_is_taken_as_it_is() -> None:
    assert np.array_equal(from_array(PIXELS).pixels, PIXELS)


def test_array_is_made_contiguous() -> None:
    assert from_array(PIXELS[:, ::-1]).pixels.flags.c_contiguous


@pytest.mark.parametrize(
    "array",
    [
        PIXELS.astype(float),
        PIXELS[..., 0],
        PIXELS.transpose(2, 0, 1),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        "a.jpg",
    ],
    ids=["float", "grey", "channels first", "four channels", "empty", "text"],
)
def test_array_that_is_no_image_is_refused(array: object) -> None:
    with pytest.raises(UsageError, match="uint8"):
        from_array(array)


def test_what_is_no_pil_image_is_refused() -> None:
    with pytest.raises(UsageError, match="int"):
        from_pil(3)


def test_switch_that_lets_truncated_files_through_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UsageError, match="LOAD_TRUNCATED_IMAGES"):
        decode_bytes(VALID["JPEG"][:-9])


def test_decoder_without_memory_is_a_status(monkeypatch) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setitem(decode_bytes.__globals__["OPENERS"], "PNG", fail)
    assert decode_bytes(VALID["PNG"]).status is Status.OUT_OF_MEMORY


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    assert decode_bytes(data).status is not Status.OUT_OF_MEMORY


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(VALID)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    st.integers(0, 10**6),
)
def test_damaged_file_is_an_image_or_a_hole(kind: str, edits, end: int) -> None:
    data = bytearray(VALID[kind])
    for place, value in edits:
        data[place % len(data)] = value
    image = decode_bytes(bytes(data[: end % (2 * len(data))]))
    assert (image.status is Status.OK) == (image.pixels is not None)


@pytest.mark.parametrize("kind", VALID)
def test_contents_are_recognised_by_their_first_bytes(kind: str) -> None:
    assert recognise(VALID[kind]) == (kind, Kind.DECODED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@given(rest=st.binary(max_size=40))
def test_end_does_not_depend_on_what_follows(kind: str, rest: bytes) -> None:
    assert end_of(kind, VALID[kind] + rest) == len(VALID[kind])


@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.binary(max_size=60))
def test_end_of_nonsense_is_found_without_an_error(kind: str, rest: bytes) -> None:
    found = end_of(kind, VALID[kind][:30] + rest)
    assert found is None or found > 0


def test_every_promised_format_has_a_signature() -> None:
    from deepfeat.images.signatures import SIGNATURES

    assert set(FORMAT_OF.values()) <= {row.name for row in SIGNATURES}
