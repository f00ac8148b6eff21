"""Weight files from strangers: each refused in two seconds, with a sentence, and nothing run."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.sparse import eye

from deepfeat.errors import WeightsError
from deepfeat.networks.load import skeleton
from deepfeat.networks.needs import wanted
from deepfeat.networks.weights import load

MOST_SECONDS = 2.0
MOST_RESIDENT = 200 << 20  # bytes
TOUCHED = "touched"
HOSTILE: dict[str, tuple[str, Callable[[Path], bytes], str]] = {}

Maker = Callable[[Path], bytes]


def hostile(suffix: str, words: str) -> Callable[[Maker], Maker]:
    """A row of the table: what makes the file, and what its refusal says."""

    def add(maker: Maker) -> Maker:
        HOSTILE[maker.__name__] = (suffix, maker, words)
        return maker

    return add


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Import what the first load imports, outside the time."""
    load.load_weights("vgg16", "random:0", needs_of_fc7)
    assert needs_of_fc7("torchvision").shapes
    assert load.known_weights("vgg16")


def resident() -> int:
    """The most memory the process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def needs_of_fc7(layout: Any) -> Any:
    return wanted("vgg16", *skeleton("vgg16"), ["fc7"], layout)


class Runs:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.command = f"touch {folder / TOUCHED}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def saved(content: Any, *, is_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


def rezipped(content: bytes, change: Callable[[str, bytes], bytes], method: int = 0) -> bytes:
    """The same zip with some entries' bytes changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return buffer.getvalue()


def with_pickle(program: bytes) -> bytes:
    return rezipped(
        saved({"a": torch.zeros(2)}),
        lambda name, content: program if name.endswith("data.pkl") else content,
    )


# --- .pth


@hostile(".pth", "wants to use '(os|posix).system'")
def pickle_that_runs_a_command_in_a_zip(folder: Path) -> bytes:
    return saved({"a": Runs(folder)})


@hostile(".pth", "wants to use '(os|posix).system'")
def pickle_that_runs_a_command_in_the_old_form(folder: Path) -> bytes:
    return saved({"a": Runs(folder)}, is_zip=False)


@hostile(".pth", "is refused")
def bare_pickle_that_runs_a_command(folder: Path) -> bytes:
    return pickle.dumps(Runs(folder))


@hostile(".pt", "wants to use 'builtins.eval'")
def pickle_that_evaluates(folder: Path) -> bytes:
    return with_pickle(b"cbuiltins\neval\nV1\n\x85R.")


@hostile(".pth", "wants to use 'torch.hub.load'")
def pickle_that_names_what_torch_would_run(folder: Path) -> bytes:
    return with_pickle(b"ctorch.hub\nload\nV/tmp\n\x85R.")


@hostile(".pth", "its pickle is damaged")
def tuple_that_takes_for_ever_to_hash(folder: Path) -> bytes:
    # t = (t, t), 64 times over, then a key of a dict: 2^64 steps.
    doubled = b"".join(b"h\x00h\x00\x86q\x00" for _ in range(64))
    return with_pickle(b"\x80\x02}K\x01\x85q\x00" + doubled + b"K\x01s.")


@hostile(".pth", "instructions")
def pickle_of_millions_of_instructions(folder: Path) -> bytes:
    return with_pickle(b"\x80\x02](" + b"K\x01" * 3_000_000 + b"e.")


@hostile(".pth", "over 16 MiB")
def huge_pickle(folder: Path) -> bytes:
    return with_pickle(b"\x80\x02X" + struct.pack("<I", 17 << 20) + b"a" * (17 << 20) + b".")


@hostile(".pth", "compressed")
def zip_bomb(folder: Path) -> bytes:
    state = saved({"a": torch.zeros(64 << 20, dtype=torch.uint8)})
    return rezipped(state, lambda name, content: content, zipfile.ZIP_DEFLATED)


