"""The process that decodes: tasks come in through one pipe, pixels go out through another.

A message is a header in JSON and a body of bytes, each preceded by its length; nothing is ever
unpickled. The first message carries the settings, each later one a path; an answer bears the number
of its message. The process limits its own address space and, by a timer of the processor time that
it uses, the time of an image. It ends when its input ends, or its run does. It imports NumPy and
Pillow and never torch.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
import threading
import time
from dataclasses import asdict
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from deepfeat.extraction.prepare import Decoded, Settings, Task, prepare_file
from deepfeat.extraction.resize import resized_size
from deepfeat.images.limits import Limits
from deepfeat.status import Note, Status

LENGTHS = struct.Struct("<QQ")
ADDRESS_SPACE = 4 << 30  # bytes for the interpreter, its libraries and scratch memory
BYTES_A_PIXEL = 16  # Pillow's image, our array, a turned copy, and the views
LONGEST_HEADER = 1 << 20
LOOK_S = 2.0  # between two looks whether the run is still there

Header = dict[str, Any]


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
        "decode_s": decoded.decode_s,
    }
    return header, [view.data.cast("B") for view in decoded.views.values()]


def decoded_of(header: Header, body: NDArray[np.uint8], settings: Settings) -> Decoded:
    """Read a prepared image from a message; the views share the body's memory.

    The sizes of the views follow from the image's: the message does not say them. A message that
    contradicts itself or the settings raises some error of Python's.
    """
    height, width = map(int, header["shape"])
    status = Status(header["status"])
    sizes = {}
    if status is Status.OK:
        sizes = {
            scale: resized_size(height, width, scale, upscale=settings.upscale)
            for scale in settings.scales
        }
    sha256 = bytes.fromhex(header["sha256"])
    size_bytes, notes = int(header["size_bytes"]), int(header["notes"])
    ends = np.cumsum([0, *(3 * h * w for h, w in sizes.values())]).tolist()
    is_possible = (
        ends[-1] == len(body)
        and height * width <= settings.limits.max_pixels
        and 0 <= min(height, width) <= max(height, width) < 1 << 31
        and -1 <= size_bytes < 1 << 63
        and 0 <= notes < 1 << 32
        and len(sha256) == 32
    )
    if not is_possible:
        raise ValueError("an image that cannot be")
    return Decoded(
        status=status,
        notes=Note(notes),
        detail=str(header["detail"]),
        size_bytes=size_bytes,
        sha256=sha256,
        shape=(height, width),
        views={
            scale: body[start:end].reshape(*size, 3)
            for (scale, size), start, end in zip(sizes.items(), ends, ends[1:], strict=False)
        },
        decode_s=float(header["decode_s"]),
    )


def address_space(limits: Limits) -> int:
    """Bytes that a worker may have."""
    return ADDRESS_SPACE + limits.max_bytes + BYTES_A_PIXEL * limits.max_pixels


def _limit_address_space(limits: Limits) -> None:
    wanted = address_space(limits)
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
    write_message(sink, {"number": 0})
    while message := _read_message(source):
        header, path = message
        task = Task(path, header["size"])
        signal.setitimer(signal.ITIMER_PROF, settings.timeout_s)
        answered, pieces = answer(prepare_file(task, settings))
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_message(sink, {**answered, "number": header["number"]}, *pieces)


def _end_with(run: int) -> None:
    """End when the run is gone: a decoder that waits for ever does not see its input end."""
    while os.getppid() == run:
        time.sleep(LOOK_S)
    os._exit(0)


def main(source: int, sink: int) -> None:
    """Serve on two descriptors, one to read tasks from and one to write answers to.

    Decoders written in C print their own warnings; from here on these go nowhere.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run decides when to stop
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, whoever used it before
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a caller may block some
    for descriptor in (source, sink):
        os.set_inheritable(descriptor, False)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        with os.fdopen(source, "rb") as tasks, os.fdopen(sink, "wb") as answers:
            serve(tasks, answers)
    except BrokenPipeError:  # the run is gone: there is nobody to tell
        os._exit(0)


if __name__ == "__main__":
    # Whoever was sent here by a message sees what stood in the way, or that nothing does.
    print(f"a decoding worker can start here: {sys.executable}")
