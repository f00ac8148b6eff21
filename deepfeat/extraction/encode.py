"""Descriptors in memory, for a handful of images or for a scikit-learn pipeline."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import UsageError, some
from deepfeat.extraction.describe import describe
from deepfeat.extraction.device import reference_mode
from deepfeat.extraction.pictures import Picture, decoded_of, one_by_one, refusal
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
from deepfeat.extraction.standby import Standby
from deepfeat.networks.network import Network
from deepfeat.status import Status
from deepfeat.store.matrix import combine

if TYPE_CHECKING:
    import torch


class _Loaded(NamedTuple):
    """What an Extractor has made, and the parameters it made it for."""

    request: Request
    network: Network
    layer: str
    standby: Standby


class Extractor:
    """Images to descriptors, with a network that is loaded once; a transformer of scikit-learn.

    Several threads may use one Extractor at the same time; a parameter that is set counts from the
    next call on. Files are decoded in processes of its own, which start at the first one and end
    with it. Copies and pickles hold the parameters, not the network.

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
        weights: str | os.PathLike[str] | None = None,
        preprocessing: str | os.PathLike[str] | None = None,
        pool_rounding: str | None = None,
        layer: str | None = None,
        scales: int | str | Sequence[int | str] = DEFAULT_SCALES,
        across_scales: str = "mean",
        normalise: str = "end",
        mirror: bool = True,
        device: str | torch.device | None = "auto",
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
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The parameters: a network and its processes are made anew where they are needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_loaded"}

    def encode(self, images: Iterable[Picture], *, errors: str = "raise") -> NDArray[np.float32]:
        """Describe images.

        Parameters
        ----------
        images : sequence
            Paths, PIL images, or (H, W, 3) uint8 RGB arrays, also mixed; or an array or a column of
            paths.
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
        UsageError
            For what is no list of images.
        """
        if errors not in ("raise", "nan"):
            raise UsageError(f"errors={errors!r} is not known", expected="'raise' or 'nan'")
        pictures = one_by_one(images)
        loaded = self._load()
        network, layer = loaded.network, loaded.layer
        across_scales, normalise = self.across_scales, self.normalise
        vectors: list[NDArray[np.float32] | None] = []
        with reference_mode():
            for picture, decoded in decoded_of(pictures, loaded.standby):
                if decoded.status == Status.OK:
                    blocks = [
                        describe(network, [pixels], mirror=loaded.request.sampling.mirror)[layer]
                        for pixels in decoded.views.values()
                    ]  # S x (1, D)
                    vectors.append(combine(blocks, across_scales, normalise)[0])
                elif errors == "raise":
                    raise refusal(len(vectors), picture, decoded)
                else:
                    vectors.append(None)
        blocks_a_row = len(loaded.request.sampling.scales) if across_scales == "stack" else 1
        dimension = blocks_a_row * network.layers[layer].channels
        rows = np.full((len(vectors), dimension), np.nan, np.float32)
        for row, vector in enumerate(vectors):
            if vector is not None:
                rows[row] = vector
        return rows

    def fit(self, X: Iterable[Picture], y: object = None) -> Extractor:
        """Load the network; nothing is learnt from ``X``."""
        self._load()
        return self

    def transform(self, X: Iterable[Picture]) -> NDArray[np.float32]:
        """``encode(X)``."""
        return self.encode(X)

    def fit_transform(self, X: Iterable[Picture], y: object = None) -> NDArray[np.float32]:
        """``encode(X)``."""
        return self.encode(X)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the columns: ``fc7_0`` ..., or ``fc7_256_0`` ... where scales are stacked."""
        loaded = self._load()
        layer = loaded.layer
        blocks = loaded.request.sampling.scales if self.across_scales == "stack" else ("",)
        channels = loaded.network.layers[layer].channels
        stems = ["_".join(filter(None, (layer, block))) for block in blocks]
        return np.array([f"{stem}_{i}" for stem in stems for i in range(channels)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing has to be learnt before ``transform``."""
        return True

    def _load(self) -> _Loaded:
        """What the present parameters need, made once: of the last, what they share is kept."""
        for name, (kinds, expected) in _KINDS.items():
            if not isinstance(value := getattr(self, name), kinds):
                raise UsageError(f"{name}={value!r:.100} is not possible", expected=expected)
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
        loaded: _Loaded | None = self.__dict__.get("_loaded")
        if loaded and loaded.request == request:
            return loaded
        with _LOADING:
            loaded = self.__dict__.get("_loaded")
            if not loaded or loaded.request != request:
                loaded = self._loaded = _made(request, loaded)
        return loaded


def _made(request: Request, last: _Loaded | None) -> _Loaded:
    if last and last.request.network == request.network:
        network = last.network
    else:
        network = load_chosen(request.network)
    check_scales(network.name, network.layers, request.sampling.scales)
    settings = settings_of(request, network)
    standby = last.standby if last and last.standby.settings == settings else Standby(settings)
    (layer,) = network.layers
    return _Loaded(request, network, layer, standby)


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


_A_FILE = ((str, os.PathLike, type(None)), "a name, a path or None")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {  # what has to be of a kind
    "network": ((str,), "the name of a network"),
    "weights": _A_FILE,
    "preprocessing": _A_FILE,
    "across_scales": ((str,), "'mean', 'max' or 'stack'"),
    "normalise": ((str,), "'none', 'end', 'each' or 'each+end'"),
}


_LOADING = threading.Lock()


def _after_fork() -> None:
    """In the child the lock's holder may not be there."""
    global _LOADING
    _LOADING = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
