"""Do the values of a file make sense: keys, statuses, rows, provenance; read after the walk.

This reads the small columns, never the descriptors: opening a store costs no pass over its data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import StoreDamaged
from deepfeat.status import CASES
from deepfeat.store.blocks import Walked
from deepfeat.store.identity import SHA256, STORE_DTYPES, Identity, load_json
from deepfeat.store.identity import SHAPE as IDENTITY
from deepfeat.store.layout import ITEM_TABLES, MOST_SHARDS, descriptor_path, printable
from deepfeat.store.shape import (
    Shape,
    flag,
    plain,
    record,
    scalar,
    sequence,
    table,
    text,
    whole,
)
from deepfeat.store.strict import walk

KEYS_AT_ONCE = 1 << 16
_COUNT = whole(1, 2**31 - 1)
_CUT = {"batch_size": _COUNT, "shard_images": _COUNT}
_ENVIRONMENT = table(scalar)
_SHARDS = sequence(sequence(whole(0, MOST_SHARDS), 2, 2), 1, MOST_SHARDS)
# Of the facts every field may be absent, and others may be there: no number depends on them.
_FACTS = record(
    {},
    {
        "deepfeat": text(),
        "weights": record({}, {"name": text(), "source": text()}, others=plain),
        "untrained": flag,
        "preprocessing": text(),
        "listing": table(plain),
        "layers": table(plain),
    },
    others=plain,
)
_EVERY: dict[str, Shape] = {"identity": IDENTITY, "facts": _FACTS}
PROVENANCE: dict[str, Shape] = {
    "plan": record({**_EVERY, "environment": _ENVIRONMENT, "dimensions": table(_COUNT)}),
    "shard": record({**_EVERY, "environment": _ENVIRONMENT, "plan": record(_CUT)}),
    "sealed": record(
        {
            **_EVERY,
            "environments": sequence(
                record({"environment": _ENVIRONMENT, "shards": _SHARDS}), 0, MOST_SHARDS
            ),
            "plan": record({**_CUT, "blake3": SHA256}),
        }
    ),
}


@dataclass(frozen=True)
class Contents:
    """A checked file with its small columns in memory."""

    walked: Walked
    identity: Identity
    provenance: dict[str, Any]
    items: dict[str, NDArray[Any]]

    @property
    def keys(self) -> list[bytes]:
        found: list[bytes] = self.items["key"].tolist()
        return found


def load(path: Path, form: str) -> Contents:
    """Walk a file and check its values.

    Raises
    ------
    StoreDamaged
        Naming file and column.
    """
    walked = walk(path)
    try:
        return _load(walked, form)
    except StoreDamaged as error:
        if not error.message.startswith("'" + str(path)):
            error.message = f"'{path}': {error.message}"
        raise


def _load(walked: Walked, form: str) -> Contents:
    if walked.header.form != form:
        raise StoreDamaged(f"is a {walked.header.form} file", expected=f"a {form} file")
    provenance = load_json(bytes(walked.array("provenance")[()]), "'/provenance'")
    PROVENANCE[form](provenance, "provenance")
    identity = Identity.from_value(provenance["identity"])
    if identity.sha256 != walked.attributes["identity"]:
        raise StoreDamaged(
            "attribute 'identity' is not the sha256 of the identity in '/provenance'",
            expected=identity.sha256,
            found=str(walked.attributes["identity"]),
        )
    keys = _checked_keys(walked)
    items = {
        name: keys if name == "key" else walked.array(f"items/{name}") for name in ITEM_TABLES[form]
    }
    if form != "plan":
        _check_status(items["status"])
        _check_rows(walked)
        _check_columns(walked, identity)
    return Contents(walked, identity, provenance, items)


def _checked_keys(walked: Walked) -> NDArray[Any]:
    """The keys (n,); in pieces, for a file of nothing but holes claims any number of them."""
    block = walked.blocks["items/key"]
    count = block.shape[0]
    pieces: list[NDArray[Any]] = []
    for start in range(0, count, KEYS_AT_ONCE):
        keys = walked.rows("items/key", np.arange(start, min(start + KEYS_AT_ONCE, count)))
        _check_keys(keys, start, pieces[-1][-1] if pieces else None)
        pieces.append(keys)
    return np.concatenate(pieces)


def _check_keys(keys: NDArray[Any], start: int, before: bytes | None) -> None:
    """Not empty, no NUL, relative, without ``..``, ascending by bytes and so unique.

    ``keys`` begin at row ``start``, behind the key ``before``.
    """
    zeros = keys.view(np.uint8).reshape(len(keys), -1) == 0  # (n, width)
    faults = {
        "is empty": zeros[:, 0],
        "holds a NUL byte": (zeros[:, :-1] & ~zeros[:, 1:]).any(axis=1),
        "is absolute": np.char.startswith(keys, b"/"),
        "has a '..' component": _goes_up(keys),
        "is not after the key before it": np.r_[
            before is not None and bytes(keys[0]) <= before, keys[1:] <= keys[:-1]
        ],
    }
    for what, is_bad in faults.items():
        if is_bad.any():
            row = int(np.argmax(is_bad))
            shown = f"row {start + row}: '{printable(keys[row])[:200]}'"
            raise StoreDamaged(f"'/items/key' {shown} {what}")


def _goes_up(keys: NDArray[Any]) -> NDArray[np.bool_]:
    is_bad = np.char.find(keys, b"..") >= 0
    for row in np.flatnonzero(is_bad):
        is_bad[row] = b".." in keys[row].split(b"/")
    return is_bad


def _check_status(statuses: NDArray[Any]) -> None:
    unknown = sorted(set(np.unique(statuses).tolist()) - {int(code) for code in CASES})
    if unknown:
        raise StoreDamaged(f"'/items/status' holds codes that do not exist: {unknown}")


def _check_rows(walked: Walked) -> None:
    item = walked.array("rows/item")
    count = walked.blocks["items/key"].shape[0]
    if item.min() < 0 or item.max() >= count or (np.diff(item) < 0).any():
        raise StoreDamaged(
            "'/rows/item' is not ascending within the items",
            expected=f"0 to {count - 1}",
            found=f"{item.min()} to {item.max()}",
        )
    if len(item) != count or (item != np.arange(count)).any():
        raise StoreDamaged(
            f"'/rows/item' has {len(item)} rows for {count} items",
            expected="one row an image: regions are not read by this version",
        )


def _check_columns(walked: Walked, identity: Identity) -> None:
    dtype = np.dtype(STORE_DTYPES[identity.sampling.store_dtype])
    found = {name for name in walked.blocks if name.startswith("descriptors/")}
    for layer in identity.network.layers:
        names = [descriptor_path(layer, column) for column in identity.columns]
        for name in names:
            if name not in found:
                raise StoreDamaged(f"'/{name}' is missing: the identity names it")
            if walked.blocks[name].dtype != dtype:
                raise StoreDamaged(
                    f"'/{name}' is {walked.blocks[name].dtype}", expected=f"{dtype} by the identity"
                )
        if len({walked.blocks[name].shape for name in names}) != 1:
            raise StoreDamaged(f"the scales of layer '{layer}' have different dimensions")
        found -= set(names)
    if found:
        raise StoreDamaged(f"'/{min(found)}' is not in the identity")
