"""How far a long run is: rate, time left, and which stage it waits for.

``Meter`` counts; a callable takes each ``Progress``. On a terminal that callable is ``bar``'s; in a
pipe it writes a line now and then, and nothing at all when asked for silence.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deepfeat.terminal import canvas, guarded, say

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn

STAGES = ("decode", "network", "disk")
SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a run.

    ``done`` counts images whose rows are on the disk, ``running`` those computed but not yet there.
    ``share`` gives, for each stage, the part of the time so far that the run waited for it.
    ``seconds_left`` is None until a rate is known.
    """

    done: int
    running: int
    total: int
    images_per_second: float
    seconds_left: float | None
    share: dict[str, float]
    bottleneck: str


Report = Callable[[Progress], None]


@dataclass(slots=True)
class Meter:
    """Counts images and the seconds spent waiting for each stage."""

    total: int
    before: int = 0  # images that an earlier run has done: no part of the rate
    report: Report | None = None
    done: int = 0
    running: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    started: float = field(default_factory=time.perf_counter)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def computed(self, images: int) -> None:
        """Note images whose descriptors are there, but not yet on the disk."""
        self.running += images
        self._tell()

    def committed(self, images: int) -> None:
        """Note images whose rows are on the disk."""
        self.done += images
        self.running = 0
        self._tell()

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def now(self) -> Progress:
        """The state at this moment."""
        computed = self.done + self.running
        rate = computed / self.elapsed if self.elapsed > 0 else 0.0
        left = self.total - self.before - computed
        spent = sum(self.seconds.values()) or 1.0
        share = {name: seconds / spent for name, seconds in self.seconds.items()}
        return Progress(
            self.before + self.done,
            self.running,
            self.total,
            rate,
            left / rate if rate > 0 else None,
            share,
            max(share, key=lambda name: share[name]),
        )

    def _tell(self) -> None:
        if self.report is not None:
            self.report(self.now())


def words(state: Progress) -> str:
    """One line: rate, time left, shares."""
    share = ", ".join(f"{name} {100 * part:.0f} %" for name, part in state.share.items())
    left = "" if state.seconds_left is None else f", {duration(state.seconds_left)} left"
    return f"{state.images_per_second:.2f} images/s{left} ({share})"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextlib.contextmanager
def shown(description: str, *, silent: bool = False) -> Iterator[Report | None]:
    """A reporter for standard error: a bar on a terminal, a line every half minute in a pipe."""
    if silent:
        yield None
    elif sys.stderr.isatty():
        with _bar(description) as report:
            yield report
    else:
        yield _lines(description)


@contextlib.contextmanager
def _bar(description: str) -> Iterator[Report]:
    from rich import progress as rich_progress

    words_column = rich_progress.TextColumn("{task.fields[words]}", markup=False)
    with _drawn(rich_progress.MofNCompleteColumn(), words_column) as bar:
        task = bar.add_task(description, total=None, words="")

        def report(state: Progress) -> None:
            done = state.done + state.running
            bar.update(task, completed=done, total=state.total, words=words(state))

        yield report


@contextlib.contextmanager
def _drawn(*columns: ProgressColumn) -> Iterator[Bars]:
    """Bars on a terminal; what is written meanwhile appears above them, escaped as ever."""
    from rich import progress as rich_progress
    from rich.console import Console

    first = rich_progress.TextColumn("{task.description}", markup=False)
    bars = rich_progress.Progress(
        first,
        rich_progress.BarColumn(),
        *columns,
        console=Console(file=canvas()),
        transient=True,
    )
    with bars, guarded():
        yield bars


def _lines(description: str) -> Report:
    last = time.perf_counter()

    def report(state: Progress) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            done = state.done + state.running
            say(f"{description}: {done} of {state.total}, {words(state)}")

    return report


@contextlib.contextmanager
def shown_bytes(
    description: str, *, silent: bool = False
) -> Iterator[Callable[[int, int], None] | None]:
    """A reporter of (bytes done, bytes in all) for a download; appears with its first byte."""
    if silent or not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich_progress

    columns = (
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with _drawn(*columns) as bar:
        task = bar.add_task(description, total=None, visible=False)
        yield lambda done, total: bar.update(
            task, completed=done, total=total or None, visible=True
        )


@contextlib.contextmanager
def shown_count(
    description: str, *, silent: bool = False
) -> Iterator[Callable[[int, int], None] | None]:
    """A reporter of (things done, things in all): a bar on a terminal, else a line now and then."""
    if silent:
        yield None
        return
    if not sys.stderr.isatty():
        yield _count_lines(description)
        return
    from rich import progress as rich_progress

    columns = (rich_progress.MofNCompleteColumn(), rich_progress.TimeRemainingColumn())
    with _drawn(*columns) as bar:
        task = bar.add_task(description, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _count_lines(description: str) -> Callable[[int, int], None]:
    last = time.perf_counter()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            say(f"{description}: {done} of {total}")

    return report
