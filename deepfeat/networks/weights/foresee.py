"""What the name of weights tells before they are fetched: a typo must not cost half a gigabyte."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from deepfeat.networks.weights.load import RANDOM, bare_name, check_layers
from deepfeat.networks.weights.named import Pooling, default_weights, known_weights, named_weights


def check_named(
    network: str, spec: str | None, layers: Iterable[str], fc_layers: Collection[str]
) -> None:
    """``check_layers`` for weights with a name, before they are fetched.

    Raises
    ------
    NetworkError
        As ``check_layers``.
    """
    name = bare_name(spec or "")
    if name in known_weights(network):
        check_layers(named_weights(network, name), layers, fc_layers)


def foreseen_rounding(network: str, spec: str | None) -> Pooling:
    """The rounding of pooled sizes, as far as it is known before weights are fetched or read.

    For a file, which only its contents tell, rounding up: under it every image that is possible
    under rounding down is possible too.
    """
    name = bare_name(spec or default_weights(network))
    if name in known_weights(network):
        return named_weights(network, name).pooling
    return "floor" if name.startswith(RANDOM) else "ceil"
