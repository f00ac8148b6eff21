"""The files behind an open store, checked one by one: a sealed file, or the shards of a manifest.

``parts_of`` knows the two forms; ``read.py`` does not need to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import DataMissing, StoreDamaged, StoreLocked
from deepfeat.store.again import with_advice
from deepfeat.store.blocks import Walked
from deepfeat.store.committed import (
    check_entry,
    check_planned,
    check_shard,
    dimension_of,
    frozen_plan,
    load_identity,
)
from deepfeat.store.folder import links_in
from deepfeat.store.identity import STORE_DTYPES, Identity
from deepfeat.store.layout import ITEM_TABLES
from deepfeat.store.manifest import MANIFEST, load_manifest
from deepfeat.store.place import in_motion, looks
from deepfeat.store.seal import environments
from deepfeat.store.values import Contents, load


@dataclass(frozen=True)
class Parts:
    """Checked files in row order, and what they say together.

    ``planned`` counts the images of the plan, of which an unfinished store has some only.
    """

    path: Path
    form: str
    files: tuple[Walked, ...]
    identity: Identity
    provenance: dict[str, Any]
    items: dict[str, NDArray[Any]]
    dimensions: dict[str, int]
    complete: bool
    planned: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored descriptors."""
        return np.dtype(STORE_DTYPES[self.identity.sampling.store_dtype])


def parts_of(path: Path) -> Parts:
    """Check a store of either form; no pass over its descriptors.

    Where ``<name>.h5`` is not there yet but ``<name>.h5.work`` is, that directory is read: the
    committed rows of a run that has not ended.

    Raises
    ------
    DataMissing
        Neither is there.
    StoreDamaged
        It is no store, or damaged.
    StoreLocked
        It changed all the time.
    """
    for look in looks(path):
        try:
            return _directory(look.place) if look.place.is_dir() else _sealed(look.place)
        except (StoreDamaged, StoreLocked, DataMissing, FileNotFoundError, NotADirectoryError):
            if not look.has_moved():
                raise
    raise in_motion(path)


def _sealed(path: Path) -> Parts:
    contents = load(path, "sealed")
    return Parts(
        path,
        "sealed",
        (contents.walked,),
        contents.identity,
        {name: contents.provenance[name] for name in sorted(contents.provenance)},
        contents.items,
        {layer: dimension_of(contents, layer) for layer in contents.identity.network.layers},
        True,
        len(contents.items["key"]),
    )


def _directory(path: Path) -> Parts:
    if link := next(iter(links_in(path)), None):
        raise StoreDamaged(f"'{link}' is a symbolic link, which no file of a store is")
    if not (path / MANIFEST).exists():
        raise StoreDamaged(
            f"'{path}' is not a store: it has no {MANIFEST}",
            expected="a sealed .h5 file or a directory of shards",
        )
    manifest = load_manifest(path)
    identity = load_identity(path, manifest)
    plan, frozen = frozen_plan(path, manifest)
    dimensions: dict[str, int] = frozen.provenance["dimensions"]
    shards = []
    for number, entry in sorted(manifest.entries.items()):
        check_entry(path, entry)
        with with_advice(path / entry.name, entry.rows):
            contents = load(path / entry.name, "shard")
            check_shard(contents, number, identity, dimensions)
            check_planned(contents, plan, number)
        shards.append(contents)
    files = tuple(contents.walked for contents in shards)
    provenance = {
        "identity": frozen.provenance["identity"],
        "environments": environments(files),
        "facts": frozen.provenance["facts"],
        "plan": {
            "batch_size": plan.batch_size,
            "shard_images": plan.shard_images,
            "blake3": manifest.plan,
        },
    }
    items = {
        name: np.concatenate([_empty(frozen, name), *(shard.items[name] for shard in shards)])
        for name in ITEM_TABLES["shard"]
    }
    is_whole = len(shards) == plan.shards and not path.name.endswith(".h5.work")
    count = len(plan.listed)
    return Parts(path, "shards", files, identity, provenance, items, dimensions, is_whole, count)


def _empty(frozen: Contents, name: str) -> NDArray[Any]:
    """A column without rows, so that a store without committed shards has columns too."""
    kind, tail = ITEM_TABLES["shard"][name]
    return np.empty((0, *tail), frozen.items["key"].dtype if kind == "S" else kind)
