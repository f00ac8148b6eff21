"""Small files, read whole: within a stated size, at once, and those of a store through no link.

Anybody may have put something else under their names: a pipe that never ends, a device, a file of
a terabyte. Whoever reads one states how much it may hold.
"""

from __future__ import annotations

import os
from pathlib import Path

from deepfeat.errors import StoreDamaged
from deepfeat.store.blocks import BLOCK_BYTES, open_regular, unreadable


def read_small(path: Path, most: int, *, follow: bool = False) -> bytes:
    """Read a file of at most ``most`` bytes; through a link only where it is to ``follow`` it.

    Raises
    ------
    DataMissing, NoPermission, StoreError
        It is not there, may not be read, or could not be.
    StoreDamaged
        It is no regular file, or larger.
    """
    descriptor = open_regular(path, follow=follow)
    try:
        pieces: list[bytes] = []
        left = most + 1
        while left and (piece := os.read(descriptor, min(left, BLOCK_BYTES))):
            pieces.append(piece)
            left -= len(piece)
        size = os.fstat(descriptor).st_size
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(descriptor)
    if not left:
        raise StoreDamaged(
            f"'{path}' is too large for what it should be",
            expected=f"at most {most} bytes",
            found=f"{size} bytes",
        )
    return b"".join(pieces)
