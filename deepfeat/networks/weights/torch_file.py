"""The two files of ``torch.save``: the pickle, and where each storage's bytes are.

A zip holds the pickle and a file for each storage. The older form is five pickles in a row (magic
number, protocol, system, object, keys of the storages), then each storage behind its length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from deepfeat.networks.weights.pickle_data import CutOff, Name, Pickled, Reference, read_pickle
from deepfeat.networks.weights.zip_directory import Entry, entries_of, place_of

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # the latter of one without entries
MOST_PICKLE_BYTES = 16 << 20
TOO_LONG = "its pickle is over 16 MiB: more than tensors by name are in it"
MAGIC_NUMBER, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
# Of tensors that no network here is made of: bytes of one number, to find what follows them.
OTHER_ITEM_BYTES = {
    "UntypedStorage": 1,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of a storage in the file; their CRC-32 where one is known."""

    start: int
    size: int
    crc: int = 0


@dataclass(frozen=True, slots=True)
class Saved:
    """A file's pickled object and the places of its storages by key."""

    path: Path
    pickled: Pickled
    places: Mapping[str, Place]


def read_saved(path: Path) -> Saved:
    """The pickle of a file, as data, and its storages.

    Raises
    ------
    ValueError
        In words that follow "is refused: ".
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        is_zip = file.read(4) in ZIP_MAGIC
        return _read_zip(path, file, size) if is_zip else _read_legacy(path, file, size)


def _read_zip(path: Path, file: BinaryIO, size: int) -> Saved:
    entries = entries_of(file, size)
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    folder = pickles[0].removesuffix("data.pkl") if len(pickles) == 1 else None
    if folder is None:
        raise ValueError(
            f"it is a zip, but not one of torch.save: it holds {_some_names(list(entries))}. "
            "Unpack it, if the weights are in there"
        )
    if f"{folder}constants.pkl" in entries:
        raise ValueError("it is a TorchScript program (torch.jit.save), not the tensors alone")
    order = _bytes(file, entries.get(f"{folder}byteorder"), size)
    if order not in (b"", b"little"):
        raise ValueError(f"its numbers are in the byte order {order!r:.20}, not little-endian")
    if entries[pickles[0]].size > MOST_PICKLE_BYTES:
        raise ValueError(TOO_LONG)
    pickled = read_pickle(_bytes(file, entries[pickles[0]], size))
    places = {
        name.removeprefix(f"{folder}data/"): Place(
            place_of(file, entry, size), entry.size, entry.crc
        )
        for name, entry in entries.items()
        if name.startswith(f"{folder}data/")
    }
    return Saved(path, pickled, places)


def _bytes(file: BinaryIO, entry: Entry | None, size: int) -> bytes:
    if entry is None:
        return b""
    start = place_of(file, entry, size)
    file.seek(start)
    return file.read(min(entry.size, MOST_PICKLE_BYTES))


def _read_legacy(path: Path, file: BinaryIO, size: int) -> Saved:
    """Five pickles (magic number, protocol, system, object, keys), then each storage."""
    file.seek(0)
    content = file.read(MOST_PICKLE_BYTES)
    pickles: list[Pickled] = []
    for expected in (MAGIC_NUMBER, PROTOCOL, None, None, None):
        try:
            pickles.append(read_pickle(content, pickles[-1].end if pickles else 0))
        except CutOff as error:
            raise ValueError(TOO_LONG if size > len(content) else str(error)) from error
        if expected is not None and pickles[-1].value != expected:
            raise ValueError("it is a pickle, but not one of torch.save")
    system, pickled, keys = pickles[2].value, pickles[3], pickles[4].value
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("its numbers are not little-endian")
    claimed = dict(_item_bytes(one) for one in pickled.references if not is_class(one))
    places: dict[str, Place] = {}
    position = pickles[4].end
    for key in keys if isinstance(keys, list) else []:
        if not isinstance(key, str) or key not in claimed:
            raise ValueError("its pickle is damaged: a storage that nothing refers to")
        file.seek(position)
        count = int.from_bytes(file.read(8), "little")
        places[key] = Place(position + 8, count * claimed[key])
        position += 8 + places[key].size
        if position > size:
            raise ValueError("it is cut off: its tensors claim more bytes than the file has")
    return Saved(path, pickled, places)


def _item_bytes(reference: Reference) -> tuple[str, int]:
    """Key of a storage, and the bytes of one of its numbers."""
    match reference.identifier:
        case ("storage", Name(_, name), str(key), *_) if name in OTHER_ITEM_BYTES:
            return key, OTHER_ITEM_BYTES[name]
    key, dtype, *_ = storage_of(reference)
    return key, dtype.itemsize


def is_class(reference: Reference) -> bool:
    """The older form refers to the class of a network by its source."""
    return isinstance(reference.identifier, tuple) and reference.identifier[:1] == ("module",)


def storage_of(reference: Reference) -> tuple[str, torch.dtype, int, int, int]:
    """Key and dtype of a storage, its length, and begin and length of the view that is meant."""
    match reference.identifier:
        case ("storage", Name(module, name), str(key), _, int(count), *rest) if (
            module in ("torch", "torch.cuda") and name in STORAGES
        ):
            dtype = STORAGES[name]
        case ("storage", Name(_, name) as kind, *_) if name not in STORAGES:
            raise ValueError(f"it holds a storage of kind {kind!s:.60}")
        case _:
            raise ValueError("its pickle is damaged: it refers to what is no storage")
    match rest:
        case [] | [None]:
            return key, dtype, count, 0, count
        case [(_, int(begin), int(length))] if 0 <= begin <= begin + length <= count:
            return key, dtype, count, begin, length
    raise ValueError("its pickle is damaged: a view leaves its storage")


def _some_names(names: list[str]) -> str:
    shown = ", ".join(f"'{name:.60}'" for name in names[:3]) or "nothing"
    return shown + (" ..." if len(names) > 3 else "")
