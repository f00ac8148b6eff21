"""Stores with right checksums and wrong contents: whoever writes a file can compute those too."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import blake3
import h5py
import numpy as np

MISSING = object()
ODD: list[Any] = [
    MISSING, None, [], {}, "", "x", "\ud800", "\x1b[31mred", "\0", "x" * 1_000_000, 0, -1, 2**70,
    10**4000, 1.5, float("nan"), float("inf"), True, [1], [[1]], {"a": 1}, {"\ud800": 1},
    [None] * 5000, {str(i): i for i in range(5000)}, "NESTED", "1e999", "99999",
]  # fmt: skip
# What Python's own writer cannot make, put in place of a text.
RAW = {"NESTED": "[" * 900 + "]" * 900, "1e999": "1e999", "99999": "9" * 5000}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field below ``value``, as the keys that lead to it."""
    if at:
        yield at
    if isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*at, key))


def with_odd(value: Any, at: tuple[Any, ...], odd: Any) -> str:
    """``value`` as JSON with ``odd`` in one field."""
    changed = copy.deepcopy(value)
    place = changed
    for key in at[:-1]:
        place = place[key]
    if odd is MISSING:
        del place[at[-1]]
    else:
        place[at[-1]] = odd
    text = json.dumps(changed)
    for name, raw in RAW.items() if isinstance(odd, str) else ():
        text = text.replace(json.dumps(name), raw)
    return text


def forge(
    path: Path, form: str, change: Callable[[dict[str, Any], dict[str, Any]], object]
) -> None:
    """Write a file of a store anew with ``change`` made to its attributes and arrays."""
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        arrays: dict[str, Any] = {}
        file.visititems(
            lambda name, one: arrays.update({name: one[()]} if hasattr(one, "shape") else {})
        )
    change(attributes, arrays)
    with h5py.File(path, "w", userblock_size=512, libver=("v108", "latest")) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    stamp(path, form)


def stamp(path: Path, form: str) -> None:
    """Give the file the header that belongs to its bytes."""
    body = path.read_bytes()[512:]
    lines = f"deepfeat store 1\nform {form}\nlength {len(body)}\n"
    lines += f"blake3 {blake3.blake3(body).hexdigest()}\n"
    check = blake3.blake3(lines.encode()).hexdigest()[:16]
    path.write_bytes(f"{lines}check {check}\n".encode().ljust(512, b"\0") + body)


def provenance(text: str) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    """A change: this provenance, and the identity's sha256 that belongs to it."""

    def change(attributes: dict[str, Any], arrays: dict[str, Any]) -> None:
        arrays["provenance"] = np.array(text.encode())
        try:
            made = json.dumps(
                json.loads(text)["identity"],
                sort_keys=True,
                separators=(",", ":"),
                ensure_ascii=False,
            )
            digest = hashlib.sha256(made.encode()).hexdigest()
        except (ValueError, KeyError, RecursionError, TypeError):
            return
        attributes["identity"] = np.bytes_(digest.encode())

    return change


def forge_manifest(
    folder: Path, change: Callable[[list[str]], object] = lambda lines: None
) -> None:
    """Write the manifest anew: what its files are now, then ``change``, then its own checksum."""
    path = folder / "manifest.jsonl"
    first, *rest = [json.loads(line) for line in path.read_text().splitlines()[:-1]]
    first["plan"] = (folder / "plan.h5").read_bytes()[:200].split()[8].decode()
    for line in rest:
        contents = (folder / line["name"]).read_bytes()
        line["bytes"], line["blake3"] = len(contents), contents[:200].split()[8].decode()
    lines = [
        json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        for line in (first, *rest)
    ]
    change(lines)
    text = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    path.write_bytes(text + b'{"blake3":"%s"}\n' % blake3.blake3(text).hexdigest().encode())
