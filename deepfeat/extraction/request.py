"""What a run is asked for, in five parts: network, sampling, pixels, selection and way of working.

The first three shape the numbers and become the store's identity; the other two never touch them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from deepfeat.errors import UsageError
from deepfeat.extraction.decoding import Settings
from deepfeat.extraction.describe import OVER_POSITIONS
from deepfeat.images.limits import Limits
from deepfeat.networks.geometry import Layer
from deepfeat.networks.network import Network
from deepfeat.numbers import whole_number
from deepfeat.store.identity import (
    AGGREGATES,
    STORE_DTYPES,
    Identity,
    ImagePart,
    NetworkPart,
    SamplingPart,
)
from deepfeat.tables import look_up

DEFAULT_SCALES = (256, 384, 512)
NATIVE = "native"
LARGEST_SCALE = 16_384  # pixels; one VGG map of this side would not fit any machine at hand


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """Arguments of ``load_network``."""

    name: str = "vgg16"
    weights: str | os.PathLike[str] | None = None
    preprocessing: str | os.PathLike[str] | None = None
    pool_rounding: str | None = None
    layers: tuple[str, ...] | None = None
    device: str | torch.device | None = "auto"
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which descriptors are kept of an image; ``scales`` as they are stored: "256" or "native"."""

    scales: tuple[str, ...] = tuple(str(scale) for scale in DEFAULT_SCALES)
    mirror: bool = True
    over_positions: str = "mean"
    across_scales: str = "none"
    store_dtype: str = "float32"

    def __post_init__(self) -> None:
        look_up(OVER_POSITIONS, self.over_positions, "average over positions")
        look_up(dict.fromkeys(AGGREGATES), self.across_scales, "average across scales")
        look_up(STORE_DTYPES, self.store_dtype, "store dtype")


@dataclass(frozen=True, slots=True)
class Pixels:
    """How a file becomes pixels."""

    exif: bool = True
    background: tuple[int, int, int] = (255, 255, 255)
    filter: str = "bilinear"
    upscale: bool = True
    limits: Limits = field(default_factory=Limits)
    decode_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of the source are taken."""

    extensions: tuple[str, ...] | None = None
    all_files: bool = False
    follow_links: bool = False
    allow_outside: bool = False
    key_column: str = "path"


@dataclass(frozen=True, slots=True)
class Working:
    """How the work is done and kept; nothing here changes a number."""

    form: str | None = None
    shard_images: int = 256
    batch_size: int | None = None
    workers: int | None = None
    accept_environment: bool = False
    lock: bool = True
    wait: bool = False
    read_back: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    network: NetworkChoice = field(default_factory=NetworkChoice)
    sampling: Sampling = field(default_factory=Sampling)
    pixels: Pixels = field(default_factory=Pixels)
    selection: Selection = field(default_factory=Selection)
    working: Working = field(default_factory=Working)


def scales_of(values: int | str | Sequence[int | str]) -> tuple[str, ...]:
    """Scales as the store names them, ascending, "native" last; also of ``224`` or "224,256".

    Raises
    ------
    UsageError
        For none, a repeated one, or one that is neither "native" nor a side of 1 ... 16,384 pixels.
    """
    expected = f"a shorter side of 1 to {LARGEST_SCALE} pixels, or '{NATIVE}'"
    if isinstance(values, str):
        values = values.split(",")
    elif isinstance(values, (int, np.integer)):
        values = [int(values)]
    elif not isinstance(values, Iterable) or isinstance(values, (bytes, bytearray)):
        raise UsageError(f"scales={values!r:.100} are not possible", expected=expected)
    names = [_scale_name(value) for value in values]
    for name in names:
        side = whole_number(name) or 0
        if name != NATIVE and not 1 <= side <= LARGEST_SCALE:
            raise UsageError(f"scale '{name:.100}' is not possible", expected=expected)
    names = [name if name == NATIVE else str(whole_number(name)) for name in names]
    if not names or len(set(names)) != len(names):
        raise UsageError(
            "scales must be given and differ from each other", found=",".join(names) or "none"
        )
    return tuple(sorted(names, key=lambda name: LARGEST_SCALE + 1 if name == NATIVE else int(name)))


def _scale_name(value: object) -> str:
    is_large = isinstance(value, int) and value > LARGEST_SCALE  # Python refuses to print some
    return f"over {LARGEST_SCALE}" if is_large else str(value).strip()


def check_scales(network: str, layers: Mapping[str, Layer], scales: Sequence[str]) -> None:
    """Refuse scales that leave the network without a position, before any image is read.

    Raises
    ------
    UsageError
        Naming the scale and the smallest side.
    """
    smallest = max(layer.smallest_side for layer in layers.values())
    for scale in scales:
        if scale != NATIVE and int(scale) < smallest:
            raise UsageError(
                f"scale {scale} is too small for {', '.join(layers)} of '{network}'",
                expected=f"{smallest} to {LARGEST_SCALE} pixels",
                advice="Give larger --scales, or an earlier --layer.",
            )


def settings_of(request: Request, network: Network) -> Settings:
    """What the decoders need to know."""
    pixels = request.pixels
    return Settings(
        scales=request.sampling.scales,
        filter=pixels.filter,
        upscale=pixels.upscale,
        exif=pixels.exif,
        background=pixels.background,
        limits=pixels.limits,
        smallest_side=network.smallest_side,
        timeout_s=pixels.decode_timeout_s,
    )


def identity_of(request: Request, network: Network) -> Identity:
    """Everything that shapes a stored number."""
    pixels, sampling = request.pixels, request.sampling
    return Identity(
        NetworkPart(
            network.name,
            network.weights.sha256,
            network.pooling,
            network.weights.preprocessing.as_json(),
            tuple(network.layers),
        ),
        ImagePart(
            pixels.exif,
            pixels.background,
            "floor",
            pixels.filter,
            pixels.upscale,
            pixels.limits.max_pixels,
            pixels.limits.max_bytes,
        ),
        SamplingPart(
            "dense",
            sampling.scales,
            sampling.mirror,
            sampling.over_positions,
            sampling.across_scales,
            "fp32",
            sampling.store_dtype,
        ),
    )
