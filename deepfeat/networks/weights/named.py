"""Weights that have a name: where each file lies, how it is checked, and what it may be used for.

``oxford`` are the paper's own weights, in the PyTorch conversions by Justin Johnson; all others are
torchvision's enums, which know their address and preprocessing themselves. A file's name holds the
first digits of its sha256.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from deepfeat.errors import NetworkError, WeightsError
from deepfeat.networks.preprocessing import PREPROCESSINGS, Preprocessing
from deepfeat.networks.vgg import NOT_AT_TORCHVISION

MEBIBYTE = 1 << 20

Pooling = Literal["floor", "ceil", "as-built"]
Allows = Literal["all", "features"]


@dataclass(frozen=True, slots=True)
class Download:
    """A file to be had: its name in the cache, its address and how to know it.

    ``size_bytes`` is as stated by the publisher, rounded; None where nothing is stated.
    """

    file: str
    url: str
    sha256_prefix: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Named:
    """Weights of one network by name.

    ``pooling`` is the rounding of pooled sizes the weights were trained with; ``allows`` the layers
    they hold valid values for: all, or the convolutional ones ("features").
    """

    name: str
    network: str
    download: Download
    preprocessing: Preprocessing
    pooling: Pooling
    allows: Allows
    source: str


def _oxford(network: str, file: str, parameters: int) -> Named:
    url = f"https://web.eecs.umich.edu/~justincj/models/{file}"
    return Named(
        name="oxford",
        network=network,
        download=Download(file, url, _hash_in(file), 4 * parameters),
        preprocessing=PREPROCESSINGS["caffe-vgg"],
        pooling="ceil",
        allows="all",
        source="Simonyan & Zisserman (2015), converted from Caffe by Justin Johnson",
    )


def _hash_in(file: str) -> str:
    """The hexadecimal digits before a file's extension, the publishers' convention."""
    found = re.search(r"-([0-9a-f]{8,64})\.pth$", file)
    if found is None:
        raise WeightsError(f"the name '{file}' holds no hash, so the file could not be checked")
    return found[1]


OXFORD: dict[str, Named] = {
    "vgg16": _oxford("vgg16", "vgg16-00b39a1b.pth", 138_357_544),
    "vgg19": _oxford("vgg19", "vgg19-d01eb7cb.pth", 143_667_240),
}


def default_weights(network: str) -> str:
    """Name of the weights a network has when none are asked for.

    Raises
    ------
    NetworkError
        If none are published: the answer is a file, or ``random:SEED``.
    """
    if network in OXFORD:
        return "oxford"
    enum = _torchvision_enum(network)
    if enum is None:
        raise NetworkError(
            f"network '{network}' has no published weights",
            advice="Give --weights FILE with --preprocessing, or --weights random:0 to try it out.",
        )
    return str(enum.DEFAULT.name)


def known_weights(network: str) -> list[str]:
    """Names of the weights a network can be given, the default first. Downloads nothing."""
    enum = _torchvision_enum(network)
    names = [] if enum is None else [str(enum.DEFAULT.name), *(str(row.name) for row in enum)]
    return list(dict.fromkeys([*(["oxford"] if network in OXFORD else []), *names]))


def named_weights(network: str, name: str) -> Named:
    """The row of weights; ``name`` is one of ``known_weights(network)``."""
    if name == "oxford":
        return OXFORD[network]
    return _from_enum(network, _torchvision_enum(network)[name])


def is_torchvisions_own(network: str, sha256: str) -> bool:
    """Whether a file is one of torchvision's own for this network, by the sha256 of its bytes."""
    enum = _torchvision_enum(network)
    rows = [] if enum is None else [_from_enum(network, row) for row in enum]
    return any(sha256.startswith(row.download.sha256_prefix) for row in rows)


def _torchvision_enum(network: str) -> Any:
    """torchvision's enum of a classification network; None if it knows none of that name."""
    if network in NOT_AT_TORCHVISION:  # known without an import that takes seconds
        return None
    from torchvision import models

    if network not in models.list_models(module=models):
        return None
    return models.get_model_weights(network)


def _from_enum(network: str, row: Any) -> Named:
    file = row.url.rsplit("/", 1)[1]
    only_features = row.name == "IMAGENET1K_FEATURES"
    stated = row.meta.get("_file_size")
    return Named(
        name=row.name,
        network=network,
        download=Download(
            file, row.url, _hash_in(file), int(stated * MEBIBYTE) if stated else None
        ),
        preprocessing=_preprocessing_of(row),
        pooling="floor" if network.startswith(("vgg", "alexnet")) else "as-built",
        allows="features" if only_features else "all",
        source=f"torchvision {type(row).__name__}.{row.name}",
    )


def _preprocessing_of(row: Any) -> Preprocessing:
    """The row of our table that has the numbers of torchvision's transforms."""
    transforms = row.transforms()
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    for preprocessing in PREPROCESSINGS.values():
        if (preprocessing.order, preprocessing.mean, preprocessing.std) == ("RGB", mean, std):
            return preprocessing
    return Preprocessing(str(row), "RGB", 1, mean, std)
