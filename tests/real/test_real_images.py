"""Real photographs are whole, and none that is cut passes for one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from deepfeat.images.decode import decode_bytes
from deepfeat.status import Status

DATA = Path(os.environ.get("DEEPFEAT_TEST_DATA", ""))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        "DEEPFEAT_TEST_DATA" not in os.environ,
        reason="DEEPFEAT_TEST_DATA does not name the folder of real images and weights",
    ),
]


def photographs() -> list[Path]:
    found = sorted(DATA.rglob("*.jpg"))
    assert len(found) > 3000
    return found


def decoded(path: Path, end: float = 1.0):
    data = path.read_bytes()
    return decode_bytes(data if end == 1 else data[: int(end * len(data))] + b"\xff\xd9")


def test_every_photograph_is_an_image() -> None:
    lost = {}
    for path in photographs():
        if (image := decoded(path)).status is not Status.OK:
            lost[path] = image.detail
    assert lost == {}


def test_no_photograph_that_is_cut_and_given_an_end_is_one() -> None:
    random = np.random.default_rng(3)
    ends = {path: random.uniform(0.3, 0.97) for path in photographs()}
    taken = [path.name for path, end in ends.items() if decoded(path, end).status is Status.OK]
    assert taken == []
