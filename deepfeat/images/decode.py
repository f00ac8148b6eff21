"""From bytes to an upright RGB image, or a status that says why not; a bad file never raises.

Steps, each of which may end in a status: read whole, recognise the contents, open by the one
decoder of that format, check the size in the header, load, make sure that nothing was missing, turn
upright, convert to RGB. What was done on the way to an image that is fine is noted. Warnings of the
decoder become a note and are never printed.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFile

from deepfeat.errors import UsageError
from deepfeat.images import variants
from deepfeat.images.colour import Background, to_rgb
from deepfeat.images.failures import DETAIL_LENGTH, status_of
from deepfeat.images.formats import (
    OPENERS,
    note_of_depth,
    read_header,
    take_transparency,
    with_range_of_format,
)
from deepfeat.images.limits import Limits
from deepfeat.images.notes import notes_of, notes_of_file, orientation_in_file, orientation_of
from deepfeat.images.orient import as_stored, orient
from deepfeat.images.reading import read_file
from deepfeat.images.readings import PixelsLost, readings
from deepfeat.images.signatures import Kind, recognise, size_in_header
from deepfeat.images.whole import fault_in
from deepfeat.status import Note, Status

WHITE: Background = (255, 255, 255)
NO_HASH = bytes(32)
_METADATA_BEHIND_PIXELS = ("PNG", "TIFF")  # read after them, so they may stop a load, too


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it goes on to be resized, or a status.

    Parameters
    ----------
    status : Status
    pixels : (H, W, 3) uint8 RGB, C order, upright; None unless status is ok
    found_size : tuple of two int, or None
        (height, width) as stored, before orientation; None where no header was understood.
    size_bytes : int
        Size of the file; -1 unknown.
    sha256 : bytes
        Of the bytes that were decoded, 32 bytes; zeros where nothing was read.
    notes : Note
    detail : str
        The decoder's words, or what to know about the status; for people.
    """

    status: Status
    pixels: NDArray[np.uint8] | None
    found_size: tuple[int, int] | None
    size_bytes: int
    sha256: bytes
    notes: Note
    detail: str


class _Refused(Exception):
    def __init__(self, status: Status, detail: str, found_size: tuple[int, int] | None = None):
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.found_size = found_size


def decode_file(
    path: str | bytes | os.PathLike[str],
    *,
    exif: bool = True,
    background: Background = WHITE,
    limits: Limits | None = None,
    size: int = -1,
) -> Image:
    """Read and decode one file.

    Parameters
    ----------
    path : path
        Bytes, where a name is not UTF-8.
    exif : bool
        Apply the EXIF orientation.
    background : tuple of three int
        Colour under transparent pixels.
    limits : Limits, optional
    size : int
        Bytes that a listing found; a file of another size is ``changed``. -1: do not compare.

    Returns
    -------
    Image
        For every file, however broken.
    """
    limits = limits or Limits()
    contents = read_file(path, limits, size=size)
    if contents.status is Status.OK:
        name = os.fsdecode(os.path.basename(path))  # noqa: PTH119  (the path may be bytes)
        return decode_bytes(
            contents.data, name=name, exif=exif, background=background, limits=limits
        )
    sha256 = hashlib.sha256(b"").digest() if contents.status is Status.EMPTY else NO_HASH
    return _hole(contents.status, contents.detail, contents.size_bytes, sha256)


def decode_bytes(
    data: bytes,
    *,
    name: str = "",
    exif: bool = True,
    background: Background = WHITE,
    limits: Limits | None = None,
) -> Image:
    """Decode a file's contents; ``name`` is used for the note on its extension."""
    limits = limits or Limits()
    _check_pillow()
    sha256 = hashlib.sha256(data).digest()
    if not data:
        return _hole(Status.EMPTY, "zero bytes", 0, sha256)
    if len(data) > limits.max_bytes:
        detail = f"{len(data)} bytes, the limit is {limits.max_bytes}"
        return _hole(Status.TOO_LARGE, detail, len(data), sha256)
    format_name, kind = recognise(data, name)
    if kind is not Kind.DECODED:
        status = Status.UNSUPPORTED if kind is Kind.UNSUPPORTED else Status.NOT_AN_IMAGE
        return _hole(status, f"contents: {format_name}", len(data), sha256)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pixels, found, notes, ignored = _read(data, format_name, exif, background, limits)
        except _Refused as refused:
            return _hole(refused.status, refused.detail, len(data), sha256, refused.found_size)
    if caught or ignored:
        notes |= Note.METADATA_IGNORED
    notes |= notes_of_file(
        data, format_name, name, has_frames=Note.FIRST_OF_SEVERAL_FRAMES in notes
    )
    words = [f"damaged metadata ignored: {', '.join(ignored)}"] if ignored else []
    detail = "; ".join(dict.fromkeys([*words, *(str(warning.message) for warning in caught)]))
    return Image(Status.OK, pixels, found, len(data), sha256, notes, detail[:DETAIL_LENGTH])


