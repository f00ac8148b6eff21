"""``svm-eval`` killed while it extracts and while it trains, and started again: the same result.

Real processes of the installed command; each start loads torch anew, which is where the time goes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trees import make_caltech

DEEPFEAT = Path(sys.executable).with_name("deepfeat")
KILLS = 2  # during extraction
PATIENCE_S = 120.0
# A thousand problems a split, so that there is a time to be killed in.
SETS = (
    "extract.network=vgg8-small", "extract.weights=random:0", "extract.layer=pool5",
    "extract.scales=[224]", "split.train=0.6", "svm.select={on = 'kfold', folds = 3}",
    "svm.C={base = 1.1, from = -40, to = 50}",
)  # fmt: skip


@pytest.fixture
def start():
    """Begin the command in a process of its own; whatever happens, it is gone at the end."""
    begun = []

    def run(images, folder):
        begun.append(command(images, folder))
        return begun[-1]

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_caltech(tmp_path_factory.mktemp("kills"), 4, 10)


def command(images, folder):
    """It hears SIGINT even if these tests run in the background, where a shell has it ignored."""
    sets = [word for one in SETS for word in ("--set", one)]
    return subprocess.Popen(
        [DEEPFEAT, "svm-eval", "folder", "--data", images, *sets, "-o", folder / "r.json",
         "--device", "cpu", "--workers", "1", "--json", "--no-progress"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def finished(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    return json.loads(out)


def wait_for_the_lock(process, folder):
    """Until the process holds the lock of its store: what comes before is importing torch."""
    lock = folder / "folder.vgg8-small.h5.work" / ".lock"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if lock.exists() and str(process.pid) in lock.read_text():
            return
        time.sleep(0.002)
    pytest.fail(f"it did not begin to extract: {process.communicate()[1]}")


def wait_for_training(process):
    """Until it says that it trains on the second split: the first is done, nothing is written."""
    for line in process.stderr:
        if line.startswith("split 1:"):
            return
    pytest.fail("it ended before it trained on the second split")


def stopped_while_training(process, number):
    wait_for_training(process)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_S)
    return process.returncode


def told(folder):
    """The result without what may differ: clocks and the command with its folder."""
    value = json.loads((folder / "r.json").read_text())
    del value["timings"], value["solver"]["seconds"]
    del value["provenance"]["date"], value["provenance"]["command"]
    return value


@pytest.mark.slow
def test_killed_and_started_again_ends_with_the_same_result(start, images, tmp_path):
    """Six starts of the command, each of which has to import torch: half a minute."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    finished(start(images, whole))

    draw = random.Random(0)
    for _ in range(KILLS):
        process = start(images, broken)
        wait_for_the_lock(process, broken)
        time.sleep(draw.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == -signal.SIGKILL
        assert not (broken / "r.json").exists()

    store = broken / "folder.vgg8-small.h5"
    assert stopped_while_training(start(images, broken), signal.SIGINT) == 130
    extracted = store.read_bytes()
    assert extracted == (whole / store.name).read_bytes()
    assert stopped_while_training(start(images, broken), signal.SIGKILL) == -signal.SIGKILL
    assert store.read_bytes() == extracted
    assert sorted(path.name for path in broken.iterdir()) == sorted(
        path.name for path in whole.iterdir() if path.stem not in ("r", "r.scores")
    )  # nothing half written lies about

    last = finished(start(images, broken))
    assert last["timings"]["extract"] < last["timings"]["solve"]  # it was all there
    assert told(broken) == told(whole)
    scores = "r.scores.npz"
    assert (broken / scores).read_bytes() == (whole / scores).read_bytes()
    assert store.read_bytes() == extracted


def test_the_comparison_would_see_another_figure(tmp_path):
    """The test above would not pass on anything."""
    value = {"timings": {}, "solver": {"seconds": 1}, "provenance": {"date": "", "command": []}}
    seen = []
    for figure in (1.0, 1.0, 2.0):
        value["timings"] = {"solve": len(seen)}
        (tmp_path / "r.json").write_text(json.dumps({**value, "figure": figure}))
        seen.append(told(tmp_path))
    assert seen[0] == seen[1] != seen[2]