def directory_field(content: bytes, name: str, offset: int, value: bytes) -> bytes:
    """Overwrite a field of an entry in a zip's central directory."""
    place = content.rindex(name.encode()) - 46
    assert content[place : place + 4] == b"PK\x01\x02"
    return content[: place + offset] + value + content[place + offset + len(value) :]


@hostile(".pth", "claim more bytes than the file has")
def zip_with_lying_sizes(folder: Path) -> bytes:
    content = rezipped(saved({"a": torch.zeros(2)}), lambda name, content: content)
    return directory_field(content, "archive/data/0", 20, struct.pack("<II", 1 << 30, 1 << 30))


@hostile(".pth", "twice")
def zip_with_an_entry_twice(folder: Path) -> bytes:
    buffer = io.BytesIO(saved({"a": torch.zeros(2)}))
    with zipfile.ZipFile(buffer, "a") as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith("data.pkl"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(name, b"\x80\x02}.")
    return buffer.getvalue()


@hostile(".pth", "not one of torch.save")
def another_zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "text")
    return buffer.getvalue()


@hostile(".pth", "is refused")
def storage_shorter_than_its_tensor(folder: Path) -> bytes:
    return rezipped(
        saved({"a": torch.zeros(4096)}),
        lambda name, content: content[:8] if name.endswith("data/0") else content,
    )


@hostile(".pth", "is refused")
def tensor_beyond_its_storage(folder: Path) -> bytes:
    state = saved({"a": torch.zeros(300)})
    size = b"M\x2c\x01"  # the number 300: first of the storage, then of the tensor
    return rezipped(
        state,
        lambda name, content: (
            b"M\xff\xff".join(content.rsplit(size, 1)) if name.endswith("data.pkl") else content
        ),
    )


