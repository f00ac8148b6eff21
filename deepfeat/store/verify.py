"""Is a store what was committed? Damage is an answer here, never an exception.

Quick: headers, manifest, sizes, structure, small columns. Deep: every byte against the recorded
blake3, and every row that claims to be ok is finite. The checksum is compared before HDF5 sees the
file, so that a damaged structure is a finding and not a crash.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from deepfeat.errors import DeepfeatError, NoPermission, StoreDamaged, StoreError, StoreLocked
from deepfeat.status import Status
from deepfeat.store.again import with_advice
from deepfeat.store.blocks import OPENED_FOR_WRITING, digest_of, read_header
from deepfeat.store.committed import (
    check_entry,
    check_planned,
    check_shard,
    entry_of,
    frozen_plan,
    load_identity,
)
from deepfeat.store.folder import IDENTITY, links_in
from deepfeat.store.identity import Identity
from deepfeat.store.layout import HEADER_BYTES
from deepfeat.store.manifest import MANIFEST, SHARD, Entry, load_manifest
from deepfeat.store.place import in_motion, looks
from deepfeat.store.plan import PLAN, Plan
from deepfeat.store.values import Contents, load

Thing = TypeVar("Thing")
ROWS_AT_ONCE = 1024


def verify(path: str | os.PathLike[str], *, deep: bool = False) -> dict[str, Any]:
    """Check a store of either form.

    Returns
    -------
    dict
        ``deepfeat.verify/1``: damaged [{file, what, rows}], orphans (shards that no manifest
        names), ok, exit_status 0 or 65; 74 or 77 where files could not be read, and no other is
        damaged.

    Raises
    ------
    DataMissing
        There is nothing at ``path``, nor an unfinished run beside it.
    NoPermission
        It may not be read.
    StoreLocked
        It changed all the time: what seemed damaged may be whole.
    """
    for look in looks(Path(path)):
        with contextlib.suppress(StoreLocked, FileNotFoundError, NotADirectoryError):
            found = _look(look.place, deep)
            report = _report(look.place, deep, found)
            if not found.damaged or not look.has_moved([str(one["file"]) for one in found.damaged]):
                return report
    raise in_motion(Path(path))


def _report(place: Path, deep: bool, found: Findings) -> dict[str, Any]:
    return {
        "schema": "deepfeat.verify/1",
        "store": str(place),
        "deep": deep,
        "files": len(found.files),
        "bytes": sum(map(_read_of, found.files)),
        "damaged": found.damaged,
        "orphans": found.orphans,
        "ok": not found.damaged,
        "exit_status": min(found.statuses, default=0),  # damage before what could not be read
    }


def _read_of(file: Path) -> int:
    """Bytes of a file that a look takes in: of one that is not ours by its header, only that."""
    try:
        size = file.stat().st_size
        if file.name in (MANIFEST, IDENTITY):
            return size
        read_header(file)
    except OSError:
        return 0
    except DeepfeatError:
        return min(size, HEADER_BYTES)
    return size


@dataclass
class Findings:
    """What was looked at, and what was wrong with it."""

    files: list[Path] = field(default_factory=list)
    damaged: list[dict[str, object]] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def check(self, file: Path, rows: int | None, look: Callable[[], Thing]) -> Thing | None:
        """Return what ``look`` returns; what it raises becomes a damage of ``file``, unless the
        file changed under it."""
        self.files.append(file)
        try:
            return look()
        except StoreLocked:
            raise
        except (DeepfeatError, OSError) as error:
            self.damaged.append({"file": file.name, "what": str(error), "rows": rows})
            self.statuses.append(getattr(error, "exit_status", StoreError.exit_status))
            return None


def _look(place: Path, deep: bool) -> Findings:
    if not os.access(place, os.R_OK) and os.path.lexists(place):
        raise NoPermission(f"'{place}' may not be read", advice="Check its permissions.")
    found = Findings()
    if place.is_dir():
        _directory(place, deep, found)
    else:
        found.check(place, None, lambda: _file(place, "sealed", deep))
    return found


def _file(path: Path, form: str, deep: bool) -> Contents:
    """Checksum first, then structure and small columns, then every number."""
    if deep:
        header = read_header(path)
        if (digest := digest_of(path)) != header.blake3:
            raise StoreDamaged(
                f"the contents of '{path}' are damaged: their blake3 differs",
                expected=header.blake3,
                found=digest,
                advice=OPENED_FOR_WRITING,
            )
    contents = load(path, form)
    if deep and form != "plan":
        _check_numbers(contents)
    return contents


def _check_numbers(contents: Contents) -> None:
    """Rows that are ok are finite, holes are NaN throughout. Raises ``StoreDamaged``."""
    is_ok = contents.items["status"] == Status.OK  # (m,)
    for name in contents.walked.blocks:
        if not name.startswith("descriptors/"):
            continue
        for start in range(0, len(is_ok), ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, len(is_ok))
            values = contents.walked.rows(name, np.arange(start, stop))  # (k, C)
            is_right = np.where(
                is_ok[start:stop], np.isfinite(values).all(axis=1), np.isnan(values).all(axis=1)
            )
            if not is_right.all():
                row = start + int(np.argmin(is_right))
                raise StoreDamaged(
                    f"'/{name}' row {row} of '{contents.walked.path}' contradicts its status",
                    expected="numbers" if is_ok[row] else "NaN, for it is a hole",
                )


def _directory(folder: Path, deep: bool, found: Findings) -> None:
    if links := links_in(folder):
        for path in links:
            what = f"'{path}' is a symbolic link, which no file of a store is"
            found.damaged.append({"file": path.name, "what": what, "rows": None})
        return
    manifest = found.check(folder / MANIFEST, None, lambda: load_manifest(folder))
    on_disk = [path for path in sorted(folder.iterdir()) if SHARD.fullmatch(path.name)]
    if manifest is None:  # then the shards can only be held against their own headers
        for path in on_disk:
            found.check(path, None, partial(_file, path, "shard", deep))
        return
    identity = found.check(folder / IDENTITY, None, lambda: load_identity(folder, manifest))
    planned = found.check(folder / PLAN, None, lambda: frozen_plan(folder, manifest))
    for _, entry in sorted(manifest.entries.items()):
        contents = found.check(
            folder / entry.name, entry.rows, partial(_committed, folder, entry, deep)
        )
        if contents is not None and identity is not None and planned is not None:
            found.files.pop()
            belongs = partial(_belongs, contents, entry, identity, *planned)
            found.check(folder / entry.name, entry.rows, belongs)
    named = {entry.name for entry in manifest.entries.values()}
    found.orphans += [path.name for path in on_disk if path.name not in named]


def _committed(folder: Path, entry: Entry, deep: bool) -> Contents:
    check_entry(folder, entry)
    with with_advice(folder / entry.name, entry.rows):
        return _file(folder / entry.name, "shard", deep)


def _belongs(
    contents: Contents, entry: Entry, identity: Identity, plan: Plan, frozen: Contents
) -> None:
    path = contents.walked.path
    with with_advice(path, entry.rows):
        check_shard(contents, entry.shard, identity, frozen.provenance["dimensions"])
        check_planned(contents, plan, entry.shard)
        if entry_of(contents) != entry:
            raise StoreDamaged(f"'{path}' differs from its line in the manifest")
