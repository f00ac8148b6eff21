"""The command killed ten times at random and started again: the bytes of an unbroken run."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEEPFEAT = Path(sys.executable).with_name("deepfeat")
IMAGES, KILLS = 40, 10


@pytest.fixture(scope="module")
def images(tmp_path_factory, save_picture):
    folder = tmp_path_factory.mktemp("kills") / "images"
    for number in range(IMAGES):
        save_picture(folder / f"{number:02d}.png", 224 + 8 * (number % 5), 240, seed=number)
    (folder / "broken.png").write_bytes((folder / "00.png").read_bytes()[:500])
    (folder / "empty.jpg").write_bytes(b"")
    return folder


def command(images, store):
    return [
        str(DEEPFEAT), "extract", str(images), str(store), "--network", "vgg8-small",
        "--weights", "random:0", "--scales", "224,256", "--shard-images", "2", "--quiet",
    ]  # fmt: skip


def start(images, store):
    return subprocess.Popen(
        command(images, store), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def contents(store):
    """Every byte of a store that promises to be the same; clocks are in runs.jsonl alone."""
    if store.is_file():
        return store.read_bytes()
    left_out = {"runs.jsonl", ".lock", "failures.csv"}
    return {path.name: path.read_bytes() for path in store.iterdir() if path.name not in left_out}


def wait_until_writing(process, store):
    """Until the process holds the lock of the store: what comes before is importing torch."""
    lock = (store.with_name(store.name + ".work") if store.suffix else store) / ".lock"
    while process.poll() is None:
        if lock.exists() and str(process.pid) in lock.read_text():
            return
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sealed.h5", "shards"])
def test_killed_ten_times_and_resumed_is_byte_identical(name, images, tmp_path):
    """Twelve starts of the command, each of which has to import torch: about a minute a form."""
    whole, broken = tmp_path / "whole" / name, tmp_path / "broken" / name
    whole.parent.mkdir()
    broken.parent.mkdir()
    unbroken = start(images, whole)
    wait_until_writing(unbroken, whole)
    begin = time.monotonic()
    _, words = unbroken.communicate(timeout=300)
    seconds = time.monotonic() - begin
    assert unbroken.returncode == 1, words  # two holes
    draw = random.Random(name)
    killed = 0
    for _ in range(3 * KILLS):
        process = start(images, broken)
        wait_until_writing(process, broken)
        # On average half of the work is done when the last of ten kills has come.
        time.sleep(draw.uniform(0, seconds / KILLS))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        if process.returncode != -signal.SIGKILL:  # it was faster: begin another store
            shutil.rmtree(broken.parent)
            broken.parent.mkdir()
            continue
        killed += 1
        if killed == KILLS:
            break
    last = start(images, broken)
    _, words = last.communicate(timeout=300)
    assert last.returncode == 1, words
    assert killed == KILLS
    assert contents(broken) == contents(whole)


def test_the_comparison_sees_one_other_byte(images, tmp_path):
    """The test above would not pass on anything."""
    store = tmp_path / "a.h5"
    store.write_bytes(b"one")
    before = contents(store)
    store.write_bytes(b"two")
    assert contents(store) != before
