"""Files of very many small parts: refused in under two seconds of processor time, by name.

Each is a valid store with one thing more, and right checksums.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from make_store import DIMENSIONS, identity
from test_store_hostile import N, stamp, valid, write

from deepfeat.errors import StoreDamaged, UsageError
from deepfeat.store.layout import MOST_COLUMNS
from deepfeat.store.read import open_store

File = h5py.File


def groups(where: str, count: int, longest: int = 0) -> Callable[[File], None]:
    def make(file: File) -> None:
        group = file.require_group(where)
        for number in range(count):
            group.create_group(f"{number}".rjust(longest, "n"))

    return make


def datasets(count: int, length: int) -> Callable[[File], None]:
    def make(file: File) -> None:
        group = file.create_group("descriptors/x")
        for number in range(count):
            group.create_dataset(f"{number}", data=np.ones((length, 1), "<f4"))

    return make


def nested(file: File) -> None:
    group = file["descriptors"]
    for number in range(1000):
        group = group.create_group(f"{number}")


def attributes(where: str, count: int) -> Callable[[File], None]:
    def make(file: File) -> None:
        for number in range(count):
            file[where].attrs[f"a{number}"] = number

    return make


def long_attribute(file: File) -> None:
    """Longer than an object's header holds, so it lies elsewhere."""
    del file.attrs["form"]
    file.attrs.create("form", np.bytes_(b"sealed".ljust(1 << 20)))


def soft_links(file: File) -> None:
    group = file.create_group("descriptors/x")
    for number in range(3000):
        group[f"{number}"] = h5py.SoftLink("/items/key")


MANY: dict[str, tuple[Callable[[File], object], str]] = {
    "empty groups": (groups("descriptors", 9000), "'/descriptors' has 9002 links"),
    "more of them": (groups("descriptors", 15_000), "'/descriptors' has 15002 links"),
    "empty groups, as many as may be": (groups("descriptors", 3900), "/0' is empty"),
    "one empty group": (groups("descriptors/x", 0), "group '/descriptors/x' is empty"),
    "groups in a layer": (groups("descriptors/x", 3900), "is a group where a dataset belongs"),
    "groups among the columns": (groups("items", 3900), "'/items/0' does not belong"),
    "groups at the root": (groups("/", 3900), "'/0' does not belong"),
    "long names": (groups("descriptors", 200, 60_000), "is no name of a store"),
    "datasets": (datasets(2000, N), "'/descriptors/x/0' is not in the identity"),
    "more datasets": (datasets(4200, N), "'/descriptors/x' has 4200 links"),
    "datasets of no bytes": (datasets(2000, 0), "declares 0 bytes"),
    "deeper and deeper": (nested, "is a group where a dataset belongs"),
    "attributes": (attributes("/", 5000), "'/' has 5003 attributes"),
    "attributes of a dataset": (attributes("items/key", 5000), "carries attributes"),
    "attributes of a group": (attributes("descriptors", 5000), "carries attributes"),
    "a long attribute": (long_attribute, "attribute 'form' is too long"),
    "soft links": (soft_links, "is a soft or external link"),
}


def refused_at_once(path: Path, words: str) -> None:
    started = time.process_time()
    with pytest.raises(StoreDamaged) as refused:
        open_store(path)
    assert time.process_time() - started < 2
    assert words in str(refused.value)
    assert path.name in str(refused.value)


@pytest.mark.parametrize("name", MANY)
def test_many_parts_are_refused_at_once(tmp_path: Path, name: str) -> None:
    after, words = MANY[name]
    refused_at_once(write(tmp_path / "x.h5", after=after), words)


@pytest.mark.parametrize("count, words", [(2000, "/0' is empty"), (5000, "has 5002 links")])
def test_many_parts_of_the_old_kind_are_refused_at_once(
    tmp_path: Path, count: int, words: str
) -> None:
    """Groups as HDF5 made them before 1.8: a B-tree and a heap of names."""
    path = tmp_path / "x.h5"
    given, arrays = valid()
    with h5py.File(path, "w", userblock_size=512, libver=("earliest", "v108")) as file:
        for name, value in given.items():
            file.attrs[name] = value
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        groups("descriptors", count)(file)
    refused_at_once(stamp(path), words)


def test_as_many_columns_as_may_be_are_read(tmp_path: Path) -> None:
    """The limit is no trap: what may be made can be opened, in seconds."""
    scales = tuple(str(number) for number in range(1, MOST_COLUMNS // len(DIMENSIONS) + 1))
    who = identity(scales=scales)
    assert len(who.columns) * len(DIMENSIONS) == MOST_COLUMNS
    with pytest.raises(UsageError, match=f"at most {MOST_COLUMNS}"):
        identity(scales=(*scales, "native"))

    given, arrays = valid()
    for name in list(arrays):
        if name.startswith("descriptors/"):
            del arrays[name]
    for layer, dimension in DIMENSIONS.items():
        for scale in scales:
            arrays[f"descriptors/{layer}/{scale}"] = np.ones((N, dimension), "<f4")
    said = b'{"environments":[],"facts":{},"identity":%s,"plan":%s}' % (
        who.canonical(),
        b'{"batch_size":1,"blake3":"%s","shard_images":4}' % (b"0" * 64),
    )
    arrays["provenance"] = np.array(said)
    given["identity"] = np.bytes_(who.sha256.encode())

    def replaced(some: dict[str, object], others: dict[str, object]) -> None:
        some.clear()
        some.update(given)
        others.clear()
        others.update(arrays)

    path = write(tmp_path / "x.h5", replaced)
    started = time.process_time()
    assert len(open_store(path).scales) == len(scales)
    assert time.process_time() - started < 4
