"""The demo goes on where it was stopped, and touches nothing of the user's."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from deepfeat.demo.shapes import make_images
from deepfeat.demo.tour import NETWORK, SCALES, WEIGHTS
from deepfeat.errors import CannotCreate, Interrupted
from deepfeat.extraction.extract import extract

FIRST = Path("checks/000.png")


def state(folder):
    """Bytes and times of every file below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            found[path] = path.readlink() if path.is_symlink() else path.lstat().st_mode
        else:
            found[path] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found


def test_pictures_that_are_there_are_not_written_again(tmp_path):
    assert make_images(tmp_path, per_class=2) == 12
    before = state(tmp_path)
    assert make_images(tmp_path, per_class=2) == 12
    assert state(tmp_path) == before


@pytest.mark.parametrize("left", [0, 1, 1000, None])
def test_pictures_that_a_kill_left_out_or_cut_are_written(tmp_path, left):
    make_images(tmp_path, per_class=1)
    before = state(tmp_path)
    for name in ("dots", "stripes"):
        path = tmp_path / name / "000.png"
        whole = path.read_bytes()
        path.unlink()
        if left is not None:
            path.write_bytes(whole[:left])
    make_images(tmp_path, per_class=1)
    after = state(tmp_path)
    assert {path: one[0] for path, one in after.items() if path.is_file()} == {
        path: one[0] for path, one in before.items() if path.is_file()
    }
    assert after[tmp_path / FIRST] == before[tmp_path / FIRST]


def own_picture(images):
    (images / FIRST).parent.mkdir(parents=True)
    (images / FIRST).write_text("my only copy")


def own_picture_beside(images):
    (images / FIRST).parent.mkdir(parents=True)
    (images / "checks" / "mine.png").write_text("my only copy")


def own_class(images):
    (images / "holidays").mkdir(parents=True)
    (images / "holidays" / "1.jpg").write_text("my only copy")


def last_picture(images):
    (images / "triangles").mkdir(parents=True)
    (images / "triangles" / "000.png").write_text("my only copy")


def fifo(images):
    (images / FIRST).parent.mkdir(parents=True)
    os.mkfifo(images / FIRST)


def link(images):
    (images / FIRST).parent.mkdir(parents=True)
    mine = images.with_name("mine.png")
    mine.touch()  # empty: written through the link it would be ours
    (images / FIRST).symlink_to(mine)


def larger_than_memory(images):
    (images / FIRST).parent.mkdir(parents=True)
    with (images / FIRST).open("wb") as file:
        file.truncate(1 << 40)


def file_for_a_class(images):
    images.mkdir()
    (images / "dots").write_text("my only copy")


def file_for_the_folder(images):
    images.write_text("my only copy")


OWN = (
    own_picture, own_picture_beside, own_class, last_picture, fifo, link, file_for_a_class,
    file_for_the_folder, larger_than_memory,
)  # fmt: skip


@pytest.mark.parametrize("make", OWN, ids=lambda make: make.__name__)
def test_what_is_the_users_is_refused_by_name_and_nothing_is_touched(tmp_path, make):
    images = tmp_path / "images"
    make(images)
    before = {} if make is larger_than_memory else state(tmp_path)
    with pytest.raises(CannotCreate, match=str(images)):
        make_images(images, per_class=2)
    if before:
        assert state(tmp_path) == before
    assert not any(images.rglob("001.png"))


def test_the_command_refuses_too(tmp_path, command_line):
    own_picture(tmp_path / "images")
    ended = command_line("demo", tmp_path, "-q")
    assert ended.status == 73
    assert str(FIRST) in ended.err
    assert (tmp_path / "images" / FIRST).read_text() == "my only copy"


def test_what_a_system_puts_there_is_no_picture_of_the_users(tmp_path):
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / ".DS_Store").touch()
    assert make_images(tmp_path, per_class=1) == 6


def test_a_folder_that_cannot_be_written_is_no_bug(tmp_path, monkeypatch):
    def refuse(path, data):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)  # the tests may run as root
    with pytest.raises(CannotCreate, match="Permission denied"):
        make_images(tmp_path, per_class=1)


def test_a_demo_that_was_stopped_goes_on(tmp_path):
    """Stopped before its first shard was safe; the pictures are made again, as the tour does."""
    images, store = tmp_path / "images", tmp_path / "s.h5"

    def start(report=None):
        make_images(images, per_class=1)
        options = {"network": NETWORK, "weights": WEIGHTS, "scales": SCALES[:1], "workers": 1}
        return extract(images, store, **options, progress=report)

    sent = []

    def stop(progress):
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    with pytest.raises(Interrupted):
        start(stop)
    with start() as opened:
        assert opened.ok.all()
        assert len(opened) == 6
