"""Downloads from a server on this machine: what comes well, and every way in which it does not."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deepfeat import files
from deepfeat.errors import CannotCreate, NotEnoughSpace, WeightsError, WeightsUnavailable
from deepfeat.files import cache_folder
from deepfeat.networks.weights.fetch import fetch
from deepfeat.networks.weights.named import Download

CONTENT = bytes(range(256)) * 40_000  # 10 MB: several pieces
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WHAT = "weights 'oxford' for vgg16"


class Handler(BaseHTTPRequestHandler):
    """Behaves as the path says."""

    requests: list[str] = []

    def do_GET(self) -> None:
        Handler.requests.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
            return
        self.send_response(200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        body = CONTENT[: len(CONTENT) // 2] if self.path == "/broken" else CONTENT
        # A client that has seen enough hangs up.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(CONTENT[::-1] if self.path == "/other" else body)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEEPFEAT_OFFLINE", "DEEPFEAT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Handler.requests.clear()


def download(url: str, size: int | None = len(CONTENT), prefix: str = SHA256[:8]) -> Download:
    return Download("vgg16-test.pth", url, prefix, size)


@pytest.mark.parametrize("path", ["/whole", "/moved"])
def test_file_comes_whole_and_once(path: str, server: str, tmp_path: Path) -> None:
    wanted = download(server + path)
    assert fetch(wanted, WHAT, cache=tmp_path) == (tmp_path / "weights/vgg16-test.pth", SHA256)
    assert (tmp_path / "weights/vgg16-test.pth").read_bytes() == CONTENT
    asked = len(Handler.requests)
    assert fetch(wanted, WHAT, cache=tmp_path)[1] == SHA256
    assert len(Handler.requests) == asked  # the second time from the cache


def test_progress_is_told_up_to_the_end(server: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    fetch(
        download(server + "/whole"),
        WHAT,
        cache=tmp_path,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)
    assert len(told) > 1


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/other", "another file"),
        ("/missing", "404"),
        ("/broken", "connection broke"),
    ],
)
def test_failed_download_is_explained_and_leaves_nothing(
    path: str, words: str, server: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsUnavailable, match=words) as caught:
        fetch(download(server + path), WHAT, cache=tmp_path)
    message = str(caught.value)
    assert caught.value.exit_status == 69
    for part in (WHAT, "vgg16-test.pth", "10 MiB", str(tmp_path / "weights"), server + path):
        assert part in message
    assert "--weights FILE" in message
    assert list((tmp_path / "weights").iterdir()) == []


@pytest.mark.parametrize("path", ["/whole", "/endless"])
def test_file_longer_than_stated_is_stopped(path: str, server: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="the server sends over"):
        fetch(download(server + path, size=1 << 20), WHAT, cache=tmp_path)
    assert list((tmp_path / "weights").iterdir()) == []


def test_unreachable_server_is_explained(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WeightsUnavailable, match="cannot be reached"):
        fetch(download(f"http://127.0.0.1:{port}/whole"), WHAT, cache=tmp_path)


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline_asks_nobody(
    value: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFEAT_OFFLINE", value)
    with pytest.raises(WeightsUnavailable, match="DEEPFEAT_OFFLINE") as caught:
        fetch(download(server + "/whole"), WHAT, cache=tmp_path)
    assert Handler.requests == []
    assert not (tmp_path / "weights").exists()
    assert f"put it into '{tmp_path / 'weights'}'" in str(caught.value)


def test_offline_with_the_file_in_the_cache_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFEAT_OFFLINE", "1")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/vgg16-test.pth").write_bytes(CONTENT)
    assert fetch(download("http://127.0.0.1:1/"), WHAT, cache=tmp_path)[1] == SHA256


@pytest.mark.parametrize("value", ["", "0"])
def test_offline_switched_off_downloads(
    value: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFEAT_OFFLINE", value)
    assert fetch(download(server + "/whole"), WHAT, cache=tmp_path)[1] == SHA256


def test_wrong_file_in_the_cache_is_named_and_kept(server: str, tmp_path: Path) -> None:
    path = tmp_path / "weights/vgg16-test.pth"
    path.parent.mkdir()
    path.write_bytes(b"an error page")
    with pytest.raises(WeightsError, match="is not the file of") as caught:
        fetch(download(server + "/whole"), WHAT, cache=tmp_path)
    assert (caught.value.exit_status, path.read_bytes()) == (65, b"an error page")
    assert str(path) in str(caught.value)
    assert Handler.requests == []


def test_too_little_space_is_seen_before_asking(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda folder: 1000)
    with pytest.raises(NotEnoughSpace, match="no room"):
        fetch(download(server + "/whole"), WHAT, cache=tmp_path)
    assert Handler.requests == []


def test_cache_that_is_a_file_is_explained(server: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(CannotCreate, match="DEEPFEAT_CACHE"):
        fetch(download(server + "/whole"), WHAT, cache=tmp_path / "cache")


def test_cache_is_the_argument_then_ours_then_the_systems_then_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/deepfeat"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_folder() == tmp_path / ".cache/deepfeat"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/deepfeat")
    monkeypatch.setenv("DEEPFEAT_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    assert cache_folder("/given") == Path("/given")
