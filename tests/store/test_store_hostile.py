"""Foreign files do no harm: each is refused in under two seconds, naming the offending object.

The files are made by plain h5py: a valid store, one thing changed, and a correct header, because a
stranger can compute checksums too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blake3
import h5py
import numpy as np
import pytest
from make_store import identity

from deepfeat.errors import StoreDamaged
from deepfeat.store.layout import Header
from deepfeat.store.read import open_store
from deepfeat.store.verify import verify

N = 3
Arrays = dict[str, Any]
SCALE = "descriptors/fc7/256"


def valid() -> tuple[dict[str, Any], Arrays]:
    """Attributes and datasets of a small sealed store."""
    who = identity()
    provenance = {
        "identity": json.loads(who.canonical()),
        "environments": [],
        "facts": {},
        "plan": {"batch_size": 1, "shard_images": 4, "blake3": "0" * 64},
    }
    arrays: Arrays = {
        "provenance": np.array(json.dumps(provenance).encode()),
        "items/key": np.array([b"a", b"b", b"c"]),
        "items/size": np.arange(N, dtype="<i8"),
        "items/sha256": np.zeros((N, 32), "u1"),
        "items/shape": np.ones((N, 2), "<i4"),
        "items/status": np.zeros(N, "u1"),
        "items/notes": np.zeros(N, "<u4"),
        "items/mtime_ns": np.zeros(N, "<i8"),
        "rows/item": np.arange(N, dtype="<i8"),
        "rows/box": np.zeros((N, 4), "<i4"),
    }
    for name, dimension in (("fc7", 5), ("pool5", 3)):
        for scale in ("256", "384"):
            arrays[f"descriptors/{name}/{scale}"] = np.ones((N, dimension), "<f4")
    attributes = {
        "deepfeat_schema": np.int64(1),
        "form": np.bytes_(b"sealed"),
        "identity": np.bytes_(who.sha256.encode()),
    }
    return attributes, arrays


def write(
    path: Path,
    before: Callable[[dict[str, Any], Arrays], object] = lambda attributes, arrays: None,
    after: Callable[[h5py.File], object] = lambda file: None,
) -> Path:
    """Write the store with ``before`` applied to its arrays and ``after`` to the open file."""
    attributes, arrays = valid()
    before(attributes, arrays)
    with h5py.File(path, "w", userblock_size=512, libver=("v108", "latest")) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, array in arrays.items():
            if np.asarray(array).size:
                file.create_dataset(name, data=array)
        after(file)
    return stamp(path)


def stamp(path: Path) -> Path:
    body = path.read_bytes()[512:]
    header = Header("sealed", len(body), blake3.blake3(body).hexdigest())
    path.write_bytes(header.to_bytes() + body)
    return path


def drop(name: str) -> Callable[[dict[str, Any], Arrays], object]:
    return lambda attributes, arrays: arrays.pop(name)


def put(name: str, value: Any) -> Callable[[dict[str, Any], Arrays], object]:
    return lambda attributes, arrays: arrays.__setitem__(name, value)


def attribute(name: str, value: Any) -> Callable[[dict[str, Any], Arrays], object]:
    return lambda attributes, arrays: attributes.__setitem__(name, value)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((N, 5), "<f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (N, 5))
    file.create_virtual_dataset(SCALE, layout)


def huge(file: h5py.File) -> None:
    file.create_dataset(SCALE, (2**40, 4096), "<f4")


def deep(file: h5py.File) -> None:
    group = file["descriptors"]
    for _ in range(3000):
        group = group.create_group("g")


def many(file: h5py.File) -> None:
    group = file.create_group("descriptors/x")
    for number in range(20_000):
        group[f"{number}"] = file["items"]


def wide_keys(file: h5py.File) -> None:
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(2**31 - 1)
    h5py.h5d.create(file.id, b"items/key", kind, h5py.h5s.create_simple((N,)))


def vlen(file: h5py.File) -> None:
    file.create_dataset("items/key", data=["a", "b", "c"], dtype=h5py.string_dtype())


def references(file: h5py.File) -> None:
    file.create_dataset("items/size", data=[file.ref] * N, dtype=h5py.ref_dtype)


def external_link(file: h5py.File) -> None:
    file[SCALE] = h5py.ExternalLink("/etc/hostname", "/x")


def soft_link(file: h5py.File) -> None:
    file[SCALE] = h5py.SoftLink("/descriptors/fc7/384")


def alias(file: h5py.File) -> None:
    file[SCALE] = file["descriptors/fc7/384"]


def external_storage(file: h5py.File) -> None:
    file.create_dataset("items/key", (N,), "S4", external=[("/etc/hostname", 0, 12)])


def compressed(file: h5py.File) -> None:
    file.create_dataset(SCALE, data=np.ones((N, 5), "<f4"), chunks=(1, 5), compression="gzip")


def more_attributes(file: h5py.File) -> None:
    file.attrs["settings"] = np.void(b"\x80\x04pickle")


def deep_json(file: h5py.File) -> None:
    file.create_dataset("provenance", data=np.bytes_(b"[" * 100_000))


def other_identity(attributes: dict[str, Any], arrays: Arrays) -> None:
    attributes["identity"] = np.bytes_(b"ab" * 32)


NOTHING: Callable[[dict[str, Any], Arrays], object] = lambda attributes, arrays: None  # noqa: E731
UNTOUCHED: Callable[[h5py.File], object] = lambda file: None  # noqa: E731
HOSTILE = {
    "external link": (drop(SCALE), external_link, "fc7/256' is a soft or external link"),
    "soft link": (drop(SCALE), soft_link, "fc7/256' is a soft or external link"),
    "alias": (drop(SCALE), alias, "linked twice"),
    "virtual": (drop(SCALE), virtual, "fc7/256' is not contiguous"),
    "external storage": (drop("items/key"), external_storage, "key' keeps its data in an external"),
    "gzip": (drop(SCALE), compressed, "fc7/256' is not contiguous"),
    "huge shape": (drop(SCALE), huge, "fc7/256' declares 18014398509481984 bytes"),
    "huge keys": (drop("items/key"), wide_keys, "key' has elements of 2147483647 bytes"),
    "deep groups": (NOTHING, deep, "descriptors/g/g"),
    "many links": (NOTHING, many, "'/descriptors/x' has 20000 links"),
    "unexpected name": (put("items/secret", np.ones(N)), UNTOUCHED, "'/items/secret' does not"),
    "variable text": (drop("items/key"), vlen, "'/items/key' is of a type"),
    "references": (drop("items/size"), references, "'/items/size' is of a type"),
    "compound": (put("items/size", np.zeros(N, [("a", "f4"), ("b", "S8")])), UNTOUCHED, "size' is"),
    "opaque": (put("items/size", np.array([b"\x80\x04"] * N, "V2")), UNTOUCHED, "size' is"),
    "enum": (put("items/status", np.zeros(N, bool)), UNTOUCHED, "'/items/status' is of a type"),
    "big endian": (put(SCALE, np.ones((N, 5), ">f4")), UNTOUCHED, "fc7/256' is wider"),
    "long double": (put(SCALE, np.ones((N, 5), np.longdouble)), UNTOUCHED, "fc7/256' is wider"),
    "float64": (put(SCALE, np.ones((N, 5))), UNTOUCHED, "fc7/256' is of a number type"),
    "schema 999": (attribute("deepfeat_schema", np.int64(999)), UNTOUCHED, "schema 999"),
    "attribute type": (attribute("deepfeat_schema", np.arange(10)), UNTOUCHED, "'deepfeat_schema'"),
    "attribute text": (attribute("form", "sealed"), UNTOUCHED, "attribute 'form'"),
    "more attributes": (NOTHING, more_attributes, "'/' has 4 attributes"),
    "wrong identity": (other_identity, UNTOUCHED, "attribute 'identity' is not the sha256"),
    "key upwards": (put("items/key", np.array([b"../../x", b"b", b"c"])), UNTOUCHED, "'../../x'"),
    "absolute key": (
        put("items/key", np.array([b"/x", b"b", b"c"])),
        UNTOUCHED,
        "'/x' is absolute",
    ),
    "same key": (put("items/key", np.array([b"a", b"a", b"c"])), UNTOUCHED, "row 1: 'a'"),
    "key with NUL": (put("items/key", np.array([b"a", b"b\0b", b"c"])), UNTOUCHED, "NUL"),
    "unknown status": (put("items/status", np.full(N, 77, "u1")), UNTOUCHED, "'/items/status'"),
    "short column": (put("items/size", np.arange(2, dtype="<i8")), UNTOUCHED, "'/items/size' is"),
    "short descriptors": (put(SCALE, np.ones((2, 5), "<f4")), UNTOUCHED, "fc7/256' is float32"),
    "other dimension": (put(SCALE, np.ones((N, 6), "<f4")), UNTOUCHED, "layer 'fc7'"),
    "missing scale": (drop(SCALE), UNTOUCHED, "fc7/256' is missing"),
    "missing column": (drop("rows/item"), UNTOUCHED, "'/rows/item' is missing"),
    "index out of range": (
        put("rows/item", np.array([-5, 1, 10**12])),
        UNTOUCHED,
        "'/rows/item' is not ascending within",
    ),
    "deep JSON": (drop("provenance"), deep_json, "'/provenance' is not readable"),
}


def refused(path: Path, words: str) -> None:
    started = time.perf_counter()
    with pytest.raises(StoreDamaged) as error:
        open_store(path)
    assert words in str(error.value)
    assert path.name in str(error.value)
    assert time.perf_counter() - started < 2


def test_the_store_that_is_changed_below_is_accepted_unchanged(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5")
    assert open_store(path).read("fc7").shape == (N, 5)
    assert verify(path, deep=True)["ok"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_at_once_by_name(tmp_path: Path, name: str) -> None:
    before, after, words = HOSTILE[name]
    refused(write(tmp_path / "x.h5", before, after), words)


def test_overlapping_datasets_are_refused(tmp_path: Path) -> None:
    """The address of one dataset is written into the header of another: libver "earliest" has no
    checksum on object headers that would be in the way."""
    path = tmp_path / "x.h5"
    attributes, arrays = valid()
    with h5py.File(path, "w", userblock_size=512, libver=("earliest", "v108")) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        one, other = file[SCALE], file["descriptors/fc7/384"]
        places = [dataset.id.get_offset() - 512 for dataset in (one, other)]
    contents = path.read_bytes()
    old, new = (place.to_bytes(8, "little") for place in places)
    assert contents.count(old) == 1
    path.write_bytes(contents.replace(old, new))
    refused(stamp(path), "overlaps '/descriptors/fc7/")


def test_a_file_without_our_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["descriptors/fc7/256"] = np.ones((N, 5), "f4")
    refused(path, "does not begin with the header")


def test_hdf5_further_behind_than_the_header_is_refused(tmp_path: Path) -> None:
    body = bytes(512) + write(tmp_path / "y.h5").read_bytes()[512:]
    (tmp_path / "x.h5").write_bytes(bytes(512) + body)
    refused(stamp(tmp_path / "x.h5"), "no HDF5 right behind")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.h5")
    refused(tmp_path / "x.h5", "not a regular file")


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "not a store")


@pytest.mark.parametrize("value, status, words", [(np.nan, 0, "numbers"), (1.0, 4, "NaN")])
def test_deep_verify_finds_rows_that_contradict_their_status(
    tmp_path: Path, value: float, status: int, words: str
) -> None:
    def lie(attributes: dict[str, Any], arrays: Arrays) -> None:
        arrays[SCALE][1, 2] = value
        arrays["items/status"][1] = status

    path = write(tmp_path / "x.h5", lie)
    (damage,) = verify(path, deep=True)["damaged"]
    assert f"/{SCALE}' row 1" in damage["what"]
    assert f"expected: {words}" in damage["what"]


@pytest.mark.parametrize(
    "text", [b"", b"\n\n", b"[" * 10_000, b"{}\n{}\n", b'{"shard":1e999}\n', b"\xff\xfe\n"]
)
def test_a_hostile_manifest_is_damage(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "manifest.jsonl").write_bytes(text)
    refused(tmp_path / "x", "manifest.jsonl' is damaged")
