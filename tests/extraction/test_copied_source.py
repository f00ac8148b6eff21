"""A source that was copied, unpacked or touched between two starts is the same source.

A clock is no identity: images of the listed size are read whatever their time is, and the store
ends in the bytes of one that nobody interrupted. What a row is of, its sha256 says.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepfeat import extract, open_store
from deepfeat.errors import Interrupted
from deepfeat.extraction.request import NetworkChoice, Request, Sampling, Working
from deepfeat.extraction.run import prepare_run, run
from deepfeat.status import Status
from deepfeat.store.writer import StoreWriter

IMAGES, SHARD = 6, 2
HOUR_NS = 3_600_000_000_000
REQUEST = Request(
    NetworkChoice("vgg8-small", weights="random:3"),
    Sampling(scales=("224",)),
    working=Working(workers=1, shard_images=SHARD),
)


def command(source: Path, store: Path) -> dict[str, object]:
    return run(prepare_run(source, store, REQUEST))


@pytest.fixture(scope="module")
def images(tmp_path_factory, save_picture) -> Path:
    folder = tmp_path_factory.mktemp("copied") / "images"
    for number in range(IMAGES):
        save_picture(folder / f"{number}.png", 224, 230, seed=number)
    return folder


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory) -> dict[str, Path]:
    """Stores of both forms that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("x.h5", "x"):
        command(images, folder / name)
    return {name: folder / name for name in ("x.h5", "x")}


def stopped(source: Path, store: Path, shards: int = 1) -> None:
    """A run that ends after some shards."""
    commit = StoreWriter.commit

    def commit_some(writer, number, rows):
        if number == shards:
            raise Interrupted("stopped")
        commit(writer, number, rows)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(StoreWriter, "commit", commit_some)
        command(source, store)


def set_times(folder: Path, time_of: Callable[[os.stat_result], int]) -> None:
    for path in folder.iterdir():
        time_ns = time_of(path.stat())
        os.utime(path, ns=(time_ns, time_ns))


def copied(folder: Path) -> None:
    """Away and back, as ``cp -r`` does."""
    shutil.copytree(folder, folder.with_name("t"), copy_function=shutil.copyfile)
    shutil.rmtree(folder)
    folder.with_name("t").rename(folder)


HAPPENED: dict[str, Callable[[Path], object]] = {
    "copied": copied,
    "touched": lambda folder: set_times(folder, lambda _: 1_800_000_000_000_000_000),
    "moved by seconds": lambda folder: set_times(folder, lambda s: s.st_mtime_ns + 2_000_000_000),
    "in the future": lambda folder: set_times(folder, lambda s: s.st_mtime_ns + 10**5 * HOUR_NS),
    "at zero": lambda folder: set_times(folder, lambda _: 0),
    "before 1970": lambda folder: set_times(folder, lambda _: -HOUR_NS),
}


def contents(store: Path) -> dict[str, bytes]:
    if store.is_file():
        return {"": store.read_bytes()}
    left_out = {"runs.jsonl", ".lock", "failures.csv"}
    return {path.name: path.read_bytes() for path in store.iterdir() if path.name not in left_out}


@pytest.mark.parametrize(
    "name, happened", [("x", "copied"), *(("x.h5", happened) for happened in HAPPENED)]
)
def test_a_run_over_a_source_with_other_times_ends_in_the_same_bytes(
    images, whole, tmp_path, name: str, happened: str
) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))  # with its times
    stopped(source, tmp_path / name)
    HAPPENED[happened](source)
    assert command(source, tmp_path / name)["exit_status"] == 0
    assert contents(tmp_path / name) == contents(whole[name])


def test_a_source_in_another_place_is_the_same_source(images, whole, tmp_path) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    stopped(source, tmp_path / "x.h5")
    (tmp_path / "disk").mkdir()
    source.rename(tmp_path / "disk" / "pictures")
    copied(tmp_path / "disk" / "pictures")
    command(tmp_path / "disk" / "pictures", tmp_path / "x.h5")
    assert contents(tmp_path / "x.h5") == contents(whole["x.h5"])


