"""What ``encode`` is given: one image after the other, each prepared for the network."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import closing
from itertools import groupby, tee
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as pillow

from deepfeat.errors import DataError, UsageError, printable
from deepfeat.extraction.decoding import Decoded, prepare
from deepfeat.extraction.standby import PathLike, Standby
from deepfeat.images.decode import Image, from_array, from_pil
from deepfeat.status import CASES, Status

Picture = PathLike | pillow.Image | NDArray[np.uint8]


def one_by_one(images: Any) -> Iterable[Picture]:
    """The images of a list, an array or a column, unread.

    Raises
    ------
    UsageError
        For one image, for a table, and for what has no order.
    """
    is_array = isinstance(images, np.ndarray)
    is_column = is_array and images.dtype.kind in "OSTU"
    if is_array and not is_column and images.ndim < 2:  # also an array of objects
        raise UsageError(
            f"encode takes a list of images; {images.dtype} {images.shape} is none, and no image",
            expected="a list of paths, PIL images or (H, W, 3) uint8 arrays",
        )
    is_picture = is_array and not is_column and images.ndim < 4  # (N, H, W, 3) is a list of them
    single = (str, bytes, os.PathLike, pillow.Image)
    if is_picture or isinstance(images, single) or (is_column and not images.ndim):
        raise UsageError(
            "encode takes a list of images", advice="Put the one image into a list: [image]."
        )
    if is_column and images.ndim > 1:
        raise UsageError(
            "an array of paths has one dimension",
            found=f"shape {images.shape}",
            advice="Give one column of it.",
        )
    if hasattr(images, "columns") or isinstance(images, (Mapping, Set)):
        raise UsageError(
            f"a {type(images).__name__} is no list of images",
            advice="Give one column of it, or a list: row i is of image i.",
        )
    try:
        pictures: Iterable[Picture] = iter(images.tolist() if is_column else images)
    except TypeError:
        raise UsageError(
            f"a {type(images).__name__} is no list of images",
            expected="a list of paths, PIL images or (H, W, 3) uint8 arrays",
        ) from None
    return pictures


def decoded_of(pictures: Iterable[Picture], standby: Standby) -> Iterator[tuple[Picture, Decoded]]:
    """Each image with its views: files from other processes, some of them ahead of the caller.

    Raises
    ------
    UsageError
        For what is no image.
    """
    for are_files, group in groupby(pictures, key=_is_file):
        if are_files:
            names, paths = tee(group)
            with closing(standby.map(cast(Iterable[PathLike], paths))) as decoded:
                yield from zip(names, decoded, strict=True)
        else:
            for picture in group:
                yield picture, prepare(_image_of(picture), standby.settings)


def refusal(position: int, picture: Picture, decoded: Decoded) -> DataError:
    """The error for an image that cannot be used."""
    name = f"number {position}"
    if isinstance(picture, (str, bytes, os.PathLike)):
        name = f"'{printable(os.fsdecode(picture))}'"
    case = CASES[Status(decoded.status)]
    return DataError(
        f"image {name} cannot be used: {case.name}, {case.meaning}",
        found=decoded.detail,
        advice=f"{case.advice.capitalize()}; or give errors='nan' to get a row of NaN.",
    )


def _is_file(picture: Picture) -> bool:
    return isinstance(picture, (str, bytes, os.PathLike))


def _image_of(picture: Picture) -> Image:
    if isinstance(picture, np.ndarray):
        return from_array(picture)
    if isinstance(picture, pillow.Image):
        with _PILLOW:
            return from_pil(picture)
    raise UsageError(
        f"a {type(picture).__name__} is no image",
        expected="a path, a PIL image or an (H, W, 3) uint8 array",
    )


# Reading an opened image moves its file, and Python's filters of warnings are the process's.
_PILLOW = threading.Lock()


def _after_fork() -> None:
    """In the child the lock's holder may not be there."""
    global _PILLOW
    _PILLOW = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
