"""What a store holds, from what, with which holes: ``deepfeat.info/1``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepfeat.status import name_of
from deepfeat.store.layout import SCHEMA
from deepfeat.store.place import in_motion
from deepfeat.store.read import Store


def describe(store: Store) -> dict[str, object]:
    """Return the JSON values of ``deepfeat.info/1``."""
    codes, counts = np.unique(store.statuses, return_counts=True)
    dtype = store.identity.sampling.store_dtype
    return {
        "schema": "deepfeat.info/1",
        "store": str(store.path),
        "form": store.form,
        "schema_version": SCHEMA,
        "generation": 0,
        "images": len(store),
        "rows": len(store),
        "statuses": {
            name_of(int(code)): int(count) for code, count in zip(codes, counts, strict=True)
        },
        "layers": {
            name: {"dimension": dimension, "scales": store.scales, "dtype": dtype}
            for name, dimension in store.layers.items()
        },
        "maps": {},
        "pyramids": {},
        "identity": store.identity.sha256,
        "provenance": store.provenance,
        "environments": store.provenance["environments"],
        "removed": 0,
        "bytes": _bytes_of(store.path),
        "complete": store.complete,
        "planned": store.planned,
    }


def _bytes_of(place: Path) -> int:
    try:
        paths = list(place.iterdir()) if place.is_dir() else [place]
        return sum(path.stat().st_size for path in paths if not path.is_dir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise in_motion(place) from error
