"""The schema of a store: which datasets a file holds, of which type, behind which header.

A plan, a shard and a sealed file share one layout: a user block of 512 bytes (the header, with the
blake3 of everything behind it), then an HDF5 file whose datasets are contiguous, unfiltered,
little-endian and of fixed size, linked once. Nothing else is allowed, which is what makes the
strict reader short.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import blake3
import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import StoreDamaged

SCHEMA = 1
HEADER_BYTES = 512
MAGIC = "deepfeat store 1"
SIGNATURE = b"\x89HDF\r\n\x1a\n"
FORMS = ("plan", "shard", "sealed")
LONGEST_KEY = 4096
LONGEST_PROVENANCE = 1 << 20
MOST_SHARDS = 100_000
LARGEST_PLAN = 1 << 33  # bytes
LONGEST_NAME = 512  # bytes of a layer's or a scale's name
MOST_COLUMNS = 2000  # layers times stored scales

# Column of /items -> (dtype, shape behind the first axis). "S": bytes as wide as the longest key.
ITEMS: dict[str, tuple[str, tuple[int, ...]]] = {
    "key": ("S", ()),
    "size": ("<i8", ()),
    "sha256": ("|u1", (32,)),
    "shape": ("<i4", (2,)),
    "status": ("|u1", ()),
    "notes": ("<u4", ()),
}
MTIME: dict[str, tuple[str, tuple[int, ...]]] = {"mtime_ns": ("<i8", ())}
ROWS: dict[str, tuple[str, tuple[int, ...]]] = {"item": ("<i8", ()), "box": ("<i4", (4,))}
PLANNED: dict[str, tuple[str, tuple[int, ...]]] = {
    "key": ("S", ()),
    "size": ("<i8", ()),
    "mtime_ns": ("<i8", ()),
    "shard": ("<i8", ()),
    "row": ("<i8", ()),
}
ITEM_TABLES = {"plan": PLANNED, "shard": ITEMS, "sealed": {**ITEMS, **MTIME}}
ATTRIBUTES: dict[str, dict[str, type]] = {
    "plan": {"batch_size": int, "shard_images": int},
    "shard": {"shard": int},
    "sealed": {},
}
COMMON_ATTRIBUTES: dict[str, type] = {"deepfeat_schema": int, "form": str, "identity": str}


@dataclass(frozen=True)
class Header:
    """The user block: what the file is, and length and blake3 of everything behind it."""

    form: str
    length: int
    blake3: str

    def to_bytes(self) -> bytes:
        """Return the 512 bytes: five ASCII lines, the last a checksum of the others, then NUL."""
        lines = f"{MAGIC}\nform {self.form}\nlength {self.length}\nblake3 {self.blake3}\n"
        check = blake3.blake3(lines.encode()).hexdigest()[:16]
        return f"{lines}check {check}\n".encode().ljust(HEADER_BYTES, b"\0")


_HEADER = re.compile(
    re.escape(MAGIC).encode()
    + rb"\nform (plan|shard|sealed)\nlength ([0-9]{1,18})\nblake3 ([0-9a-f]{64})\n"
)


def parse_header(block: bytes, file: str) -> Header:
    """Read a user block. Raises ``StoreDamaged`` unless all of its 512 bytes are as written."""
    found = _HEADER.match(block)
    if found is None:
        raise StoreDamaged(
            f"'{file}' does not begin with the header of a store",
            expected=f"'{MAGIC}' and three more lines",
            found=repr(block[:24]),
            advice="It is no file of a store, or its first bytes are damaged.",
        )
    header = Header(found[1].decode(), int(found[2]), found[3].decode())
    if header.to_bytes() != block:
        raise StoreDamaged(f"the header of '{file}' is damaged: its own checksum does not fit")
    return header


def descriptor_path(layer: str, column: str) -> str:
    """HDF5 path of the (m, C) dataset of a layer at a stored scale."""
    return f"descriptors/{layer}/{column}"


def boxes_of(status: NDArray[np.uint8], shape: NDArray[np.int32]) -> NDArray[np.int32]:
    """Boxes of whole images: x0, y0, x1, y1 in pixels; -1 in holes.

    Parameters
    ----------
    status : (n,) uint8
    shape : (n, 2) int32, height and width

    Returns
    -------
    (n, 4) int32
    """
    boxes = np.zeros((len(status), 4), "<i4")
    boxes[:, 2] = shape[:, 1]
    boxes[:, 3] = shape[:, 0]
    boxes[status != 0] = -1
    return boxes


def key_array(keys: list[bytes]) -> NDArray[np.bytes_]:
    """NUL-padded keys as wide as the longest, (n,)."""
    return np.array(keys, dtype=f"S{max(len(key) for key in keys)}")


def key_fault(key: bytes) -> str:
    """Why ``key`` cannot name an image in a store; empty if it can.

    A key is a name below the user's own source folder: never absolute, never upwards.
    """
    faults: Mapping[str, bool] = {
        "is empty": not key,
        f"is longer than {LONGEST_KEY} bytes": len(key) > LONGEST_KEY,
        "holds a NUL byte": b"\0" in key,
        "is absolute": key.startswith(b"/"),
        "has a '..' component": b".." in key.split(b"/"),
    }
    return next((what for what, is_so in faults.items() if is_so), "")


def printable(key: bytes) -> str:
    """The key for a message: what is not UTF-8 appears as ``\\udcXX``."""
    return os.fsdecode(key).encode("utf-8", "backslashreplace").decode("utf-8")
