"""Workers: order, bounds, deaths, limits, and what becomes of them when the run goes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from deepfeat.errors import Unavailable, UsageError
from deepfeat.extraction import decoding
from deepfeat.extraction.decoding import Decoders, Settings, Task, prepare
from deepfeat.extraction.worker import settings_header, settings_of
from deepfeat.images.decode import from_array
from deepfeat.images.limits import Limits
from deepfeat.status import Note, Status

SETTINGS = Settings(scales=("8", "native"))
COUNT = 9


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Nine images of different sizes; number n is filled with 10 n."""
    paths = [tmp_path / f"{number}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        Pillow.fromarray(np.full((10, 20 + number, 3), 10 * number, np.uint8)).save(path)
    return paths


def tasks(files: list[Path]) -> list[Task]:
    return [Task(path) for path in files]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_running, pids))


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 3), (3, 50)])
def test_results_come_in_the_order_of_the_tasks(
    files: list[Path], workers: int, ahead: int
) -> None:
    with Decoders(SETTINGS, workers, ahead) as decoders:
        found = [int(d.views["native"][0, 0, 0]) for d in decoders.map(tasks(files))]
    assert found == [10 * number for number in range(COUNT)]


def test_every_scale_has_its_view(files: list[Path]) -> None:
    with Decoders(SETTINGS, 1, 1) as decoders:
        (decoded,) = decoders.map(tasks(files[5:6]))
    assert {scale: view.shape for scale, view in decoded.views.items()} == {
        "8": (8, 20, 3),
        "native": (10, 25, 3),
    }


