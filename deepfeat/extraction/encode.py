"""Descriptors in memory, for a handful of images or for a scikit-learn pipeline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as pillow

from deepfeat.errors import DataError, UsageError, some
from deepfeat.extraction.decoding import Decoded, Settings, prepare
from deepfeat.extraction.describe import describe
from deepfeat.extraction.device import reference_mode
from deepfeat.extraction.request import (
    DEFAULT_SCALES,
    NetworkChoice,
    Request,
    Sampling,
    check_scales,
    scales_of,
    settings_of,
)
from deepfeat.extraction.run import load_chosen
from deepfeat.images.decode import Image, decode_file, from_array, from_pil
from deepfeat.networks.network import Network
from deepfeat.status import CASES, Status
from deepfeat.store.matrix import combine

PathLike = str | os.PathLike[str]
Picture = PathLike | pillow.Image | NDArray[np.uint8]


class Extractor:
    """Images to descriptors, with a network that is loaded once; a transformer of scikit-learn.

    Parameters
    ----------
    network, weights, preprocessing, pool_rounding, device
        As for ``load_network``.
    layer : str, optional
        One layer; by default the network's penultimate.
    scales : sequence
        Shorter sides in pixels, or "native".
    across_scales : {"mean", "max", "stack"}
    normalise : {"none", "end", "each", "each+end"}
        L2: of the result, of each scale's descriptor before they are combined, or both.
    mirror : bool
        Average with the mirror image.
    """

    def __init__(
        self,
        network: str = "vgg16",
        *,
        weights: str | None = None,
        preprocessing: str | None = None,
        pool_rounding: str | None = None,
        layer: str | None = None,
        scales: int | str | Sequence[int | str] = DEFAULT_SCALES,
        across_scales: str = "mean",
        normalise: str = "end",
        mirror: bool = True,
        device: str = "auto",
    ):
        self.network = network
        self.weights = weights
        self.preprocessing = preprocessing
        self.pool_rounding = pool_rounding
        self.layer = layer
        self.scales = scales
        self.across_scales = across_scales
        self.normalise = normalise
        self.mirror = mirror
        self.device = device

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"Extractor({given})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        return {name: getattr(self, name) for name in _PARAMETERS}

    def set_params(self, **parameters: Any) -> Extractor:
        """Change arguments of the constructor; the network is loaded anew when needed."""
        for name, value in parameters.items():
            if name not in _PARAMETERS:
                raise UsageError(
                    f"Extractor has no parameter '{name}'", advice=some(_PARAMETERS, 20)
                )
            setattr(self, name, value)
        self.__dict__.pop("_loaded", None)
        return self

    def encode(self, images: Sequence[Picture], *, errors: str = "raise") -> NDArray[np.float32]:
        """Describe images.

        Parameters
        ----------
        images : sequence
            Paths, PIL images, or (H, W, 3) uint8 RGB arrays, also mixed.
        errors : {"raise", "nan"}
            What an image that cannot be used becomes: an error, or a row of NaN.

        Returns
        -------
        (N, D) float32
            Row i for image i.

        Raises
        ------
        DataError
            Naming the image and what is wrong with it.
        """
        if isinstance(images, (str, bytes, os.PathLike, pillow.Image)) or _is_one_array(images):
            raise UsageError(
                "encode takes a list of images", advice="Put the one image into a list: [image]."
            )
        network, settings, layer = self._load()
        vectors: list[NDArray[np.float32] | None] = []
        with reference_mode():
            for position, picture in enumerate(images):
                decoded = prepare(_image_of(picture), settings)
                if decoded.status == Status.OK:
                    vectors.append(self._describe(network, layer, decoded))
                elif errors == "nan":
                    vectors.append(None)
                else:
                    raise _refusal(position, picture, decoded)
        rows = np.full((len(vectors), self._dimension(network, layer)), np.nan, np.float32)
        for row, vector in enumerate(vectors):
            if vector is not None:
                rows[row] = vector
        return rows

    def fit(self, X: Sequence[Picture], y: object = None) -> Extractor:
        """Load the network; nothing is learnt from ``X``."""
        self._load()
        return self

    def transform(self, X: Sequence[Picture]) -> NDArray[np.float32]:
        """``encode(X)``."""
        return self.encode(X)

    def fit_transform(self, X: Sequence[Picture], y: object = None) -> NDArray[np.float32]:
        """``encode(X)``."""
        return self.encode(X)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the columns: ``fc7_0`` ..., or ``fc7_256_0`` ... where scales are stacked."""
        network, settings, layer = self._load()
        blocks = settings.scales if self.across_scales == "stack" else ("",)
        channels = network.layers[layer].channels
        stems = ["_".join(filter(None, (layer, block))) for block in blocks]
        return np.array([f"{stem}_{i}" for stem in stems for i in range(channels)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing has to be learnt before ``transform``."""
        return True

    def _load(self) -> tuple[Network, Settings, str]:
        """Network, settings and layer, made once for the present parameters."""
        if "_loaded" not in self.__dict__:
            if self.layer is not None and not isinstance(self.layer, str):
                raise UsageError("an Extractor has one layer", found=repr(self.layer))
            request = Request(
                NetworkChoice(
                    self.network,
                    self.weights,
                    self.preprocessing,
                    self.pool_rounding,
                    None if self.layer is None else (self.layer,),
                    self.device,
                ),
                Sampling(scales_of(self.scales), self.mirror),
            )
            network = load_chosen(request.network)
            check_scales(network.name, network.layers, request.sampling.scales)
            (layer,) = network.layers
            self._loaded = (network, settings_of(request, network), layer)
        return self._loaded

    def _describe(self, network: Network, layer: str, decoded: Decoded) -> NDArray[np.float32]:
        blocks = [
            describe(network, [pixels], mirror=self.mirror)[layer]  # (1, D)
            for pixels in decoded.views.values()
        ]
        row: NDArray[np.float32] = combine(blocks, self.across_scales, self.normalise)[0]
        return row

    def _dimension(self, network: Network, layer: str) -> int:
        blocks = len(scales_of(self.scales)) if self.across_scales == "stack" else 1
        return blocks * network.layers[layer].channels


_PARAMETERS = (
    "network",
    "weights",
    "preprocessing",
    "pool_rounding",
    "layer",
    "scales",
    "across_scales",
    "normalise",
    "mirror",
    "device",
)


def _is_one_array(images: object) -> bool:
    """A single (H, W, 3) picture; (N, H, W, 3) is a list of them."""
    return isinstance(images, np.ndarray) and images.dtype != object and images.ndim < 4


def _image_of(picture: Picture) -> Image:
    if isinstance(picture, np.ndarray):
        return from_array(picture)
    if isinstance(picture, pillow.Image):
        return from_pil(picture)
    if isinstance(picture, (str, os.PathLike)):
        return decode_file(picture)
    raise UsageError(
        f"a {type(picture).__name__} is no image",
        expected="a path, a PIL image or an (H, W, 3) uint8 array",
    )


def _refusal(position: int, picture: Picture, decoded: Decoded) -> DataError:
    name = f"'{picture}'" if isinstance(picture, (str, os.PathLike)) else f"number {position}"
    case = CASES[Status(decoded.status)]
    return DataError(
        f"image {name} cannot be used: {case.name}, {case.meaning}",
        found=decoded.detail,
        advice=f"{case.advice.capitalize()}; or give errors='nan' to get a row of NaN.",
    )
