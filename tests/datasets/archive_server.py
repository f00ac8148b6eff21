"""A server of one file on this machine that answers as its settings say, and remembers requests."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Settings:
    """How the server behaves from the next request on."""

    content: bytes = b""
    etag: str = '"one"'
    modified: str = ""
    with_range: bool = True
    heeds_condition: bool = True
    with_length: bool = True
    status: int = 0
    stop_after: int | None = None  # bytes of the file, counted from its start
    wrong_range: bool = False  # begins one byte before what was asked for
    slow_s: float = 0.0  # between pieces of 64 KiB
    requests: list[dict[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, Settings]]:
    """The address of the file and its settings."""
    settings = Settings()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            settings.requests.append({name.lower(): text for name, text in self.headers.items()})
            if settings.status:
                self.send_error(settings.status)
                return
            content = settings.content
            start = self._start(len(content))
            if start is None:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            start -= settings.wrong_range and start > 0
            self.send_response(206 if start else 200)
            if start:
                range_sent = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", range_sent)
            if settings.etag:
                self.send_header("ETag", settings.etag)
            if settings.modified:
                self.send_header("Last-Modified", settings.modified)
            if settings.with_length:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                for at in range(start, settings.stop_after or len(content), 1 << 16):
                    end = min(at + (1 << 16), settings.stop_after or len(content))
                    self.wfile.write(content[at:end])
                    time.sleep(settings.slow_s)

        def _start(self, length: int) -> int | None:
            """The first byte to send; None for one behind the end."""
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if not settings.with_range or not asked:
                return 0
            condition = self.headers.get("If-Range")
            changed = condition and condition not in (settings.etag, settings.modified)
            if changed and settings.heeds_condition:
                return 0
            return int(asked[1]) if int(asked[1]) < length else None

        def log_message(self, *arguments: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/set.tar", settings
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
