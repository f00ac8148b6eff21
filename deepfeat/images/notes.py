"""What an image that is fine carries besides its pixels: orientation, other frames, profile, rest.

None of it can cost an image: metadata that are broken are ignored, and a note says so.
"""

from __future__ import annotations

from PIL import Image as Pillow

from deepfeat.images.endings import end_of
from deepfeat.images.orient import UPRIGHT
from deepfeat.images.signatures import promised_format
from deepfeat.images.walks import tiff_entries
from deepfeat.status import Note

_ORIENTATION = 0x0112  # the EXIF tag; Pillow takes XMP's where there is no EXIF one


def orientation_of(image: Pillow.Image) -> tuple[int, Note]:
    """Return the orientation tag (1 where there is none or it is nonsense) and a note on it."""
    try:
        return _known(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata must not cost a good image
        return 1, Note.METADATA_IGNORED


def orientation_in_file(image: Pillow.Image) -> tuple[int, Note]:
    """Do as `orientation_of` with an image just opened, and read the tag itself where it stands.

    Damage of other tags makes Pillow pass over it.
    """
    exif = image.info.get("exif")
    data = exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""
    if data[:4] in (b"II*\0", b"MM\0*"):
        for entry in tiff_entries(data):
            if entry.tag == _ORIENTATION and entry.values:
                return _known(entry.values[0])
    return orientation_of(image)


def _known(value: object) -> tuple[int, Note]:
    if isinstance(value, int) and value in UPRIGHT:
        return value, Note.NONE
    return 1, Note.METADATA_IGNORED


def notes_of(image: Pillow.Image) -> Note:
    """Notes that the opened image itself gives: other frames, a colour profile."""
    notes = Note.ICC_IGNORED if image.info.get("icc_profile") else Note.NONE
    try:
        if getattr(image, "is_animated", False):
            notes |= Note.FIRST_OF_SEVERAL_FRAMES
    except Exception:  # a broken second frame must not cost the first
        notes |= Note.FIRST_OF_SEVERAL_FRAMES | Note.METADATA_IGNORED
    return notes


def notes_of_file(data: bytes, format_name: str, name: str, *, has_frames: bool) -> Note:
    """Notes that bytes and name give: extension, appended bytes, a PNG without its end."""
    notes = Note.NONE
    if promised_format(name) not in (None, format_name):
        notes |= Note.EXTENSION_DIFFERS
    end = end_of(format_name, data)
    if end is not None and end < len(data) and not (has_frames and format_name == "JPEG"):
        notes |= Note.TRAILING_BYTES
    if end is None and format_name == "PNG":
        notes |= Note.METADATA_IGNORED
    return notes