@hostile(".pth", "tar archive")
def old_tar(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(Runs(folder))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@hostile(".pth", "is refused")
def web_page(folder: Path) -> bytes:
    return b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


@hostile(".pth", "is refused")
def old_form_that_claims_terabytes(folder: Path) -> bytes:
    content = saved({"a": torch.zeros(300)}, is_zip=False)
    return content.replace(b"M\x2c\x01", b"\x8a\x06\x00\x00\x00\x00\x00\x10")


DOUBLED = b"K\x01\x85q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(64))  # 2^64 leaves


def legacy(*pickles: bytes, data: bytes = b"") -> bytes:
    """A file of the older form; of its five pickles the last ones are given."""
    whole = saved({}, is_zip=False)
    ends = [i + 1 for i in range(len(whole)) if whole[i : i + 1] == b"."]
    starts = [0]
    for _ in range(5 - len(pickles)):
        stream = io.BytesIO(whole[starts[-1] :])
        pickle.Unpickler(stream).load()
        starts.append(starts[-1] + stream.tell())
    assert len(ends) >= 5
    return whole[: starts[-1]] + b"".join(pickles) + data


def one_tensor(
    sizes: bytes,
    steps: bytes,
    offset: bytes = b"K\x00",
    count: bytes = b"K\x02",
    key: bytes = b"V0\n",
) -> bytes:
    """A pickle of one tensor 'a' with the given instructions for its numbers."""
    storage = b"(Vstorage\nctorch\nFloatStorage\n" + key + b"Vcpu\n" + count + b"tQ"
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return b"\x80\x02}Va\n" + call + storage + offset + sizes + steps + hooks + b"tRs."


HUGE = b"\x8a\x08" + bytes(7) + b"\x10"  # 2^60
MINUS = b"J\xff\xff\xff\xff"

PROGRAMS: dict[str, tuple[bytes, str]] = {
    "a hash of a doubled tuple": (b"\x80\x02}" + DOUBLED + b"K\x01u.", "is damaged"),
    "a key of doubled tuples": (
        b"\x80\x02" + DOUBLED + b"}(h\x00K\x01u.",
        "not tensors by name",
    ),
    "doubled tuples as sizes": (one_tensor(DOUBLED[4:-2], b"h\x00"), "is damaged"),
    "tables within tables, doubled": (
        b"\x80\x02}q\x00" + b"".join(b"}(Va\nh\x00Vb\nh\x00uq\x00" for _ in range(64)) + b".",
        "not a tensor",
    ),
    "a table within itself": (b"\x80\x02}q\x00Va\nh\x00s.", "not a tensor"),
    "lists within lists": (b"\x80\x02" + b"]" * 60_000 + b"a" * 59_999 + b".", "holds a list"),
    "keys that collide": (
        b"\x80\x02}("
        + b"".join(
            b"\x8a\x0c" + (n * ((1 << 61) - 1)).to_bytes(12, "little") + b"N" for n in range(50_000)
        )
        + b"u.",
        "not tensors by name",
    ),
    "a memo of billions": (b"\x80\x02}r\xff\xff\xff\xff.", "not tensors by name"),
    "a number of a mebibyte": (
        b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + bytes(1 << 20) + b".",
        "a number of 1,048,576 bytes",
    ),
    "a text beyond the end": (b"\x80\x02X\xff\xff\xff\xff.", "cut off"),
    "a text of negative length": (b"\x80\x02T\xff\xff\xff\xff.", "cut off"),
    "a name without an end": (b"\x80\x02c" + b"a" * 100_000, "cut off"),
    "a list of pairs that is made a table again and again": (
        b"\x80\x02ccollections\nOrderedDict\nq\x000Va\nK\x01\x86q\x010]("
        + b"h\x01" * 100_000
        + b"e\x85q\x020"
        + b"h\x00h\x02R0" * 50_000
        + b"}.",
        "over [0-9,]+ instructions",
    ),
    "a text of pairs that is made a table again and again": (
        b"\x80\x02ccollections\nOrderedDict\nq\x000]q\x01("
        + b"](Va\nNee" * 50_000
        + b"h\x01\x85q\x020"
        + b"h\x00h\x02R0" * 50_000
        + b"}.",
        "is damaged|over [0-9,]+ instructions",
    ),
    "no end": (b"\x80\x02}", "cut off"),
    "a call of nothing": (b"\x80\x02R.", "is damaged"),
    "marks only": (b"\x80\x02" + b"(" * 100_000 + b".", "is damaged"),
    "a number as a table": (b"\x80\x02K\x01K\x02K\x03s.", "is damaged"),
    "an expanded tensor": (one_tensor(HUGE + b"\x85", b"K\x00\x85"), "impossible sizes"),
    "an expanded tensor of terabytes": (
        one_tensor(b"\x8a\x06" + bytes(5) + b"\x10\x85", b"K\x00\x85"),
        "claim more bytes",
    ),
    "sizes below nought": (one_tensor(MINUS + b"\x85", b"K\x01\x85"), "impossible sizes"),
    "steps below nought": (one_tensor(b"K\x02\x85", MINUS + b"\x85"), "impossible sizes"),
    "an offset below nought": (one_tensor(b"K\x02\x85", b"K\x01\x85", MINUS), "of shape"),
    "an offset beyond all": (one_tensor(b"K\x02\x85", b"K\x01\x85", HUGE), "leaves its storage"),
    "sizes without steps": (one_tensor(b"K\x02\x85", b")"), "of shape"),
    "sizes of truth": (one_tensor(b"\x88\x85", b"K\x01\x85"), "impossible sizes"),
    "a thousand sizes": (
        one_tensor(b"(" + b"K\x01" * 1000 + b"t", b"(" + b"K\x01" * 1000 + b"t"),
        "impossible sizes",
    ),
    "a storage of exabytes": (
        one_tensor(b"K\x02\x85", b"K\x01\x85", count=HUGE),
        "leaves its storage",
    ),
    "a storage that is not there": (
        one_tensor(b"K\x02\x85", b"K\x01\x85", key=b"V../../etc/passwd\n"),
        "is not there",
    ),
    "a storage without a name": (one_tensor(b"K\x02\x85", b"K\x01\x85", key=b"]"), "no storage"),
    "a copy of an expanded tensor": (
        b"\x80\x02}Va\nctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n("
        + one_tensor(b"\x8a\x04\x00\xc2\xeb\x0b\x85", b"K\x00\x85")[6:-2]
        + b"ctorch\nfloat64\nVcpu\n\x89tRs.",
        "it holds 'a'",
    ),
    "a tensor without storage": (
        b"\x80\x02}Va\nctorch._utils\n_rebuild_meta_tensor_no_storage\n("
        b"ctorch\nfloat32\n" + HUGE + b"\x85" + HUGE + b"\x85\x89tRs.",
        "it holds 'a'",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_hostile_program_is_refused_quickly_in_little_memory(
    name: str, is_zip: bool, tmp_path: Path
) -> None:
    program, words = PROGRAMS[name]
    path = tmp_path / "hostile.pth"
    empty = b"\x80\x02].", b"\x80\x02]V0\na."
    data = struct.pack("<q", 2) + bytes(8) if b"storage" in program else b""
    keys = empty[1] if data and b"V0\n" in program else empty[0]
    path.write_bytes(with_pickle(program) if is_zip else legacy(program, keys, data=data))
    started, held = time.process_time(), resident()
    with pytest.raises(WeightsError, match=f"(?s)(is refused|do not fit).*{words}"):
        load.load_weights("vgg16", str(path), needs_of_fc7, preprocessing="caffe-vgg")
    assert time.process_time() - started < MOST_SECONDS
    assert resident() - held < MOST_RESIDENT


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (b"\x80\x02](" + DOUBLED + b"1e.", "is refused"),
        (b"\x80\x02](" + DOUBLED + b"e.", "a storage that nothing refers to"),
        (b"\x80\x02](" + b"K\x01" * 3_000_000 + b"e.", "over [0-9,]+ instructions"),
        (b"\x80\x02]" + b"V0\na" * 10_000 + b".", "claim more bytes|leaves its storage"),
        (b"\x80\x02]Vother\na.", "a storage that nothing refers to"),
        (b"cos\nsystem\nVtouch touched\n\x85R.", "is refused"),
        (b"\x80\x02", "is refused"),
        (b"", "is refused"),
    ],
)
def test_hostile_keys_of_storages_are_refused_quickly(
    keys: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.pth"
    program = one_tensor(b"K\x02\x85", b"K\x01\x85")
    path.write_bytes(legacy(program, keys, data=struct.pack("<q", 1 << 60) + bytes(8)))
    started = time.process_time()
    with pytest.raises(WeightsError, match=words):
        load.load_weights("vgg16", str(path), needs_of_fc7, preprocessing="caffe-vgg")
    assert time.process_time() - started < MOST_SECONDS


def end_of_directory(content: bytes, offset: int, value: bytes) -> bytes:
    place = content.rindex(b"PK\x05\x06") + offset
    return content[:place] + value + content[place + len(value) :]


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (10, b"\xfe\xff", "its directory is damaged"),  # entries
        (10, b"\xff\xff", "its directory is damaged"),  # entries: told elsewhere
        (12, b"\xff\xff\xff\x7f", "lists|claims more bytes"),  # length
        (16, b"\xff\xff\xff\x7f", "claims more bytes"),  # start
        (16, b"\x00\x00\x00\x00", "its directory is damaged"),
        (0, b"XX", "cut off"),
    ],
)
def test_a_directory_that_lies_is_refused(
    offset: int, value: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.pth"
    content = rezipped(saved({"a": torch.zeros(2)}), lambda name, content: content)
    path.write_bytes(end_of_directory(content, offset, value))
    with pytest.raises(WeightsError, match=words):
        load.load_weights("vgg16", str(path), needs_of_fc7, preprocessing="caffe-vgg")


# --- .safetensors


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin: int, end: int, shape: Any = None, dtype: Any = "F32") -> dict[str, Any]:
    sizes = [(end - begin) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": sizes, "data_offsets": [begin, end]}


@hostile(".safetensors", "header claims")
def header_longer_than_the_file(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8)}, bytes(8), length=1 << 40)


