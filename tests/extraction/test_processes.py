"""Workers among other people's doings: paused, killed, started where start-up prints, or lying."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from deepfeat.errors import Unavailable, UsageError
from deepfeat.extraction import decoding, process
from deepfeat.extraction.decoding import Decoders, Settings, Task
from deepfeat.extraction.stopping import Stopped, stop_on_signals
from deepfeat.status import Status

NATIVE = Settings(scales=("native",))
COUNT = 8


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Images of one size; number n is filled with 10 n."""
    paths = [tmp_path / f"{number}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        Pillow.fromarray(np.full((10, 20, 3), 10 * number, np.uint8)).save(path)
    return paths


@pytest.fixture(scope="module")
def vast(tmp_path_factory) -> Path:
    """An image of twenty megapixels: some tenths of a second of a processor."""
    path = tmp_path_factory.mktemp("vast") / "vast.png"
    Pillow.new("L", (5000, 4000)).save(path, compress_level=1)
    return path


def values(decoded) -> list[int]:
    return [int(one.views["native"][0, 0, 0]) for one in decoded]


def wait_until(condition, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


# --- time


def test_an_image_has_so_much_processor_time_and_no_second_try(
    files: list[Path], vast: Path
) -> None:
    with Decoders(Settings(scales=("native",), timeout_s=0.05), 1, 2) as decoders:
        started = decoders.pids
        found = list(decoders.map([Task(files[0]), Task(vast), Task(files[1])]))
        assert decoders.pids != started
    assert [one.status for one in found] == [Status.OK, Status.DECODER_FAILED, Status.OK]
    assert "exceeded 0.05 s of processor time" in found[1].detail


@contextlib.contextmanager
def signals(blocked=(), ignored=()):
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    "state",
    [
        {"blocked": [signal.SIGPROF]},
        {"blocked": [signal.SIGPROF], "ignored": [signal.SIGPROF]},
        {"blocked": signal.valid_signals() - {signal.SIGINT, signal.SIGALRM}},
        {"ignored": [signal.SIGCHLD]},
        {"ignored": [signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE]},
    ],
    ids=["blocked", "blocked and ignored", "all blocked", "no child", "no child and others"],
)
def test_the_limit_of_time_holds_whatever_the_caller_does_with_signals(state, vast: Path) -> None:
    settings = Settings(scales=("native",), timeout_s=0.05)
    with signals(**state), stop_on_signals(), Decoders(settings, 1, 2) as decoders:
        (found,) = decoders.map([Task(vast)])
    assert found.status is Status.DECODER_FAILED
    assert "exceeded 0.05 s of processor time" in found.detail


def test_of_a_worker_whose_end_nobody_learns_no_status_is_made_up(files, monkeypatch) -> None:
    """As outside a run, where what the caller does with SIGCHLD is left alone."""
    monkeypatch.setattr(decoding, "_START", liar("os.kill(os.getpid(), 11)"))
    with signals(ignored=[signal.SIGCHLD]), Decoders(NATIVE, 1, 2) as decoders:
        (found,) = decoders.map([Task(files[0])])
    assert found.status is Status.DECODER_FAILED
    assert found.detail == ("the decoder died (nobody learns how: this program ignores SIGCHLD)")


PAUSED = """
import sys
from deepfeat.extraction.decoding import *
with Decoders(Settings(scales=("8",), timeout_s=2), 2, 2) as decoders:
    for decoded in decoders.map([Task(sys.argv[1])] * 4):
        print(decoded.status.name, *decoders.pids, flush=True)
"""


@pytest.mark.parametrize("who", ["the run", "the run and its workers", "the workers"])
def test_a_pause_of_any_length_costs_no_image(who: str, vast: Path) -> None:
    """Longer than the limit of an image; each takes long enough to be in the making."""
    command = [sys.executable, "-c", PAUSED, str(vast)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        first, *workers = run.stdout.readline().split()
        everybody = {
            "the run": [run.pid],
            "the workers": [int(pid) for pid in workers],
            "the run and its workers": [run.pid, *map(int, workers)],
        }[who]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2.5)
        for pid in everybody:
            # one that fell silent too long was replaced meanwhile
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGCONT)
        rest = [line.split()[0] for line in run.stdout]
    assert [first, *rest] == ["OK"] * 4


