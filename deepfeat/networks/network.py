"""A network as the rest of deepfeat sees it: preprocessed images in, maps out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepfeat.errors import NetworkError
from deepfeat.networks.dense import Stages
from deepfeat.networks.device import mind_fork
from deepfeat.networks.from_torchvision import Cutting
from deepfeat.networks.geometry import Layer
from deepfeat.networks.preprocessing import preprocess
from deepfeat.networks.weights.load import Weights
from deepfeat.tables import look_up

Body = Stages | Cutting


@dataclass(frozen=True, slots=True)
class Network:
    """Architecture, weights and preprocessing, on a device, in evaluation mode.

    ``layers`` are those it was loaded for; ``pooling`` is how pooled sizes are rounded ("floor",
    "ceil", or "as-built" where the architecture leaves no choice); ``bytes_per_pixel`` estimates
    the memory that a pass needs. Several threads may use one network at the same time.
    """

    name: str
    kind: str
    layers: Mapping[str, Layer]
    weights: Weights
    pooling: str
    body: Body
    device: torch.device
    bytes_per_pixel: int

    @property
    def smallest_side(self) -> int:
        """Pixels below which some layer has no position."""
        return max(layer.smallest_side for layer in self.layers.values())

    def preprocess(self, pixels: Tensor) -> Tensor:
        """RGB uint8 (B, H, W, 3) -> float32 (B, 3, H, W) on the device, as the weights want it."""
        mind_fork(self.device)
        return preprocess(pixels, self.weights.preprocessing, self.device)

    def maps(self, x: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Apply the network densely.

        Parameters
        ----------
        x : Tensor
            Preprocessed images (B, 3, H, W), float32, on ``self.device``.
        layers : sequence of str, optional
            Some of ``self.layers``; by default all.

        Returns
        -------
        dict of Tensor
            For each layer its map (B, C, a, b), float32, after the ReLU. For a layer with a head
            (``head``) the map is the one that the head's average is taken over.

        Raises
        ------
        NetworkError
            If a layer was not loaded, or an image is smaller than the layer's smallest side.
        """
        names = list(self.layers) if layers is None else list(layers)
        for name in names:
            layer = look_up(self.layers, name, "layer", error=NetworkError)
            if min(x.shape[-2:]) < layer.smallest_side:
                height, width = x.shape[-2:]
                raise NetworkError(
                    f"an image of {height} x {width} pixels is too small for layer '{name}' of "
                    f"'{self.name}'",
                    expected=f"a shorter side of at least {layer.smallest_side} pixels",
                    advice="Resize to a larger scale, or choose an earlier layer.",
                )
        with self._pass():
            return self.body(x, names)  # type: ignore[no-any-return]

    def head(self, layer: str, vectors: Tensor) -> Tensor:
        """What lies between the average and the last layer: (B, C) -> (B, D); mostly nothing."""
        with self._pass():
            return self.body.head(layer, vectors)

    @contextlib.contextmanager
    def _pass(self) -> Iterator[None]:
        """Float32 without gradients, whatever the caller's thread is set to."""
        mind_fork(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            yield
