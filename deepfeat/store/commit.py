"""Rows into a store, a shard at a time: what ``commit`` has returned from is kept.

A shard is written aside, read back, renamed, and only then named by a new manifest, whose rename is
the commit. A kill at any instant costs the shards that were not reported; the same command again
goes on, and ends with the same bytes as a run that was never interrupted.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from deepfeat.errors import DeepfeatError
from deepfeat.status import CASES, Status
from deepfeat.store.again import with_advice
from deepfeat.store.held import Held
from deepfeat.store.identity import canonical_json
from deepfeat.store.layout import HEADER_BYTES, SCHEMA, key_array, printable
from deepfeat.store.manifest import Manifest, entry_for, shard_name
from deepfeat.store.plan import Changes, Listed, Plan
from deepfeat.store.reports import Hole, add_run, report_path, write_failures
from deepfeat.store.rows import ShardRows, settle
from deepfeat.store.seal import remove_folder, remove_work, seal
from deepfeat.store.shard import as_store_error, pieces_of, put
from deepfeat.store.start import Begun, Given
from deepfeat.store.values import load


@dataclass
class Work:
    """The directory being written, and what is committed to it."""

    folder: Path
    given: Given
    begun: Begun
    manifest: Manifest
    held: Held
    with_read_back: bool


class StoreWriter:
    """The only writer of a store. Use it in a ``with`` statement: leaving it frees the lock.

    Attributes
    ----------
    path : Path
    form : "sealed" or "shards"
    plan : Plan
        Frozen at the first start.
    changes : Changes
        The source now against the plan; not taken in.
    gone : int
        Shards that were committed once but were no longer there: they are computed again.
    differing : list of str
        Those of them that came out with other bytes than before.
    """

    def __init__(
        self,
        path: Path,
        form: str,
        plan: Plan,
        changes: Changes,
        work: Work | None,  # None: the store is whole, there is nothing to write
        command: Sequence[str],
    ):
        self.path = path
        self.form = form
        self.plan = plan
        self.changes = changes
        self._work = work
        self._command = command
        self._started = time.time()
        self.gone = 0 if work is None else len(work.begun.gone)
        self.differing: list[str] = []
        self._details: dict[bytes, str] = {}
        self._is_reported = False

    @property
    def resumed(self) -> bool:
        """Whether an earlier run began it."""
        return self._work is None or self._work.begun.resumed

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do, sealing included."""
        return self._work is None or (self.form == "shards" and not self.pending)

    @property
    def pending(self) -> list[int]:
        """Numbers of the shards that are not committed, ascending."""
        done = range(self.plan.shards) if self._work is None else self._work.manifest.entries
        return [number for number in range(self.plan.shards) if number not in done]

    @property
    def committed_images(self) -> int:
        """Images whose rows are kept, holes included."""
        if self._work is None:
            return len(self.plan.listed)
        return sum(entry.rows for entry in self._work.manifest.entries.values())

    @property
    def holes(self) -> dict[int, int]:
        """Status code to number of committed images, of those that are not ok."""
        if self._work is None:
            codes, counts = np.unique(load(self.path, "sealed").items["status"], return_counts=True)
            found = dict(zip(codes.tolist(), counts.tolist(), strict=True))
            found.pop(int(Status.OK), None)
            return found
        total = Counter[str]()
        for entry in self._work.manifest.entries.values():
            total.update(entry.holes)
        return {int(code): total[case.name] for code, case in CASES.items() if total[case.name]}

    def shard(self, number: int) -> list[Listed]:
        """The images of a shard in row order."""
        return self.plan.shard(number)

    def commit(self, number: int, rows: ShardRows) -> None:
        """Keep a shard: when this returns, its rows survive a kill and a power loss.

        Rows that are holes, or not finite in the stored type, become NaN.

        Raises
        ------
        StoreError
            The disk is full or failed; what was committed before is untouched.
        DeepfeatError
            The shard is not pending, or its arrays do not fit the plan: a bug in the caller.
        """
        if self._work is None or number not in self.pending:
            raise DeepfeatError(f"internal: shard {number} is not pending")
        work, identity = self._work, self._work.given.identity
        keys = [one.key for one in self.shard(number)]
        arrays = settle(rows, key_array(keys), identity, work.begun.dimensions)
        provenance = {
            "identity": identity.as_value(),
            "environment": dict(work.given.environment),
            "facts": dict(work.begun.facts),
            "plan": {"batch_size": self.plan.batch_size, "shard_images": self.plan.shard_images},
        }
        attributes: dict[str, int | str] = {
            "deepfeat_schema": SCHEMA,
            "form": "shard",
            "identity": identity.sha256,
            "shard": number,
        }
        pieces = pieces_of(
            attributes, {"provenance": np.array(canonical_json(provenance)), **arrays}
        )
        path = work.folder / shard_name(number)
        check = work.held.check
        header = put(path, "shard", pieces, with_read_back=work.with_read_back, check=check)
        entry = entry_for(
            number,
            arrays["items/status"],
            (HEADER_BYTES + header.length, header.blake3),
            work.given.environment,
        )
        manifest = work.manifest.with_entry(entry)
        with as_store_error(work.folder):
            work.held.save(manifest)
        work.manifest = manifest
        before = work.begun.gone.get(number)
        if before is not None and before.blake3 != entry.blake3:
            self.differing.append(entry.name)
        self._details.update(zip(keys, rows.details, strict=False))

    def finish(self) -> None:
        """Write the reports and, in the sealed form, make the one file and remove the directory.

        Raises
        ------
        DeepfeatError
            Shards are pending: a bug in the caller.
        StoreDamaged, StoreError, NotEnoughSpace
            Sealing failed; the shards are where they were.
        """
        if self._work is None:
            return
        if self.pending:
            raise DeepfeatError(f"internal: {len(self.pending)} shards are not committed")
        work = self._work
        with as_store_error(self.path):
            self._report(is_finished=True)
            if self.form == "sealed":
                seal(work.held, self.path, work.manifest, with_read_back=work.with_read_back)
                remove_work(work.held, self.path)
        if self.form == "sealed":
            self._release()
            self._work = None

    def discard(self) -> None:
        """Remove a store that was begun, with its plan, unless something is committed to it."""
        if self._work is not None and not self._work.manifest.entries:
            self._work.held.check()
            remove_folder(self._work.held, self.plan.shards)
            self._release()
            self._work = None

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            # After an error the disk may refuse these too; the first error is the one to tell.
            with contextlib.suppress(*(() if error is None else (OSError, DeepfeatError))):
                self._report(is_finished=False)
        finally:
            self._release()

    def _report(self, *, is_finished: bool) -> None:
        if self._work is None or self._is_reported:
            return
        self._work.held.check()
        with as_store_error(self.path):
            path = report_path(self.path, self.form, "failures.csv")
            write_failures(path, self._holes(self._work))
            run = {
                "images": len(self.plan.listed),
                "committed": self.committed_images,
                "finished": is_finished,
                "environment": dict(self._work.given.environment),
            }
            runs = report_path(self.path, self.form, "runs.jsonl")
            add_run(runs, self._started, self._command, run)
        self._is_reported = True

    def _holes(self, work: Work) -> Iterator[Hole]:
        for number, entry in sorted(work.manifest.entries.items()):
            if not entry.holes:
                continue
            with with_advice(work.folder / entry.name, entry.rows):
                items = load(work.folder / entry.name, "shard").items
            statuses, sizes = items["status"], items["size"]
            for one, status, size in zip(self.shard(number), statuses, sizes, strict=True):
                if status != Status.OK:
                    detail = self._details.get(one.key, "")
                    yield Hole(printable(one.key), int(status), int(size), detail)

    def _release(self) -> None:
        if self._work is not None:
            self._work.held.release()
