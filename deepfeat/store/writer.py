"""The door for writing: begin a store, take up an unfinished one, or find it finished.

Everything that can be refused is refused here, before the first image is read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepfeat import files
from deepfeat.errors import CannotCreate, DeepfeatError, StoreDamaged
from deepfeat.store.commit import StoreWriter, Work
from deepfeat.store.folder import may_begin
from deepfeat.store.held import Held, hold
from deepfeat.store.identity import Identity
from deepfeat.store.layout import MAGIC
from deepfeat.store.lock import LOCK, acquire, go_on
from deepfeat.store.plan import Changes, Listed, Plan, freeze, listed_of
from deepfeat.store.reports import REPORTS, report_path
from deepfeat.store.rows import ShardRows
from deepfeat.store.seal import remove_work
from deepfeat.store.shard import as_store_error
from deepfeat.store.start import (
    Given,
    begin,
    check_identity,
    check_reports,
    check_space,
    check_target,
    make_folder,
)
from deepfeat.store.values import load

__all__ = ["Changes", "Listed", "ShardRows", "StoreWriter", "open_writer"]
FORMS = ("sealed", "shards")


def open_writer(
    path: str | os.PathLike[str],
    *,
    form: str,
    identity: Identity,
    environment: Mapping[str, str | int],
    facts: Mapping[str, object],
    listed: Sequence[Listed],
    dimensions: Mapping[str, int],
    shard_images: int = 256,
    batch_size: int = 1,
    accept_environment: bool = False,
    lock: bool = True,
    wait: bool = False,
    read_back: bool = True,
    scan: bool = True,
    command: Sequence[str] = (),
    check_stop: Callable[[], None] = go_on,
) -> StoreWriter:
    """Begin a store, or take up the one at ``path``.

    Parameters
    ----------
    form : "sealed" or "shards"
        One file at the end, made in ``<path>.work``; or a directory of shards.
    environment
        Versions, device, threads ...: recorded a shard, and the same on resuming unless accepted.
    facts
        More provenance; those of the first start are kept.
    listed
        The images of the source as they are now. On resuming the frozen plan holds and
        ``StoreWriter.changes`` counts what differs; with ``scan=False`` nothing is compared.
    dimensions
        Layer to C.
    shard_images, batch_size
        Frozen in the plan at the first start, ignored later.
    check_stop
        Called again and again while the lock is waited for; what it raises ends that.

    Raises
    ------
    UsageError, DataMissing
        Arguments that contradict themselves; no images.
    CannotCreate, NotEnoughSpace
        The target exists and is something else; the result would not fit.
    StoreMismatch
        Another identity or environment.
    StoreLocked
        Another process writes it.
    StoreDamaged
        What is there is not what was committed.
    """
    target = Path(path).absolute()
    if form not in FORMS or set(dimensions) != set(identity.network.layers):
        raise DeepfeatError(
            f"internal: form '{form}', dimensions of layers {sorted(dimensions)}",
            expected=f"{FORMS}, {sorted(identity.network.layers)}",
        )
    folder = target.with_name(target.name + ".work") if form == "sealed" else target
    plan = None  # without a look at the source only a frozen plan can be continued
    if listed or scan:
        plan = freeze(listed, batch_size=batch_size, shard_images=shard_images)
    given = Given(identity, environment, facts, dimensions, plan)
    check_target(target, folder)
    is_there = form == "sealed" and target.exists()
    if is_there and not folder.exists():  # nothing will be written: no need for a lock
        return _whole(target, identity, listed if scan else None, command)
    if not is_there:
        check_reports(target, form)
        check_space(folder, form, given)
    held = _enter(folder, lock, wait, command, check_stop)
    try:
        # Again, for now nobody else writes: another run may have ended while this one waited.
        check_target(target, folder)
        if form == "sealed" and target.exists():
            writer = _whole(target, identity, listed if scan else None, command)
            remove_work(held, target)
            _leave(held, target)
            return writer
        check_reports(target, form)
        with as_store_error(folder):
            _tidy(target, form)
            begun = begin(
                held, given, accept_environment=accept_environment, with_read_back=read_back
            )
    except BaseException:
        _leave(held, target)
        raise
    work = Work(folder, given, begun, begun.manifest, held, read_back)
    changes = begun.plan.changes(listed) if scan else Changes()
    return StoreWriter(target, form, begun.plan, changes, work, command)


def _enter(
    folder: Path,
    lock: bool,
    wait: bool,
    command: Sequence[str],
    check_stop: Callable[[], None],
) -> Held:
    """Make the folder and lock it, again where the run that was waited for removed it."""
    while True:
        make_folder(folder)
        with contextlib.suppress(FileNotFoundError):
            number = None
            if lock:
                number = acquire(folder, wait=wait, command=command, check_stop=check_stop)
            return hold(folder, number)


def _leave(held: Held, target: Path) -> None:
    """Free the lock. A folder of work in which nothing was begun goes."""
    folder = held.folder
    nothing = [] if held.lock is None else [folder / LOCK]
    try:
        with contextlib.suppress(OSError, DeepfeatError):
            held.check()
            if folder != target and list(folder.iterdir()) == nothing:
                for path in nothing:
                    files.remove(path)
                folder.rmdir()
    finally:
        held.release()


def _whole(
    target: Path,
    identity: Identity,
    listed: Sequence[Listed] | None,
    command: Sequence[str],
) -> StoreWriter:
    """A writer of the sealed file that is there: it has nothing to write."""
    kept = _finished(target, identity)
    changes = Changes() if listed is None else kept.changes(listed)
    return StoreWriter(target, "sealed", kept, changes, None, command)


def _finished(target: Path, identity: Identity) -> Plan:
    """The plan of the sealed file that is there."""
    try:
        contents = load(target, "sealed")
    except StoreDamaged as error:
        raise CannotCreate(
            f"'{target}' exists and is not a whole store: it is left as it is",
            found=": ".join(filter(None, (error.message, error.found))),
            advice=f"{error.advice} Choose another name, or move it away.".strip(),
        ) from error
    check_identity(target, contents.identity, identity)
    _tidy(target, "sealed")
    kept = contents.provenance["plan"]
    return Plan(listed_of(contents.items), int(kept["batch_size"]), int(kept["shard_images"]))


def _tidy(target: Path, form: str) -> None:
    """Remove what a killed run left aside next to a sealed file. Raises ``CannotCreate`` for what
    only has the name of it."""
    if form != "sealed":
        return
    heads = {target: MAGIC.encode()}
    heads |= {report_path(target, form, name): head for name, head in REPORTS.items()}
    for path, head in heads.items():
        aside = files.aside_of(path)
        if os.path.lexists(aside) and not may_begin(aside, head):
            raise CannotCreate(
                f"'{aside}' is none of ours, and in the way of '{path}'",
                advice="Move it away, or choose another name; it was not touched.",
            )
        files.remove(aside)
