"""Facts about a network without its numbers: what ``deepfeat networks`` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deepfeat.networks.dense import Stages
from deepfeat.networks.load import describe_layers, skeleton
from deepfeat.networks.network import Body
from deepfeat.networks.weights.named import known_weights


def describe_network(name: str, *, with_all_layers: bool = False) -> dict[str, Any]:
    """Name, family, layers with their geometry, and known weights.

    Parameters
    ----------
    with_all_layers : bool
        Every layer that can be named at the top; otherwise the default one alone.

    Raises
    ------
    NetworkError
        For an unknown network, or one that cannot be applied densely.
    """
    row, body = skeleton(name)
    names = _layer_names(body, row.default_layer) if with_all_layers else [row.default_layer]
    layers = describe_layers(name, body, names)
    return {
        "name": name,
        "default_layer": row.default_layer,
        "layers": [asdict(layer) for layer in layers.values()],
        "weights": known_weights(name),
    }


def _layer_names(body: Body, default: str) -> list[str]:
    """The stages of VGG and AlexNet; of torchvision's models the default, deeper ones by path."""
    if isinstance(body, Stages):
        return [name for name in body.names if "-pre" not in name]
    return [default]
