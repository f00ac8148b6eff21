"""Facts about a network without its numbers: what ``deepfeat networks`` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deepfeat.networks.dense import Stages
from deepfeat.networks.load import describe_those_with_maps, skeleton
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
    layers = describe_those_with_maps(name, body, names)
    return {
        "name": name,
        "default_layer": row.default_layer,
        "layers": [asdict(layer) for layer in layers.values()],
        "weights": known_weights(name),
    }


def _layer_names(body: Body, default: str) -> list[str]:
    """The stages of VGG and AlexNet; of torchvision's models what lies near the top."""
    if isinstance(body, Stages):
        return [layer for layer in body.names if "-pre" not in layer]
    near = [
        path for path in body.names if path.count(".") <= 1 and not path.startswith("classifier")
    ]
    return [*(path for path in near if path != default), default]
