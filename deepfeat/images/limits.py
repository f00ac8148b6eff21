"""How much of one file deepfeat is willing to take into memory before it calls it too large."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest image that is decoded.

    Parameters
    ----------
    max_pixels : int
        Height times width as the file's header states them. The default is Pillow's own limit: a
        quarter of a gibibyte of 24-bit pixels is twice what the largest sensors give.
    max_bytes : int
        Size of the file. A larger one is not read at all.
    """

    max_pixels: int = 178_956_970
    max_bytes: int = 512 * 1024 * 1024