def test_a_decoder_that_waits_for_ever_is_given_up(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SHORTEST_SILENCE_S", 0.25)
    monkeypatch.setattr(decoding, "_START", liar("time.sleep(60)"))
    with Decoders(Settings(scales=("8",), timeout_s=0.25), 1, 1) as decoders:
        decoded = decoders.decode(Task(files[0]))
    assert decoded.status is Status.DECODER_FAILED
    assert "neither answered nor computed for 0.25 s" in decoded.detail


def test_a_time_that_no_clock_counts_is_refused() -> None:
    for seconds in (0.0, -1.0, float("nan"), float("inf"), 1e300):
        with pytest.raises(UsageError, match="time limit"):
            Settings(scales=("8",), timeout_s=seconds)


# --- deaths


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGHUP])
def test_a_worker_ended_by_somebody_costs_one_more_try(files: list[Path], number) -> None:
    with Decoders(NATIVE, 1, 4) as decoders:
        list(decoders.map([Task(files[0])]))
        (pid,) = decoders.pids
        os.kill(pid, signal.SIGSTOP)  # so that it is in the middle of the first image

        def end() -> None:
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)

        threading.Timer(0.2, end).start()
        assert values(decoders.map(map(Task, files))) == [10 * n for n in range(COUNT)]


def test_workers_killed_in_turn_cost_no_image(files: list[Path]) -> None:
    with Decoders(NATIVE, 2, 4) as decoders:
        found = []
        for number, decoded in enumerate(decoders.map(map(Task, files * 3))):
            found.append(decoded)
            if number % 4 == 0 and (pids := decoders.pids):
                os.kill(pids[number // 4 % len(pids)], signal.SIGKILL)
    assert values(found) == [10 * n for n in range(COUNT)] * 3


def test_an_image_that_ends_every_worker_is_a_hole_that_says_how(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_START", liar("os.kill(os.getpid(), 11)"))
    with Decoders(NATIVE, 1, 1) as decoders:
        decoded = decoders.decode(Task(files[0]))
    assert (decoded.status, decoded.detail) == (
        Status.DECODER_FAILED,
        "the decoder died of SIGSEGV",
    )


def killed_while_starting(folder: Path, times: int) -> str:
    """A start that is killed so many times, then is what it was."""
    return (
        f"import os, tempfile; tempfile.mkstemp(dir={os.fspath(folder)!r})\n"
        f"if len(os.listdir({os.fspath(folder)!r})) <= {times}: os.kill(os.getpid(), 9)\n"
        f"{decoding._START}"
    )


@pytest.mark.parametrize("times", [1, 2, process.START_TRIES - 1])
def test_a_worker_killed_while_it_starts_is_started_again(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    (tmp_path / "starts").mkdir()
    monkeypatch.setattr(process, "START_PAUSE_S", 0)
    monkeypatch.setattr(decoding, "_START", killed_while_starting(tmp_path / "starts", times))
    with Decoders(NATIVE, 1, 1) as decoders:
        assert values(decoders.map(map(Task, files))) == [10 * n for n in range(COUNT)]


def test_a_worker_that_never_starts_ends_the_run_and_the_advice_is_true(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "starts").mkdir()
    monkeypatch.setattr(process, "START_PAUSE_S", 0)
    monkeypatch.setattr(decoding, "_START", killed_while_starting(tmp_path / "starts", 99))
    with Decoders(NATIVE, 1, 1) as decoders, pytest.raises(Unavailable) as refused:
        decoders.decode(Task(files[0]))
    assert "SIGKILL" in refused.value.found
    command = refused.value.advice.rpartition(": ")[2].split()
    said = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (said.returncode, "can start here" in said.stdout) == (0, True)


def test_no_more_processes_is_told_as_such(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(process, "START_PAUSE_S", 0)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with Decoders(NATIVE, 1, 1) as decoders, pytest.raises(Unavailable, match="temporarily"):
        decoders.decode(Task(files[0]))


# --- what start-up prints, and what a process says that was taken over

NOISE = {
    "a line": "print('welcome to the cluster')",
    "bytes like lengths": "import os; os.write(1, b'\\xff' * 16); os.write(2, b'\\0' * 16)",
    "megabytes of warnings": "import sys; sys.stderr.write('warning\\n' * 500_000)",
    "at exit": "import atexit; atexit.register(print, 'good bye')",
    "after closing standard output": "import os; os.close(1)",
    "after closing all three": "import os; os.close(0); os.close(1); os.close(2)",
    "into a file": "import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 1); print('hello')",
    "now and then": (
        "import threading, time\n"
        "def talk():\n"
        "    while True: print('still here', flush=True); time.sleep(0.01)\n"
        "threading.Thread(target=talk, daemon=True).start()"
    ),
    "while it profiles": (
        "import signal; signal.signal(signal.SIGPROF, lambda *_: print('sample'))\n"
        "signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)"
    ),
}


@pytest.mark.parametrize("noise", NOISE)
def test_what_start_up_prints_reaches_nobody(
    noise: str, files: list[Path], tmp_path: Path, monkeypatch, capfd
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOISE[noise])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with Decoders(NATIVE, 1, 1) as decoders:
        assert values(decoders.map(map(Task, files[:3]))) == [0, 10, 20]
    assert capfd.readouterr() == ("", "")


def liar(answer: str) -> str:
    """A worker that starts as it should and then does something else for each task."""
    return (
        "import json, os, struct, sys, time\n"
        "source, sink = map(int, sys.argv[1:3])\n"
        "def say(header, body=b'', length=None, text=None):\n"
        "    text = json.dumps(header).encode() if text is None else text\n"
        "    length = len(body) if length is None else length\n"
        "    os.write(sink, struct.pack('<QQ', len(text), length) + text + body)\n"
        "fine = dict(number=1, status=0, notes=0, detail='', size_bytes=1, sha256='00' * 32,\n"
        "            shape=[1, 1], decode_s=0)\n"
        "tasks = os.fdopen(source, 'rb')\n"
        "def read():\n"
        "    header, body = struct.unpack('<QQ', tasks.read(16))\n"
        "    tasks.read(header + body)\n"
        "read(); say(dict(number=0)); read()\n"
        f"{answer}\n"
    )


LIES = {
    "two exbibytes": "say(fine, length=1 << 61)",
    "a header of a terabyte": "os.write(sink, struct.pack('<QQ', 1 << 40, 0))",
    "no JSON": "say(0, text=b'{')",
    "no table": "say([1, 2])",
    "a deep one": "say(0, text=b'[' * 500_000)",
    "another image's answer": "say({**fine, 'number': 7}, b'abc')",
    "fewer pixels": "say(fine, b'ab')",
    "more pixels": "say(fine, b'abcd')",
    "an image beyond the limits": "say({**fine, 'shape': [1 << 40, 1]}, b'abc')",
    "a side below nothing": "say({**fine, 'shape': [-1, -1]}, b'abc')",
    "an unknown status": "say({**fine, 'status': 99}, b'abc')",
    "a size of no file": "say({**fine, 'size_bytes': 1 << 80}, b'abc')",
    "a short hash": "say({**fine, 'sha256': '00'}, b'abc')",
    "nothing of what is expected": "say(dict(number=1), b'abc')",
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_worker_says_is_believed_within_limits(
    lie: str, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TRIES", 1)
    monkeypatch.setattr(decoding, "_START", liar(LIES[lie]))
    with Decoders(NATIVE, 1, 1) as decoders:
        decoded = decoders.decode(Task(files[0]))
    assert (decoded.status, decoded.detail) == (Status.DECODER_FAILED, process.NONSENSE)


def test_the_liar_of_these_tests_can_say_the_truth(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_START", liar("say(fine, b'abc')"))
    with Decoders(NATIVE, 1, 1) as decoders:
        decoded = decoders.decode(Task(files[0]))
    assert decoded.views["native"].tobytes() == b"abc"


# --- one pool, many callers


def test_sixteen_threads_each_have_their_own_image(files: list[Path]) -> None:
    with Decoders(NATIVE, 3, 1) as decoders, ThreadPoolExecutor(16) as threads:
        asked = [number % COUNT for number in range(400)]
        found = threads.map(lambda number: decoders.decode(Task(files[number])), asked)
        assert values(found) == [10 * number for number in asked]


def test_an_interrupt_between_task_and_answer_leaves_nothing_behind(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the first image must not become the second's."""
    with Decoders(NATIVE, 1, 1) as decoders:
        decoders.decode(Task(files[0]))

        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(process, "_read", interrupt)
            decoders.decode(Task(files[1]))
        assert values([decoders.decode(Task(files[2]))]) == [20]


def test_leaving_while_many_threads_wait_lets_them_all_go(files: list[Path]) -> None:
    ended = []

    def ask(decoders: Decoders) -> None:
        try:
            ended.append(decoders.decode(Task(files[0])))
        except CancelledError as error:
            ended.append(error)

    with Decoders(NATIVE, 1, 1) as decoders:
        decoders.decode(Task(files[0]))
        os.kill(decoders.pids[0], signal.SIGSTOP)
        threads = [threading.Thread(target=ask, args=(decoders,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join(5)
    assert [type(one) for one in ended] == [CancelledError] * 5
    with pytest.raises(CancelledError):
        decoders.decode(Task(files[0]))
    decoders.__exit__(None, None, None)  # a second time does nothing


def test_a_forked_child_is_told_to_make_its_own(files: list[Path]) -> None:
    with Decoders(NATIVE, 1, 1) as decoders:
        decoders.decode(Task(files[0]))
        pid = os.fork()
        if pid == 0:
            try:
                decoders.decode(Task(files[1]))
            except UsageError:
                decoders.__exit__(None, None, None)
                os._exit(3)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        assert values([decoders.decode(Task(files[2]))]) == [20]  # its worker is alive


def test_an_open_pool_does_not_keep_a_program_from_ending(files: list[Path]) -> None:
    script = (
        "import sys\n"
        "from deepfeat.extraction.decoding import *\n"
        "decoders = Decoders(Settings(scales=('8',)), 2, 1).__enter__()\n"
        "print(decoders.decode(Task(sys.argv[1])).status.name, *decoders.pids)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(files[0])], capture_output=True, text=True, timeout=30
    )
    status, *pids = done.stdout.split()
    assert (done.returncode, status, done.stderr) == (0, "OK", "")
    assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


# --- the queue


def test_waiting_for_a_decoder_looks_whether_to_stop(files: list[Path]) -> None:
    with Decoders(NATIVE, 1, 4) as decoders:
        list(decoders.map([Task(files[0])]))
        os.kill(decoders.pids[0], signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(Stopped):
            list(decoders.map(map(Task, files), lambda: time.monotonic() - begin > 0.3))
        assert time.monotonic() - begin < 2


@pytest.mark.parametrize("workers", [1, 3])
def test_no_image_is_begun_while_those_that_wait_hold_too_many_bytes(
    workers: int, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    decode = Decoders.decode
    monkeypatch.setattr(decoding, "AHEAD_BYTES", 1)
    monkeypatch.setattr(
        Decoders, "decode", lambda self, task: (begun.append(task), decode(self, task))[1]
    )
    with Decoders(NATIVE, workers, 50) as decoders:
        results = decoders.map(map(Task, files * 3))
        first = next(results)
        time.sleep(0.5)
        assert len(begun) <= 2 + workers
        rest = values(results)
    assert values([first]) + rest == [10 * n for n in range(COUNT)] * 3


def test_leaving_lets_go_who_waits_for_room(files: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(decoding, "AHEAD_BYTES", 1)
    with Decoders(NATIVE, 2, 50) as decoders:
        results = decoders.map(map(Task, files))
        next(results)
        begin = time.monotonic()
    assert time.monotonic() - begin < 5
