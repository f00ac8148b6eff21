"""Asked to stop: after the running image, whatever becomes of it; and a trial that must end."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time

import numpy as np
import pytest
from test_processes import liar

from deepfeat import extract, load_network
from deepfeat.errors import Interrupted
from deepfeat.extraction import decoding, pipeline, prepare, process, trial
from deepfeat.extraction.decoding import Decoded
from deepfeat.extraction.pipeline import compute_shard
from deepfeat.extraction.request import NetworkChoice, Request, Sampling, Working
from deepfeat.extraction.run import prepare_run, run
from deepfeat.extraction.stopping import SIGNALS, Stopped, stop_on_signals
from deepfeat.progress import Meter
from deepfeat.status import CASES, Note, Status

SMALL = {"network": "vgg8-small", "weights": "random:0", "scales": (224,), "workers": 1}


@pytest.fixture(scope="module")
def network():
    return load_network("vgg8-small", weights="random:0")


def decoded(status: Status) -> Decoded:
    views = {"224": np.zeros((224, 224, 3), np.uint8)} if status is Status.OK else {}
    return Decoded(status, Note.NONE, "", 1, bytes(32), (224, 224), views, 0.0)


@pytest.mark.parametrize("status", [s for s in Status if s != Status.NOT_FINITE])
def test_a_run_stops_after_the_running_image_whatever_becomes_of_it(
    status: Status, network, tmp_path
) -> None:
    taken = []

    def images():
        for _ in range(9):
            taken.append(status)
            yield decoded(status)

    with pytest.raises(Stopped):
        compute_shard(
            images(),
            9,
            network,
            Sampling(("224",)),
            batch_size=4,
            scratch=tmp_path,
            meter=Meter(9),
            should_stop=lambda: len(taken) == 2,
        )
    assert len(taken) == 2


def prepared(images, store, **working):
    request = Request(
        NetworkChoice("vgg8-small", "random:0"), Sampling(("224",)), working=Working(**working)
    )
    return prepare_run(images, store, request)


@pytest.fixture
def images(tmp_path, save_picture):
    for seed in range(3):
        save_picture(tmp_path / "images" / f"{seed}.png", 60, 80, seed=seed)
    return tmp_path / "images"


def test_a_trial_hands_no_foreign_byte_to_this_process(images, tmp_path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("decoded in this process")

    monkeypatch.setattr(prepare, "decode_file", refuse)
    answer = trial.dry_run(prepared(images, tmp_path / "s.h5"))
    assert (answer["trial_holes"], answer["images_per_second"] > 0) == ({}, True)


def test_a_trial_counts_what_ends_its_decoder(images, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(process, "TRIES", 1)
    monkeypatch.setattr(decoding, "_START", liar("os.kill(os.getpid(), 11)"))
    answer = trial.dry_run(prepared(images, tmp_path / "s.h5"))
    assert (answer["trial_holes"], answer["seconds_estimated"]) == ({"decoder-failed": 3}, None)


def test_a_trial_does_not_wait_for_a_decoder_that_hangs(images, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trial, "TRIAL_SECONDS", 0.3)
    monkeypatch.setattr(trial, "PATIENCE_S", 0.3)
    monkeypatch.setattr(decoding, "_START", liar("time.sleep(60)"))
    ready = prepared(images, tmp_path / "s.h5")
    begin = time.monotonic()
    assert trial.dry_run(ready)["images_per_second"] is None
    assert time.monotonic() - begin < 5


def test_a_trial_does_not_try_what_cannot_fit_in_memory(images, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "memory_bytes", lambda _: 1000)
    assert trial.dry_run(prepared(images, tmp_path / "s.h5"))["trial_holes"] == {"out-of-memory": 3}


# --- memory that others hold


def statuses(store) -> list[str]:
    return [CASES[Status(status)].name for status in store.statuses]


def test_memory_that_others_hold_for_good_makes_a_hole(images, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "MEMORY_PATIENCE_S", 0)
    monkeypatch.setattr(pipeline, "available_bytes", lambda: 1000)
    with extract(images, tmp_path / "s.h5", **SMALL, device="cpu") as store:
        assert statuses(store) == ["out-of-memory"] * 3
    assert "are free" in (tmp_path / "s.h5.failures.csv").read_text()


def test_memory_that_comes_free_in_a_moment_costs_no_image(images, tmp_path, monkeypatch) -> None:
    looks = iter([1000, 1000, 2000, *[10**12] * 99])
    monkeypatch.setattr(pipeline, "MEMORY_LOOK_S", 0)
    monkeypatch.setattr(pipeline, "available_bytes", lambda: next(looks))
    with extract(images, tmp_path / "s.h5", **SMALL, device="cpu") as store:
        assert statuses(store) == ["ok"] * 3


def test_what_there_is_in_all_decides_without_a_look_at_what_is_free(
    images, tmp_path, monkeypatch
) -> None:
    """The same image has the same status whatever else runs."""
    monkeypatch.setattr(pipeline, "memory_bytes", lambda _: 1000)
    monkeypatch.setattr(pipeline, "available_bytes", lambda: pytest.fail("looked"))
    with extract(images, tmp_path / "s.h5", **SMALL, device="cpu") as store:
        assert statuses(store) == ["out-of-memory"] * 3


def test_interrupted_is_not_lost_on_the_way(images, tmp_path, monkeypatch) -> None:
    """A stop while the first decoder hangs: nothing is committed, and the command goes on later."""
    monkeypatch.setattr("deepfeat.extraction.stopping.Stop.__call__", lambda self: True)
    with pytest.raises(Interrupted, match="0 of 3 images are safe"):
        extract(images, tmp_path / "s.h5", **SMALL)
    monkeypatch.undo()
    with extract(images, tmp_path / "s.h5", **SMALL) as store:
        assert statuses(store) == ["ok"] * 3


# --- signals


@pytest.mark.parametrize("form", ["sealed", "shards"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_one_signal_ends_the_wait_for_a_lock(images, tmp_path, form, number) -> None:
    store = tmp_path / ("s.h5" if form == "sealed" else "s")
    folder = tmp_path / "s.h5.work" if form == "sealed" else store
    folder.mkdir()
    ready = prepared(images, store, wait=True)
    before = signal.getsignal(number)
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sent = threading.Timer(0.5, os.kill, (os.getpid(), number))
        begin = time.monotonic()
        sent.start()
        with pytest.raises(Interrupted, match="nothing was changed") as stopped:
            run(ready)
        assert time.monotonic() - begin < 1.5
        assert stopped.value.exit_status == 128 + number
    assert signal.getsignal(number) is before
    assert [path.name for path in folder.iterdir()] == [".lock"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["images", folder.name])
    with (folder / ".lock").open("wb") as lock:  # whoever waited has let go of it
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_what_the_caller_ignores_stays_ignored(number) -> None:
    """As of ``nohup``, and of a job that a script put into the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            assert not stop()
            others = [one for one in SIGNALS if one != number]
            assert all(callable(signal.getsignal(one)) for one in others)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
