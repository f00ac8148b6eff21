"""A VGG of any size from its numbers alone: functional torch, Linear layers on unfolded windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

Numbers = Mapping[str, torch.Tensor]  # conv1_1.weight ..., fc6.weight as (out, in)


@torch.inference_mode()
def fc7_map(
    numbers: Numbers, blocks: Sequence[int], x: torch.Tensor, *, ceil: bool
) -> torch.Tensor:
    """``blocks``: convolutions in each block. (1, 3, H, W) -> (positions, hidden)."""
    for block, convolutions in enumerate(blocks, 1):
        for number in range(1, convolutions + 1):
            name = f"conv{block}_{number}"
            weight = numbers[f"{name}.weight"]
            padding = weight.shape[-1] // 2
            x = functional.conv2d(x, weight, numbers[f"{name}.bias"], padding=padding).relu()
        x = functional.max_pool2d(x, 2, 2, ceil_mode=ceil)
    x = functional.unfold(x, 7)[0].T
    for name in ("fc6", "fc7"):
        x = functional.linear(x, numbers[f"{name}.weight"], numbers[f"{name}.bias"]).relu()
    return x


def preprocessed(
    pixels: np.ndarray, order: str, scale: float, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """(H, W, 3) uint8 RGB -> (1, 3, H, W): (channels in ``order`` / 255 * scale - mean) / std."""
    channels = {"RGB": [0, 1, 2], "BGR": [2, 1, 0]}[order]
    values = pixels[:, :, channels].astype(np.float64) / 255 * scale
    values = (values - np.asarray(mean)) / np.asarray(std)
    return torch.from_numpy(values.transpose(2, 0, 1)[None].astype(np.float32))


def numbers_of(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of a dense network, its fc kernels flattened to (out, in)."""
    found = {}
    for key, value in state.items():
        name, _, kind = key.rpartition(".")
        name = name.removesuffix("-prerelu")
        found[f"{name}.{kind}"] = (
            value.flatten(1) if name.startswith("fc") and kind == "weight" else value
        )
    return found
