"""Which files are taken, in which order, and that whatever is left out is counted."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepfeat.datasets.listing import EXTENSIONS, list_folder
from deepfeat.errors import DataMissing, NoPermission
from deepfeat.images.signatures import FORMAT_OF


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def keys(root: Path, **options: object) -> list[bytes]:
    return [entry.key for entry in list_folder(root, **options).entries]


def test_order_is_that_of_the_bytes(tmp_path: Path) -> None:
    touch(tmp_path, "img2.jpg", "img10.jpg", "IMG1.jpg", "a/z.jpg", "a-b.jpg", "é.jpg")
    assert keys(tmp_path) == [
        *(b"IMG1.jpg", b"a-b.jpg", b"a/z.jpg", b"img10.jpg", b"img2.jpg"),
        "é.jpg".encode(),
    ]


NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & {0, ord("/")} and not name.startswith(b".")
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sets(st.tuples(NAMES, NAMES), min_size=1, max_size=12))
def test_keys_are_the_sorted_bytes_of_any_names(tmp_path_factory, names) -> None:
    root = tmp_path_factory.mktemp("tree")
    expected = []
    for folder, name in names:
        key = b"d" + folder + b"/" + name + b".jpg"
        touch(root, os.fsdecode(key))
        expected.append(key)
    assert keys(root) == sorted(expected)


def test_place_is_where_the_file_is(tmp_path: Path) -> None:
    touch(tmp_path, "a/b.jpg")
    (entry,) = list_folder(tmp_path).entries
    assert entry.place.samefile(tmp_path / "a" / "b.jpg")


def test_names_equal_after_normalisation_are_two_keys(tmp_path: Path) -> None:
    touch(tmp_path, "\u00e9.jpg", "e\u0301.jpg")
    assert len(keys(tmp_path)) == 2


def test_extension_counts_in_any_case(tmp_path: Path) -> None:
    assert keys(touch(tmp_path, "a.JPeG")) == [b"a.JPeG"]


def test_what_is_left_out_is_counted_by_extension(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.txt", "c.TXT", "d", "e.tar.gz")
    assert list_folder(tmp_path).skipped == {"": 1, ".gz": 1, ".txt": 2}


def test_hidden_names_are_counted_and_not_taken(tmp_path: Path) -> None:
    listing = list_folder(touch(tmp_path, "a.jpg", "._a.jpg", ".cache/b.jpg"))
    assert ([entry.key for entry in listing.entries], listing.hidden) == ([b"a.jpg"], 2)


def test_given_extensions_replace_the_list(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.foo", "c.BAR")
    assert keys(tmp_path, extensions=("foo", ".bar")) == [b"b.foo", b"c.BAR"]


def test_all_files_are_taken_on_request(tmp_path: Path) -> None:
    assert keys(touch(tmp_path, "a.jpg", "b", "c.txt"), all_files=True) == [
        *(b"a.jpg", b"b", b"c.txt")
    ]


def test_what_is_no_file_is_counted(tmp_path: Path, monkeypatch) -> None:
    touch(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("c.jpg")
    listing = list_folder(tmp_path)
    assert ([entry.key for entry in listing.entries], listing.special) == ([b"a.jpg"], 2)


def test_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    assert keys(touch(tmp_path, "x.jpg/y.jpg")) == [b"x.jpg/y.jpg"]


@pytest.mark.parametrize("target", ["a.jpg", "nowhere.jpg", "link.jpg"])
def test_link_to_a_file_is_listed_whatever_it_leads_to(tmp_path: Path, target: str) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "link.jpg").symlink_to(target)
    assert keys(tmp_path) == [b"a.jpg", b"link.jpg"]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A tree with a link that sorts before its target, one to the root, and one to outside."""
    root = touch(tmp_path / "root", "real/1.jpg")
    touch(tmp_path / "outside", "2.jpg")
    (root / "a").symlink_to("real")
    (root / "real" / "loop").symlink_to("..")
    (root / "b").symlink_to("../outside")
    (root / "c").symlink_to("../outside")
    return root


def test_link_to_a_folder_is_named_and_not_followed(linked: Path) -> None:
    listing = list_folder(linked)
    assert [entry.key for entry in listing.entries] == [b"real/1.jpg"]
    assert listing.links == ("a", "b", "c", "real/loop")


def test_each_real_folder_is_entered_once_on_request(linked: Path) -> None:
    listing = list_folder(linked, follow_links=True)
    assert [entry.key for entry in listing.entries] == [b"b/2.jpg", b"real/1.jpg"]
    assert listing.links == ("a", "c", "real/loop")


