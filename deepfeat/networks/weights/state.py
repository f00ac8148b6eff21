"""From the tensors a file holds to the state a network takes: today's keys, float32, finite."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from deepfeat.errors import WeightsError, some
from deepfeat.networks.weights.named import Allows

# The networks of two stages, convolutions and fc layers: one may be of use without the other.
WITH_FC_LAYERS = ("vgg", "alexnet")


def prepared(
    network: str, state: dict[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], Allows]:
    """The state with today's keys in float32, and the layers it is valid for."""
    state = _with_present_keys(network, state, path)
    widened = {
        key: value.to(torch.float32) if value.is_floating_point() else value
        for key, value in state.items()
    }
    bad = [key for key, value in widened.items() if not bool(torch.isfinite(value).all())]
    if not bad:
        return widened, "all"
    # The port of the paper's convolutions has no valid classifier; its other layers are of use.
    if network.startswith(WITH_FC_LAYERS) and all(key.startswith("classifier.") for key in bad):
        return widened, "features"
    raise WeightsError(
        f"weights file '{path}' holds NaN or Inf in {some(bad)}",
        expected="finite numbers",
        advice="Fetch or export the file again.",
    )


def _with_present_keys(network: str, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Rename what torchvision itself has renamed since the file was written."""
    if network.startswith("densenet"):
        # norm.1 -> norm1, as torchvision does when it loads its own files of 2017.
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
        return {old.sub(r"\1\2.", key): value for key, value in state.items()}
    if not network.startswith("vgg"):
        return state
    found = {int(m[1]) for key in state if (m := re.match(r"classifier\.(\d+)\.", key))}
    if found <= {0, 3, 6}:
        return state
    if not found <= {1, 4, 6}:
        raise WeightsError(
            f"weights file '{path}' mixes two ways of naming the classifier",
            expected="classifier.0, .3, .6 (torchvision), or classifier.1, .4, .6 (before 2017)",
            found=some([f"classifier.{number}" for number in sorted(found)]),
        )
    new = {1: 0, 4: 3, 6: 6}
    return {
        re.sub(r"^classifier\.(\d+)", lambda m: f"classifier.{new[int(m[1])]}", key): value
        for key, value in state.items()
    }