@hostile(".safetensors", "header claims 2,147,483,648 bytes, over")
def header_of_gigabytes(folder: Path) -> bytes:
    # A sparse file: the bytes are there, on a disk that stores none of them.
    path = folder / "sparse"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2 << 30))
        file.truncate(3 << 30)
    path.rename(folder / "hostile.safetensors")
    return b""


@hostile(".safetensors", "overlaps")
def overlapping_ranges(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12))


@hostile(".safetensors", "overlaps")
def one_range_twice(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8), "b": tensor(0, 8)}, bytes(8))


@hostile(".safetensors", "gap")
def gap_between_ranges(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8), "b": tensor(12, 16)}, bytes(16))


@hostile(".safetensors", "follow the header")
def bytes_behind_the_last_range(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8)}, bytes(12))


@hostile(".safetensors", "follow the header")
def range_beyond_the_file(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8000)}, bytes(8))


@hostile(".safetensors", "unknown dtype 'F128'")
def unknown_dtype(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8, dtype="F128")}, bytes(8))


@hostile(".safetensors", "unknown dtype")
def dtype_that_is_a_list(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8, dtype=["F32"])}, bytes(8))


@hostile(".safetensors", "needs 16 bytes and claims 8")
def shape_larger_than_the_range(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8, shape=[4])}, bytes(8))