def test_worker_gives_what_preparing_here_gives(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    Pillow.fromarray(pixels).save(tmp_path / "a.png")
    settings = Settings(scales=("16", "64", "native"), filter="lanczos")
    here = prepare(from_array(pixels), settings)
    with Decoders(settings, 1, 1) as decoders:
        (there,) = decoders.map([Task(tmp_path / "a.png")])
    assert (there.shape, there.notes) == (here.shape, here.notes)
    assert all(np.array_equal(there.views[scale], here.views[scale]) for scale in settings.scales)


def test_tasks_are_taken_no_further_than_ahead(files: list[Path]) -> None:
    taken = []

    def watched() -> Iterator[Task]:
        for task in tasks(files):
            taken.append(task)
            yield task

    with Decoders(SETTINGS, 2, 4) as decoders:
        next(decoders.map(watched()))
    assert len(taken) == 4


def test_pool_can_map_twice(files: list[Path]) -> None:
    with Decoders(SETTINGS, 2, 4) as decoders:
        assert len([*decoders.map(tasks(files)), *decoders.map(tasks(files))]) == 2 * COUNT


def test_no_tasks_give_no_results() -> None:
    with Decoders(SETTINGS, 1, 1) as decoders:
        assert list(decoders.map([])) == []


def test_missing_file_is_missing(tmp_path: Path) -> None:
    with Decoders(SETTINGS, 1, 1) as decoders:
        (decoded,) = decoders.map([Task(tmp_path / "gone.jpg", 1)])
    assert (decoded.status, decoded.shape, decoded.views) == (Status.MISSING, (0, 0), {})


def test_file_of_another_size_than_its_task_is_changed(files: list[Path]) -> None:
    with Decoders(SETTINGS, 1, 1) as decoders:
        (decoded,) = decoders.map([Task(files[0], files[0].stat().st_size + 1)])
    assert decoded.status is Status.CHANGED


def test_name_that_is_not_text_reaches_the_worker(files: list[Path]) -> None:
    odd = os.fsencode(files[0].parent) + b"/\xff\n.png"
    os.link(files[0], odd)
    with Decoders(SETTINGS, 1, 1) as decoders:
        (decoded,) = decoders.map([Task(odd)])
    assert decoded.status is Status.OK


def stop_worker(decoders: Decoders, files: list[Path]) -> int:
    """A worker that has started and is stopped: it will be in the middle of the next image."""
    assert next(decoders.map(tasks(files[:1]))).status is Status.OK
    (pid,) = decoders.pids
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_worker_killed_in_an_image_costs_one_more_try(files: list[Path]) -> None:
    with Decoders(SETTINGS, 1, 4) as decoders:
        pid = stop_worker(decoders, files)
        threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
        found = list(decoders.map(tasks(files)))
        assert decoders.pids != [pid]
    assert [int(d.views["native"][0, 0, 0]) for d in found] == [10 * n for n in range(COUNT)]


def test_worker_killed_between_images_costs_none(files: list[Path]) -> None:
    with Decoders(SETTINGS, 1, 1) as decoders:
        list(decoders.map(tasks(files[:1])))
        (pid,) = decoders.pids
        os.kill(pid, signal.SIGKILL)
        wait_until_gone([pid])
        assert {d.status for d in decoders.map(tasks(files))} == {Status.OK}


def test_worker_that_is_stopped_by_somebody_costs_one_more_try(files: list[Path]) -> None:
    with Decoders(Settings(scales=("8",), timeout_s=0.5), 1, 4) as decoders:
        stop_worker(decoders, files)
        assert {d.status for d in decoders.map(tasks(files))} == {Status.OK}


def test_leaving_ends_a_worker_in_the_middle_of_an_image(files: list[Path]) -> None:
    def take_one() -> None:
        with contextlib.suppress(CancelledError):
            next(decoders.map(tasks(files)))

    with Decoders(SETTINGS, 1, 4) as decoders:
        list(decoders.map(tasks(files[:1])))
        pids = decoders.pids
        os.kill(pids[0], signal.SIGSTOP)
        taker = threading.Thread(target=take_one)
        taker.start()
        time.sleep(0.2)
    taker.join(5)
    assert not taker.is_alive()
    assert wait_until_gone(pids, 1)


def test_leaving_on_an_error_ends_the_workers(files: list[Path]) -> None:
    pids = []
    with pytest.raises(KeyError), Decoders(SETTINGS, 2, 4) as decoders:
        for _ in decoders.map(tasks(files)):
            pids = decoders.pids
            raise KeyError
    assert wait_until_gone(pids, 1)


def test_workers_end_when_the_run_is_killed(files: list[Path]) -> None:
    script = (
        "import sys, time\n"
        "from deepfeat.extraction.decoding import *\n"
        "with Decoders(Settings(scales=('8',)), 2, 2) as decoders:\n"
        "    list(decoders.map([Task(sys.argv[1])] * 4))\n"
        "    print(*decoders.pids, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(files[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        pids = [int(pid) for pid in run.stdout.readline().split()]
        run.kill()
    assert len(pids) == 2
    assert wait_until_gone(pids)


def test_interrupt_of_the_terminal_does_not_reach_workers(files: list[Path]) -> None:
    with Decoders(SETTINGS, 1, 1) as decoders:
        list(decoders.map(tasks(files[:1])))
        (pid,) = decoders.pids
        assert os.getsid(pid) != os.getsid(0)
        os.kill(pid, signal.SIGINT)
        assert {d.status for d in decoders.map(tasks(files))} == {Status.OK}
        assert decoders.pids == [pid]


def test_worker_imports_nothing_heavy() -> None:
    script = "import sys, deepfeat.extraction.worker; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "torchvision", "h5py", "pandas", "scipy", "sklearn", "click"}
    assert set(done.stdout.split()) & heavy == set()


def test_address_space_of_a_worker_is_limited(files: list[Path]) -> None:
    with Decoders(SETTINGS, 1, 1) as decoders:
        list(decoders.map(tasks(files[:1])))
        limits = Path(f"/proc/{decoders.pids[0]}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max address space")]
    assert 4 << 30 <= int(line.split()[3]) < 16 << 30


@pytest.mark.parametrize("standard", [0, 1, 2])
def test_standard_streams_of_a_worker_lead_nowhere(files: list[Path], standard: int) -> None:
    with Decoders(SETTINGS, 1, 1) as decoders:
        list(decoders.map(tasks(files[:1])))
        place = Path(f"/proc/{decoders.pids[0]}/fd/{standard}").readlink()
    assert str(place) == os.devnull


def test_module_in_the_working_folder_is_not_imported(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (files[0].parent / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(files[0].parent)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with Decoders(SETTINGS, 1, 1) as decoders:
        assert [d.status for d in decoders.map(tasks(files[:1]))] == [Status.OK]


def test_worker_that_cannot_start_is_an_error_with_its_last_words(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_START", "raise ImportError('no Pillow here')")
    with Decoders(SETTINGS, 1, 1) as decoders, pytest.raises(Unavailable, match="no Pillow here"):
        list(decoders.map(tasks(files)))


@pytest.mark.parametrize(("workers", "ahead"), [(0, 1), (1, 0)])
def test_pool_of_nothing_is_refused(workers: int, ahead: int) -> None:
    with pytest.raises(UsageError):
        Decoders(SETTINGS, workers, ahead)


def image(height: int, width: int):
    return from_array(np.zeros((height, width, 3), np.uint8))


def test_image_below_the_smallest_side_is_too_small_without_enlarging() -> None:
    settings = Settings(scales=("256",), upscale=False, smallest_side=224)
    assert prepare(image(223, 900), settings).status is Status.TOO_SMALL


def test_image_below_the_smallest_side_is_too_small_at_its_native_size() -> None:
    settings = Settings(scales=("256", "native"), smallest_side=224)
    assert prepare(image(223, 300), settings).views == {}


def test_image_of_the_smallest_side_is_prepared() -> None:
    settings = Settings(scales=("native",), smallest_side=24)
    assert prepare(image(24, 30), settings).status is Status.OK


def test_longer_side_beyond_the_limit_is_too_large() -> None:
    assert prepare(image(1, 300), Settings(scales=("219",))).status is Status.TOO_LARGE


def test_longer_side_at_the_limit_is_prepared() -> None:
    views = prepare(image(1, 65_535), Settings(scales=("1",))).views
    assert views["1"].shape == (1, 65_535, 3)


@pytest.mark.parametrize(("scales", "is_enlarged"), [(("4",), False), (("4", "11"), True)])
def test_enlarging_is_noted(scales: tuple[str, ...], is_enlarged: bool) -> None:
    notes = prepare(image(10, 12), Settings(scales=scales)).notes
    assert (Note.ENLARGED in notes) is is_enlarged


@pytest.mark.parametrize(
    "wrong",
    [
        {"scales": ()},
        {"scales": ("8", "8")},
        {"scales": ("0",)},
        {"filter": "cubic"},
        {"background": (0, 0, 256)},
        {"background": (0, 0)},
        {"timeout_s": 0.0},
    ],
    ids=str,
)
def test_settings_that_cannot_hold_are_refused(wrong) -> None:
    with pytest.raises(UsageError):
        Settings(**{"scales": ("8",), **wrong})


@given(
    st.booleans(),
    st.booleans(),
    st.tuples(*[st.integers(0, 255)] * 3),
    st.integers(1, 2**40),
    st.floats(0.1, 1e6),
)
def test_settings_survive_the_way_to_a_worker(upscale, exif, background, most, seconds) -> None:
    settings = Settings(
        scales=("native", "8"),
        upscale=upscale,
        exif=exif,
        background=background,
        limits=Limits(most, most + 1),
        timeout_s=seconds,
    )
    assert settings_of(json.loads(json.dumps(settings_header(settings)))) == settings
