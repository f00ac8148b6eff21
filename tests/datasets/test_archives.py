"""Archives from a server on this machine: stopped, continued, changed, wrong or unknown."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from archive_server import Settings, serving

from deepfeat import files
from deepfeat.datasets.archives import ARCHIVES, Archive, described, fetch_archive, locked
from deepfeat.errors import CannotCreate, DataError, NotEnoughSpace, Unavailable

CONTENT = np.random.default_rng(0).bytes(2_000_000)
OTHER = np.random.default_rng(1).bytes(2_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPFEAT_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[str, Settings]]:
    with serving() as both:
        yield both


@pytest.fixture
def server(running: tuple[str, Settings]) -> Settings:
    settings = running[1]
    settings.__init__(content=CONTENT)  # type: ignore[misc]
    return settings


@pytest.fixture
def archive(running: tuple[str, Settings]) -> Archive:
    return Archive("set.tar", running[0], MD5, len(CONTENT), (".jpg",))


def unknown(archive: Archive) -> Archive:
    return Archive(archive.file, archive.url, None, None, archive.takes)


def stop_in_the_middle(server: Settings, archive: Archive, folder: Path) -> int:
    """Break the connection once; the number of bytes that were kept."""
    server.stop_after = 1_000_000
    with pytest.raises(Unavailable, match="broke after|broke before") as caught:
        fetch_archive(archive, folder)
    server.stop_after = None
    kept = (folder / "set.tar.part").stat().st_size
    assert f"The {kept:,} bytes that came are kept" in str(caught.value)
    assert caught.value.exit_status == 69
    assert 0 < kept <= 1_000_000
    assert not (folder / "set.tar").exists()
    return kept


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_file_comes_whole_once_and_leaves_nothing_beside_it(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    folder = tmp_path / "cache/archives"
    assert fetch_archive(archive, folder) == folder / "set.tar"
    assert (folder / "set.tar").read_bytes() == CONTENT
    assert names(folder) == ["set.tar"]
    assert fetch_archive(archive, folder) == folder / "set.tar"
    assert len(server.requests) == 1  # the second time from the folder
    assert "range" not in server.requests[0]


def test_progress_is_told_up_to_the_end_and_from_where_it_continues(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    kept = stop_in_the_middle(server, archive, tmp_path)
    told: list[tuple[int, int]] = []
    fetch_archive(archive, tmp_path, progress=lambda *state: told.append(state))
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told[0][0] > kept


@pytest.mark.parametrize("tag", ["etag", "modified", "nothing"])
def test_broken_download_is_continued(
    tag: str, server: Settings, archive: Archive, tmp_path: Path
) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.etag, server.modified = {
        "etag": ('"one"', date),
        "modified": ('W/"weak"', date),
        "nothing": ("", ""),
    }[tag]
    kept = stop_in_the_middle(server, archive, tmp_path)
    fetch_archive(archive, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == CONTENT
    assert names(tmp_path) == ["set.tar"]
    assert len(server.requests) == 2
    assert server.requests[1]["range"] == f"bytes={kept}-"
    condition = {"etag": '"one"', "modified": date, "nothing": None}[tag]
    assert server.requests[1].get("if-range") == condition


def test_server_without_ranges_starts_again(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    stop_in_the_middle(server, archive, tmp_path)
    server.with_range = False
    fetch_archive(archive, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == CONTENT


@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("longer", [0, 5000])
def test_versions_never_mix(
    heeds: bool, longer: int, server: Settings, archive: Archive, tmp_path: Path
) -> None:
    """A server that does not heed If-Range is found out by its own tag or size."""
    stop_in_the_middle(server, archive, tmp_path)
    server.content = OTHER + bytes(longer)
    server.etag, server.heeds_condition = '"two"', heeds
    new = Archive("set.tar", archive.url, hashlib.md5(server.content).hexdigest(), None, (".jpg",))
    fetch_archive(new, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == server.content
    assert names(tmp_path) == ["set.tar"]


def test_untagged_version_of_another_size_never_mixes(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    server.etag = ""
    stop_in_the_middle(server, archive, tmp_path)
    server.content = OTHER + b"more"
    fetch_archive(unknown(archive), tmp_path, accept_hash=True)
    assert (tmp_path / "set.tar").read_bytes() == server.content


def test_answer_that_starts_elsewhere_is_not_appended(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    stop_in_the_middle(server, archive, tmp_path)
    server.wrong_range = True
    fetch_archive(archive, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == CONTENT


def test_part_of_another_address_is_not_continued(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    stop_in_the_middle(server, archive, tmp_path)
    moved = Archive("set.tar", archive.url + "?mirror", MD5, None, (".jpg",))
    fetch_archive(moved, tmp_path)
    assert "range" not in server.requests[-1]


@pytest.mark.parametrize("notes", [None, b"", b"[]", b'{"url": 3}', b"\xff"])
def test_part_without_readable_notes_begins_anew(
    notes: bytes | None, server: Settings, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "set.tar.part").write_bytes(OTHER[:1000])
    if notes is not None:
        (tmp_path / "set.tar.part.json").write_bytes(notes)
    fetch_archive(archive, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == CONTENT
    assert "range" not in server.requests[0]


def test_part_that_is_already_whole_asks_nobody(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    """Killed between the last byte and the new name."""
    stop_in_the_middle(server, archive, tmp_path)
    (tmp_path / "set.tar.part").write_bytes(CONTENT)
    fetch_archive(archive, tmp_path)
    assert len(server.requests) == 1
    assert names(tmp_path) == ["set.tar"]


def test_part_longer_than_the_file_begins_anew(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    stop_in_the_middle(server, archive, tmp_path)
    (tmp_path / "set.tar.part").write_bytes(CONTENT + b"x")
    fetch_archive(archive, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == CONTENT


def test_shorter_file_than_the_part_begins_anew(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    """The server answers 416: there is nothing behind its end."""
    server.etag = ""
    stop_in_the_middle(server, archive, tmp_path)
    server.content = CONTENT[:10_000]
    short = Archive("set.tar", archive.url, hashlib.md5(CONTENT[:10_000]).hexdigest(), None, ())
    fetch_archive(short, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == CONTENT[:10_000]
    assert len(server.requests) == 3


def test_killed_download_is_continued(server: Settings, archive: Archive, tmp_path: Path) -> None:
    server.slow_s = 0.05
    script = (
        "import sys; from deepfeat.datasets.archives import Archive, fetch_archive;"
        "fetch_archive(Archive('set.tar', sys.argv[1], sys.argv[2], None, ()), sys.argv[3])"
    )
    child = subprocess.Popen([sys.executable, "-c", script, archive.url, MD5, str(tmp_path)])
    part = tmp_path / "set.tar.part"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 200_000):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = part.stat().st_size
    assert 200_000 < kept < len(CONTENT)
    server.slow_s = 0
    fetch_archive(archive, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == CONTENT
    assert server.requests[-1]["range"] == f"bytes={kept}-"


def test_wrong_md5_is_set_aside_and_never_used(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    server.content = OTHER
    md5 = hashlib.md5(OTHER).hexdigest()
    with pytest.raises(Unavailable, match=f"has the md5 {md5} over 2,000,000 bytes") as caught:
        fetch_archive(archive, tmp_path)
    assert names(tmp_path) == [f"set.tar.wrong-{md5[:8]}"]
    assert f"'set.tar.wrong-{md5[:8]}'" in str(caught.value)
    server.content = CONTENT
    fetch_archive(archive, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == CONTENT


def test_wrong_file_in_the_folder_is_named_and_kept(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "set.tar").write_bytes(b"an error page")
    with pytest.raises(DataError, match="is not the archive that was published") as caught:
        fetch_archive(archive, tmp_path)
    assert (caught.value.exit_status, server.requests) == (65, [])
    assert (tmp_path / "set.tar").read_bytes() == b"an error page"
    assert MD5 in str(caught.value)


def test_archive_without_a_checksum_asks_to_be_accepted(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="has no published checksum") as caught:
        fetch_archive(unknown(archive), tmp_path)
    assert SHA256 in str(caught.value)
    assert "--accept-hash" in str(caught.value)
    assert names(tmp_path) == ["set.tar"]
    with pytest.raises(DataError, match="has no published checksum"):  # asks again
        fetch_archive(unknown(archive), tmp_path)
    fetch_archive(unknown(archive), tmp_path, accept_hash=True)
    assert (tmp_path / "set.tar.sha256").read_text() == SHA256 + "\n"
    fetch_archive(unknown(archive), tmp_path)  # accepted once
    assert len(server.requests) == 1


def test_accepted_file_must_stay_the_same(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    fetch_archive(unknown(archive), tmp_path, accept_hash=True)
    (tmp_path / "set.tar").write_bytes(OTHER)
    with pytest.raises(DataError, match="is not the archive") as caught:
        fetch_archive(unknown(archive), tmp_path, accept_hash=True)
    assert SHA256 in str(caught.value)


def test_accepting_does_not_overrule_a_published_checksum(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    server.content = OTHER
    with pytest.raises(Unavailable, match="another file"):
        fetch_archive(archive, tmp_path, accept_hash=True)


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline_asks_nobody(
    value: str, server: Settings, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFEAT_OFFLINE", value)
    folder = tmp_path / "archives"
    with pytest.raises(Unavailable, match="DEEPFEAT_OFFLINE") as caught:
        fetch_archive(archive, folder)
    assert (caught.value.exit_status, server.requests, folder.exists()) == (69, [], False)
    for part in ("set.tar", archive.url, f"put it into '{folder}'", MD5):
        assert part in str(caught.value)
    folder.mkdir()
    (folder / "set.tar").write_bytes(CONTENT)
    assert fetch_archive(archive, folder) == folder / "set.tar"


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (503, "503"), (204, "204")])
def test_refusing_server_is_explained(
    status: int, words: str, server: Settings, archive: Archive, tmp_path: Path
) -> None:
    server.status = status
    with pytest.raises(Unavailable, match=f"the server answers {words}") as caught:
        fetch_archive(archive, tmp_path)
    assert names(tmp_path) == []
    assert archive.url in str(caught.value)


def test_refusal_in_the_middle_keeps_the_part(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    kept = stop_in_the_middle(server, archive, tmp_path)
    server.status = 503
    with pytest.raises(Unavailable, match="503"):
        fetch_archive(archive, tmp_path)
    assert (tmp_path / "set.tar.part").stat().st_size == kept


def test_unreachable_server_is_explained(tmp_path: Path) -> None:
    nobody = Archive("set.tar", "http://127.0.0.1:9/set.tar", MD5, None, ())
    with pytest.raises(Unavailable, match="cannot be reached"):
        fetch_archive(nobody, tmp_path)


def test_server_without_a_length_is_checked_by_the_md5_alone(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    server.with_length = False
    fetch_archive(archive, tmp_path)
    assert (tmp_path / "set.tar").read_bytes() == CONTENT
    (tmp_path / "set.tar").unlink()
    server.stop_after = 1_000_000
    with pytest.raises(Unavailable, match="another file"):
        fetch_archive(archive, tmp_path)


def test_too_little_space_is_seen_before_writing(
    server: Settings, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda folder: 1_999_999)
    with pytest.raises(NotEnoughSpace, match="no room") as caught:
        fetch_archive(archive, tmp_path)
    assert (caught.value.exit_status, names(tmp_path)) == (73, [])


def test_space_is_needed_for_the_rest_only(
    server: Settings, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = stop_in_the_middle(server, archive, tmp_path)
    monkeypatch.setattr(files, "free_bytes", lambda folder: len(CONTENT) - kept)
    fetch_archive(archive, tmp_path)


def test_full_disk_is_explained(
    server: Settings, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, piece: bytes) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files, "write_all", full)
    with pytest.raises(NotEnoughSpace, match="is full"):
        fetch_archive(archive, tmp_path)


def test_folder_that_is_a_file_is_explained(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "archives").write_text("not a folder")
    with pytest.raises(CannotCreate, match="cannot be written"):
        fetch_archive(archive, tmp_path / "archives")


def test_second_download_at_the_same_time_is_refused(
    server: Settings, archive: Archive, tmp_path: Path
) -> None:
    with locked(tmp_path), pytest.raises(Unavailable, match="another process"):
        fetch_archive(archive, tmp_path)
    fetch_archive(archive, tmp_path)


def test_notes_say_nothing_before_the_part_is_empty(
    server: Settings, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between, old bytes must not stand under new notes."""
    stop_in_the_middle(server, archive, tmp_path)
    server.content, server.etag = OTHER, '"two"'
    sizes = []
    replace = files.replace

    def watched(path: Path, pieces: list[bytes]) -> None:
        sizes.append((tmp_path / "set.tar.part").stat().st_size)
        assert json.loads(pieces[0])["etag"] == '"two"'
        replace(path, pieces)

    monkeypatch.setattr(files, "replace", watched)
    with pytest.raises(Unavailable, match="another file"):
        fetch_archive(archive, tmp_path)
    assert sizes == [0]


