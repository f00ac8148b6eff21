"""The only way into a file of a store: walk its structure before anything is read.

HDF5 can point at other files, pipes and plug-ins, declare petabytes, and run in circles. So every
file is walked with the low-level API, following no link; what is not exactly the layout of
``layout.py`` is refused by name. HDF5 reads through us, so that what the disk refuses is no
complaint about the structure. Afterwards it is no longer needed: a dataset is an offset, a shape
and a type, and its bytes are read directly.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from h5py import h5a, h5d, h5f, h5fd, h5g, h5l, h5o, h5p, h5s, h5t

from deepfeat.errors import StoreDamaged
from deepfeat.store.blocks import Block, Walked, seen, unreadable
from deepfeat.store.layout import (
    ATTRIBUTES,
    COMMON_ATTRIBUTES,
    HEADER_BYTES,
    ITEM_TABLES,
    LONGEST_KEY,
    LONGEST_NAME,
    LONGEST_PROVENANCE,
    MOST_COLUMNS,
    ROWS,
    SCHEMA,
    Header,
)
from deepfeat.store.reading import Reading

MOST_LINKS = 2 * MOST_COLUMNS + 100  # a group a layer, and what is not a descriptor
NUMBERS = {  # class, bytes, signed -> dtype
    (h5t.INTEGER, 1, False): "|u1",
    (h5t.INTEGER, 4, True): "<i4",
    (h5t.INTEGER, 4, False): "<u4",
    (h5t.INTEGER, 8, True): "<i8",
    (h5t.FLOAT, 2, True): "<f2",
    (h5t.FLOAT, 4, True): "<f4",
}
FOREIGN = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)  # of h5py
_IDENTITY = re.compile(r"[0-9a-f]{64}")


def walk(path: Path) -> Walked:
    """Check header and structure of a file of a store.

    Raises
    ------
    StoreDamaged
        Naming the object that does not belong into a store.
    """
    header, mtime_ns = seen(path)
    reading = Reading(path)
    try:
        return _walk(path, header, mtime_ns, reading)
    except (StoreDamaged, *FOREIGN) as error:
        if reading.failed is not None:
            raise unreadable(path, reading.failed) from reading.failed
        if isinstance(error, StoreDamaged):
            error.message = f"'{path}': {error.message}"
            raise
        raise StoreDamaged(
            f"'{path}': its HDF5 structure cannot be read", found=str(error)[:200]
        ) from error
    finally:
        reading.close()


def _walk(path: Path, header: Header, mtime_ns: int, reading: Reading) -> Walked:
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_file_locking(False, True)
    access.set_fileobj_driver(h5fd.fileobj_driver, reading)
    file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY, fapl=access)
    try:
        root = h5g.open(file, b"/")
        attributes = _attributes(root, header.form)
        blocks: dict[str, Block] = {}
        _group(root, "", header, blocks, {_address(root)})
    finally:
        file.close()
    _no_overlap(blocks)
    _complete(header.form, blocks)
    return Walked(path, header, mtime_ns, attributes, blocks)


def _address(thing: Any) -> tuple[int, int]:
    info = h5o.get_info(thing)
    return info.fileno, info.addr


def _group(
    group: Any, path: str, header: Header, blocks: dict[str, Block], seen: set[tuple[int, int]]
) -> None:
    count = group.get_num_objs()
    if count + len(seen) > MOST_LINKS:
        raise StoreDamaged(f"group '/{path}' has {count} links", expected=f"at most {MOST_LINKS}")
    if count == 0:
        raise StoreDamaged(f"group '/{path}' is empty")
    links: list[tuple[bytes, Any]] = []
    group.links.iterate(lambda name, info: links.append((name, info.type)), info=True)
    for name, kind in links:
        child = _child(path, name)
        if not _is_expected(child, header.form):
            raise StoreDamaged(f"'/{child[:200]}' does not belong into a {header.form} file")
        if kind != h5l.TYPE_HARD:
            raise StoreDamaged(f"'/{child}' is a soft or external link")
        thing = h5o.open(group, name)
        if _address(thing) in seen:
            raise StoreDamaged(f"'/{child}' is linked twice")
        seen.add(_address(thing))
        if not isinstance(thing, (h5g.GroupID, h5d.DatasetID)) or h5a.get_num_attrs(thing):
            raise StoreDamaged(f"'/{child}' is a named type or carries attributes")
        if isinstance(thing, h5d.DatasetID) != _is_dataset(child):
            raise StoreDamaged(f"'/{child}' is a group where a dataset belongs, or the reverse")
        if isinstance(thing, h5g.GroupID):
            _group(thing, child, header, blocks, seen)
        else:
            blocks[child] = _dataset(thing, child, header)


def _child(path: str, name: bytes) -> str:
    shown = name.decode("utf-8", "backslashreplace")
    child = f"{path}/{shown}" if path else shown
    if len(name) > LONGEST_NAME or "\\x" in shown:
        raise StoreDamaged(f"'/{child[:200]}' is no name of a store")
    return child


def _is_dataset(path: str) -> bool:
    parts = path.split("/")
    return path == "provenance" or len(parts) == (3 if parts[0] == "descriptors" else 2)


def _is_expected(path: str, form: str) -> bool:
    top, *rest = path.split("/")
    if top == "provenance":
        return not rest
    if top == "items":
        return len(rest) <= 1 and all(name in ITEM_TABLES[form] for name in rest)
    if form == "plan":
        return False
    if top == "rows":
        return len(rest) <= 1 and all(name in ROWS for name in rest)
    return top == "descriptors" and len(rest) <= 2


def _dataset(dataset: Any, name: str, header: Header) -> Block:
    creation = dataset.get_create_plist()
    if creation.get_layout() != h5d.CONTIGUOUS:
        raise StoreDamaged(f"'/{name}' is not contiguous: chunked, compact or virtual")
    if creation.get_external_count():
        raise StoreDamaged(f"'/{name}' keeps its data in an external file")
    dtype = _dtype(dataset.get_type(), name)
    space = dataset.get_space()
    if space.get_simple_extent_type() not in (h5s.SCALAR, h5s.SIMPLE):
        raise StoreDamaged(f"'/{name}' has no extent")
    block = Block(dataset.get_offset() or 0, tuple(map(int, space.shape)), dtype)
    size = HEADER_BYTES + header.length
    if block.nbytes < 1 or block.offset < HEADER_BYTES or block.offset + block.nbytes > size:
        raise StoreDamaged(
            f"'/{name}' declares {block.nbytes} bytes at {block.offset}, shape {block.shape}",
            expected=f"at least one byte, within the file's {size}",
        )
    return block


def _dtype(kind: Any, name: str) -> np.dtype[Any]:
    family = kind.get_class()
    if family == h5t.STRING and not kind.is_variable_str():
        longest = LONGEST_PROVENANCE if name == "provenance" else LONGEST_KEY
        if kind.get_size() > longest:
            raise StoreDamaged(f"'/{name}' has elements of {kind.get_size()} bytes")
        return np.dtype(f"S{kind.get_size()}")
    if family not in (h5t.INTEGER, h5t.FLOAT):
        raise StoreDamaged(f"'/{name}' is of a type that no store holds (class {family})")
    if kind.get_size() > 8 or kind.get_order() != h5t.ORDER_LE:
        raise StoreDamaged(f"'/{name}' is wider than 8 bytes or not little-endian")
    is_signed = family == h5t.FLOAT or kind.get_sign() == h5t.SGN_2
    dtype = NUMBERS.get((family, kind.get_size(), is_signed))
    if dtype is None or not kind.equal(h5t.py_create(np.dtype(dtype))):
        raise StoreDamaged(f"'/{name}' is of a number type that no store holds")
    return np.dtype(dtype)


def _attributes(root: Any, form: str) -> dict[str, int | str]:
    expected = {**COMMON_ATTRIBUTES, **ATTRIBUTES[form]}
    count = h5a.get_num_attrs(root)
    if count != len(expected):
        raise StoreDamaged(f"'/' has {count} attributes", expected=str(sorted(expected)))
    values: dict[str, int | str] = {}
    for name, python in expected.items():
        if not h5a.exists(root, name.encode()):
            raise StoreDamaged(f"attribute '{name}' is missing")
        attribute = h5a.open(root, name.encode())
        kind = attribute.get_type()
        is_text = kind.get_class() == h5t.STRING and not kind.is_variable_str()
        is_number = kind.equal(h5t.STD_I64LE)
        if attribute.shape != () or not (is_text if python is str else is_number):
            raise StoreDamaged(f"attribute '{name}' has the wrong type or shape")
        if attribute.get_storage_size() > 64:
            raise StoreDamaged(f"attribute '{name}' is too long")
        value: Any = np.empty((), np.dtype(f"S{kind.get_size()}") if is_text else np.dtype("<i8"))
        attribute.read(value)
        values[name] = value[()].decode("ascii", "replace") if is_text else int(value[()])
    if values["deepfeat_schema"] != SCHEMA:
        raise StoreDamaged(
            f"schema {values['deepfeat_schema']} is not readable by this version",
            expected=f"schema {SCHEMA}",
            advice="Read it with the version of deepfeat that made it.",
        )
    if values["form"] != form:
        raise StoreDamaged(f"attribute 'form' is '{values['form']}'", expected=f"'{form}'")
    if not _IDENTITY.fullmatch(str(values["identity"])):
        raise StoreDamaged("attribute 'identity' is not a sha256")
    return values


def _no_overlap(blocks: dict[str, Block]) -> None:
    end, before = 0, ""
    for name, block in sorted(blocks.items(), key=lambda pair: pair[1].offset):
        if block.offset < end:
            raise StoreDamaged(f"'/{name}' overlaps '/{before}'")
        end, before = block.offset + block.nbytes, name


def _complete(form: str, blocks: dict[str, Block]) -> None:
    """Every column of the schema is there, of its type, and of the same length."""
    columns = {f"items/{name}": (*kind, "n") for name, kind in ITEM_TABLES[form].items()}
    if form != "plan":
        columns |= {f"rows/{name}": (*kind, "m") for name, kind in ROWS.items()}
    for name in (*columns, "provenance"):
        if name not in blocks:
            raise StoreDamaged(f"'/{name}' is missing")
    if blocks["provenance"].shape != () or blocks["provenance"].dtype.kind != "S":
        raise StoreDamaged("'/provenance' is not one fixed-length text")
    lengths = {"n": blocks["items/key"].shape[:1]}
    lengths["m"] = blocks["rows/item"].shape[:1] if form != "plan" else ()
    for name, (dtype, tail, axis) in columns.items():
        block = blocks[name]
        is_kind = block.dtype.kind == "S" if dtype == "S" else block.dtype == np.dtype(dtype)
        if not is_kind or block.shape != (*lengths[axis], *tail):
            raise StoreDamaged(
                f"'/{name}' is {block.dtype} of shape {block.shape}",
                expected=f"{dtype} of shape {(*lengths[axis], *tail)}",
            )
    for name, block in blocks.items():
        if name.startswith("descriptors/"):
            is_float = block.dtype in (np.dtype("<f4"), np.dtype("<f2"))
            if not is_float or len(block.shape) != 2 or block.shape[:1] != lengths["m"]:
                raise StoreDamaged(
                    f"'/{name}' is {block.dtype} of shape {block.shape}",
                    expected=f"float32 or float16 with {lengths['m']} rows",
                )
