"""Our reading of torch's files against torch's own: every kind of tensor, bit by bit."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepfeat.errors import WeightsError
from deepfeat.networks.weights import pth
from deepfeat.networks.weights.held import Contents, Held

BIG = torch.arange(1000.0)
NAMED = torch.arange(3.0)
NAMED.note = "an attribute"  # type: ignore[attr-defined]
KINDS: dict[str, Tensor] = {
    "matrix": torch.arange(12.0).reshape(3, 4),
    "number": torch.tensor(3.5),
    "nothing": torch.zeros(0, 3),
    "double": torch.arange(5, dtype=torch.float64) / 3,
    "half": torch.tensor([0.1, -6e4, float("inf")], dtype=torch.float16),
    "brain": torch.tensor([0.1, 3e38, float("nan")], dtype=torch.bfloat16),
    "bool": torch.tensor([True, False, True]),
    "int8": torch.arange(-3, 3, dtype=torch.int8),
    "uint8": torch.arange(3, dtype=torch.uint8),
    "int16": torch.arange(-3, 3, dtype=torch.int16),
    "int32": torch.arange(-3, 3, dtype=torch.int32),
    "int64": torch.tensor([1 << 62, -1]),
    "complex": torch.tensor([1 + 2j, 3 - 4j]),
    "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "transposed": torch.randn(4, 5).t(),
    "view": BIG[10:20],
    "view with steps": BIG[3:500:7],
    "column": BIG.reshape(25, 40)[:, 4:6],
    "the same again": BIG[10:20],
    "expanded": torch.ones(1).expand(5),
    "parameter": torch.nn.Parameter(torch.randn(3, 4)),
    "frozen parameter": torch.nn.Parameter(torch.randn(3), requires_grad=False),
    "buffer": torch.nn.Buffer(torch.randn(3)),
    "with an attribute": NAMED,
}


def flat(contents: Contents, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Held]]:
    for key, value in contents.items():
        if isinstance(value, Held):
            yield (*path, key), value
        else:
            yield from flat(value, (*path, key))


def assert_as_torch_reads(path: Path) -> int:
    """Number of tensors that were compared."""
    # Not restricted: its restricted reader knows protocol 2 alone, and the files are our own.
    expected = torch.load(path, map_location="cpu", weights_only=False)
    compared = 0
    for keys, held in flat(pth.read(path)):
        value = expected
        for key in keys:
            value = value[key]
        found = held.read()
        assert (found.dtype, found.shape, found.stride()) == (
            value.dtype,
            value.shape,
            value.stride(),
        )
        assert (held.kind, held.shape) == (str(value.dtype)[6:], tuple(value.shape))
        assert bits(found) == bits(value), keys
        compared += 1
    return compared


def bits(tensor: Tensor) -> bytes:
    """The bytes of the numbers in order."""
    row = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().flatten())
    return bytes(row.view(torch.uint8).tolist())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_every_kind_of_tensor_is_what_torch_reads(
    is_zip: bool, protocol: int, tmp_path: Path
) -> None:
    path = tmp_path / "kinds.pth"
    content = KINDS | {"table": dict(KINDS), "numbers": [1, -1, 1 << 40, 1 << 80, 0.5, "x", None]}
    options = {"_use_new_zipfile_serialization": is_zip, "pickle_protocol": protocol}
    torch.save(content, path, **options)  # type: ignore[arg-type]
    assert assert_as_torch_reads(path) == 2 * len(KINDS)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    order=st.randoms(),
    start=st.integers(0, 5),
    step=st.integers(1, 3),
    is_zip=st.booleans(),
)
def test_any_view_is_what_torch_reads(
    shape: list[int], order: Any, start: int, step: int, is_zip: bool, tmp_path: Path
) -> None:
    tensor = torch.randn([n * step + start for n in shape])
    view = tensor[tuple(slice(start, None, step) for _ in shape)]
    axes = list(range(len(shape)))
    order.shuffle(axes)
    path = tmp_path / "view.pth"
    content = {"view": view.permute(axes), "whole": tensor}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    assert assert_as_torch_reads(path) == 2


def test_texts_of_python_2_are_read_as_torch_reads_them(tmp_path: Path) -> None:
    path, old = tmp_path / "new.pth", tmp_path / "old.pth"
    torch.save({"weight": torch.arange(5.0)}, path)
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(old, "w") as after:
        for entry in before.infolist():
            content = before.read(entry)
            if entry.filename.endswith("data.pkl"):
                for text in (b"weight", b"storage", b"cpu"):
                    long = b"X" + struct.pack("<I", len(text)) + text
                    assert long in content
                    content = content.replace(long, b"U" + bytes([len(text)]) + text)
            after.writestr(entry.filename, content)
    assert assert_as_torch_reads(old) == 1


def with_64_bits(content: bytes) -> bytes:
    """The same zip with every number of its directory in the fields of 64 bits."""
    place = content.rindex(b"PK\x05\x06")
    count, length, start = struct.unpack_from("<HII", content, place + 10)
    directory, position = b"", start
    for _ in range(count):
        fields = list(struct.unpack_from("<4s6H3I5H2I", content, position))
        packed, size, name, extra, comment, header = (fields[i] for i in (8, 9, 10, 11, 12, 16))
        fields[8] = fields[9] = fields[16] = 0xFFFFFFFF
        fields[11], fields[12] = 28, 0
        directory += struct.pack("<4s6H3I5H2I", *fields)
        directory += content[position + 46 : position + 46 + name]
        directory += struct.pack("<2H3Q", 1, 24, size, packed, header)
        position += 46 + name + extra + comment
    end = start + len(directory)
    tail = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, end - start, start)
    tail += struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    tail += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, *(2 * [0xFFFFFFFF]), 0)
    return content[:start] + directory + tail


def test_a_zip_of_64_bits_is_read(tmp_path: Path) -> None:
    path, wide = tmp_path / "new.pth", tmp_path / "wide.pth"
    torch.save(KINDS, path)
    wide.write_bytes(with_64_bits(path.read_bytes()))
    assert len(zipfile.ZipFile(wide).namelist()) == len(zipfile.ZipFile(path).namelist())
    assert assert_as_torch_reads(wide) == len(KINDS)


def test_numbers_that_changed_on_the_way_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "damaged.pth"
    numbers = torch.arange(100.0)
    torch.save({"a": numbers}, path)
    content = bytearray(path.read_bytes())
    content[content.index(numbers.numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    held = pth.read(path)["a"]
    assert isinstance(held, Held)
    with pytest.raises(WeightsError, match="are damaged"):
        held.read()


def test_checksums_that_torch_left_out_are_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "unchecked.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(KINDS, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert assert_as_torch_reads(path) == len(KINDS)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_numbers_of_another_byte_order_are_refused(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "big.pth"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    if is_zip:
        buffer = io.BytesIO()
        with zipfile.ZipFile(path) as before, zipfile.ZipFile(buffer, "w") as after:
            for entry in before.infolist():
                swapped = before.read(entry).replace(b"little", b"big")
                after.writestr(entry.filename, swapped)
        content = buffer.getvalue()
    else:
        place = content.index(b"little_endian")
        content = content[:place] + content[place:].replace(b"\x88", b"\x89", 1)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="little-endian"):
        pth.read(path)


def test_what_is_not_wanted_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.pth"
    torch.save({"a": torch.ones(2), "large": torch.ones(1 << 20)}, path)
    held = pth.read(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])  # after it was looked through
    first, second = held["a"], held["large"]
    assert isinstance(first, Held)
    assert isinstance(second, Held)
    assert torch.equal(first.read(), torch.ones(2))
    with pytest.raises(WeightsError, match="became shorter"):
        second.read()
