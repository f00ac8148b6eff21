"""EXIF orientation: a number from 1 to 8 says how the camera was held, and one table undoes it.

The value names where row 0 and column 0 of the stored pixels belong in the upright image
(EXIF 2.32, tag 0x0112). Every case is a reversal of rows, of columns, an exchange of the two axes,
or a composition of these, so no pixel is ever interpolated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {  # stored -> upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}
UNDONE_BY = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


def orient(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn stored pixels upright: (H, W, 3) -> (H, W, 3), or (W, H, 3) for 5 to 8. A view."""
    return UPRIGHT[orientation](pixels)


def as_stored(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo `orient`: for decoders that turn an image without being asked."""
    return UPRIGHT[UNDONE_BY[orientation]](pixels)
