"""Output that fails changes neither what is done nor how it ends.

Every command with every way in which a stream can end: a reader that has seen enough, a full disk,
a descriptor that the caller closed. Most of it in this process, where torch starts once; what
Python itself says at its end is seen in processes of their own.
"""

from __future__ import annotations

import fcntl
import functools
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepfeat import progress
from deepfeat.cli.main import main
from deepfeat.terminal import Output

DEEPFEAT = Path(sys.executable).with_name("deepfeat")
SMALL = ("--network", "vgg8-small", "--weights", "random:0", "--scales", "224", "--device", "cpu")
CHEAP = tuple(
    word
    for key in ("network=vgg8-small", "weights=random:0", "layer=pool5", "scales=[48]")
    for word in ("--set", f"extract.{key}")
)
FULL = 74


@pytest.fixture(scope="module")
def place(tmp_path_factory, save_picture):
    """Two images, a folder with a hole besides, a small tree of classes, a finished store."""
    from deepfeat import extract

    root = tmp_path_factory.mktemp("output")
    for seed, name in enumerate(("images/a.png", "images/b.png", "holed/a.png")):
        save_picture(root / name, 60, 80, seed=seed)
    (root / "holed" / "empty.png").touch()
    for number in range(10):
        save_picture(root / "tree" / "xy"[number % 2] / f"{number}.png", 50, 60, seed=number)
    extract(root / "images", root / "done.h5", network="vgg8-small", weights="random:0",
            scales=[224], device="cpu").close()  # fmt: skip
    return root


@pytest.fixture(autouse=True)
def small_and_talkative(monkeypatch):
    """The tour with five images a class; a line of progress after every image."""
    from deepfeat.demo import tour

    monkeypatch.setattr(tour, "take_tour", functools.partial(tour.take_tour, per_class=5))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)


def without_reader():
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def on_full_disk():
    return Path("/dev/full").open("w")


STREAMS = {
    "no reader": without_reader,
    "full disk": on_full_disk,
    "closed": lambda: None,
}

# arguments, exit status, a file that the command makes
COMMANDS = {
    "help": (("--help",), 0, None),
    "help of a command": (("extract", "--help"), 0, None),
    "version": (("--version",), 0, None),
    "usage": (("info", "--nosuch"), 64, None),
    "nothing asked": ((), 64, None),
    "info": (("info", "done.h5", "--keys"), 0, None),
    "info json": (("info", "done.h5", "--keys", "--json"), 0, None),
    "no such store": (("info", "nosuch.h5"), 66, None),
    "no such store json": (("info", "nosuch.h5", "--json"), 66, None),
    "verify": (("verify", "done.h5"), 0, None),
    "networks": (("networks", "vgg8*"), 0, None),
    "recipes": (("recipes", "voc*"), 0, None),
    "dry run": (("extract", "images", "none.h5", *SMALL, "--dry-run"), 0, None),
    "extract": (("extract", "images", "new.h5", *SMALL), 0, "new.h5"),
    "extract json": (("extract", "images", "new.h5", *SMALL, "--json"), 0, "new.h5"),
    "extract with a hole": (("extract", "holed", "new.h5", *SMALL), 1, "new.h5"),
    "svm-eval": (
        ("svm-eval", "folder", "--data", "tree", "--device", "cpu", "-o", "out/r.json", *CHEAP),
        0, "out/r.json",
    ),
    "demo": (("demo", "tour"), 0, "tour/images.vgg8-small.h5"),
}  # fmt: skip
DEAR = {"svm-eval", "demo"}  # with one way of failing


def cases():
    return [
        (name, stream)
        for name in COMMANDS
        for stream in STREAMS
        if name not in DEAR or stream == "no reader"
    ]


def ended(arguments, **streams):
    """The exit status of a command line with other standard streams."""
    with pytest.MonkeyPatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        try:
            with pytest.raises(SystemExit) as end:
                main(list(arguments))
        finally:
            for stream in streams.values():
                if stream is not None:
                    stream.close()  # with what is left in its buffer: must not raise either
    return end.value.code


@pytest.fixture
def fresh(place, tmp_path, monkeypatch):
    """A working directory of one test, with the inputs at hand."""
    for path in place.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "stream"), [one for one in cases() if "demo" not in one])
def test_without_standard_error_all_is_done_and_answered(fresh, capsys, name, stream):
    arguments, status, made = COMMANDS[name]
    assert ended(arguments, stderr=STREAMS[stream]()) == status
    out = capsys.readouterr().out
    assert bool(out) == (status in (0, 1) or "--json" in arguments)
    if "--json" in arguments:
        json.loads(out)
    if made:
        assert (fresh / made).exists()


@pytest.mark.parametrize(("name", "stream"), cases())
def test_without_standard_output_all_is_done_and_the_status_is_its_own(fresh, capsys, name, stream):
    arguments, status, made = COMMANDS[name]
    answers = status in (0, 1) or "--json" in arguments
    lost = stream == "full disk" and answers
    assert ended(arguments, stdout=STREAMS[stream]()) == (status or FULL if lost else status)
    said = capsys.readouterr().err
    assert ("could not be written to standard output: No space left" in said) == lost
    assert "Traceback" not in said
    if made:
        assert (fresh / made).exists()


@pytest.mark.parametrize("stream", STREAMS)
def test_without_either_a_run_is_finished(fresh, stream):
    out, err = STREAMS[stream](), STREAMS[stream]()
    arguments, status, made = COMMANDS["extract with a hole"]
    assert ended(arguments, stdout=out, stderr=err) == status
    assert (fresh / made).exists()


