"""Read MatConvNet's .mat: a row of layers, each a struct with filters and biases.

Two layouts exist: fields ``filters`` and ``biases`` (before 2015), and one cell ``weights`` with
both. Filters are (h, w, in, out), of RGB images. The file is walked first (``mat_walk``), then read
by SciPy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import loadmat
from torch import Tensor

from deepfeat.errors import WeightsError
from deepfeat.networks.weights import mat_walk


def read(path: Path) -> dict[str, Tensor]:
    """Weights by MatConvNet's layer names: ``conv1_1.weight``, ``conv1_1.bias`` ..., float32.

    Convolutions are (out, in, h, w); layers named fc... are (out, in), flattened as C, H, W.

    Raises
    ------
    WeightsError
        If the file is damaged, of version 7.3, or no network of MatConvNet.
    """
    layers = _load(path, "layers").get("layers")
    if layers is None or layers.dtype != object:
        raise _refused(path, "it holds no cell named 'layers'")
    tensors: dict[str, Tensor] = {}
    for number, layer in enumerate(layers.ravel()):
        pair = _filters_and_biases(layer)
        if pair is None:
            continue
        name = _text(_field(layer, "name"))
        if not name or f"{name}.weight" in tensors:
            raise _refused(path, f"layer {number} has the name '{name:.60}', empty or used before")
        tensors |= _tensors(name, *pair, path)
    if not tensors:
        raise _refused(path, "none of its layers holds filters and biases")
    return tensors


def average_image(path: Path) -> tuple[float, float, float] | None:
    """The mean colour (R, G, B) a file states, or its mean image's mean; None if there is none."""
    found = _load(path, "meta", "normalization")
    normalization = _field(found.get("meta"), "normalization")
    if normalization is None:
        normalization = found.get("normalization")
    image = _field(normalization, "averageImage")
    if not _is_numeric(image) or image.size == 0 or image.size % 3:
        return None
    channels = image.reshape(-1, image.shape[-1] if image.ndim == 3 else image.size)
    if channels.shape[1] != 3:
        return None
    red, green, blue = channels.mean(axis=0, dtype=np.float64)
    return float(red), float(green), float(blue)


def _load(path: Path, *names: str) -> dict[str, Any]:
    try:
        mat_walk.walk(path)
        found: dict[str, Any] = loadmat(path, variable_names=list(names))
    except (ValueError, TypeError, KeyError, IndexError, NotImplementedError, OSError) as error:
        raise _refused(path, str(error)[:160]) from error
    return found


def _filters_and_biases(layer: Any) -> tuple[Any, Any] | None:
    """Both arrays of a layer in either layout; None for a layer without weights."""
    weights = _field(layer, "weights")
    if isinstance(weights, np.ndarray) and weights.dtype == object and weights.size >= 2:
        return weights.ravel()[0], weights.ravel()[1]
    filters, biases = _field(layer, "filters"), _field(layer, "biases")
    return None if filters is None or biases is None else (filters, biases)


def _tensors(name: str, filters: Any, biases: Any, path: Path) -> dict[str, Tensor]:
    if not (_is_numeric(filters) and _is_numeric(biases)) or filters.ndim > 4:
        raise _refused(path, f"filters or biases of layer '{name:.60}' are no numbers")
    # MATLAB drops trailing sizes of one: a single filter is (h, w, in).
    kernel = filters.reshape(filters.shape + (1,) * (4 - filters.ndim), order="A")
    weight = _float32(kernel.transpose(3, 2, 0, 1))  # (h, w, in, out) -> (out, in, h, w)
    bias = _float32(biases.ravel())
    if len(bias) != len(weight):
        raise _refused(path, f"layer '{name:.60}' has {len(weight)} filters and {len(bias)} biases")
    if name.startswith("fc"):
        weight = weight.flatten(1)  # (out, C, h, w) -> (out, C h w)
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def _float32(array: Any) -> Tensor:
    numbers: NDArray[np.float32] = np.array(array, dtype=np.float32, order="C")
    return torch.from_numpy(numbers)


def _field(struct: Any, name: str) -> Any:
    """A field of a 1 x 1 struct as SciPy gives it; None where there is none."""
    if not isinstance(struct, np.ndarray) or struct.dtype.names is None or struct.size != 1:
        return None
    return struct.ravel()[0][name] if name in struct.dtype.names else None


def _text(value: Any) -> str:
    is_text = isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.size == 1
    return str(value.ravel()[0]) if is_text else ""


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size > 0


def _refused(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"weights file '{path}' is refused: {why}",
        expected="a network of MatConvNet saved by MATLAB with -v7 or older",
        advice="Fetch the file again, or convert it to .safetensors.",
    )
