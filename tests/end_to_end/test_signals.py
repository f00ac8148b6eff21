"""Stopped by a signal, killed, started twice: the same command goes on and ends in the same bytes.

Real processes of the installed command, on one thread each so that they do not compete. Every start
loads torch anew, which is where the seconds of these tests go.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEEPFEAT = Path(sys.executable).with_name("deepfeat")
IMAGES = 24
SHARD = 2  # images
NETWORK = ("--network", "vgg8-small", "--weights", "random:0", "--device", "cpu")
OPTIONS = (*NETWORK, "--scales", "384", "--shard-images", str(SHARD), "--json")
PATIENCE_S = 120.0  # for a machine that does a lot beside
SOON_S = 10.0


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, save_picture):
    root = tmp_path_factory.mktemp("signals")
    for seed in range(IMAGES):
        save_picture(root / "images" / f"{seed:02d}.png", 60, 80, seed=seed)
    return root


@pytest.fixture(scope="module")
def uninterrupted(folder, deepfeat):
    """The bytes of a store that nothing happened to."""
    done = deepfeat("extract", folder / "images", folder / "whole.h5", *OPTIONS)
    assert done.returncode == 0, done.stderr
    return (folder / "whole.h5").read_bytes()


def start(folder, store):
    """Begin an extraction and return when its first shard is safe."""
    process = subprocess.Popen(
        [DEEPFEAT, "extract", folder / "images", store, *OPTIONS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    shard = store.with_name(f"{store.name}.work") / "000000.h5"
    deadline = time.monotonic() + PATIENCE_S
    while not shard.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"no shard came: {process.communicate()[1]}")
        time.sleep(0.005)
    return process


@pytest.fixture(scope="module", params=[signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def stopped(request, folder):
    """A run that got a signal: store, signal, exit status, what it said."""
    store = folder / f"{request.param.name}.h5"
    process = start(folder, store)
    process.send_signal(request.param)
    said = process.communicate(timeout=PATIENCE_S)[1]
    return store, request.param, process.returncode, said


def test_the_exit_status_names_the_signal(stopped):
    _, number, status, said = stopped
    assert status == 128 + number, said


def test_the_message_says_what_is_safe_and_how_to_go_on(stopped):
    store, _, _, said = stopped
    assert f"of {IMAGES} images are safe in '{store}'" in said
    assert "Run the same command again to go on." in said
    assert "Traceback" not in said


def test_nothing_looks_finished(stopped):
    store, *_ = stopped
    assert not store.exists()
    assert store.with_name(f"{store.name}.work").is_dir()


def test_the_same_command_again_ends_in_the_same_bytes(stopped, folder, deepfeat, uninterrupted):
    """Runs after the tests above: it finishes the store that they look at."""
    store, *_ = stopped
    done = deepfeat("extract", folder / "images", store, *OPTIONS)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["resumed"]
    assert SHARD <= IMAGES - summary["computed"] < IMAGES  # some were safe, not all
    assert store.read_bytes() == uninterrupted
    assert not store.with_name(f"{store.name}.work").exists()


def children(pid):
    """Processes whose parent is ``pid``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # ended while we looked
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.parent.name))
    return found


def is_alive(pid):
    """A process that ended and that nobody has asked after yet (Z) is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_workers_that_hang_or_are_killed_delay_no_stop_and_change_no_byte(folder, uninterrupted):
    """Ctrl-C while every decoder hangs; then the same command, its workers killed in turn, and
    a pause of all of it.
    """
    store = folder / "in-turn.h5"
    hanging = start(folder, store)
    send(children(hanging.pid), signal.SIGSTOP)
    hanging.send_signal(signal.SIGINT)
    said = hanging.communicate(timeout=SOON_S)[1]
    assert hanging.returncode == 130, said
    process = start(folder, store)
    while not children(process.pid):
        assert process.poll() is None
        time.sleep(0.01)
    for turn in range(4):
        send(children(process.pid)[turn % 2 : turn % 2 + 1], signal.SIGKILL)
        time.sleep(0.2)
    everybody = [process.pid, *children(process.pid)]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        send(everybody, number)
        time.sleep(0.5)
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0, said
    assert store.read_bytes() == uninterrupted


def send(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.fixture(scope="module")
def killed(folder, deepfeat):
    """A run frozen in the middle, a second one started meanwhile, then the first one killed."""
    store = folder / "killed.h5"
    process = start(folder, store)
    process.send_signal(signal.SIGSTOP)
    try:
        workers = children(process.pid)
        alive = [pid for pid in workers if is_alive(pid)]
        second = deepfeat("extract", folder / "images", store, *OPTIONS)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)
    deadline = time.monotonic() + SOON_S
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in workers if is_alive(pid)]
    return store, process.pid, second, alive, left


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_workers_end_soon_after_their_run_was_killed(killed):
    *_, alive, left = killed
    assert alive
    assert left == []


def test_a_second_writer_is_refused_and_told_who_writes(killed):
    store, pid, second, *_ = killed
    assert second.returncode == 75
    answer = json.loads(second.stdout)
    assert (answer["schema"], answer["error"]) == ("deepfeat.error/1", "StoreLocked")
    assert f"process {pid} " in answer["message"]
    assert "--wait" in answer["advice"]


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (("--scales", "320"), "sampling.scales"),
        (("--no-mirror",), "sampling.mirror"),
        (("--weights", "random:1"), "network.weights_sha256"),
        (("--filter", "bicubic"), "image.filter"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_other_arguments_are_refused_by_field_name(killed, folder, command_line, other, field):
    store, *_ = killed
    work = store.with_name(f"{store.name}.work")
    before = committed(work)
    ended = command_line("extract", folder / "images", store, *OPTIONS, *other)
    assert ended.status == 65
    answer = json.loads(ended.out)
    assert answer["error"] == "StoreMismatch"
    named = [line.split(":")[0].strip() for line in answer["found"].strip().splitlines()]
    assert named == [field]
    assert committed(work) == before


def committed(work):
    """Every file but the lock, and what the kill left aside: the next start may remove that."""
    aside = (".lock", ".tmp-")
    return {p.name: p.read_bytes() for p in work.iterdir() if not p.name.startswith(aside)}


def test_a_killed_run_goes_on_to_the_same_bytes(killed, folder, deepfeat, uninterrupted):
    """Runs last: it finishes the store that the tests above look at."""
    store, *_ = killed
    done = deepfeat("extract", folder / "images", store, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert store.read_bytes() == uninterrupted