@hostile(".safetensors", "has the shape")
def negative_shape(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 8, shape=[-1, -2])}, bytes(8))


@hostile(".safetensors", "needs .* bytes and claims 0")
def shape_that_overflows(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 0, shape=[1 << 32, 1 << 32])})


@hostile(".safetensors", "has the shape")
def shape_of_booleans(folder: Path) -> bytes:
    return safetensors({"a": tensor(0, 4, shape=[True])}, bytes(4))


@hostile(".safetensors", "no JSON")
def key_twice(folder: Path) -> bytes:
    one = json.dumps(tensor(0, 4))
    return safetensors(f'{{"a": {one}, "a": {one}}}'.encode(), bytes(4))


@hostile(".safetensors", "no JSON")
def deeply_nested_header(folder: Path) -> bytes:
    return safetensors(b"[" * 1_000_000)


@hostile(".safetensors", "not described by")
def entry_that_is_a_number(folder: Path) -> bytes:
    return safetensors({"a": 7})


@hostile(".safetensors", "metadata are not texts")
def metadata_that_are_a_list(folder: Path) -> bytes:
    return safetensors({"__metadata__": [1], "a": tensor(0, 4)}, bytes(4))


@hostile(".safetensors", "no tensors")
def header_of_no_tensors(folder: Path) -> bytes:
    return safetensors({})


# --- .caffemodel


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    content = b""
    while value > 0x7F:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])


def caffe_layer(blob: bytes) -> bytes:
    return field(100, field(1, b"conv1") + field(2, b"Convolution") + field(7, blob))


def blob(dims: list[int], count: int) -> bytes:
    shape = field(1, b"".join(varint(dim) for dim in dims))
    return field(7, shape) + field(5, bytes(4 * count))


@hostile(".caffemodel", "longer than 10 bytes")
def number_of_eleven_bytes(folder: Path) -> bytes:
    return b"\x08" + b"\x80" * 10 + b"\x01"


@hostile(".caffemodel", "claims .* bytes; .* are left")
def length_beyond_the_end(folder: Path) -> bytes:
    return varint(100 << 3 | 2) + varint(1 << 60) + b"abc"


