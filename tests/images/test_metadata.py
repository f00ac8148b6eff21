"""Damaged metadata never cost an image whose pixels are whole; damaged pixels stay damage."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from deepfeat.images.decode import decode_bytes
from deepfeat.status import Note, Status

sys.path.insert(0, str(Path(__file__).parent))
import damaged_metadata as made  # noqa: E402


def check(seed: int) -> None:
    random = np.random.default_rng(seed)
    maker = made.MAKERS[seed % len(made.MAKERS)]
    whole, damaged, shows = maker(random)
    right, image = decode_bytes(whole), decode_bytes(damaged)
    assert right.status is Status.OK, (maker.__name__, seed, right.detail)
    assert image.status is Status.OK, (maker.__name__, seed, image.detail)
    assert np.array_equal(image.pixels, right.pixels), (maker.__name__, seed)
    assert Note.ORIENTED & image.notes == Note.ORIENTED & right.notes, (maker.__name__, seed)
    if shows:
        assert Note.METADATA_IGNORED in image.notes, (maker.__name__, seed, image.notes)


def test_damaged_metadata_cost_no_image() -> None:
    for seed in range(66):
        check(seed)


@pytest.mark.stress
def test_no_damaged_metadata_of_many_cost_an_image() -> None:
    for seed in range(2000):
        check(seed)