def test_missing_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="no folder"):
        list_folder(tmp_path / "gone")


def test_file_in_the_place_of_a_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="not a folder"):
        list_folder(touch(tmp_path, "a.jpg") / "a.jpg")


def test_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", "b.txt", ".c")
    with pytest.raises(DataMissing, match=r"2 x \.txt, 1 hidden"):
        list_folder(tmp_path)


def closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to list one folder; file modes would not keep the superuser out."""
    scandir = os.scandir

    def refuse(path):
        if os.fsdecode(path) == str(folder):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_source_that_cannot_be_listed_is_no_permission(tmp_path: Path, monkeypatch) -> None:
    closed(tmp_path, monkeypatch)
    with pytest.raises(NoPermission):
        list_folder(tmp_path)


def test_folder_below_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch) -> None:
    touch(tmp_path, "a.jpg", "secret/b.jpg")
    closed(tmp_path / "secret", monkeypatch)
    listing = list_folder(tmp_path)
    assert ([entry.key for entry in listing.entries], listing.unreadable) == (
        [b"a.jpg"],
        ("secret",),
    )


def test_every_extension_taken_promises_a_format_that_is_decoded() -> None:
    assert {extension[1:] for extension in EXTENSIONS} <= set(FORMAT_OF)


# What systems leave among images, as it is found on disks: none of it is an image of the user's.
OF_SYSTEMS = [
    "cats/@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "cats/@__thumb/default.a.jpg",
    "cats/old/#recycle/c.jpg",
    "#snapshot/GMT+01-2024.01.01/cats/a.jpg",
    "@Recycle/cats/a.jpg",
    "@Recently-Snapshot/hourly/cats/a.jpg",
    "~snapshot/hourly.0/a.jpg",
    "__MACOSX/cats/a.jpg",
    "cats/Network Trash Folder/a.jpg",
    "$RECYCLE.BIN/S-1-5-21/$RA1B2C3.jpg",
    "$Recycle.Bin/$IA1B2C3.jpg",
    "System Volume Information/a.jpg",
    "lost+found/#123.jpg",
    "LOST.DIR/12.jpg",
    "cats/.AppleDouble/a.jpg",
    "FOUND.000/a.jpg",
]


@pytest.mark.parametrize("all_files", [False, True])
@pytest.mark.parametrize("name", OF_SYSTEMS)
def test_what_a_system_keeps_among_images_is_left_out_and_counted(
    tmp_path: Path, name: str, all_files: bool
) -> None:
    touch(tmp_path, "cats/a.jpg", "dogs/b.jpg", name)
    listing = list_folder(tmp_path, all_files=all_files)
    assert [entry.key for entry in listing.entries] == [b"cats/a.jpg", b"dogs/b.jpg"]
    assert sum(listing.system.values()) + listing.hidden == 1


def test_files_of_systems_are_left_out_where_contents_decide(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "Thumbs.db", "ehthumbs.db", "desktop.ini")
    listing = list_folder(tmp_path, all_files=True)
    assert [entry.key for entry in listing.entries] == [b"a.jpg"]
    assert listing.system == {"Thumbs.db": 1, "desktop.ini": 1, "ehthumbs.db": 1}


@pytest.mark.parametrize("name", ["@eaDir", "lost+found", ".thumbnails"])
def test_a_folder_of_a_system_that_is_named_itself_is_listed(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name, "a.jpg", f"{name}/b.jpg")
    assert keys(tmp_path / name) == [b"a.jpg"]


@pytest.mark.parametrize(
    "name", ["recycled", "snapshot", "thumbs", "eaDir", "macosx", "lost", "#recycles", "@eaDir2"]
)
def test_names_that_a_user_may_have_given_are_taken(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/a.jpg")
    assert keys(tmp_path) == [f"{name}/a.jpg".encode()]


def test_a_link_of_such_a_name_is_not_entered(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "t.jpg")
    touch(tmp_path / "images", "a.jpg")
    (tmp_path / "images" / "@eaDir").symlink_to(tmp_path / "elsewhere")
    assert keys(tmp_path / "images", follow_links=True) == [b"a.jpg"]


def test_a_folder_of_nothing_else_says_what_was_found(tmp_path: Path) -> None:
    touch(tmp_path, "@eaDir/a.jpg", "x/@eaDir/b.jpg")
    with pytest.raises(DataMissing, match="2 x '@eaDir'"):
        list_folder(tmp_path)
