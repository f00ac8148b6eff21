"""The process that decodes: tasks come in on standard input, pixels go out on standard output.

A message is a header in JSON and a body of bytes, each preceded by its length; nothing is ever
unpickled. The first message carries the settings, each later one a path. The process limits its own
address space and, by an alarm, the time of an image (the run's own clock is ahead of it; the alarm
is for a worker whose run was killed). It ends when its input ends. It imports NumPy and Pillow and
never torch.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
from dataclasses import asdict
from typing import IO

import numpy as np
from numpy.typing import NDArray

from deepfeat.extraction.prepare import Decoded, Settings, Task, prepare_file
from deepfeat.images.limits import Limits
from deepfeat.status import Note, Status

LENGTHS = struct.Struct("<QQ")
ADDRESS_SPACE = 4 << 30  # bytes for the interpreter, its libraries and scratch memory
BYTES_A_PIXEL = 16  # Pillow's image, our array, a turned copy, and the views
GRACE_S = 5.0

Header = dict[str, object]


def write_message(stream: IO[bytes], header: Header, *pieces: bytes | memoryview) -> None:
    """Send a header and a body made of pieces."""
    text = json.dumps(header).encode("ascii")
    stream.write(LENGTHS.pack(len(text), sum(len(piece) for piece in pieces)) + text)
    for piece in pieces:
        stream.write(piece)
    stream.flush()


def settings_header(settings: Settings) -> Header:
    """Say settings in JSON."""
    return asdict(settings)


def settings_of(header: Header) -> Settings:
    """Read settings from JSON; the inverse of `settings_header`."""
    fields = dict(header)
    limits = fields.pop("limits")
    assert isinstance(limits, dict)
    for name in ("scales", "background"):
        value = fields[name]
        assert isinstance(value, list)
        fields[name] = tuple(value)
    return Settings(limits=Limits(**limits), **fields)  # type: ignore[arg-type]


def answer(decoded: Decoded) -> tuple[Header, list[memoryview]]:
    """Say a prepared image in JSON, with the pixels of its views as the body."""
    header: Header = {
        "status": int(decoded.status),
        "notes": int(decoded.notes),
        "detail": decoded.detail,
        "size_bytes": decoded.size_bytes,
        "sha256": decoded.sha256.hex(),
        "shape": decoded.shape,
        "views": [[scale, *view.shape[:2]] for scale, view in decoded.views.items()],
        "decode_s": decoded.decode_s,
    }
    return header, [view.data.cast("B") for view in decoded.views.values()]


def decoded_of(header: dict[str, object], body: NDArray[np.uint8]) -> Decoded:
    """Read a prepared image from a message; the views share the body's memory."""
    views = {}
    at = 0
    listed = header["views"]
    shape = header["shape"]
    assert isinstance(listed, list)
    assert isinstance(shape, list)
    for scale, height, width in listed:
        length = height * width * 3
        views[scale] = body[at : at + length].reshape(height, width, 3)
        at += length
    return Decoded(
        status=Status(int(str(header["status"]))),
        notes=Note(int(str(header["notes"]))),
        detail=str(header["detail"]),
        size_bytes=int(str(header["size_bytes"])),
        sha256=bytes.fromhex(str(header["sha256"])),
        shape=(shape[0], shape[1]),
        views=views,
        decode_s=float(str(header["decode_s"])),
    )


def _limit_address_space(limits: Limits) -> None:
    wanted = ADDRESS_SPACE + limits.max_bytes + BYTES_A_PIXEL * limits.max_pixels
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def _read_message(stream: IO[bytes]) -> tuple[Header, bytes] | None:
    """Read one message, or None at the end of the input, even in the middle of a message."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    header_length, body_length = LENGTHS.unpack(lengths)
    text, body = stream.read(header_length), stream.read(body_length)
    if len(text) < header_length or len(body) < body_length:
        return None
    return json.loads(text), body


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer tasks until the source ends."""
    first = _read_message(source)
    if first is None:
        return
    settings = settings_of(first[0])
    _limit_address_space(settings.limits)
    write_message(sink, {"ready": os.getpid()})
    while message := _read_message(source):
        header, path = message
        task = Task(path, int(str(header["size"])))
        signal.setitimer(signal.ITIMER_REAL, settings.timeout_s + GRACE_S)
        answered, pieces = answer(prepare_file(task, settings))
        signal.setitimer(signal.ITIMER_REAL, 0)
        write_message(sink, answered, *pieces)


def main() -> None:
    """Serve on the standard streams.

    Decoders written in C print their own warnings; from here on these go nowhere, and standard
    output belongs to the messages alone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run decides when to stop
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    try:
        serve(source, sink)
        sink.close()
    except BrokenPipeError:  # the run is gone: there is nobody to tell
        os._exit(0)


if __name__ == "__main__":
    main()