@hostile(".caffemodel", "claims .* bytes; .* are left")
def inner_length_beyond_its_message(folder: Path) -> bytes:
    inner = varint(7 << 3 | 2) + varint(1000) + b"abc"
    return field(100, field(1, b"conv1") + inner) + bytes(2000)


@hostile(".caffemodel", "no layer with weights")
def messages_within_messages(folder: Path) -> bytes:
    content = b""
    for _ in range(2000):
        content = field(50, content)
    return content


@hostile(".caffemodel", "wire type 3")
def groups_within_groups(folder: Path) -> bytes:
    return b"\x0b" * 1_000_000


@hostile(".caffemodel", r"a blob of shape \[4, 3, 3, 3\] holds 5 numbers")
def blob_smaller_than_its_shape(folder: Path) -> bytes:
    return caffe_layer(blob([4, 3, 3, 3], 5))


@hostile(".caffemodel", "a blob has the shape")
def shape_beyond_all_memory(folder: Path) -> bytes:
    return caffe_layer(blob([1 << 62, 1 << 62], 1))


@hostile(".caffemodel", "a blob has the shape")
def shape_of_minus_one(folder: Path) -> bytes:
    return caffe_layer(blob([(1 << 64) - 1, 1, 1, 1], 1))


@hostile(".caffemodel", "a blob has the shape")
def shape_of_a_thousand_sizes(folder: Path) -> bytes:
    return caffe_layer(blob([1] * 1000, 1))


@hostile(".caffemodel", "not whole numbers")
def half_a_float(folder: Path) -> bytes:
    return caffe_layer(field(5, bytes(3)))


@hostile(".caffemodel", "over 300,000 fields")
def millions_of_tiny_fields(folder: Path) -> bytes:
    return b"\x18\x01" * 3_000_000


@hostile(".caffemodel", "occurs twice")
def layer_twice(folder: Path) -> bytes:
    return 2 * caffe_layer(blob([1, 1, 1, 1], 1))


@hostile(".caffemodel", "is empty")
def empty_file(folder: Path) -> bytes:
    return b""


@hostile(".caffemodel", "is refused")
def prototxt(folder: Path) -> bytes:
    return b'name: "VGG_ILSVRC_16_layers"\ninput: "data"\n'


# --- .mat


def mat(content: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, content, **options)
    return buffer.getvalue()


MAT_HEADER = mat({})[:128]


def compressed(content: bytes) -> bytes:
    squeezed = zlib.compress(content, 9)
    return MAT_HEADER + struct.pack("<II", 15, len(squeezed)) + squeezed


def matrix(kind: int, sizes: list[int], rest: bytes, flags: int = 0) -> bytes:
    """A MATLAB 5 array element."""
    dims = struct.pack(f"<{len(sizes)}i", *sizes)
    body = struct.pack("<IIII", 6, 8, kind | flags, 0)
    body += struct.pack("<II", 5, len(dims)) + dims + bytes(-len(dims) % 8)
    body += struct.pack("<II", 1, 6) + b"layers\0\0"
    body += rest
    return struct.pack("<II", 14, len(body)) + body


@hostile(".mat", "version 7.3")
def matlab_of_version_7_3(folder: Path) -> bytes:
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    return header + bytes(384) + b"\x89HDF\r\n\x1a\n" + bytes(100)


@hostile(".mat", "an object")
def object_array(folder: Path) -> bytes:
    return MAT_HEADER + matrix(3, [1, 1], struct.pack("<II", 1, 8) + b"inline\0\0")


@hostile(".mat", "an object")
def opaque_object_within_a_cell(folder: Path) -> bytes:
    return MAT_HEADER + matrix(1, [1, 1], matrix(17, [1, 1], b""))


@hostile(".mat", "a function")
def function(folder: Path) -> bytes:
    return MAT_HEADER + matrix(16, [1, 1], b"")


@hostile(".mat", "a sparse array")
def sparse_array(folder: Path) -> bytes:
    return mat({"layers": eye(3, format="csc")})


