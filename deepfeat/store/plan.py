"""The frozen list of a run: which image is which row of which shard, decided before the first.

Keys stand in the order of their bytes; shard and row follow from the position. A shard is then a
pure function of its images, the identity and the environment, whichever process makes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import DataMissing, StoreDamaged, UsageError
from deepfeat.store.identity import Identity, canonical_json
from deepfeat.store.layout import (
    LARGEST_PLAN,
    LONGEST_PROVENANCE,
    MOST_SHARDS,
    SCHEMA,
    key_array,
    key_fault,
    printable,
)
from deepfeat.store.shard import Pieces, pieces_of
from deepfeat.store.values import PROVENANCE, Contents, load

PLAN = "plan.h5"
PLANNED_BYTES = 32  # of an image, beside its key


@dataclass(frozen=True, slots=True)
class Listed:
    """An image as it was listed: key, size in bytes, time of modification in ns."""

    key: bytes
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Changes:
    """How many images of the source are new, changed or gone since the plan was frozen.

    ``changed`` are of another size. ``touched`` are of the same size but another time: a copy, or
    other contents, which only reading them would tell.
    """

    new: int = 0
    changed: int = 0
    gone: int = 0
    touched: int = 0


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
        """Compare with the source as it is listed now; what could not be looked at is unchanged."""
        planned = {one.key: one for one in self.listed}
        now = {one.key: one for one in listed}
        both = [(one, now[key]) for key, one in planned.items() if key in now]
        known = [(a, b) for a, b in both if a.size >= 0 and b.size >= 0]
        same = [(a, b) for a, b in known if a.size == b.size]
        return Changes(
            new=len(now) - len(both),
            changed=len(known) - len(same),
            gone=len(planned) - len(both),
            touched=sum(a.mtime_ns != b.mtime_ns for a, b in same),
        )


def freeze(listed: Sequence[Listed], *, batch_size: int, shard_images: int) -> Plan:
    """Sort and check what was listed.

    Raises
    ------
    DataMissing
        Nothing is listed.
    UsageError
        A key that cannot stand in a store, a key twice, or a count below 1.
    """
    if not (1 <= batch_size < 2**31 and 1 <= shard_images < 2**31):
        raise UsageError(
            f"batch size {batch_size}, images a shard {shard_images}: both from 1 to {2**31 - 1}"
        )
    if not listed:
        raise DataMissing("there are no images to make a store of")
    width = max(len(one.key) for one in listed)
    if len(listed) * (width + PLANNED_BYTES) > LARGEST_PLAN:
        raise UsageError(
            f"a plan of {len(listed)} images with keys of up to {width} bytes is too large",
            expected=f"at most {LARGEST_PLAN} bytes",
            advice="Make several stores.",
        )
    if (shards := -(-len(listed) // shard_images)) > MOST_SHARDS:
        raise UsageError(
            f"{len(listed)} images would make {shards} shards",
            expected=f"at most {MOST_SHARDS}",
            advice=f"Give --shard-images {-(-len(listed) // MOST_SHARDS)} or more.",
        )
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
    text = json.dumps(
        {
            "identity": identity.as_value(),
            "environment": dict(environment),
            "facts": dict(facts),
            "dimensions": dict(dimensions),
        }
    )
    provenance = json.loads(text)
    try:  # what could not be read again is not begun
        PROVENANCE["plan"](provenance, "provenance")
        if len(text) > LONGEST_PROVENANCE // 2:  # a sealed file adds to it
            raise StoreDamaged(f"provenance of {len(text)} bytes")
    except StoreDamaged as error:
        raise UsageError(
            f"a store cannot keep this: {error.message}",
            expected=error.expected,
            found=error.found,
        ) from error
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
    most = 2**31 - 1
    shard, row = np.divmod(np.arange(len(items["key"])), max(shard_images, 1))
    if not (1 <= batch_size <= most and 1 <= shard_images <= most):
        raise StoreDamaged(f"'{path}': batch size or images a shard not from 1 to {most}")
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
