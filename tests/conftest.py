"""What several rooms' tests share: pictures made by program, and the installed command."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # for ``oracles``

DEEPFEAT = Path(sys.executable).with_name("deepfeat")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell starts what runs in the background deaf to it, and all that is started from there."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Ended:
    """Exit status, standard output, standard error."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """A picture with edges, gradients and noise, different for every seed: (H, W, 3) uint8."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        rows, columns = np.mgrid[0:height, 0:width]
        waves = [
            127 + 90 * np.sin(rows / random.uniform(5, 40) + columns / random.uniform(5, 40))
            for _ in range(3)
        ]
        pixels = np.stack(waves, axis=2) + random.normal(0, 20, (height, width, 3))
        top, left = random.integers(0, height // 2), random.integers(0, width // 2)
        pixels[top : top + height // 3, left : left + width // 3] = random.integers(0, 256, 3)
        return pixels.clip(0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def save_picture(picture: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Write a picture of its own to a path, in the format of its extension."""

    def save(path: Path, height: int, width: int, seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(height, width, seed)).save(path)
        return path

    return save


@pytest.fixture(scope="session")
def deepfeat() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed command."""

    def run(
        *arguments: object, cwd: Path | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DEEPFEAT, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=timeout,
        )

    return run


@pytest.fixture
def command_line(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run what the installed command runs, in this process: torch starts once, not each time."""
    from deepfeat.cli.main import main

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run
