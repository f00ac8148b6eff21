"""Damage files and give them to deepfeat, each in a process of its own with bounds: `make fuzz`.

A *find* is a traceback, an exit status that is not in the target's list, more than 20 s, more than
2 GB, or a control character on the terminal. Finds are kept, with the seed that makes them again:

    python tests/fuzz/fuzz.py --seconds 600 --seed 1 --only weights
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mutate import Mutate

MOST_SECONDS = 20
MOST_BYTES = 2 << 30
MOST_ADDRESSES = 6 << 30  # on top of what is mapped: a mutant must not eat the machine
BUG = 70
STATUSES = frozenset({0, 1, 64, 65, 66, 69, 73, 74, 75, 77})


@dataclass(frozen=True)
class Target:
    """One kind of file: a good one, how it is damaged, and what is done with it.

    ``use`` is called in a folder of its own in which the file lies as ``file``, and returns the
    exit statuses of what it did. What else it needs lies in ``folder``, which is linked into that
    place.
    """

    name: str
    file: str
    seed: bytes
    mutate: Mutate
    use: Callable[[], Sequence[int]]
    folder: Path | None = None


@dataclass(frozen=True)
class Tried:
    """What became of a file: the exit statuses, and what went wrong, empty if nothing did."""

    statuses: tuple[int, ...]
    wrong: str = ""
    output: str = ""


def tried(
    target: Target,
    contents: bytes,
    *,
    seconds: float = MOST_SECONDS,
    most_bytes: int = MOST_BYTES,
) -> Tried:
    """Use a file with these contents in a child process with bounds."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if target.folder:
            _link(target.folder, folder)
        file = folder / target.file
        file.unlink(missing_ok=True)
        file.write_bytes(contents)
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as report:
            child = os.fork()
            if child == 0:
                _use(target, folder, output.fileno(), report.fileno(), seconds)
            _, ended, usage = os.wait4(child, 0)
            with contextlib.suppress(ProcessLookupError):  # decoders that it left behind
                os.killpg(child, signal.SIGKILL)
            words, printed = _text(report), _text(output)
    statuses = tuple(int(word) for word in words.split()) if words[:1].isdigit() else ()
    wrong = _wrong(ended, statuses, words, printed)
    if not wrong and (peak := usage.ru_maxrss * 1024) > most_bytes:
        wrong = f"{peak >> 20} MiB of memory"
    return Tried(statuses, wrong, words + "\n" + printed)


def _use(target: Target, folder: Path, output: int, report: int, seconds: float) -> None:
    """The child: never returns."""
    words = ""
    try:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)  # kills, also in the middle of C code
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
        os.chdir(folder)
        most = _address_space() + MOST_ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))  # also of its decoders
        words = " ".join(str(status) for status in target.use())
    except BaseException:
        words = traceback.format_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(report, words.encode("utf-8", "backslashreplace"))
        os._exit(0)


def _address_space() -> int:
    """Bytes of this process's address space."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _wrong(ended: int, statuses: Sequence[int], report: str, output: str) -> str:
    if os.WIFSIGNALED(ended):
        name = signal.Signals(os.WTERMSIG(ended)).name
        return "over the time limit" if name == "SIGALRM" else f"killed by {name}"
    if not statuses:
        return report.strip().splitlines()[-1] if report.strip() else "no answer"
    if unknown := [status for status in statuses if status not in STATUSES]:
        return f"exit status {unknown[0]}"
    if "Traceback (most recent call last)" in output:
        return "a traceback"
    controls = sorted({repr(one) for one in output if _is_control(one)})
    return f"control characters on the terminal: {' '.join(controls)}" if controls else ""


def _is_control(one: str) -> bool:
    code = ord(one)
    is_bidi = 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
    return (code < 32 and one != "\n") or 127 <= code < 160 or is_bidi


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "backslashreplace")


def _link(source: Path, folder: Path) -> None:
    """Links to the files, as deep as they lie: a mutant replaces its own name only."""
    for path in sorted(source.rglob("*")):
        place = folder / path.relative_to(source)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            os.link(path, place)


@contextmanager
def sandboxed(set_variable: Callable[[str, str], None]) -> Iterator[Path]:
    """A folder for seeds; nothing of the user's is read, and nothing is fetched."""
    with tempfile.TemporaryDirectory() as place:
        set_variable("DEEPFEAT_CACHE", place)
        set_variable("DEEPFEAT_OFFLINE", "1")
        yield Path(place)


def fuzz(targets: Sequence[Target], *, seconds: float, seed: int, keep: Path) -> Counter[str]:
    """Go round the targets until the time is over; finds are written to ``keep``."""
    counts: Counter[str] = Counter()
    known: set[tuple[str, str]] = set()
    end, last = time.monotonic() + seconds, 0.0
    number = seed * 1_000_000
    while time.monotonic() < end:
        for target in targets:
            number += 1
            mutant = target.mutate(random.Random(number), target.seed)
            found = tried(target, mutant)
            counts["mutants"] += 1
            if found.wrong:
                counts["finds"] += 1
                if (target.name, found.wrong) not in known:
                    known.add((target.name, found.wrong))
                    _keep(keep, target, number, mutant, found)
        if time.monotonic() - last > 10:
            last = time.monotonic()
            print(f"{counts['mutants']} mutants, {counts['finds']} finds", flush=True)
    return counts


def _keep(keep: Path, target: Target, number: int, mutant: bytes, found: Tried) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    stem = f"{target.name.replace(' ', '-')}-{number}"
    (keep / stem).write_bytes(mutant)
    (keep / f"{stem}.txt").write_text(f"{found.wrong}\n{found.output}", errors="backslashreplace")
    print(f"FIND {target.name}, seed {number}: {found.wrong} ({keep / stem})", flush=True)


def main() -> None:
    from targets import all_targets  # it imports Target from here

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-finds"))
    given = parser.parse_args()
    keep = given.keep.resolve()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with sandboxed(os.environ.__setitem__) as place:
        targets = [one for one in all_targets(place) if given.only in one.name]
        print(f"{len(targets)} targets: {', '.join(one.name for one in targets)}", flush=True)
        counts = fuzz(targets, seconds=given.seconds, seed=given.seed, keep=keep)
    print(f"{counts['mutants']} mutants, {counts['finds']} finds")
    sys.exit(1 if counts["finds"] else 0)


if __name__ == "__main__":
    main()
