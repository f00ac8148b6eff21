"""The frozen list of a run: which image is which row of which shard, decided before the first.

Keys stand in the order of their bytes; shard and row follow from the position. A shard is then a
pure function of its images, the identity and the environment, whichever process makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import DataMissing, StoreDamaged, UsageError
from deepfeat.store.identity import Identity, canonical_json
from deepfeat.store.layout import SCHEMA, key_array, key_fault, printable
from deepfeat.store.shard import Pieces, pieces_of
from deepfeat.store.values import Contents, load

PLAN = "plan.h5"


@dataclass(frozen=True, slots=True)
class Listed:
    """An image as it was listed: key, size in bytes, time of modification in ns."""

    key: bytes
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Changes:
    """How many images of the source are new, changed or gone since the plan was frozen."""

    new: int = 0
    changed: int = 0
    gone: int = 0


@dataclass(frozen=True)
class Plan:
    """Images in row order, and how they are cut into shards and batches."""

    listed: tuple[Listed, ...]
    batch_size: int
    shard_images: int

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-len(self.listed) // self.shard_images)

    def shard(self, number: int) -> list[Listed]:
        """The images of a shard in row order."""
        start = number * self.shard_images
        return list(self.listed[start : start + self.shard_images])

    def changes(self, listed: Iterable[Listed]) -> Changes:
        """Compare with the source as it is listed now, by size and mtime; -1 is unknown."""
        planned = {one.key: one for one in self.listed}
        now = {one.key: one for one in listed}
        both = planned.keys() & now.keys()
        changed = sum(_has_changed(planned[key], now[key]) for key in both)
        return Changes(len(now) - len(both), changed, len(planned) - len(both))


def _has_changed(planned: Listed, now: Listed) -> bool:
    is_known = planned.size >= 0 and now.size >= 0
    return planned.mtime_ns != now.mtime_ns or (is_known and planned.size != now.size)


def freeze(listed: Sequence[Listed], *, batch_size: int, shard_images: int) -> Plan:
    """Sort and check what was listed.

    Raises
    ------
    DataMissing
        Nothing is listed.
    UsageError
        A key that cannot stand in a store, a key twice, or a count below 1.
    """
    if batch_size < 1 or shard_images < 1:
        raise UsageError(f"batch size {batch_size}, images a shard {shard_images}: both at least 1")
    if not listed:
        raise DataMissing("there are no images to make a store of")
    ordered = sorted(listed, key=lambda one: one.key)
    before = b""
    for one in ordered:
        if fault := key_fault(one.key):
            raise UsageError(
                f"key '{printable(one.key)[:200]}' {fault}",
                expected="a path relative to the source, with '/'",
            )
        if one.key == before:
            raise UsageError(f"key '{printable(one.key)}' is listed twice")
        before = one.key
    return Plan(tuple(ordered), batch_size, shard_images)


def plan_arrays(
    plan: Plan,
    identity: Identity,
    environment: Mapping[str, object],
    facts: Mapping[str, object],
    dimensions: Mapping[str, int],
) -> dict[str, NDArray[Any]]:
    """The datasets of ``plan.h5``."""
    provenance = {
        "identity": identity.as_value(),
        "environment": dict(environment),
        "facts": dict(facts),
        "dimensions": dict(dimensions),
    }
    position = np.arange(len(plan.listed), dtype="<i8")
    return {
        "provenance": np.array(canonical_json(provenance)),
        "items/key": key_array([one.key for one in plan.listed]),
        "items/size": np.array([one.size for one in plan.listed], "<i8"),
        "items/mtime_ns": np.array([one.mtime_ns for one in plan.listed], "<i8"),
        "items/shard": position // plan.shard_images,
        "items/row": position % plan.shard_images,
    }


def plan_pieces(plan: Plan, identity: Identity, arrays: Mapping[str, NDArray[Any]]) -> Pieces:
    """What follows the header of ``plan.h5``."""
    attributes: dict[str, int | str] = {
        "deepfeat_schema": SCHEMA,
        "form": "plan",
        "identity": identity.sha256,
        "batch_size": plan.batch_size,
        "shard_images": plan.shard_images,
    }
    return pieces_of(attributes, arrays)()


def load_plan(path: Path) -> tuple[Plan, Contents]:
    """Read a plan. Raises ``StoreDamaged`` where it contradicts itself."""
    contents = load(path, "plan")
    attributes, items = contents.walked.attributes, contents.items
    batch_size, shard_images = int(attributes["batch_size"]), int(attributes["shard_images"])
    shard, row = np.divmod(np.arange(len(items["key"])), max(shard_images, 1))
    if batch_size < 1 or shard_images < 1:
        raise StoreDamaged(f"'{path}': batch size or images a shard below 1")
    if (items["shard"] != shard).any() or (items["row"] != row).any():
        raise StoreDamaged(f"'{path}': shard and row do not follow from the position")
    dimensions = contents.provenance["dimensions"]
    if set(dimensions) != set(contents.identity.network.layers) or not all(
        type(count) is int and count > 0 for count in dimensions.values()
    ):
        raise StoreDamaged(f"'{path}': dimensions do not fit the layers of the identity")
    return Plan(listed_of(items), batch_size, shard_images), contents


def listed_of(items: Mapping[str, NDArray[Any]]) -> tuple[Listed, ...]:
    """Columns key, size, mtime_ns as rows."""
    columns = (items["key"].tolist(), items["size"].tolist(), items["mtime_ns"].tolist())
    return tuple(Listed(*row) for row in zip(*columns, strict=True))