def test_a_time_that_moves_while_the_run_goes_on_costs_nothing(images, whole, tmp_path) -> None:
    """As on a network drive whose clock jumps: between the listing and the first image."""
    source = Path(shutil.copytree(images, tmp_path / "images"))
    prepared = prepare_run(source, tmp_path / "x.h5", REQUEST)
    listed = prepared.source.listed()
    HAPPENED["touched"](source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(prepared.source), "listed", lambda _: listed)
        assert run(prepared)["exit_status"] == 0
    assert contents(tmp_path / "x.h5") == contents(whole["x.h5"])


def test_other_contents_of_the_same_size_are_described_and_told_by_their_sha256(
    images, whole, tmp_path
) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    sizes = [path.stat().st_size for path in sorted(source.iterdir())]
    for path in source.iterdir():  # bytes behind the end make all of one size
        path.write_bytes(path.read_bytes().ljust(max(sizes) + 1, b"\0"))
    stopped(source, tmp_path / "x.h5")
    other = (source / "3.png").read_bytes()
    (source / "4.png").write_bytes(other)
    command(source, tmp_path / "x.h5")
    with open_store(tmp_path / "x.h5") as store:
        assert store.ok.all()
        assert store.items["sha256"][4].tobytes() == hashlib.sha256(other).digest()
        np.testing.assert_array_equal(store["fc7", 224][4], store["fc7", 224][3])


def test_another_size_is_changed_and_nothing_else_is(images, whole, tmp_path) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    stopped(source, tmp_path / "x.h5")
    copied(source)
    with (source / "4.png").open("ab") as file:
        file.write(b"\0")
    command(source, tmp_path / "x.h5")
    with open_store(tmp_path / "x.h5") as store:
        statuses = [Status.OK] * IMAGES
        statuses[4] = Status.CHANGED
        assert store.statuses.tolist() == statuses
        kept = [row for row in range(IMAGES) if row != 4]
        with open_store(whole["x.h5"]) as expected:
            np.testing.assert_array_equal(store["fc7", 224][kept], expected["fc7", 224][kept])


def test_the_answer_tells_times_from_sizes(images, tmp_path, command_line) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    arguments = ["extract", source, tmp_path / "x.h5", "--network", "vgg8-small"]
    arguments += ["--weights", "random:3", "--scales", "224", "--workers", "1"]
    command(source, tmp_path / "x.h5")
    set_times(source, lambda found: found.st_mtime_ns + 1)
    (source / "0.png").write_bytes(b"another size")
    ended = command_line(*arguments)
    assert "1 changed since the start; not taken in" in ended.out
    assert "5 have another time, and the size they had" in ended.out


def grown(source: Path) -> None:
    with (source / "3.png").open("ab") as file:
        file.write(b"\0")


def all_others(source: Path) -> None:
    for path in list(source.iterdir()):
        path.rename(source / f"other {path.name}")


DOINGS = {
    "one more": (lambda source: shutil.copy(source / "0.png", source / "9.png"), "1 new"),
    "one grown": (grown, "1 changed"),
    "one less": (lambda source: (source / "2.png").unlink(), "1 gone"),
    "all others": (all_others, f"{IMAGES} new, {IMAGES} gone"),
    "other times": (lambda source: set_times(source, lambda found: found.st_mtime_ns + 1), ""),
    "nothing": (lambda source: None, ""),
}


@pytest.mark.parametrize("form", ["x.h5", "x"])
@pytest.mark.parametrize("doing", DOINGS)
def test_a_call_over_another_source_warns_and_keeps_the_rows(
    doing: str, form: str, images, whole, tmp_path
) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    store = tmp_path / form
    shutil.copytree(whole[form], store) if form == "x" else shutil.copy(whole[form], store)
    before = contents(store)
    change, words = DOINGS[doing]
    change(source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        extract(source, store, network="vgg8-small", weights="random:3", scales=[224]).close()
    said = [str(one.message) for one in caught if one.filename == __file__]
    assert [(words in one, str(store) in one) for one in said] == [(True, True)] * bool(words)
    assert contents(store) == before
