"""From pixels to descriptors: the map, the average over positions, averaged with the mirror.

For a resized image J and its mirror J' (columns reversed), with M the map of a layer (C, a, b):
g(J) = mean of M over its a b positions, and the descriptor is (g(J) + g(J')) / 2
[Simonyan & Zisserman 2015, section 3.2 and appendix B].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfeat.networks.device import mind_fork
from deepfeat.networks.network import Network
from deepfeat.store.matrix import combine

OVER_POSITIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda maps: maps.mean(dim=(2, 3)),  # (B, C, a, b) -> (B, C)
    "max": lambda maps: maps.amax(dim=(2, 3)),
}


def describe(
    network: Network,
    pixels: Sequence[NDArray[np.uint8]],
    *,
    mirror: bool = True,
    over_positions: str = "mean",
) -> dict[str, NDArray[np.float32]]:
    """Descriptors of resized images of one size, at every layer the network was loaded for.

    Parameters
    ----------
    pixels : sequence of (H, W, 3) uint8
        RGB; all of one size.

    Returns
    -------
    dict of (B, D) float32
        One descriptor per image and layer. Both views go through the network in one pass.
    """
    mind_fork(network.device)
    with torch.inference_mode():
        views = torch.from_numpy(np.stack(pixels))  # (B, H, W, 3)
        if mirror:
            views = torch.cat([views, views.flip(2)])  # (2B, H, W, 3)
        maps = network.maps(network.preprocess(views))
        return {
            layer: _averaged(network, layer, m, mirror, over_positions) for layer, m in maps.items()
        }


def _averaged(
    network: Network, layer: str, maps: Tensor, mirror: bool, over_positions: str
) -> NDArray[np.float32]:
    each = network.head(layer, OVER_POSITIONS[over_positions](maps))  # (B or 2B, C) -> (.., D)
    if mirror:
        image, mirrored = each.chunk(2)
        each = (image + mirrored) / 2
    return each.cpu().numpy()


def aggregate(
    scales: Mapping[str, NDArray[np.float32]], across_scales: str
) -> dict[str, NDArray[np.float32]]:
    """The columns to store: every scale's, or with "mean" or "max" their aggregate alone.

    ``scales`` maps scale to (B, D), in ascending order; the sum is taken in that order.
    """
    if across_scales == "none":
        return dict(scales)
    return {across_scales: combine(list(scales.values()), across_scales, "none")}
