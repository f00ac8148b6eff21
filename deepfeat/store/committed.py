"""What stands in a folder of shards, held against its manifest: identity, plan, shards."""

from __future__ import annotations

from pathlib import Path

from deepfeat.errors import DataMissing, StoreDamaged
from deepfeat.store.again import is_gone, with_advice
from deepfeat.store.blocks import digest_of, read_header
from deepfeat.store.folder import IDENTITY
from deepfeat.store.identity import Identity
from deepfeat.store.layout import HEADER_BYTES, LARGEST_PLAN, LONGEST_PROVENANCE, key_array
from deepfeat.store.manifest import Entry, Manifest, entry_for
from deepfeat.store.plan import PLAN, Plan, load_plan
from deepfeat.store.small import read_small
from deepfeat.store.values import Contents


def load_identity(folder: Path, manifest: Manifest) -> Identity:
    """Read identity.json. Raises ``StoreDamaged`` unless its sha256 is the manifest's."""
    path = folder / IDENTITY
    try:
        text = read_small(path, LONGEST_PROVENANCE)
    except DataMissing as error:
        raise StoreDamaged(f"'{path}' is missing") from error
    try:
        identity = Identity.from_json(text)
    except StoreDamaged as error:
        error.message = f"'{path}': {error.message}"
        raise
    if identity.sha256 != manifest.identity or identity.canonical() != text:
        raise StoreDamaged(f"'{path}' is not the identity that the manifest names")
    return identity


def frozen_plan(folder: Path, manifest: Manifest) -> tuple[Plan, Contents]:
    """Read plan.h5. Raises ``StoreDamaged`` unless its blake3 is the manifest's."""
    path = folder / PLAN
    if not path.exists():
        raise StoreDamaged(f"'{path}' is missing")
    header = read_header(path)
    is_planned_size = header.length <= LARGEST_PLAN
    if not is_planned_size or header.blake3 != manifest.plan or digest_of(path) != manifest.plan:
        raise StoreDamaged(f"'{path}' is not the plan that the manifest names")
    plan, contents = load_plan(path)
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


def entry_of(contents: Contents) -> Entry:
    """The manifest's line for a shard."""
    header = contents.walked.header
    return entry_for(
        int(contents.walked.attributes["shard"]),
        contents.items["status"],
        (HEADER_BYTES + header.length, header.blake3),
        contents.provenance["environment"],
    )