@hostile(".mat", "expand far beyond")
def compressed_bomb(folder: Path) -> bytes:
    size = 1 << 30
    sizes = [1 << 28, 1]
    opening = matrix(7, sizes, struct.pack("<II", 7, size))
    inflated = struct.pack("<II", 14, len(opening) - 8 + size) + opening[8:]
    squeezer = zlib.compressobj(9)
    squeezed = squeezer.compress(inflated)
    block = bytes(1 << 20)
    squeezed += b"".join(squeezer.compress(block) for _ in range(200)) + squeezer.flush()
    return MAT_HEADER + struct.pack("<II", 15, len(squeezed)) + squeezed


@hostile(".mat", "nest over")
def cells_within_cells(folder: Path) -> bytes:
    content = matrix(7, [1, 1], struct.pack("<IIfI", 7, 4, 1.0, 0))
    for _ in range(500):
        content = matrix(1, [1, 1], content)
    return MAT_HEADER + content


@hostile(".mat", "claims .* members")
def cell_of_billions(folder: Path) -> bytes:
    return MAT_HEADER + matrix(1, [1 << 30, 1 << 30], b"")


@hostile(".mat", "numbers holds")
def numbers_that_are_not_there(folder: Path) -> bytes:
    return MAT_HEADER + matrix(7, [1 << 30, 1 << 30], struct.pack("<IIfI", 7, 4, 1.0, 0))


@hostile(".mat", "has the shape")
def negative_sizes(folder: Path) -> bytes:
    return MAT_HEADER + matrix(7, [-1, -1], struct.pack("<IIfI", 7, 4, 1.0, 0))


@hostile(".mat", "leaves the array")
def element_that_leaves_its_array(folder: Path) -> bytes:
    whole = matrix(7, [1, 100], struct.pack("<II", 7, 400))
    return MAT_HEADER + whole + bytes(1000)


@hostile(".mat", "longer or shorter than it claims")
def array_with_bytes_to_spare(folder: Path) -> bytes:
    return MAT_HEADER + matrix(7, [1, 1], struct.pack("<IIfI", 7, 4, 1.0, 0) + bytes(8))


@hostile(".mat", "are left")
def element_beyond_the_file(folder: Path) -> bytes:
    return MAT_HEADER + struct.pack("<II", 14, 1 << 31)


@hostile(".mat", "damaged")
def broken_compression(folder: Path) -> bytes:
    return MAT_HEADER + struct.pack("<II", 15, 8) + b"notzlib!"


@hostile(".mat", "type 15")
def compression_within_compression(folder: Path) -> bytes:
    inner = zlib.compress(bytes(100))
    return compressed(struct.pack("<II", 15, len(inner)) + inner)


@hostile(".mat", "no MATLAB 5 file")
def matlab_of_version_4(folder: Path) -> bytes:
    return mat({"layers": np.zeros((20, 20))}, format="4")


# --- all of them


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_quickly_and_runs_nothing(name: str, tmp_path: Path) -> None:
    suffix, maker, words = HOSTILE[name]
    path = tmp_path / f"hostile{suffix}"
    content = maker(tmp_path)
    if not path.exists():
        path.write_bytes(content)
    # Of the process, so that neighbours on a shared machine cannot fail it.
    started = time.process_time()
    with pytest.raises(WeightsError, match=f"(?s){words}") as caught:
        load.load_weights("vgg16", str(path), needs_of_fc7, preprocessing="caffe-vgg")
    assert time.process_time() - started < MOST_SECONDS
    assert str(path) in str(caught.value)
    assert not (tmp_path / TOUCHED).exists()


def test_the_command_would_have_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Runs(tmp_path)))
    assert (tmp_path / TOUCHED).exists()


def test_every_form_has_hostile_files() -> None:
    suffixes = [suffix for suffix, _, _ in HOSTILE.values()]
    assert all(
        suffixes.count(kind) >= 10 for kind in (".pth", ".safetensors", ".caffemodel", ".mat")
    )
