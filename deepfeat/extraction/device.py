"""The device and torch's global settings: set on entry, restored on leaving, written down.

float32 all the way: TF32 would round the products of a GPU to 11 bits.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

import deepfeat
from deepfeat import machine
from deepfeat.store.shard import hdf5_version

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "h5py")


@contextlib.contextmanager
def reference_mode() -> Iterator[None]:
    """Full float32 products and repeatable kernels, as long as the block runs."""
    matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, convolutions.allow_tf32, convolutions.benchmark)
    deterministic = convolutions.deterministic
    matmul.allow_tf32 = convolutions.allow_tf32 = convolutions.benchmark = False
    convolutions.deterministic = True
    try:
        yield
    finally:
        matmul.allow_tf32, convolutions.allow_tf32, convolutions.benchmark = before
        convolutions.deterministic = deterministic


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
