"""The device and torch's global settings: set on entry, restored on leaving, written down.

float32 all the way: TF32 would round the products of a GPU to 11 bits.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import deepfeat
from deepfeat import machine
from deepfeat.store.shard import hdf5_version

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "h5py")


@dataclass(frozen=True, slots=True)
class _Switch:
    """A setting of torch for the whole process, and what a pass needs it to be."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    needed: object


def _attribute(holder: object, name: str, needed: object) -> _Switch:
    return _Switch(partial(getattr, holder, name), partial(setattr, holder, name), needed)


_MATMUL = _Switch(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest")


def _switches() -> list[_Switch]:
    """All but ``_MATMUL``; what inherits from another comes after it."""
    backends: Any = torch.backends
    kernels = [
        _attribute(backends.cudnn, "benchmark", False),
        _attribute(backends.cudnn, "deterministic", True),
    ]
    if not hasattr(backends, "fp32_precision"):  # the names before torch 2.9
        return [*kernels, _attribute(backends.cudnn, "allow_tf32", False)]
    holders = (
        backends,
        backends.cudnn,
        backends.mkldnn,
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
    )
    return [*kernels, *(_attribute(holder, "fp32_precision", "ieee") for holder in holders)]


class _Settings:
    """torch's settings while blocks of ``reference_mode`` run, in however many threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.blocks = 0
        self.before: list[tuple[_Switch, object]] = []  # in the order of restoring

    def enter(self) -> None:
        with self.lock:
            self.blocks += 1
            if self.blocks > 1:
                return
            switches = _switches()
            self.before = [(switch, switch.read()) for switch in switches]
            for switch in switches:
                _write(switch, switch.needed)
            # The old name can be read only where the new ones do not contradict it, and writes two
            # of them: hence it is set last and restored first.
            self.before.insert(0, (_MATMUL, _MATMUL.read()))
            _write(_MATMUL, _MATMUL.needed)

    def leave(self) -> None:
        with self.lock:
            self.blocks -= 1
            if self.blocks == 0:
                self.restore()

    def restore(self) -> None:
        """Give back what nobody else has set meanwhile."""
        ours = [each for each in self.before if _read(each[0]) == each[0].needed]
        for switch, value in ours:
            _write(switch, value)

    def after_fork(self) -> None:
        """In the child no block runs, and the lock's holder may not be there."""
        self.lock = threading.Lock()
        if self.blocks:
            self.restore()
        self.blocks = 0


def _read(switch: _Switch) -> object:
    try:
        return switch.read()
    except RuntimeError:  # settings by old and new names that contradict each other
        return None


def _write(switch: _Switch, value: object) -> None:
    """Write what differs: a value that is written no longer follows the one it inherits from."""
    if _read(switch) != value:
        switch.write(value)


_settings = _Settings()
os.register_at_fork(after_in_child=_settings.after_fork)


@contextlib.contextmanager
def reference_mode() -> Iterator[None]:
    """Full float32 products and repeatable kernels, as long as the block runs.

    The settings are the process's. Blocks of several threads share them: the first one sets them,
    the last one restores what was there before, except what somebody else has set meanwhile.
    """
    _settings.enter()
    try:
        yield
    finally:
        _settings.leave()


def environment(device: torch.device) -> dict[str, str | int]:
    """What the last digits of a float depend on: versions, device, threads, instructions."""
    from PIL import features

    versions: dict[str, str | int] = {name: _version(name) for name in PACKAGES}
    decoders = {name: str(features.version(name)) for name in ("libjpeg_turbo", "zlib", "webp")}
    return {
        "deepfeat": deepfeat.__version__,
        "python": platform.python_version(),
        **versions,
        "hdf5": hdf5_version(),
        **decoders,
        "device": _name(device),
        "precision": "fp32",
        "backend": "torch",
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
    }


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes(device: torch.device) -> int:
    """Memory of the device in all, as far as this process may use it: a number that stays."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return machine.memory_bytes()


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
