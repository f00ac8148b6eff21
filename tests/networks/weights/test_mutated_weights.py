"""Small files of every form with a few bytes changed: read, or refused; nothing else, and soon."""

from __future__ import annotations

import io
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from deepfeat.errors import UsageError
from deepfeat.networks.preprocessing import load_preprocessing
from deepfeat.networks.weights.fit import Wanted
from deepfeat.networks.weights.load import load_weights

MOST_SECONDS = 2.0
MOST_RESIDENT = 300 << 20  # bytes
STATE = {
    "conv1_1.weight": torch.ones(2, 3, 3, 3),
    "conv1_1.bias": torch.zeros(2, dtype=torch.float16),
    "half": torch.arange(4.0)[1:3],
}
SHAPES = {"conv1_1.weight": ((4, 3, 3, 3), (2, 3, 3, 3)), "conv1_1.bias": ((4,), (2,))}
WANTED = Wanted("vgg11", SHAPES, frozenset(SHAPES))
TOML = b"""order = "RGB"  # a comment
range = 255
mean = [123.68, 116.779, 1.03939e2]
std = [1, 1.0, +1]
pooling = 'ceil'
"""


def saved(*, is_zip: bool) -> bytes:
    buffer = io.BytesIO()
    content = {"state_dict": STATE, "epoch": 3, "lr": [0.1, None], "name": ("a", True)}
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


@pytest.fixture
def wholes(
    write_mat: Callable[..., Path], write_caffemodel: Callable[..., Path]
) -> dict[str, bytes]:
    return {
        "a.pth": saved(is_zip=True),
        "old.pth": saved(is_zip=False),
        "a.safetensors": save(STATE),
        "a.mat": write_mat(compressed=False).read_bytes(),
        "packed.mat": write_mat().read_bytes(),
        "a.caffemodel": write_caffemodel("v1").read_bytes(),
        "new.caffemodel": write_caffemodel("new").read_bytes(),
        "a.toml": TOML,
    }


def mutant(whole: bytes, chance: random.Random) -> bytes:
    """One change, or a few: a bit, a byte, a number, a cut, a piece twice or left out."""
    content = bytearray(whole)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.randrange(max(1, len(content)))
        kind = chance.randrange(6)
        if kind == 0:
            content[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1 and content:
            content[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            edge = chance.choice((b"\xff" * 4, b"\xff\xff\xff\x7f", bytes(4), b"\xff" * 8, b"\x80"))
            content[place : place + len(edge)] = edge
        elif kind == 3:
            del content[place : place + chance.choice((1, 4, len(content)))]
        elif kind == 4:
            content[place:place] = content[place : place + chance.choice((1, 8, 64))]
        else:
            start = chance.randrange(max(1, len(content)))
            content[place : place + 8] = content[start : start + 8]
    return bytes(content)


def try_mutants(wholes: dict[str, bytes], folder: Path, numbers: range) -> dict[str, int]:
    """How many mutants of each file were refused."""
    refused = dict.fromkeys(wholes, 0)
    for name, whole in wholes.items():
        for number in numbers:
            path = folder / name
            path.write_bytes(mutant(whole, random.Random(f"{name} {number}")))
            started = time.process_time()
            try:
                if name.endswith(".toml"):
                    load_preprocessing(str(path))
                else:
                    load_weights("vgg11", str(path), lambda layout: WANTED, preprocessing="caffe")
            except UsageError as error:
                assert len(str(error)) < 2000
                refused[name] += 1
            except Exception as error:
                pytest.fail(f"{name} {number}: {type(error).__name__}: {error}")
            assert time.process_time() - started < MOST_SECONDS, f"{name} {number}"
    return refused


def resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def check(wholes: dict[str, bytes], folder: Path, numbers: range) -> None:
    for name, whole in wholes.items():  # the whole ones are read
        (folder / name).write_bytes(whole)
        if not name.endswith(".toml"):
            path = str(folder / name)
            load_weights("vgg11", path, lambda layout: WANTED, preprocessing="caffe")
    held = resident()
    refused = try_mutants(wholes, folder, numbers)
    assert resident() - held < MOST_RESIDENT
    assert min(refused.values()) > len(numbers) // 10


def test_a_few_mutants_are_read_or_refused(wholes: dict[str, bytes], tmp_path: Path) -> None:
    check(wholes, tmp_path, range(20))


@pytest.mark.stress
@pytest.mark.parametrize("part", range(5))
def test_thousands_of_mutants_are_read_or_refused(
    part: int, wholes: dict[str, bytes], tmp_path: Path
) -> None:
    check(wholes, tmp_path, range(1000 * part + 1000, 1000 * part + 2000))
