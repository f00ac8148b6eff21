"""Is a folder ours? Its files are known by what stands in them; a name alone decides nothing.

A run that is killed while it starts leaves a part of: the lock, identity, plan and manifest, each
perhaps only begun under its temporary name. Nothing else is taken over, and no link is followed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from deepfeat import files
from deepfeat.errors import CannotCreate, DataMissing, DeepfeatError, StoreDamaged
from deepfeat.store.blocks import open_regular, read_header, unreadable
from deepfeat.store.identity import Identity
from deepfeat.store.layout import MAGIC
from deepfeat.store.lock import LOCK, SIGNATURE
from deepfeat.store.manifest import MANIFEST, SHARD, shard_name
from deepfeat.store.plan import PLAN
from deepfeat.store.reports import REPORTS

IDENTITY = "identity.json"
LARGEST_IDENTITY = 1 << 20
NAMES = (LOCK, PLAN, IDENTITY, MANIFEST, *REPORTS)
HEADS = {IDENTITY: b'{"image":{', PLAN: MAGIC.encode(), MANIFEST: b'{"deepfeat":"store 1"'}
SHARD_HEAD = f"{MAGIC}\nform shard\n".encode()
BEGUN = {LOCK: SIGNATURE, **{files.TEMPORARY + name: head for name, head in HEADS.items()}}


def check_folder(folder: Path) -> None:
    """Raises ``CannotCreate`` unless the folder is empty, a store, or what a killed start left."""
    if link := next(iter(links_in(folder, _is_name)), None):
        raise CannotCreate(
            f"'{link}' is a symbolic link, which no file of a store is: nothing was touched",
            advice="Put the file itself in its place, or choose another name.",
        )
    names = sorted(path.name for path in folder.iterdir())
    if MANIFEST in names and _start_of(folder / MANIFEST, len(HEADS[MANIFEST])) == HEADS[MANIFEST]:
        return
    known = {name for name in names if _is_known(folder / name)}
    foreign = [name for name in names if name not in known]
    # A store whose manifest was damaged or lost: begin() says so, and touches nothing either.
    is_ruin = any(SHARD.fullmatch(name) for name in known) or bool(
        MANIFEST in names and known & {IDENTITY, PLAN}
    )
    if foreign and not (is_ruin and all(map(_is_name, foreign))):
        raise CannotCreate(
            f"'{folder}' exists and is not a store",
            found=f"'{foreign[0]}' in it",
            advice="Choose another name; nothing in it was touched.",
        )


def has_only_begun(folder: Path) -> bool:
    """Whether a run was or is at its start here: nothing is there yet but what precedes a store."""
    names = [path.name for path in folder.iterdir()]
    if MANIFEST in names or any(SHARD.fullmatch(name) for name in names):
        return False
    # What was listed and is gone had a temporary name.
    are_known = all(_is_known(folder / name) or not (folder / name).exists() for name in names)
    return are_known and (bool(names) or folder.name.endswith(".work"))


def is_promised(name: str) -> bool:
    """Whether a file of a store has this name that is the same bytes in every run."""
    return name in HEADS or bool(SHARD.fullmatch(name))


def links_in(folder: Path, is_meant: Callable[[str], bool] = is_promised) -> list[Path]:
    """The symbolic links that stand in the place of files of a store."""
    with os.scandir(folder) as found:
        return sorted(Path(one.path) for one in found if one.is_symlink() and is_meant(one.name))


def is_ours(path: Path, shards: int) -> bool:
    """Whether a run of so many shards wrote the file, or began to: by its name and its contents.

    Such a file may be removed under the folder's lock; every other is the user's. Raises
    ``NoPermission`` or ``StoreError`` where it could not be read.
    """
    head = _head_of(path.name, shards)
    return bool(head) and _begins(path, head)


def temporaries_in(folder: Path, shards: int) -> list[Path]:
    """What an interrupted writer left aside. It may only be removed under the folder's lock."""
    aside = [path for path in folder.iterdir() if path.name.startswith(files.TEMPORARY)]
    return sorted(path for path in aside if is_ours(path, shards))


def check_way(folder: Path, shards: int, written: Iterable[str]) -> None:
    """Raises ``CannotCreate`` where something that is none of ours has a name that a run of so
    many shards writes, unless it is one of ``written``: those are never written again."""
    known = {LOCK, *HEADS, *REPORTS, *written}
    for path in sorted(folder.iterdir()):
        is_name = path.name not in known and _head_of(path.name, shards)
        if is_name and not is_ours(path, shards):
            raise CannotCreate(
                f"'{path}' is none of ours, and in the way of the store in '{folder}'",
                advice="Move it away and run the same command again; nothing was touched.",
            )


def _head_of(name: str, shards: int) -> bytes:
    """How the file of this name begins in a store of so many shards; empty if there is none."""
    name = name.removeprefix(files.TEMPORARY)
    if SHARD.fullmatch(name):
        number = int(name.removesuffix(".h5"))
        return SHARD_HEAD if number < shards and name == shard_name(number) else b""
    return {**HEADS, **REPORTS}.get(name, b"")


def _is_name(name: str) -> bool:
    return name in NAMES or bool(SHARD.fullmatch(name)) or _is_temporary(name)


def _is_temporary(name: str) -> bool:
    rest = name.removeprefix(files.TEMPORARY)
    return rest != name and (rest in NAMES or bool(SHARD.fullmatch(rest)))


def _is_known(path: Path) -> bool:
    """Whether we wrote it, or began to."""
    if head := BEGUN.get(path.name):
        return may_begin(path, head)
    if path.name == IDENTITY:
        text = _start_of(path, LARGEST_IDENTITY) or b""
        try:
            return Identity.from_json(text).canonical() == text
        except DeepfeatError:
            return False
    form = "plan" if path.name == PLAN else "shard" if SHARD.fullmatch(path.name) else None
    try:
        return form is not None and read_header(path).form == form
    except DeepfeatError:
        return False


def may_begin(path: Path, head: bytes) -> bool:
    """Whether a file begins with ``head``, or was cut, or lost to zeros, before its end."""
    try:
        return _begins(path, head)
    except DeepfeatError:
        return False


def _begins(path: Path, head: bytes) -> bool:
    try:
        return head.startswith(_read_start(path, len(head)).rstrip(b"\0"))
    except (DataMissing, StoreDamaged):  # gone, or no file
        return False


def _start_of(path: Path, most: int) -> bytes | None:
    """The first bytes, at most so many; None where it is no file that can be read."""
    try:
        return _read_start(path, most)
    except DeepfeatError:
        return None


def _read_start(path: Path, most: int) -> bytes:
    descriptor = open_regular(path, follow=False)
    try:
        return os.pread(descriptor, most, 0)
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(descriptor)