def test_a_reader_that_leaves_during_a_run_stops_nothing(fresh, monkeypatch):
    """``2>&1 | head``: the first line of progress is read, then nobody is there."""
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    lines = []

    def say_then_leave(line, say=progress.say):
        say(line)
        if not lines:
            lines.append(os.read(reader, 1000))
            os.close(reader)

    monkeypatch.setattr(progress, "say", say_then_leave)
    arguments, status, made = COMMANDS["extract"]
    assert ended(arguments, stderr=stream) == status
    assert b"of 2" in lines[0]
    assert (fresh / made).exists()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("info {store} --keys | true", 0),
        ("info {store} --keys >&-", 0),
        ("info {store} --keys 2>&-", 0),
        ("info {store} --keys >&- 2>&- <&-", 0),
        ("info {store} --keys >/dev/full", FULL),
        ("info nosuch.h5 --json >/dev/full", 66),
        ("info nosuch.h5 2>/dev/full", 66),
        ("--help | true", 0),
        ("info {store} --keys 2>&1 | head -1 >&2", 0),
    ],
)
def test_python_says_nothing_of_its_own_at_the_end(place, words, status):
    line = f"set -o pipefail; {DEEPFEAT} {words.format(store=place / 'done.h5')}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=place)
    assert done.returncode == status, done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Traceback" not in done.stderr


def test_no_file_of_ours_gets_the_number_of_a_closed_stream(place):
    """What a library printed would be written into it."""
    script = (
        "from deepfeat.terminal import occupy_standard_descriptors as occupy; import os; occupy();"
        "print(os.open(os.devnull, os.O_RDONLY) > 2, file=open('number.txt', 'w'))"
    )
    command = ["bash", "-c", f'{sys.executable} -c "{script}" >&- 2>&-']
    subprocess.run(command, cwd=place, check=True)
    assert (place / "number.txt").read_text() == "True\n"


# --- output that is taken in parts


class Sipping(io.RawIOBase):
    """A file without a buffer that takes little at a time, every other time nothing at all."""

    def __init__(self, room=1 << 20):
        self.taken, self.room, self.turn = b"", room, 0
        self._reader, self._writer = os.pipe()  # which can always be written to

    def writable(self):
        return True

    def fileno(self):
        return self._writer

    def write(self, data):
        self.turn += 1
        if self.turn % 2:
            return None  # it would have to wait
        if len(self.taken) >= self.room:
            raise OSError(27, "File too large")
        self.taken += bytes(data[:7])
        return min(7, len(data))


TEXT = "".join(f"{number} of many: \u00e4\n" for number in range(50))


@pytest.mark.parametrize("is_buffered", [False, True])
@pytest.mark.parametrize("room", [1 << 20, 100])
def test_what_is_taken_in_parts_arrives_whole_or_is_told(is_buffered, room):
    below = Sipping(room)
    layer = io.BufferedWriter(below, 64) if is_buffered else below
    stream = io.TextIOWrapper(layer, "utf-8", write_through=not is_buffered)
    earlier = "first " if is_buffered else ""  # Python itself would lose it
    stream.write(earlier)
    output = Output(stream)
    for line in TEXT.splitlines(keepends=True):
        assert output.write(line) == len(line)
    output.flush()
    whole = f"{earlier}{TEXT}".encode()
    assert (output.error is None) == (room > len(whole))
    assert below.taken == (whole if output.error is None else whole[: len(below.taken)])


@pytest.mark.parametrize("kind", ["in memory", "proxy"])
def test_a_stream_that_is_not_of_bytes_gets_the_text(kind):
    class Proxy:
        """As of a bar: it has the stream's attributes, and a ``write`` of its own."""

        def __init__(self, stream):
            self.stream, self.written = stream, ""

        def __getattr__(self, name):
            return getattr(self.stream, name)

        def write(self, text):
            self.written += text

    below = io.TextIOWrapper(io.BytesIO(), "utf-8")
    stream = io.StringIO() if kind == "in memory" else Proxy(below)
    Output(stream).write(TEXT)
    assert (stream.getvalue() if kind == "in memory" else stream.written) == TEXT


LONG = ("recipes", "--json")
BUFFERING = {"buffered": "", "unbuffered": "1"}  # PYTHONUNBUFFERED


@pytest.fixture(scope="module")
def long_answer():
    return subprocess.run([DEEPFEAT, *LONG], capture_output=True, check=True).stdout


@pytest.mark.parametrize("unbuffered", BUFFERING.values(), ids=BUFFERING)
def test_an_answer_that_is_cut_is_told(tmp_path, long_answer, unbuffered):
    """A disk that becomes full in the middle, as a limit of the file's size."""
    assert len(long_answer) > 4096
    line = f"ulimit -f 4; exec {DEEPFEAT} {' '.join(LONG)} > out.json"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == FULL
    assert "could not be written to standard output: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out.json").read_bytes() == long_answer[:4096]


@pytest.mark.parametrize("unbuffered", BUFFERING.values(), ids=BUFFERING)
def test_a_slow_reader_gets_all_through_a_pipe_that_does_not_block(long_answer, unbuffered):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    process = subprocess.Popen(
        [DEEPFEAT, *LONG],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        first = os.read(reader, 10)
        time.sleep(0.2)  # it has filled the pipe
        assert first + stream.read() == long_answer
    said = process.communicate()[1]
    assert (process.returncode, said) == (0, b"")
