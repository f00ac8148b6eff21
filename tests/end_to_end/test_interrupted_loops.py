"""Ctrl-C ends the program it is pressed in, not only the call that happens to run.

``for folder in folders: try: extract(folder) except Exception: log`` is how many folders are done;
a signal must get through it, from every long call.
"""

from __future__ import annotations

import os
import signal

import pytest

from deepfeat import evaluate, extract, load_recipe
from deepfeat.errors import DeepfeatError, Interrupted
from deepfeat.extraction.stopping import stop_on_signals

SMALL = {"network": "vgg8-small", "weights": "random:0", "device": "cpu", "workers": 1}


@pytest.fixture
def folders(tmp_path, save_picture, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        name = f"{number // 6}/{'xy'[number % 2]}/{number}.png"
        save_picture(tmp_path / name, 50, 60, seed=number)
    return ["0", "1"]


def send(number):
    """A progress callback that sends the signal once."""
    sent = []

    def report(*state):
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    return report


def extracted(folder, number):
    extract(folder, f"{folder}.h5", **SMALL, scales=[224], progress=send(number))


def evaluated(folder, number):
    keys = ("network='vgg8-small'", "weights='random:0'", "layer='pool5'", "scales=[48]")
    alone = ("svm.C=[1]", "svm.select.on='fixed'")
    recipe = load_recipe("folder", set=[*(f"extract.{key}" for key in keys), *alone])
    evaluate(recipe, data=folder, device="cpu", workers=1, progress=send(number))


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (extracted, signal.SIGINT),
        (extracted, signal.SIGTERM),
        (evaluated, signal.SIGINT),
        (evaluated, signal.SIGTERM),
    ],
    ids=lambda value: getattr(value, "__name__", None) or value.name,
)
def test_a_loop_that_logs_errors_ends_at_the_signal(folders, call, number):
    begun = []
    with pytest.raises(KeyboardInterrupt) as stopped:
        for folder in folders:
            begun.append(folder)
            try:
                call(folder, number)
            except Exception as error:  # the loop's log
                begun.append(f"logged {error!r}")
    assert begun == folders[:1]
    assert isinstance(stopped.value, Interrupted)
    assert stopped.value.exit_status == 128 + number
    assert "images are safe in" in str(stopped.value)


def test_the_same_call_goes_on_afterwards(folders):
    with pytest.raises(Interrupted):
        extracted("0", signal.SIGINT)
    with extract("0", "0.h5", **SMALL, scales=[224]) as store:
        assert store.complete
        assert store.ok.all()


def test_a_signal_that_nobody_stops_for_is_not_forgotten():
    """It came while a store was being sealed, say."""
    done = []
    with pytest.raises(Interrupted, match="it is whole") as stopped, stop_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("sealed")
    assert done == ["sealed"]
    assert stopped.value.exit_status == 143


def test_a_second_signal_ends_at_once():
    with pytest.raises(Interrupted, match="stopped at once"), stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        os.kill(os.getpid(), signal.SIGINT)


def test_it_is_no_error_of_the_tree_that_a_handler_takes_for_a_failure():
    assert not issubclass(Interrupted, Exception)
    assert not issubclass(Interrupted, DeepfeatError)
    assert str(Interrupted("interrupted", advice="Go on.")) == "interrupted\n  Go on."