def from_array(array: object) -> Image:
    """Take pixels that are in memory already.

    Parameters
    ----------
    array : (H, W, 3) uint8 RGB, H and W at least 1

    Raises
    ------
    UsageError
        For any other shape or dtype: ranges and orders of channels are never guessed.
    """
    pixels = np.asarray(array)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(
            "an array is not an image",
            expected="shape (H, W, 3), dtype uint8, channels in the order RGB",
            found=f"shape {pixels.shape}, dtype {pixels.dtype}",
            advice="Convert it; for other kinds of images give a PIL image or a path.",
        )
    size = (pixels.shape[0], pixels.shape[1])
    return Image(Status.OK, np.ascontiguousarray(pixels), size, -1, NO_HASH, Note.NONE, "")


def from_pil(image: object, *, exif: bool = True, background: Background = WHITE) -> Image:
    """Take an image opened by Pillow: same orientation, colours and notes as from a file.

    A TIFF is turned upright by Pillow itself, whatever ``exif`` says. Damage that Pillow mends in
    silence is found in a file's bytes only, not here.
    """
    _check_pillow()
    if not isinstance(image, Pillow.Image):
        raise UsageError(
            f"a {type(image).__name__} is not an image",
            advice="Give a path, a PIL image, or an (H, W, 3) uint8 array.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            take_transparency(image)
            image.load()
            found = (image.height, image.width)
            orientation, notes = orientation_of(image)
            pixels, more = to_rgb(with_range_of_format(image), background)
        except Exception as error:  # whatever a decoder raises is the image's status
            return _hole(*status_of(error), -1, NO_HASH)
    upright = orient(pixels, orientation) if exif else pixels
    notes |= more | (Note.ORIENTED if exif and orientation != 1 else Note.NONE)
    return Image(Status.OK, np.ascontiguousarray(upright), found, -1, NO_HASH, notes, "")


def _read(
    data: bytes, format_name: str, exif: bool, background: Background, limits: Limits
) -> tuple[NDArray[np.uint8], tuple[int, int], Note, tuple[str, ...]]:
    """Decode recognised contents without their damaged metadata, or raise `_Refused`.

    The last value names the metadata that were in the way.
    """
    refused: _Refused | None = None
    try:
        for reading in readings(format_name, data):
            try:
                decoded = _decoded(reading.data, format_name, exif, background, limits)
            except _Refused as error:
                refused = refused or error
                is_late = error.found_size and format_name not in _METADATA_BEHIND_PIXELS
                if error.status is not Status.CORRUPT or is_late:
                    break
            else:
                return *decoded, reading.left_out
    except PixelsLost as error:
        refused = _Refused(Status.CORRUPT, str(error))
    assert refused is not None
    variant = variants.unsupported_variant(format_name, data)
    if variant and refused.status in (Status.CORRUPT, Status.UNSUPPORTED):
        raise _Refused(Status.UNSUPPORTED, variant, refused.found_size) from refused
    raise refused


def _decoded(
    data: bytes, format_name: str, exif: bool, background: Background, limits: Limits
) -> tuple[NDArray[np.uint8], tuple[int, int], Note]:
    """Decode recognised contents, or raise `_Refused`."""
    found = None
    try:
        image = OPENERS[format_name](io.BytesIO(data))
        header = read_header(image, data)
        found = header.size
        if found[0] * found[1] > limits.max_pixels:
            detail = f"{found[1]} x {found[0]} pixels, the limit is {limits.max_pixels}"
            raise _Refused(Status.TOO_LARGE, detail, found)
        if header.turns_by_itself:  # loading consumes the tag
            orientation, notes = orientation_in_file(image)
            image.load()
        else:  # in some formats metadata follow the pixels
            image.load()
            orientation, notes = orientation_in_file(image)
        if fault := fault_in(format_name, data, image):
            raise _Refused(Status.CORRUPT, fault, found)
        notes |= note_of_depth(header) | notes_of(image)
        image = with_range_of_format(image)
        pixels, more = to_rgb(image, background)
        notes |= more
        del image  # another copy is made where the image is turned
    except _Refused:
        raise
    except Exception as error:  # whatever a decoder raises is the image's status
        if found is None and 0 in (size_in_header(format_name, data) or (1, 1)):
            raise _Refused(Status.TOO_SMALL, "the header gives an empty side") from error
        raise _Refused(*status_of(error), found) from error
    if exif and orientation != 1:
        notes |= Note.ORIENTED
    if exif and not header.turns_by_itself:
        pixels = orient(pixels, orientation)
    elif header.turns_by_itself and not exif:
        pixels = as_stored(pixels, orientation)
    return np.ascontiguousarray(pixels), found, notes


def _hole(
    status: Status,
    detail: str,
    size_bytes: int,
    sha256: bytes,
    found_size: tuple[int, int] | None = None,
) -> Image:
    return Image(status, None, found_size, size_bytes, sha256, Note.NONE, detail)


def _check_pillow() -> None:
    """Refuse to work where a switch of Pillow would let truncated files through as images."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UsageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set in this process",
            advice="Set it to False: half-grey images would pass for whole ones.",
        )
