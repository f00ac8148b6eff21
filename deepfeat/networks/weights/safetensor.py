"""Read a .safetensors file after checking its header against the bytes that are there.

The format: eight bytes with the length of a JSON header, the header (name, dtype, shape and range
of each tensor), then the numbers. The ranges must tile the rest of the file: no gap, no overlap,
and each exactly as long as its dtype and shape say.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from deepfeat.errors import WeightsError
from deepfeat.networks.weights.held import Opening

# The reference stops at 100 MB; the largest network here needs 0.1 MB, and parsing is not free.
MOST_HEADER_BYTES = 4 << 20
MOST_DIMENSIONS = 8
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "BOOL": 1}
ITEM_BYTES |= {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1}
ITEM_BYTES |= {"C64": 8, "F8_E4M3": 1, "F8_E5M2": 1}


def read(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, as saved.

    Raises
    ------
    WeightsError
        If header and data do not agree in every byte.
    """
    header, length = _header(path)
    _check_tiling(header, path.stat().st_size - 8 - length, path)
    try:
        tensors: dict[str, Tensor] = load_file(path, device="cpu")
    except SafetensorError as error:
        raise _refused(path, f"it cannot be read ({error!s:.160})") from error
    return tensors


def metadata(path: Path) -> dict[str, str]:
    """What the file says about itself: its word, not a fact."""
    found: dict[str, str] = _header(path)[0].get("__metadata__", {})
    return found


def opening(path: Path) -> Opening:
    """How a person opens the file."""
    name = str(path.absolute())
    return Opening(f"import torch, safetensors.torch as st; state = st.load_file({name!r})")


def _header(path: Path) -> tuple[dict[str, Any], int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise _refused(path, f"its header claims {length:,} bytes; the file has {size:,}")
        if length > MOST_HEADER_BYTES:
            raise _refused(path, f"its header claims {length:,} bytes, over {MOST_HEADER_BYTES:,}")
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"its header is no JSON ({error!s:.80})") from error
    if not isinstance(header, dict):
        raise _refused(path, "its header is not a table of tensors")
    words = header.get("__metadata__", {})
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise _refused(path, "its metadata are not texts")
    return header, length


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key twice")
    return table


def _check_tiling(header: dict[str, Any], size: int, path: Path) -> None:
    """Every tensor's range starts where the one before ends; the last ends with the file."""
    ranges = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = _range(name, entry, path)
        ranges.append((begin, end, name))
    if not ranges:
        raise _refused(path, "it holds no tensors")
    reached = 0
    for begin, end, name in sorted(ranges):
        if begin != reached:
            what = "overlaps the one before" if begin < reached else "leaves a gap before it"
            raise _refused(path, f"tensor '{name:.60}' {what}")
        reached = end
    if reached != size:
        raise _refused(path, f"its tensors claim {reached:,} bytes; {size:,} follow the header")


def _range(name: str, entry: Any, path: Path) -> tuple[int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _refused(path, f"tensor '{name:.60}' is not described by dtype, shape, data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _refused(path, f"tensor '{name:.60}' has the unknown dtype {dtype!r:.20}")
    if not _are_sizes(shape) or len(shape) > MOST_DIMENSIONS:
        raise _refused(path, f"tensor '{name:.60}' has the shape {shape!r:.60}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise _refused(path, f"tensor '{name:.60}' has the range {offsets!r:.60}")
    begin, end = offsets
    needed = math.prod(shape) * ITEM_BYTES[dtype]
    if end - begin != needed:
        raise _refused(
            path, f"tensor '{name:.60}' needs {needed:,} bytes and claims {end - begin:,}"
        )
    return begin, end


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(number) is int and 0 <= number < 1 << 48 for number in value
    )


def _refused(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"weights file '{path}' is refused: {why}",
        expected="a .safetensors file whose header fits its data",
        advice="Fetch or export the file again.",
    )
