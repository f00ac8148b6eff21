"""The small truth beside the big data: which shards are committed, in one file replaced whole.

The rename of a new manifest is the commit. One line a shard, sorted, so that the text depends on
the set of shards and not on the order in which they arrived; the first line holds the identity and
the blake3 of the plan, the last one the blake3 of all lines before it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import blake3
import numpy as np
from numpy.typing import NDArray

from deepfeat import files
from deepfeat.errors import DataMissing, StoreDamaged
from deepfeat.status import CASES, Status, name_of
from deepfeat.store.identity import SHA256, canonical_json, load_json
from deepfeat.store.layout import MOST_SHARDS
from deepfeat.store.shape import choice, record, text, whole
from deepfeat.store.small import read_small

MANIFEST = "manifest.jsonl"
SHARD = re.compile(r"\d{6,}\.h5")
LONGEST_LINE = 1000  # bytes: every hole there is, with large numbers, makes some 600
_COUNT = whole(0)
_HOLES = record({}, {case.name: whole(1) for code, case in CASES.items() if code != Status.OK})
_FIRST = record({"deepfeat": choice("store 1"), "identity": SHA256, "plan": SHA256})
_LINE = record(
    {
        "name": text(20),
        "shard": whole(0, MOST_SHARDS - 1),
        "rows": _COUNT,
        "bytes": _COUNT,
        "blake3": SHA256,
        "environment": text(16, least=16, is_name=True),
        "holes": _HOLES,
    }
)


@dataclass(frozen=True)
class Entry:
    """A committed shard: rows, bytes of the file, blake3 behind its header, where it was made."""

    shard: int
    rows: int
    bytes: int
    blake3: str
    environment: str  # first 16 hex digits of the sha256 of the canonical environment
    holes: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return shard_name(self.shard)


@dataclass(frozen=True)
class Manifest:
    """Identity (sha256), plan (blake3), and the committed shards."""

    identity: str
    plan: str
    entries: Mapping[int, Entry] = field(default_factory=dict)

    def with_entry(self, entry: Entry) -> Manifest:
        return Manifest(self.identity, self.plan, {**self.entries, entry.shard: entry})

    def without(self, shards: Iterable[int]) -> Manifest:
        left = {number: one for number, one in self.entries.items() if number not in set(shards)}
        return Manifest(self.identity, self.plan, left)

    def to_bytes(self) -> bytes:
        """The whole text; equal manifests give equal bytes."""
        first = {"deepfeat": "store 1", "identity": self.identity, "plan": self.plan}
        lines = [canonical_json(first)]
        lines += [
            canonical_json({"name": entry.name, **asdict(entry)})
            for _, entry in sorted(self.entries.items())
        ]
        text = b"".join(line + b"\n" for line in lines)
        return text + canonical_json({"blake3": blake3.blake3(text).hexdigest()}) + b"\n"

    def save(self, folder: Path) -> None:
        """Replace the manifest of ``folder``: when this returns, the shards are committed."""
        files.replace(folder / MANIFEST, [self.to_bytes()])


def entry_for(
    shard: int,
    statuses: NDArray[np.uint8],
    file: tuple[int, str],
    environment: Mapping[str, object],
) -> Entry:
    """The line of a shard with these statuses, (bytes, blake3) and environment."""
    codes, counts = np.unique(statuses, return_counts=True)
    holes = {
        name_of(int(code)): int(count)
        for code, count in zip(codes, counts, strict=True)
        if code != Status.OK
    }
    digest = hashlib.sha256(canonical_json(dict(environment))).hexdigest()[:16]
    return Entry(shard, len(statuses), file[0], file[1], digest, holes)


def shard_name(number: int) -> str:
    return f"{number:06d}.h5"


def load_manifest(folder: Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    StoreDamaged
        It is missing, or not byte by byte what ``save`` writes.
    NoPermission, StoreError
        It could not be read.
    """
    path = folder / MANIFEST
    try:
        text = read_small(path, MOST_SHARDS * LONGEST_LINE)
    except DataMissing as error:
        raise StoreDamaged(
            f"'{folder}' has no {MANIFEST}", advice="It is not a store, or its manifest was lost."
        ) from error
    damaged = StoreDamaged(
        f"'{path}' is damaged: its checksum or form does not fit",
        advice="The shards may still be whole: keep them.",
    )
    lines = text.split(b"\n") if text.count(b"\n") <= MOST_SHARDS + 2 else []
    if len(lines) < 3 or max(map(len, lines)) > LONGEST_LINE:
        raise damaged
    try:
        first, *rest = [load_json(line, str(path)) for line in lines[:-2]]
        _FIRST(first, "first line")
        entries = [_entry(line) for line in rest]
        manifest = Manifest(first["identity"], first["plan"], {one.shard: one for one in entries})
        is_whole = manifest.to_bytes() == text
    except StoreDamaged as error:
        damaged.found = error.message
        raise damaged from error
    if not is_whole:
        raise damaged
    return manifest


def _entry(line: Any) -> Entry:
    _LINE(line, "line of a shard")
    return Entry(**{name: value for name, value in line.items() if name != "name"})
