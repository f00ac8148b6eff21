"""Open a store and read it: rows by key, scales into one matrix; the same for both forms.

Nothing here trusts the file: it was walked and checked before, and its bytes are read at known
places. Row i belongs to key i; a hole is a row of NaN.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import DataError, UsageError, some
from deepfeat.status import Status, name_of
from deepfeat.store.columns import Column
from deepfeat.store.identity import Identity
from deepfeat.store.matrix import ACROSS, NORMALISE, combine
from deepfeat.store.parts import Parts, parts_of
from deepfeat.tables import advice, look_up

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("nan", "drop", "raise")


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a sealed file or a directory of shards for reading.

    Header, structure, identity, manifest and sizes are checked; no pass over the descriptors. Of a
    run that has not ended, the committed rows are there, and ``Store.complete`` is False.

    Raises
    ------
    DataMissing, NoPermission
        There is no such store, or it may not be read.
    StoreDamaged
        It is no store, or damaged; the message names the object.
    StoreLocked
        It changed all the time while it was opened.
    """
    parts = parts_of(Path(path))
    # The process may go to another folder: from here on the files are known by whole paths.
    files = tuple(replace(one, path=one.path.absolute()) for one in parts.files)
    return Store(replace(parts, files=files))


class Store:
    """An open store, read-only. Made by ``open_store``; several threads may read it.

    It knows its files: where one is no longer what it was at opening, reading rows raises
    ``StoreLocked`` (the store changed: open it again), and never gives rows of another.

    Attributes
    ----------
    path : Path
    form : "sealed" or "shards"
    complete : bool
        No row is yet to come.
    planned : int
        Images of the plan; an unfinished store has rows for some only.
    identity : Identity
    provenance : dict
        What it takes to repeat the extraction.
    items : dict of arrays
        key, size, sha256, shape, status, notes (sealed: mtime_ns), N rows each.
    layers : dict
        Layer to C.
    scales : list of str
        Stored scales, ascending; ["mean"] or ["max"] where only the aggregate was kept.
    """

    def __init__(self, parts: Parts):
        self._parts = parts
        self._rows: dict[bytes, int] | None = None
        self.path = parts.path
        self._place = parts.path.absolute()
        self.form = parts.form
        self.complete = parts.complete
        self.planned = parts.planned
        self.identity: Identity = parts.identity
        self.provenance = parts.provenance
        self.items = parts.items
        self.layers = {name: parts.dimensions[name] for name in parts.identity.network.layers}
        self.scales = sorted(parts.identity.columns, key=_ascending)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the row index; files are open only while they are read."""
        self._rows = None

    def __len__(self) -> int:
        return len(self.items["key"])

    @property
    def keys(self) -> list[str]:
        """Keys in row order, as ``os.fsdecode`` gives them."""
        return [os.fsdecode(key) for key in self.items["key"].tolist()]

    @property
    def statuses(self) -> NDArray[np.uint8]:
        """(N,) uint8."""
        return self.items["status"]

    @property
    def notes(self) -> NDArray[np.uint32]:
        """(N,) uint32, bits of ``status.Note``."""
        return self.items["notes"]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(N,) bool: the rows that are no holes."""
        is_ok: NDArray[np.bool_] = self.statuses == Status.OK
        return is_ok

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (str, bytes)) and os.fsencode(key) in self._index()

    def index(self, key: str | bytes) -> int:
        """Row of a key. Raises ``DataError`` with the nearest keys."""
        found = self._index().get(os.fsencode(key))
        if found is None:
            near = advice(self.keys, os.fsdecode(key)) if len(self) <= 10_000 else ""
            raise DataError(f"'{self.path}' has no key '{os.fsdecode(key)}'", advice=near)
        return found

    def _index(self) -> dict[bytes, int]:
        rows = self._rows  # another thread may close the store meanwhile
        if rows is None:
            rows = {key: row for row, key in enumerate(self.items["key"].tolist())}
            self._rows = rows
        return rows

    def __getitem__(self, name: tuple[str, int | str]) -> Column:
        """The descriptors of a layer at a stored scale, (N, C), read when indexed."""
        if not isinstance(name, tuple) or len(name) != 2:
            raise UsageError(f"store[{name!r}]", expected="store[layer, scale]")
        layer, scale = self._layer(name[0]), self._scales([name[1]])[0]
        shape = (len(self), self.layers[layer])
        return Column(self._parts.files, layer, scale, shape, self._parts.dtype)

    def read(
        self,
        layer: str | None = None,
        *,
        scales: Sequence[int | str] | int | str | None = None,
        across_scales: str = "mean",
        normalise: str = "none",
        keys: Sequence[str | bytes] | None = None,
        missing: str = "nan",
    ) -> NDArray[np.float32]:
        """Read descriptors as one matrix.

        Parameters
        ----------
        layer : str, optional
            Needed where the store has several.
        scales : sequence of int or str, optional
            All by default; the order does not matter.
        across_scales : {"mean", "max", "stack"}
            In float32, ascending by scale. A store that keeps only an aggregate gives that one.
        normalise : {"none", "end", "each", "each+end"}
            L2 of the result, of each scale before, or both.
        keys : sequence, optional
            These rows in this order; all in key order by default.
        missing : {"nan", "drop", "raise"}
            Holes as rows of NaN; left out (the rows are then ``store.ok``'s); or an error.

        Returns
        -------
        (N, D) float32, C order; D = S*C stacked

        Raises
        ------
        UsageError
            An unknown layer, scale or name, or one that the store does not keep.
        DataError
            An unknown key; with ``missing="raise"``, a hole.
        StoreLocked
            A file was replaced, cut, removed or written to since the store was opened.
        """
        layer = self._layer(layer)
        columns = self._scales([scales] if isinstance(scales, (int, str)) else scales)
        look_up(ACROSS, across_scales, "aggregation across scales")
        look_up(NORMALISE, normalise, "normalisation")
        look_up(dict.fromkeys(MISSING), missing, "treatment of holes ('missing')")
        kept = self.identity.sampling.across_scales
        if kept != "none" and across_scales not in (kept, "stack"):
            raise UsageError(
                f"'{self.path}' keeps only the {kept} across scales",
                expected=f"across_scales='{kept}'",
                found=f"'{across_scales}'",
            )
        rows = self._wanted(keys, missing)
        blocks = []
        for scale in columns:
            column = self[layer, scale]
            values = column[:] if rows is None else column[rows]
            blocks.append(values.astype(np.float32, copy=False))
        return combine(blocks, across_scales, normalise)

    def _wanted(self, keys: Sequence[str | bytes] | None, missing: str) -> NDArray[np.int64] | None:
        if isinstance(keys, (str, bytes)):
            raise UsageError("keys is one text", expected="a sequence of keys")
        if keys is None and missing == "nan":
            return None
        wanted = range(len(self)) if keys is None else [self.index(key) for key in keys]
        rows = np.array(wanted, np.int64)
        is_hole = ~self.ok[rows]
        if missing == "raise" and is_hole.any():
            holes = [
                f"{os.fsdecode(self.items['key'][row])} ({name_of(int(self.statuses[row]))})"
                for row in rows[is_hole]
            ]
            raise DataError(
                f"{len(holes)} images of '{self.path}' have no descriptors",
                found=some(holes),
                advice="missing='drop' leaves them out.",
            )
        return rows[~is_hole] if missing == "drop" else rows

    def _layer(self, layer: str | None) -> str:
        if layer is None:
            if len(self.layers) > 1:
                known = some(list(self.layers))
                raise UsageError(f"'{self.path}' has several layers", expected=f"one of {known}")
            return next(iter(self.layers))
        look_up(self.layers, layer, f"layer of '{self.path}'")
        return layer

    def _scales(self, scales: Sequence[int | str] | None) -> list[str]:
        if scales is None:
            return self.scales
        names = [str(scale) for scale in scales]
        for name in names:
            look_up(dict.fromkeys(self.scales), name, f"scale of '{self.path}'")
        if not names or len(set(names)) != len(names):
            raise UsageError(f"scales are {names}", expected="each once, at least one")
        return sorted(names, key=_ascending)

    def to_frame(self, *, descriptors: bool = False) -> pd.DataFrame:
        """A table: key, status, name, size, height, width, sha256; a column a (layer, scale) array
        of descriptors on request."""
        import pandas as pd

        frame: dict[str, Any] = {
            "key": pd.Series(self.keys, dtype=object),  # Arrow's texts cannot hold every key
            "status": self.statuses,
            "name": [name_of(int(status)) for status in self.statuses],
            "size": self.items["size"],
            "height": self.items["shape"][:, 0],
            "width": self.items["shape"][:, 1],
            "sha256": [row.tobytes().hex() for row in self.items["sha256"]],
        }
        if descriptors:
            for layer in self.layers:
                for scale in self.scales:
                    frame[f"{layer}/{scale}"] = list(self[layer, scale][:])
        table: pd.DataFrame = pd.DataFrame(frame)
        return table

    def verify(self, deep: bool = False) -> list[dict[str, object]]:
        """Damages found: [{file, what, rows}]; ``deep`` checks every byte and value."""
        from deepfeat.store.verify import verify

        damaged: list[dict[str, object]] = verify(self._place, deep=deep)["damaged"]
        return damaged


def _ascending(scale: str) -> tuple[int, float, str]:
    """Numbers by size, then names such as "native"."""
    first = scale.split("x")[0]
    return (0, int(first), scale) if first.isdecimal() else (1, 0, scale)
