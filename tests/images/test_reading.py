"""Files that are not what their name says, not there, or not at rest."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from deepfeat.images import reading
from deepfeat.images.decode import NO_HASH, decode_file
from deepfeat.images.limits import Limits
from deepfeat.status import Status


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.png"
    Pillow.fromarray(np.full((4, 5, 3), 9, np.uint8)).save(path)
    return path


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo.jpg")
    return folder / "fifo.jpg"


def folder_named_like_an_image(folder: Path) -> Path:
    (folder / "folder.jpg").mkdir()
    return folder / "folder.jpg"


def link_to_itself(folder: Path) -> Path:
    (folder / "loop.jpg").symlink_to("loop.jpg")
    return folder / "loop.jpg"


def long_name(folder: Path) -> Path:
    return folder / ("x" * 300)


def listening_socket(folder: Path) -> Path:
    path = folder / "s.jpg"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))
    return path


@pytest.mark.parametrize(
    "make",
    [fifo, folder_named_like_an_image, link_to_itself, long_name, listening_socket],
    ids=lambda make: make.__name__,
)
def test_what_is_no_file_is_unreadable(make, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert decode_file(make(tmp_path)).status is Status.UNREADABLE


def test_device_is_unreadable() -> None:
    assert decode_file("/dev/null").status is Status.UNREADABLE


def test_name_with_a_nul_byte_is_unreadable() -> None:
    assert decode_file("a\0b.jpg").status is Status.UNREADABLE


def test_file_without_permission_is_unreadable(good: Path, monkeypatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # the superuser may read every file
    assert decode_file(good).status is Status.UNREADABLE


def test_error_while_reading_is_unreadable(good: Path, monkeypatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    assert decode_file(good).status is Status.UNREADABLE


@pytest.mark.parametrize("name", ["gone.jpg", "dangling.jpg", "good.png/below.jpg"])
def test_file_that_is_gone_is_missing(name: str, good: Path) -> None:
    (good.parent / "dangling.jpg").symlink_to("nowhere.jpg")
    assert decode_file(good.parent / name).status is Status.MISSING


def test_link_to_a_file_is_followed(good: Path) -> None:
    link = good.parent / "link.png"
    link.symlink_to(good)
    assert decode_file(link).status is Status.OK


def test_hash_is_that_of_the_file(good: Path) -> None:
    assert decode_file(good).sha256 == hashlib.sha256(good.read_bytes()).digest()


def test_nothing_read_has_no_hash(good: Path) -> None:
    assert decode_file(good.parent / "gone.jpg").sha256 == NO_HASH


def test_file_over_the_limit_is_not_read(good: Path, monkeypatch) -> None:
    size = good.stat().st_size
    monkeypatch.setattr(os, "read", None)
    image = decode_file(good, limits=Limits(max_bytes=size - 1))
    assert (image.status, image.size_bytes) == (Status.TOO_LARGE, size)


def test_file_at_the_limit_is_read(good: Path) -> None:
    assert decode_file(good, limits=Limits(max_bytes=good.stat().st_size)).status is Status.OK


def test_image_at_the_pixel_limit_is_decoded(good: Path) -> None:
    assert decode_file(good, limits=Limits(max_pixels=20)).status is Status.OK


def test_image_over_the_pixel_limit_is_too_large(good: Path) -> None:
    image = decode_file(good, limits=Limits(max_pixels=19))
    assert (image.status, image.found_size) == (Status.TOO_LARGE, (4, 5))


@pytest.mark.parametrize("more", [-1, 1])
def test_file_of_another_size_than_listed_is_changed(good: Path, more: int) -> None:
    size = good.stat().st_size
    image = decode_file(good, size=size + more)
    assert (image.status, image.size_bytes) == (Status.CHANGED, size)
    assert f"{size} bytes, {size + more} when it was listed" in image.detail


def test_file_as_listed_is_read(good: Path) -> None:
    found = good.stat()
    image = decode_file(good, size=found.st_size)
    assert image.status is Status.OK


def growing(path: Path, times: int, monkeypatch) -> None:
    """Let the file grow under the reader's hands as often as given."""
    read, left = os.read, [times]

    def read_and_grow(descriptor: int, length: int) -> bytes:
        if left[0]:
            left[0] -= 1
            with path.open("ab") as file:
                file.write(b"x")
        return read(descriptor, length)

    monkeypatch.setattr(reading.os, "read", read_and_grow)


def test_file_that_changed_once_while_read_is_read_again(good: Path, monkeypatch) -> None:
    growing(good, 1, monkeypatch)
    assert decode_file(good).status is Status.OK


def test_file_that_goes_on_changing_is_changed(good: Path, monkeypatch) -> None:
    growing(good, 100, monkeypatch)
    assert decode_file(good).status is Status.CHANGED


def test_name_that_is_not_text_is_read(good: Path) -> None:
    odd = os.fsencode(good.parent) + b"/\xff\n'\".png"
    os.link(good, odd)
    assert decode_file(odd).status is Status.OK


def test_no_descriptor_is_left_open(good: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("good.png", "gone.jpg", "."):
        decode_file(good.parent / name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
