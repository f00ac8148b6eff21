"""Unpacking: whole or not at all, and nothing outside, whatever the archive says."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from deepfeat import files
from deepfeat.datasets import unpack as unpacking
from deepfeat.datasets.archives import Archive, locked
from deepfeat.datasets.unpack import unpack
from deepfeat.errors import CannotCreate, DataError, NotEnoughSpace, Unavailable

TAR = Archive("x.tar", "", None, None, (".jpg", ".txt"))
NESTED = Archive("x.zip", "", None, None, (".jpg",), inner="inside.tar.gz")
Content = bytes | tarfile.TarInfo


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for every disk of the machine; that it is called has a test of its own."""
    monkeypatch.setattr(os, "sync", lambda: None)


def tar(members: Sequence[tuple[str, Content]], mode: str = "w") -> bytes:
    """A tar of files, or of members made by hand."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(content, bytes) else content
            info.name = name
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def zipped(members: Sequence[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def put(folder: Path, data: bytes, name: str = "x.tar") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def refused(tmp_path: Path, data: bytes, words: str, archive: Archive = TAR) -> str:
    """The message; nothing is left below ``out``, and nothing new beside it."""
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious.jpg").write_bytes(b"precious")
    path = put(tmp_path, data)
    before = tree(tmp_path)
    with pytest.raises(DataError, match=words) as caught:
        unpack([(path, archive)], out / "set")
    after = tree(tmp_path)
    after.pop("out/.lock")
    assert after == before
    assert [child.name for child in out.iterdir()] == [".lock"]
    assert str(path) in str(caught.value)
    return str(caught.value)


GOOD = [("a/1.jpg", b"one"), ("a/b/2.JPG", b"two"), ("./c/3.txt", b"three")]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar_is_unpacked(mode: str, tmp_path: Path) -> None:
    unpack([(put(tmp_path, tar(GOOD, mode)), TAR)], tmp_path / "new/set")
    expected = {"a/1.jpg": b"one", "a/b/2.JPG": b"two", "c/3.txt": b"three"}
    assert tree(tmp_path / "new/set") == expected
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [".lock", "set"]


def test_zip_is_unpacked(tmp_path: Path) -> None:
    unpack([(put(tmp_path, zipped([("a/", b""), *GOOD])), TAR)], tmp_path / "set")
    assert tree(tmp_path / "set") == {"a/1.jpg": b"one", "a/b/2.JPG": b"two", "c/3.txt": b"three"}


def test_archive_inside_a_zip_is_unpacked(tmp_path: Path) -> None:
    """As caltech-101.zip has it; what else is in the zip is left."""
    inner = tar([("101_ObjectCategories/ant/image_0001.jpg", b"ant")], "w:gz")
    outer = zipped([("caltech-101/inside.tar.gz", inner), ("caltech-101/x.jpg", b"no")])
    unpack([(put(tmp_path, outer), NESTED)], tmp_path / "set")
    assert tree(tmp_path / "set") == {"101_ObjectCategories/ant/image_0001.jpg": b"ant"}


@pytest.mark.parametrize("count", [0, 2])
def test_zip_without_the_one_archive_inside_is_refused(count: int, tmp_path: Path) -> None:
    members = [(f"{n}/inside.tar.gz", tar(GOOD, "w:gz")) for n in range(count)]
    outer = zipped([*members, ("notinside.tar.gz", b"")])
    refused(tmp_path, outer, f"holds {count} archives named 'inside.tar.gz'", NESTED)


def test_several_archives_make_one_tree_and_the_later_wins(tmp_path: Path) -> None:
    one = put(tmp_path, tar([("VOC/1.jpg", b"1"), ("VOC/readme.txt", b"old, and longer")]))
    two = put(tmp_path, tar([("VOC/2.jpg", b"2"), ("VOC/readme.txt", b"new")]), "y.tar")
    unpack([(one, TAR), (two, TAR)], tmp_path / "set")
    assert tree(tmp_path / "set") == {
        "VOC/1.jpg": b"1",
        "VOC/2.jpg": b"2",
        "VOC/readme.txt": b"new",
    }


def test_only_wanted_files_are_written(tmp_path: Path) -> None:
    strays: list[tuple[str, Content]] = [
        ("a/run.sh", b"#!"),
        ("a/jpg", b""),
        ("a/._1.jpg", b"of a Mac"),
        ("__MACOSX/1.jpg", b"of a Mac"),
        ("a/greg", special(tarfile.SYMTYPE, "/etc")),
        ("a/zero", special(tarfile.CHRTYPE)),
        ("a/empty", special(tarfile.DIRTYPE)),
    ]
    unpack([(put(tmp_path, tar([*strays, *GOOD])), TAR)], tmp_path / "set")
    assert set(tree(tmp_path / "set")) == {"a/1.jpg", "a/b/2.JPG", "c/3.txt"}
    assert not (tmp_path / "set/a/empty").exists()


def test_modes_of_the_archive_are_not_taken_over(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.mode, info.uid = 0o6777, 12345
        archive.addfile(info, io.BytesIO(b""))
    unpack([(put(tmp_path, data.getvalue()), TAR)], tmp_path / "set")
    mode = (tmp_path / "set/a.jpg").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | 0o111)


OUTSIDE = [
    *("../precious.jpg", "a/../../precious.jpg", "/tmp/precious.jpg", "..", "a/.."),
    *("..\\precious.jpg", "C:/precious.jpg", "c:precious.jpg"),
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_path_that_leaves_the_folder_refuses_a_tar(name: str, tmp_path: Path) -> None:
    message = refused(tmp_path, tar([*GOOD, (name, b"evil")]), "a path that leaves the folder")
    assert repr(name) in message


@pytest.mark.parametrize("name", OUTSIDE)
def test_path_that_leaves_the_folder_refuses_a_zip(name: str, tmp_path: Path) -> None:
    refused(tmp_path, zipped([*GOOD, (name, b"evil")]), "a path that leaves the folder")


def test_path_that_leaves_the_folder_refuses_an_inner_archive(tmp_path: Path) -> None:
    inner = tar([("../precious.jpg", b"evil")], "w:gz")
    words = "a path that leaves the folder"
    refused(tmp_path, zipped([("inside.tar.gz", inner)]), words, NESTED)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "../precious.jpg"),
        (tarfile.LNKTYPE, "a/1.jpg"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (tarfile.DIRTYPE, ""),
    ],
)
def test_wanted_name_that_is_no_regular_file_refuses_a_tar(
    kind: bytes, target: str, tmp_path: Path
) -> None:
    refused(tmp_path, tar([*GOOD, ("a/x.jpg", special(kind, target))]), "no regular file")


def test_link_in_a_zip_refuses_it(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a/x.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(tmp_path, zipped([(link, b"../precious.jpg")]), "no regular file")


def test_nothing_is_written_through_a_link_of_the_archive(tmp_path: Path) -> None:
    """The link itself has no wanted name: it is left out, and its name becomes a folder."""
    evil = [("door", special(tarfile.SYMTYPE, str(tmp_path))), ("door/precious.jpg", b"evil")]
    (tmp_path / "precious.jpg").write_bytes(b"precious")
    unpack([(put(tmp_path, tar(evil)), TAR)], tmp_path / "set")
    assert (tmp_path / "precious.jpg").read_bytes() == b"precious"
    assert not (tmp_path / "set/door").is_symlink()


@pytest.mark.parametrize("name", ["a/bomb.jpg", "a/bomb.bin"])
@pytest.mark.parametrize("form", ["tar.gz", "zip", "nested"])
def test_bomb_is_stopped(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MOST_EXTRA_BYTES", 1 << 20)
    zeros = bytes(4 << 20)
    bomb = tar([*GOOD, (name, zeros), ("z.jpg", b"last")], "w:gz")
    if form == "zip":
        if name.endswith(".bin"):
            pytest.skip("what is not wanted is not decompressed from a zip")
        bomb = zipped([*GOOD, (name, zeros)])
    if form == "nested":
        bomb = zipped([("inside.tar.gz", bomb)])
    assert len(bomb) < 100_000
    refused(tmp_path, bomb, "it holds more than 1 MiB", NESTED if form == "nested" else TAR)


def test_too_many_members_are_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 4)
    refused(tmp_path, tar([(f"{n}.jpg", b"") for n in range(5)]), "more than 4 members")


def test_ordinary_images_are_no_bomb(tmp_path: Path) -> None:
    """Images hardly shrink: even many times the bound of a bomb in all is fine."""
    noise = os.urandom(1 << 20)
    members = [(f"{n}.jpg", noise) for n in range(80)]
    unpack([(put(tmp_path, tar(members)), TAR)], tmp_path / "set")
    assert len(list((tmp_path / "set").iterdir())) == 80


@pytest.mark.parametrize(
    "damage",
    [
        *("empty", "text", "tar cut", "gz cut", "gz flipped", "zip cut", "zip flipped"),
        *("inner text", "encrypted"),
    ],
)
def test_damaged_archive_is_refused(damage: str, tmp_path: Path) -> None:
    noise = [("a.jpg", os.urandom(50_000)), ("b.jpg", os.urandom(50_000))]
    gz, zp = bytearray(tar(noise, "w:gz")), bytearray(zipped(noise))
    flipped = {"gz flipped": gz, "zip flipped": zp}.get(damage)
    if flipped:
        flipped[40_000:40_100] = bytes(100)
    if damage == "encrypted":
        zp[6] |= 1
        zp[zp.index(b"PK\x01\x02") + 8] |= 1
    data = {
        "empty": b"",
        "text": b"<html>Not found</html>" * 100,
        "tar cut": tar(noise)[:70_000],
        "gz cut": bytes(gz[:70_000]),
        "gz flipped": bytes(gz),
        "zip cut": bytes(zp[:70_000]),
        "zip flipped": bytes(zp),
        "inner text": zipped([("inside.tar.gz", b"<html>")]),
        "encrypted": bytes(zp),
    }[damage]
    archive = NESTED if damage == "inner text" else TAR
    refused(tmp_path, data, "is damaged, or no archive|holds no file", archive)


def test_archive_without_wanted_files_is_refused(tmp_path: Path) -> None:
    words = "holds no file named .jpg or .txt"
    refused(tmp_path, tar([("a.png", b""), ("b", b"")]), words)


@pytest.mark.parametrize("order", [1, -1])
def test_path_that_is_a_file_and_a_folder_is_refused(order: int, tmp_path: Path) -> None:
    members = [("a.jpg", b"file"), ("a.jpg/b.jpg", b"below")][::order]
    refused(tmp_path, tar(members), "as a file and as a folder")


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_what_is_there_is_not_touched(there: str, tmp_path: Path) -> None:
    target = tmp_path / "set"
    {
        "folder": lambda: target.mkdir(),
        "file": lambda: target.write_bytes(b""),
        "link": lambda: target.symlink_to("nowhere"),
    }[there]()
    with pytest.raises(CannotCreate, match="exists and is not the data set"):
        unpack([(put(tmp_path, tar(GOOD)), TAR)], target)


def test_rest_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    left = files.aside_of(tmp_path / "set")
    left.mkdir()
    (left / "half.jpg").write_bytes(b"half")
    unpack([(put(tmp_path, tar(GOOD)), TAR)], tmp_path / "set")
    assert "half.jpg" not in tree(tmp_path / "set")
    assert not left.exists()


def test_kill_before_the_end_leaves_no_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(aside: Path, path: Path) -> None:
        assert tree(aside) == {"a/1.jpg": b"one", "a/b/2.JPG": b"two", "c/3.txt": b"three"}
        assert not path.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "publish", killed)
    with pytest.raises(KeyboardInterrupt):
        unpack([(put(tmp_path, tar(GOOD)), TAR)], tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "x.tar"]


def test_all_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    publish = files.publish
    monkeypatch.setattr(os, "sync", lambda: order.append("sync"))
    monkeypatch.setattr(files, "publish", lambda *paths: (order.append("publish"), publish(*paths)))
    unpack([(put(tmp_path, tar(GOOD)), TAR)], tmp_path / "set")
    assert order == ["sync", "publish"]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(Unavailable, match="another process"):
        unpack([(put(tmp_path, tar(GOOD)), TAR)], tmp_path / "set")


def test_too_little_space_is_seen_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda folder: 100)
    with pytest.raises(NotEnoughSpace, match="no room to unpack"):
        unpack([(put(tmp_path, tar(GOOD)), TAR)], tmp_path / "set")


def test_full_disk_is_explained_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, piece: bytes) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files, "write_all", full)
    with pytest.raises(NotEnoughSpace, match="is full"):
        unpack([(put(tmp_path, tar(GOOD)), TAR)], tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "x.tar"]


def test_gzip_is_told_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    data = gzip.compress(tar(GOOD))
    unpack([(put(tmp_path, data, "set.tar"), TAR)], tmp_path / "set")
    assert "a/1.jpg" in tree(tmp_path / "set")
