"""How a run begins: a new folder with a frozen plan, or the folder of an earlier run, taken up.

Nothing that exists and is not a store is ever overwritten or emptied, no link is followed to a
target, and nothing is created before the arguments and the free space have been checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepfeat import files
from deepfeat.errors import CannotCreate, DataMissing, NotEnoughSpace, StoreDamaged, StoreMismatch
from deepfeat.store.again import is_gone
from deepfeat.store.blocks import digest_of
from deepfeat.store.committed import (
    check_entry,
    entry_of,
    frozen_plan,
    is_planned,
    load_identity,
)
from deepfeat.store.folder import (
    IDENTITY,
    check_folder,
    check_way,
    is_ours,
    may_begin,
    temporaries_in,
)
from deepfeat.store.held import Held
from deepfeat.store.identity import STORE_DTYPES, Identity, differences, unequal
from deepfeat.store.manifest import (
    MANIFEST,
    SHARD,
    Entry,
    Manifest,
    load_manifest,
    shard_name,
)
from deepfeat.store.plan import PLAN, Plan, plan_arrays, plan_pieces
from deepfeat.store.reports import REPORTS, report_path
from deepfeat.store.shard import put
from deepfeat.store.values import load

ITEM_BYTES = 128  # beside the key: the columns of /items and /rows of an image, with room to spare


@dataclass(frozen=True)
class Given:
    """What a run was started with, as far as the store keeps it."""

    identity: Identity
    environment: Mapping[str, str | int]
    facts: Mapping[str, object]
    dimensions: Mapping[str, int]
    plan: Plan | None  # as it would be frozen now; None if the source was not listed


@dataclass(frozen=True)
class Begun:
    """A plan that stands on the disk, and what was committed to it so far."""

    plan: Plan
    manifest: Manifest
    dimensions: Mapping[str, int]
    environment: Mapping[str, object]
    facts: Mapping[str, object]
    resumed: bool
    gone: Mapping[int, Entry]  # committed once, but no longer there: to be computed again


def check_target(path: Path, folder: Path) -> None:
    """Refuse what is not ours. Raises ``CannotCreate``."""
    for place in {path, folder}:
        if place.is_symlink():
            raise CannotCreate(
                f"'{place}' is a symbolic link", advice="Name the place itself, or remove the link."
            )
    if not path.parent.is_dir():
        raise CannotCreate(f"the folder '{path.parent}' does not exist", advice="Make it first.")
    if folder.exists() and not folder.is_dir():
        raise CannotCreate(f"'{folder}' exists and is no folder", advice="Choose another name.")
    if folder.is_dir():
        check_folder(folder)


def check_reports(target: Path, form: str) -> None:
    """Refuse to write over a report that is the user's. Raises ``CannotCreate``."""
    for name, head in REPORTS.items():
        path = report_path(target, form, name)
        if path.is_file() and not path.is_symlink() and not may_begin(path, head):
            raise CannotCreate(
                f"'{path}' is none of ours: the run would write its report there",
                advice="Move it away, or choose another name; it was not touched.",
            )


def check_space(folder: Path, form: str, given: Given) -> None:
    """Rows, twice if they will be sealed, and 2 %. Raises ``NotEnoughSpace``."""
    if given.plan is None:
        return
    identity = given.identity
    width = 2 if STORE_DTYPES[identity.sampling.store_dtype] == "<f2" else 4
    row = sum(given.dimensions.values()) * len(identity.columns) * width
    names = sum(len(one.key) for one in given.plan.listed)
    rows = len(given.plan.listed) * (row + ITEM_BYTES) + names
    needed = rows * (2 if form == "sealed" else 1) * 102 // 100
    there = sum(path.lstat().st_size for path in folder.glob("*.h5")) if folder.is_dir() else 0
    free = files.free_bytes(folder)
    if free < needed - there:
        raise NotEnoughSpace(
            f"the store would not fit on the disk of '{folder.parent}'",
            expected=f"{needed - there} bytes free",
            found=f"{free} bytes",
            advice="Make room, choose fewer scales, --store-dtype float16 or --form shards.",
        )


def make_folder(folder: Path) -> None:
    """Make the folder, durably. Raises ``CannotCreate``."""
    try:
        folder.mkdir()
        files.fsync_folder(folder.parent)
    except FileExistsError:
        return
    except OSError as error:
        raise CannotCreate(f"'{folder}' cannot be made: {error.strerror}") from error


