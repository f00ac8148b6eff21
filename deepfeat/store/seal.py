"""From a directory of shards to one file: a checked copy, and only then the shards go.

Every shard's checksum is compared before its blocks are taken, every block's again as it passes.
A kill leaves the shards and a temporary file, or a complete sealed file and a removable directory.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import blake3
import numpy as np

from deepfeat import files
from deepfeat.errors import DeepfeatError, NotEnoughSpace, StoreDamaged
from deepfeat.store.again import with_advice
from deepfeat.store.blocks import Walked, digest_of, read_header
from deepfeat.store.committed import check_planned, check_shard, frozen_plan, load_identity
from deepfeat.store.folder import is_ours
from deepfeat.store.held import Held
from deepfeat.store.identity import Identity, canonical_json
from deepfeat.store.layout import ITEM_TABLES, ROWS, SCHEMA, descriptor_path
from deepfeat.store.lock import LOCK
from deepfeat.store.manifest import MANIFEST, SHARD, Manifest, load_manifest, shard_name
from deepfeat.store.plan import Plan
from deepfeat.store.shard import bytes_of, lay_out, put
from deepfeat.store.values import Contents, load


def seal(held: Held, target: Path, manifest: Manifest, *, with_read_back: bool = True) -> None:
    """Copy the shards of a folder into the sealed file ``target``; the shards stay.

    Raises
    ------
    StoreDamaged
        A shard, the plan or the identity is not what the manifest says; nothing was published.
    StoreLocked
        The folder, or what is in it, was replaced.
    NotEnoughSpace, StoreError
        The disk is too full, or failed; the shards are untouched.
    CannotCreate
        A file has come under the name ``target``; both stay.
    """
    folder = held.folder
    held.check()
    load_identity(folder, manifest)
    plan, frozen = frozen_plan(folder, manifest)
    shards = [_checked(folder, manifest, plan, frozen, n) for n in range(plan.shards)]
    digests = {
        (shard.path, name): blake3.blake3(bytes_of(shard.array(name))).digest()
        for shard in shards
        for name in shard.blocks
        if name.startswith("descriptors/")
    }
    identity = frozen.identity
    count = len(plan.listed)
    small = {
        f"items/{name}": np.concatenate([shard.array(f"items/{name}") for shard in shards])
        for name in ITEM_TABLES["shard"]
        if name != "key"
    }
    small["items/key"] = frozen.items["key"]
    small["items/mtime_ns"] = frozen.items["mtime_ns"]
    small["rows/item"] = np.arange(count, dtype="<i8")
    small["rows/box"] = np.concatenate([shard.array("rows/box") for shard in shards])
    provenance = {
        "identity": identity.as_value(),
        "environments": environments(shards),
        "facts": frozen.provenance["facts"],
        "plan": {
            "batch_size": plan.batch_size,
            "shard_images": plan.shard_images,
            "blake3": manifest.plan,
        },
    }
    small["provenance"] = np.array(canonical_json(provenance))
    shapes = {name: (small[name].shape, small[name].dtype) for name in _small_order()}
    for name in _descriptors(identity):
        block = shards[0].blocks[name]
        shapes[name] = ((count, *block.shape[1:]), block.dtype)
    attributes: dict[str, int | str] = {
        "deepfeat_schema": SCHEMA,
        "form": "sealed",
        "identity": identity.sha256,
    }
    layout = lay_out(attributes, shapes)
    free = files.free_bytes(target.parent)
    if free < layout.size:
        raise NotEnoughSpace(
            f"'{target}' would not fit on the disk: the shards in '{folder}' are safe",
            expected=f"{layout.size} bytes free",
            found=f"{free} bytes",
            advice="Make room and run the same command again.",
        )

    def contents(name: str) -> Iterator[bytes | memoryview]:
        if name in small:
            yield bytes_of(small[name])
            return
        for shard in shards:
            block = bytes_of(shard.array(name))
            if blake3.blake3(block).digest() != digests[shard.path, name]:
                raise StoreDamaged(f"'{shard.path}' changed while it was copied, at '/{name}'")
            yield block

    pieces = partial(layout.pieces, contents)
    put(target, "sealed", pieces, with_read_back=with_read_back, check=held.check)


def _small_order() -> list[str]:
    items = [f"items/{name}" for name in ITEM_TABLES["sealed"]]
    return ["provenance", *items, *(f"rows/{name}" for name in ROWS)]


def _descriptors(identity: Identity) -> list[str]:
    return [
        descriptor_path(layer, column)
        for layer in identity.network.layers
        for column in identity.columns
    ]


def _checked(folder: Path, manifest: Manifest, plan: Plan, frozen: Contents, number: int) -> Walked:
    """A shard whose every byte was committed, and whose rows are those of the plan's images."""
    path = folder / shard_name(number)
    entry = manifest.entries[number]
    with with_advice(path, entry.rows):
        if read_header(path).blake3 != entry.blake3 or digest_of(path) != entry.blake3:
            raise StoreDamaged(f"'{path}' is not the file that was committed: its checksum differs")
        contents = load(path, "shard")
        check_shard(contents, number, frozen.identity, frozen.provenance["dimensions"])
        check_planned(contents, plan, number)
        return contents.walked


def environments(shards: Sequence[Walked]) -> list[dict[str, Any]]:
    """Return [{environment, shards}], each with ranges [first, last] of the shards made there."""
    found: dict[bytes, list[list[int]]] = {}
    for shard in shards:
        provenance = json.loads(bytes(shard.array("provenance")[()]))
        ranges = found.setdefault(canonical_json(provenance["environment"]), [])
        number = int(shard.attributes["shard"])
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return [
        {"environment": json.loads(text), "shards": ranges}
        for text, ranges in sorted(found.items())
    ]


def remove_work(held: Held, target: Path) -> None:
    """Remove the directory that ``target`` was sealed from: the manifest last, then the lock.

    Leaves it where it is not the one: its plan differs. What stays after an error or a kill is
    removed by the next start.
    """
    sealed = load(target, "sealed")
    plan = sealed.provenance["plan"]
    if is_origin(held.folder, plan):
        remove_folder(held, -(-len(sealed.items["key"]) // max(1, int(plan["shard_images"]))))


def remove_folder(held: Held, shards: int) -> None:
    """Remove a directory of so many shards: the manifest last, then the lock.

    A file that is none of ours stays, whatever its name, and the directory with it. Nothing is
    removed by a name that leads elsewhere by now.
    """
    folder = held.folder
    last = (MANIFEST, LOCK)
    with contextlib.suppress(OSError, DeepfeatError):
        for path in sorted(folder.iterdir()):
            if path.name not in last and is_ours(path, shards):
                held.check()
                files.remove(path)
        files.fsync_folder(folder)  # else a power loss may keep the shards and lose the manifest
        for name in last:
            held.check()
            held.know(None)
            files.remove(folder / name)
        folder.rmdir()
        files.fsync_folder(folder.parent)


def is_origin(folder: Path, plan: Mapping[str, object]) -> bool:
    """Whether a sealed file with this ``plan`` in its provenance was made from ``folder``."""
    if not (folder / MANIFEST).exists():  # removed up to its manifest: shards went before
        return not any(SHARD.fullmatch(path.name) for path in folder.iterdir())
    return load_manifest(folder).plan == plan.get("blake3")
