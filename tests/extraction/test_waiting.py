"""Views that wait for others of their size: bounded memory, the same rows, a disk that fails."""

from __future__ import annotations

import functools
import os
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfeat import extract
from deepfeat.errors import StoreError
from deepfeat.extraction import pipeline
from deepfeat.extraction.waiting import Waiting

SMALL = {"network": "vgg8-small", "weights": "random:0", "scales": (224,), "workers": 1}


def view(number: int, height: int = 4, width: int = 5) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30), st.integers(0, 400))
def test_what_is_taken_is_what_was_added(steps: list[tuple[int, bool]], most: int) -> None:
    """Whatever fits in memory: views of four sizes come and go as in a plain table of lists."""
    expected: dict[int, list[int]] = {}
    with Waiting(Path(tempfile.gettempdir()), most) as waiting:
        for number, (height, takes) in enumerate(steps):
            size = ("8", height, 5)
            waiting.add(size, number, view(number, height))
            expected.setdefault(height, []).append(number)
            assert waiting.count(size) == len(expected[height])
            if takes:
                check(waiting.take(size), expected.pop(height))
        assert waiting.sizes() == [("8", height, 5) for height in sorted(expected)]
        for size in waiting.sizes():
            check(waiting.take(size), expected.pop(size[1]))


def check(batch, numbers: list[int]) -> None:
    assert [row for row, _ in batch] == numbers
    for row, pixels in batch:
        np.testing.assert_array_equal(pixels, view(row, len(pixels)))


def test_memory_is_bounded_and_nothing_is_left(tmp_path: Path) -> None:
    side, most = 100, 200_000
    with Waiting(tmp_path, most) as waiting:
        tracemalloc.start()
        try:
            for number in range(100):  # 3 MB
                waiting.add(("native", side, side + number), number, view(number, side, side))
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < most + 100_000
        assert list(tmp_path.iterdir()) == []  # no name, so that no kill can leave it
    assert list(tmp_path.iterdir()) == []


def test_a_view_that_waits_does_not_keep_the_other_scales_of_its_image(tmp_path: Path) -> None:
    whole = np.zeros(10**6, np.uint8)
    with Waiting(tmp_path) as waiting:
        waiting.add(("8", 2, 2), 0, whole[:12].reshape(2, 2, 3))
        ((_, kept),) = waiting.take(("8", 2, 2))
    assert not np.shares_memory(kept, whole)


@pytest.mark.parametrize("fault", ["no folder", "full disk"])
def test_without_a_disk_the_views_stay_in_memory(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "nowhere" if fault == "no folder" else tmp_path

    class Full:
        def seek(self, *_: int) -> int:
            return 0

        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    if fault == "full disk":
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with Waiting(folder, 0) as waiting:
        waiting.add(("8", 4, 5), 3, view(3))
        check(waiting.take(("8", 4, 5)), [3])


@pytest.mark.parametrize("damage", ["other bytes", "cut"])
def test_a_disk_that_gives_back_something_else_ends_the_run(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda **k: opened.append(real(**k)) or opened[0]
    )
    with Waiting(tmp_path, 0) as waiting:
        waiting.add(("8", 4, 5), 0, view(0))
        descriptor = opened[0].fileno()
        os.pwrite(descriptor, b"12345678", 20) if damage != "cut" else os.truncate(descriptor, 30)
        with pytest.raises(StoreError, match="cannot be read again"):
            waiting.take(("8", 4, 5))


def test_a_store_has_the_same_bytes_wherever_its_views_waited(
    save_picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three sizes, so that batches fill at different times and some never do."""
    for number in range(7):
        save_picture(tmp_path / "images" / f"{number}.png", 224, 224 + number % 3, seed=number)
    extract(tmp_path / "images", tmp_path / "memory.h5", **SMALL, batch_size=2).close()
    monkeypatch.setattr(pipeline, "Waiting", functools.partial(Waiting, most=0))
    extract(tmp_path / "images", tmp_path / "disk.h5", **SMALL, batch_size=2).close()
    assert (tmp_path / "disk.h5").read_bytes() == (tmp_path / "memory.h5").read_bytes()