def begin(held: Held, given: Given, *, accept_environment: bool, with_read_back: bool) -> Begun:
    """Freeze a plan in an empty folder, or take up the one that is there. Under the lock.

    Raises
    ------
    StoreMismatch
        The folder's identity or environment is another; the message lists each field.
    StoreDamaged
        A file of the folder is not what the manifest says.
    """
    folder = held.folder
    held.check()
    if (folder / MANIFEST).exists():
        return _resume(held, given, accept_environment=accept_environment)
    if shards := sorted(path.name for path in folder.iterdir() if SHARD.fullmatch(path.name)):
        raise StoreDamaged(
            f"'{folder}' holds shards such as '{shards[0]}' but no {MANIFEST}",
            advice="The manifest was lost; the shards may still be whole: keep them.",
        )
    plan = given.plan
    if plan is None:
        raise DataMissing(
            f"'{folder}' holds no plan to continue", advice="Its images have to be listed first."
        )
    _clear(held, plan.shards, ())
    arrays = plan_arrays(plan, given.identity, given.environment, given.facts, given.dimensions)
    held.check()
    files.replace(folder / IDENTITY, [given.identity.canonical()])
    header = put(
        folder / PLAN,
        "plan",
        lambda: plan_pieces(plan, given.identity, arrays),
        with_read_back=with_read_back,
        check=held.check,
    )
    manifest = Manifest(given.identity.sha256, header.blake3)
    held.save(manifest)
    return Begun(plan, manifest, given.dimensions, given.environment, given.facts, False, {})


def _clear(held: Held, shards: int, written: Iterable[str]) -> None:
    """Remove what a killed run left aside. Raises ``CannotCreate`` for what is in the way."""
    check_way(held.folder, shards, written)
    for path in temporaries_in(held.folder, shards):
        held.check()
        files.remove(path)


def _resume(held: Held, given: Given, *, accept_environment: bool) -> Begun:
    folder = held.folder
    manifest = load_manifest(folder)
    held.know(manifest)
    stored = load_identity(folder, manifest)
    check_identity(folder, stored, given.identity)
    plan, contents = frozen_plan(folder, manifest)
    environment = contents.provenance["environment"]
    differing = unequal(environment, dict(given.environment))
    if differing and not accept_environment:
        raise StoreMismatch(
            f"'{folder}' was begun in another environment",
            found=table_of(differing),
            advice="Continue there, or give --accept-environment: each shard records its own."
            if manifest.entries
            else f"No shard is there yet: remove '{folder}' and start again.",
        )
    dimensions = contents.provenance["dimensions"]
    if differing := unequal(dimensions, dict(given.dimensions)):
        raise StoreMismatch(f"'{folder}' has other dimensions", found=table_of(differing))
    gone = {n: one for n, one in manifest.entries.items() if is_gone(folder / one.name)}
    manifest = manifest.without(gone)
    for entry in manifest.entries.values():
        check_entry(folder, entry)
    _clear(held, plan.shards, [entry.name for entry in manifest.entries.values()])
    if gone:
        held.save(manifest)
    accepted = [environment, dict(given.environment)] if accept_environment else [environment]
    manifest = _adopt(held, manifest, plan, accepted)
    facts = contents.provenance["facts"]
    return Begun(plan, manifest, dimensions, environment, facts, True, gone)


def check_identity(path: Path, stored: Identity, given: Identity) -> None:
    """Raises ``StoreMismatch`` naming every field with both values."""
    if differing := differences(stored, given):
        raise StoreMismatch(
            f"'{path}' was made with other arguments",
            found=table_of(differing),
            advice="Give the same arguments to continue it, or another name for a new store.",
        )


def table_of(differing: list[tuple[str, object, object]]) -> list[str]:
    """One line a field: its name, the value in the store, the value given."""
    return [f"{name}: {a!r} in the store, {b!r} given" for name, a, b in differing]


def _adopt(
    held: Held, manifest: Manifest, plan: Plan, accepted: list[Mapping[str, object]]
) -> Manifest:
    """Commit shards that were finished but not reported; of ours, remove what does not fit."""
    folder = held.folder
    named = {entry.name for entry in manifest.entries.values()}
    for path in sorted(folder.iterdir()):
        is_shard = SHARD.fullmatch(path.name) and path.name not in named
        if not is_shard or not is_ours(path, plan.shards):
            continue
        try:
            contents = load(path, "shard")
            number = int(contents.walked.attributes["shard"])
            is_fit = (
                path.name == shard_name(number)
                and digest_of(path) == contents.walked.header.blake3
                and contents.identity.sha256 == manifest.identity
                and contents.provenance["environment"] in accepted
                and is_planned(contents, plan, number)
            )
        except StoreDamaged:
            is_fit = False
        if is_fit:
            manifest = manifest.with_entry(entry_of(contents))
            held.save(manifest)
        else:
            held.check()
            files.remove(path)
    return manifest
