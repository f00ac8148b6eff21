"""Which device a network runs on, and what a process made by fork may still do with torch."""

from __future__ import annotations

import os
import re
import threading

import torch

from deepfeat.errors import NetworkError, Unavailable


class _Fork:
    """What a fork left behind: read in the child, once."""

    is_child = False  # and the thread that forked has not been minded yet
    had_cuda = False


def _before_fork() -> None:
    _Fork.had_cuda = _Fork.had_cuda or _has_cuda()


def _has_cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _after_fork() -> None:
    _Fork.is_child = True


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def mind_fork(device: torch.device) -> None:
    """Keep torch from waiting for ever in a process made by fork.

    The thread that forked believes in a team of OpenMP threads that only its parent has, and would
    wait for it at its first parallel loop. One thread needs no team. Other threads of the child
    make teams of their own.

    Raises
    ------
    Unavailable
        For a CUDA device that the parent has used: CUDA does not survive a fork.
    """
    if _Fork.had_cuda and device.type == "cuda" and not _has_cuda():
        raise Unavailable(
            f"device '{device}' cannot be used in a process made by fork",
            advice="Start processes with the method 'spawn', or give device='cpu'.",
        )
    if _Fork.is_child and threading.current_thread() is threading.main_thread():
        torch.set_num_threads(1)
        _Fork.is_child = False


def choose_device(name: str | torch.device | None) -> torch.device:
    """``auto`` is the first CUDA device where there is one, else the CPU; so is None.

    Raises
    ------
    NetworkError
        For anything but a CPU or a CUDA device.
    Unavailable
        For a CUDA device that is not there, or not in a process made by fork.
    """
    device = _device_of(name)
    mind_fork(device)
    return device


def _device_of(name: str | torch.device | None) -> torch.device:
    if name is None or name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    # torch itself knows twenty more kinds, and takes cuda:256 for cuda:0.
    kind = re.fullmatch(r"(cpu|cuda)(?::(\d{1,2}))?", str(name), re.ASCII)
    if not kind:
        raise NetworkError(
            f"deepfeat does not compute on device '{name}'", expected="cpu, cuda:0 or auto"
        )
    if kind[1] == "cpu":
        return torch.device("cpu")
    number = int(kind[2] or 0)
    if number >= torch.cuda.device_count():
        raise Unavailable(
            f"device '{name}' is not there",
            advice="Give --device cpu, or install a CUDA build of torch.",
        )
    return torch.device("cuda", number)
