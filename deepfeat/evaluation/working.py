"""How an evaluation is carried out: where stores lie, on what device, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfeat.classify.problems import Report as ProblemReport
from deepfeat.progress import Report

Bytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Working:
    """How the work is done; nothing here changes a number.

    ``folder`` is where the recipe's stores lie; ``tell`` takes one line before a long stage.
    """

    folder: Path = Path()
    device: str = "auto"
    cache: Path | None = None
    workers: int | None = None
    accept_environment: bool = False
    download: bool = False
    accept_hash: bool = False
    overwrite: bool = False
    tell: Callable[[str], None] | None = None
    images: Report | None = None
    problems: ProblemReport | None = None
    fetched: Bytes | None = None
    command: Sequence[str] = ()
