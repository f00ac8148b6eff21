"""What a decoder's exception says of the file: a status and words."""

from __future__ import annotations

from PIL import Image as Pillow

from deepfeat.images.colour import UnsupportedMode
from deepfeat.status import Status

DETAIL_LENGTH = 200
_SAYS_UNSUPPORTED = (  # fragments of decoders' messages for what has no row here
    "unsupported",
    "unknown pixel mode",
    "unknown raw mode",
    "cannot handle",
    "unrecognized image mode",
    "not available",
    "not supported",
    "not implemented",
    "no codec",
)


def status_of(error: Exception) -> tuple[Status, str]:
    """Return the status of an image whose decoder raised, and the detail that goes with it."""
    detail = f"{type(error).__name__}: {error}"[:DETAIL_LENGTH]
    if isinstance(error, MemoryError):
        return Status.OUT_OF_MEMORY, "the decoder ran out of memory"
    if isinstance(error, Pillow.DecompressionBombError):
        return Status.TOO_LARGE, detail
    if isinstance(error, UnsupportedMode):
        return Status.UNSUPPORTED, str(error)
    if any(fragment in str(error).lower() for fragment in _SAYS_UNSUPPORTED):
        return Status.UNSUPPORTED, detail
    return Status.CORRUPT, detail