def test_table_has_the_published_checksums() -> None:
    known = {one.file: one.md5 for archives in ARCHIVES.values() for one in archives}
    assert known == {
        "VOCtrainval_06-Nov-2007.tar": "c52e279531787c972589f7e41ab4ae64",
        "VOCtest_06-Nov-2007.tar": "b6e924de25625d8de591ea690078ad9f",
        "VOCtrainval_11-May-2012.tar": "6cd6e144f989b92b3379bac3b3de84fd",
        "caltech-101.zip": "3138e1922a9193bfa496528edbbc45d0",
        "256_ObjectCategories.tar": "67b4f42ca05d46448c6bb8ecd2220f6d",
    }


def test_addresses_and_checksums_are_those_of_torchvision() -> None:
    """Read as text: what ``download`` of torchvision's sets asks for."""
    torchvision = importlib.util.find_spec("torchvision")
    assert torchvision is not None and torchvision.origin is not None
    folder = Path(torchvision.origin).parent / "datasets"
    text = (folder / "voc.py").read_text() + (folder / "caltech.py").read_text()
    for one in (one for archives in ARCHIVES.values() for one in archives):
        assert f'"{one.url}"' in text
        assert f'"{one.md5}"' in text
        assert one.url.endswith("/" + one.file)


def test_description_says_what_is_known() -> None:
    one = Archive("a.tar", "http://x/a.tar", "ff", 3 << 20, ())
    assert described(one) == "a.tar (3 MiB, md5 ff) from http://x/a.tar"
    assert described(unknown(one)) == "a.tar (no published checksum) from http://x/a.tar"
