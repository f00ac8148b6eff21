"""One layer at one scale as an array that is read when it is indexed.

A column spans the files of its store; rows are read at known offsets, so that a few scattered ones
cost a few small reads and no call into HDF5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfeat.store.blocks import Walked
from deepfeat.store.layout import descriptor_path


class Column:
    """(N, C) descriptors: ``len``, ``shape``, ``dtype``, slices, integer and boolean index arrays,
    ``numpy.asarray``."""

    def __init__(
        self,
        files: tuple[Walked, ...],
        layer: str,
        scale: str,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
    ):
        self.shape = shape
        self.dtype = dtype
        self.ndim = 2
        self._files = files
        self._name = descriptor_path(layer, scale)
        counts = [file.blocks[self._name].shape[0] for file in files]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a column is read from disk: it cannot be had without a copy")
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        rows, *rest = index if isinstance(index, tuple) else (index,)
        wanted = np.arange(len(self))[rows]  # NumPy's own rules and errors
        taken = self._take(np.atleast_1d(wanted).ravel())
        taken = taken.reshape(*wanted.shape, self.shape[1])
        inner = ((slice(None),) * wanted.ndim) + tuple(rest)
        result: NDArray[Any] = taken[inner] if rest else taken
        return result

    def _take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Rows in any order, (k,) -> (k, C)."""
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        for owner in np.unique(owners):
            is_its = owners == owner
            out[is_its] = self._files[owner].rows(self._name, rows[is_its] - self._starts[owner])
        return out
