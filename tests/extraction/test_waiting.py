"""Views that wait for others of their size: bounded memory, the same rows, a disk that fails."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfeat import extract, load_network
from deepfeat.errors import StoreError
from deepfeat.extraction import pipeline
from deepfeat.extraction.decoding import Decoded
from deepfeat.extraction.request import Sampling
from deepfeat.extraction.stopping import Stopped
from deepfeat.extraction.waiting import Waiting
from deepfeat.progress import Meter
from deepfeat.status import Note, Status

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
    batch = list(batch)
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
            list(waiting.take(("8", 4, 5)))


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


# --- batches that cannot fit at once

SIDE = 500  # 750 kB a view


def decoded(number: int, side: int = SIDE) -> Decoded:
    pixels = np.full((side, side, 3), number, np.uint8)
    return Decoded(Status.OK, Note.NONE, "", 1, bytes(32), (side, side), {"native": pixels}, 0.0)


def compute(folder: Path, count: int, batch_size: int, side: int = SIDE, stop=lambda: False):
    return pipeline.compute_shard(
        (decoded(number, side) for number in range(count)),
        count,
        load_network("vgg8-small", weights="random:0", device="cpu"),
        Sampling(("native",)),
        batch_size=batch_size,
        scratch=folder,
        meter=Meter(count),
        should_stop=stop,
    )


def described(network, pixels, **_):
    """In place of the network: a row says which view it was made of."""
    rows = [[float(one[0, 0, 0])] * layer.channels for one in pixels
            for layer in network.layers.values()]  # fmt: skip
    return {name: np.array(rows, np.float32) for name in network.layers}


@pytest.mark.parametrize(
    ("count", "batch_size", "expected"),
    [
        (30, 30, [1] * 30),  # full at the last image
        (30, 40, [1] * 30),  # not full when the shard ends
        (30, 12, [1] * 30),
        (30, 2, [2] * 15),  # so many fit
        (5, 2, [2, 2, 1]),
    ],
)
def test_views_that_cannot_go_at_once_are_not_held_at_once(
    count: int, batch_size: int, expected: list[int], tmp_path: Path, monkeypatch
) -> None:
    most = 3 * SIDE * SIDE * 3
    lengths: list[int] = []
    held: list[int] = []

    def watched(network, pixels, **options):
        lengths.append(len(pixels))
        held.append(tracemalloc.get_traced_memory()[0])
        return described(network, pixels, **options)

    needed = 2 * SIDE * SIDE * load_network("vgg8-small", weights="random:0").bytes_per_pixel
    monkeypatch.setattr(pipeline, "describe", watched)
    monkeypatch.setattr(pipeline, "memory_bytes", lambda _: 2.5 * needed)
    monkeypatch.setattr(pipeline, "available_bytes", lambda: 10**15)
    monkeypatch.setattr(pipeline, "Waiting", functools.partial(Waiting, most=most))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        rows = compute(tmp_path, count, batch_size)
    finally:
        tracemalloc.stop()
    assert lengths == expected
    (values,) = rows.descriptors.values()
    assert values[:, 0].tolist() == list(range(count))
    assert max(held) - before < most + 4 * SIDE * SIDE * 3 + (8 << 20)  # and the network


def test_a_stop_is_heard_between_views_that_go_one_by_one(tmp_path: Path, monkeypatch) -> None:
    taken: list[int] = []

    def watched(network, pixels, **options):
        taken.append(len(pixels))
        return described(network, pixels, **options)

    needed = 2 * SIDE * SIDE * load_network("vgg8-small", weights="random:0").bytes_per_pixel
    monkeypatch.setattr(pipeline, "describe", watched)
    monkeypatch.setattr(pipeline, "memory_bytes", lambda _: 1.5 * needed)
    monkeypatch.setattr(pipeline, "available_bytes", lambda: 10**15)
    with pytest.raises(Stopped):
        compute(tmp_path, 10, 10, stop=lambda: len(taken) == 3)
    assert taken == [1, 1, 1]


CHILD = """
import functools, resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import test_waiting as t
from deepfeat.extraction import pipeline
pipeline.describe = t.described
pipeline.memory_bytes = lambda _: 1 << 34
pipeline.available_bytes = lambda: 1 << 40
t.compute(Path(sys.argv[1]), 3, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
t.compute(Path(sys.argv[1]), 30, 30, side=2000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_batch_of_large_images_of_one_size_costs_little_memory(tmp_path: Path) -> None:
    """360 MB of views in a process of its own, of which 128 MB may be in memory."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 240_000  # kB
