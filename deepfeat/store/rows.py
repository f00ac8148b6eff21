"""The rows of one shard, and what must be true of them before they are kept.

A row is whole or it is a hole: where the status is not ok, and where a number would not be finite
in the stored type, every layer and scale of the row is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import DeepfeatError
from deepfeat.status import CASES, Status
from deepfeat.store.identity import STORE_DTYPES, Identity
from deepfeat.store.layout import ITEMS, boxes_of, descriptor_path


@dataclass(frozen=True)
class ShardRows:
    """What a shard's n images gave, in row order.

    Parameters
    ----------
    size : (n,) int64, bytes of the file, -1 unknown
    sha256 : (n, 32) uint8, of the bytes decoded, zeros if none
    shape : (n, 2) int32, height and width after orientation, 0 unknown
    status : (n,) uint8
    notes : (n,) uint32
    descriptors : (layer, stored scale) to (n, C) float32
    details : n texts, the decoder's words about a hole
    """

    size: NDArray[np.int64]
    sha256: NDArray[np.uint8]
    shape: NDArray[np.int32]
    status: NDArray[np.uint8]
    notes: NDArray[np.uint32]
    descriptors: Mapping[tuple[str, str], NDArray[np.float32]]
    details: list[str] = field(default_factory=list)


def settle(
    rows: ShardRows, keys: NDArray[np.bytes_], identity: Identity, dimensions: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """Return the datasets of a shard, path to array, with holes made NaN; arguments stay as given.

    Raises
    ------
    DeepfeatError
        The arrays do not have the shapes of the plan: a bug in the caller.
    """
    count = len(keys)
    given = {**rows.__dict__, "key": keys}
    arrays: dict[str, NDArray[Any]] = {}
    for name, (dtype, tail) in ITEMS.items():
        array = np.asarray(given[name])
        _expect(name, array.shape, (count, *tail))
        arrays[f"items/{name}"] = array if dtype == "S" else array.astype(dtype)
    status = arrays["items/status"]
    if unknown := sorted(set(status.tolist()) - {int(code) for code in CASES}):
        raise DeepfeatError(f"internal: rows with statuses that do not exist: {unknown}")
    dtype = STORE_DTYPES[identity.sampling.store_dtype]
    columns = {
        (layer, column): dimensions[layer]
        for layer in identity.network.layers
        for column in identity.columns
    }
    if set(rows.descriptors) != set(columns):
        raise DeepfeatError(
            "internal: descriptors for other layers or scales than the identity's",
            expected=str(sorted(columns)),
            found=str(sorted(rows.descriptors)),
        )
    descriptors = {}
    for name_pair, dimension in columns.items():
        values = np.asarray(rows.descriptors[name_pair])
        _expect(str(name_pair), values.shape, (count, dimension))
        with np.errstate(over="ignore", invalid="ignore"):
            kept = values.astype(dtype)  # a copy; beyond 65,504 float16 gives Inf
        is_lost = ~np.isfinite(kept).all(axis=1) & (status == Status.OK)
        status[is_lost] = Status.NOT_FINITE
        descriptors[descriptor_path(*name_pair)] = kept
    for kept in descriptors.values():
        kept[status != Status.OK] = np.nan
    arrays["rows/item"] = np.arange(count, dtype="<i8")
    arrays["rows/box"] = boxes_of(status, arrays["items/shape"])
    return {**arrays, **descriptors}


def _expect(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise DeepfeatError(
            f"internal: '{name}' has another shape", expected=str(expected), found=str(found)
        )
