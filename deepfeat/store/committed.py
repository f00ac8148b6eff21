"""What stands in a folder of shards, held against its manifest: identity, plan, shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deepfeat.errors import DataMissing, StoreDamaged
from deepfeat.store.again import is_gone, with_advice
from deepfeat.store.blocks import digest_of, read_header
from deepfeat.store.folder import IDENTITY
from deepfeat.store.identity import Identity
from deepfeat.store.layout import (
    HEADER_BYTES,
    LARGEST_PLAN,
    LONGEST_PROVENANCE,
    descriptor_path,
    key_array,
)
from deepfeat.store.manifest import Entry, Manifest, entry_for
from deepfeat.store.plan import PLAN, Plan, load_plan
from deepfeat.store.small import read_small
from deepfeat.store.values import Contents

ANEW = (
    "Its shards may still be whole: keep a copy of the folder. Then remove '{}' and run the same "
    "'deepfeat extract' again to make all of it anew."
)


def load_identity(folder: Path, manifest: Manifest) -> Identity:
    """Read identity.json. Raises ``StoreDamaged`` unless its sha256 is the manifest's."""
    path = folder / IDENTITY
    try:
        text = read_small(path, LONGEST_PROVENANCE)
    except DataMissing as error:
        raise StoreDamaged(f"'{path}' is missing", advice=ANEW.format(folder)) from error
    try:
        identity = Identity.from_json(text)
    except StoreDamaged as error:
        error.message = f"'{path}': {error.message}"
        error.advice = error.advice or ANEW.format(folder)
        raise
    if identity.sha256 != manifest.identity or identity.canonical() != text:
        raise StoreDamaged(
            f"'{path}' is not the identity that the manifest names", advice=ANEW.format(folder)
        )
    return identity


def frozen_plan(folder: Path, manifest: Manifest) -> tuple[Plan, Contents]:
    """Read plan.h5. Raises ``StoreDamaged`` unless its blake3 is the manifest's."""
    path = folder / PLAN
    try:
        if is_gone(path):
            raise StoreDamaged(f"'{path}' is missing")
        header = read_header(path)
        is_plan = header.length <= LARGEST_PLAN and header.blake3 == manifest.plan
        if not is_plan or digest_of(path) != manifest.plan:
            raise StoreDamaged(f"'{path}' is not the plan that the manifest names")
        plan, contents = load_plan(path)
    except StoreDamaged as error:
        error.advice = ANEW.format(folder)
        raise
    if contents.identity.sha256 != manifest.identity:
        raise StoreDamaged(f"'{path}' has another identity than the manifest")
    if extra := [n for n in manifest.entries if n >= plan.shards]:
        raise StoreDamaged(f"the manifest of '{folder}' names shard {extra[0]}, beyond the plan")
    return plan, contents


def check_entry(folder: Path, entry: Entry) -> None:
    """The shard is there, of the stated size, with the stated checksum in its header."""
    path = folder / entry.name
    with with_advice(path, entry.rows):
        if is_gone(path):
            raise StoreDamaged(
                f"'{path}' is missing: the manifest names it", expected=f"{entry.rows} rows"
            )
        header = read_header(path)
        if header.blake3 != entry.blake3 or HEADER_BYTES + header.length != entry.bytes:
            raise StoreDamaged(f"'{path}' is not the shard that was committed: its header differs")


def is_planned(contents: Contents, plan: Plan, number: int) -> bool:
    """Whether the shard's keys are those of the plan, row by row."""
    expected = [one.key for one in plan.shard(number)]
    return contents.walked.blocks["items/key"].dtype == key_array(expected).dtype and (
        contents.keys == expected
    )


def check_shard(
    contents: Contents, number: int, identity: Identity, dimensions: Mapping[str, int]
) -> None:
    """The shard belongs to this store and to this place of it. Raises ``StoreDamaged``."""
    path, walked = contents.walked.path, contents.walked
    if walked.attributes["shard"] != number:
        found = str(walked.attributes["shard"])
        raise StoreDamaged(f"'{path}' is another shard", expected=str(number), found=found)
    if contents.identity.sha256 != identity.sha256:
        raise StoreDamaged(
            f"'{path}' belongs to another store: its identity differs",
            expected=identity.sha256,
            found=contents.identity.sha256,
        )
    for layer, dimension in dimensions.items():
        if (width := dimension_of(contents, layer)) != dimension:
            raise StoreDamaged(f"'{path}': layer '{layer}' has {width} channels, not {dimension}")


def dimension_of(contents: Contents, layer: str) -> int:
    """Channels of a layer."""
    name = descriptor_path(layer, contents.identity.columns[0])
    return contents.walked.blocks[name].shape[1]


def check_planned(contents: Contents, plan: Plan, number: int) -> None:
    """Raises ``StoreDamaged`` unless the shard holds the images of the plan."""
    if not is_planned(contents, plan, number):
        raise StoreDamaged(f"'{contents.walked.path}' holds other images than the plan")


def entry_of(contents: Contents) -> Entry:
    """The manifest's line for a shard."""
    header = contents.walked.header
    return entry_for(
        int(contents.walked.attributes["shard"]),
        contents.items["status"],
        (HEADER_BYTES + header.length, header.blake3),
        contents.provenance["environment"],
    )
