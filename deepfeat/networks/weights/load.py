"""From what a user asked for to weights: a name, a file, or ``random:SEED``.

Nothing is guessed: a name brings its preprocessing, a file must be given one, and what was loaded
is known by the sha256 of its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from deepfeat import files
from deepfeat.errors import NetworkError, NoPermission, WeightsError, WeightsUnavailable, some
from deepfeat.networks.preprocessing import PREPROCESSINGS, Preprocessing, load_preprocessing
from deepfeat.networks.weights import caffemodel, mat, pth, safetensor
from deepfeat.networks.weights.fetch import Progress, fetch
from deepfeat.networks.weights.named import (
    OXFORD,
    Allows,
    Named,
    Pooling,
    default_weights,
    known_weights,
    named_weights,
)
from deepfeat.networks.weights.state import WITH_FC_LAYERS, prepared
from deepfeat.tables import advice

Layout = Literal["torchvision", "caffe-names"]
RANDOM = "random:"


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of weights, without the numbers.

    ``sha256`` is of the file's bytes (empty for random ones, which have no file), ``layout`` the
    naming of the state's keys, ``pooling`` the rounding of pooled sizes they were trained with,
    ``allows`` the layers they hold valid values for: all, or only the convolutional ones.
    """

    name: str
    sha256: str
    source: str
    layout: Layout
    preprocessing: Preprocessing
    pooling: Pooling
    untrained: bool
    allows: Allows


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of weights file: its reader, how its keys are named, the rounding of its trainer."""

    read: Callable[[Path], dict[str, Tensor]]
    layout: Layout
    pooling: Literal["floor", "ceil"]


FORMATS: dict[str, Format] = {
    ".safetensors": Format(safetensor.read, "torchvision", "floor"),
    ".pth": Format(pth.read, "torchvision", "floor"),
    ".pt": Format(pth.read, "torchvision", "floor"),
    ".mat": Format(mat.read, "caffe-names", "ceil"),
    ".caffemodel": Format(caffemodel.read, "caffe-names", "ceil"),
}


def load_weights(
    network: str,
    spec: str | None,
    *,
    preprocessing: str | None = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[Weights, dict[str, Tensor] | None]:
    """Weights of ``network`` and their tensors by name.

    Parameters
    ----------
    spec : str, optional
        A name of ``known_weights(network)``, a file, or "random:SEED". None: the network's default.
    preprocessing : str, optional
        A name or a TOML file: required for a file; a named weight brings its own.
    cache : path, optional
        Where downloads lie; ``cache_folder`` has the default.

    Returns
    -------
    weights : Weights
    state : dict or None
        float32 on the CPU (counters stay integers); None for random weights.

    Raises
    ------
    NetworkError
        For an unknown name, an absent preprocessing, or one that contradicts the name's own.
    WeightsError, WeightsUnavailable
        For a file that is damaged, foreign, or not to be had.
    """
    chosen = spec if spec is not None else default_weights(network)
    if chosen.startswith(RANDOM):
        return _random(network, chosen, preprocessing), None
    names = known_weights(network)
    name = bare_name(chosen)
    if name in names:
        return _named(named_weights(network, name), preprocessing, cache, progress)
    path = files.expanded(chosen)
    if path.suffix.lower() not in FORMATS and not path.exists():
        hint = advice([*names, "random:0"], chosen)
        raise NetworkError(
            f"unknown weights '{chosen}' for network '{network}'",
            advice=f"{hint} Or a file: {some(list(FORMATS))}.",
        )
    return _from_file(network, path, preprocessing)


def check_layers(
    weights: Weights | Named, layers: Iterable[str], fc_layers: Collection[str]
) -> None:
    """Refuse layers for which the weights hold no valid values.

    Raises
    ------
    NetworkError
        Naming the fully-connected layers among ``layers`` if only the convolutions are valid.
    """
    refused = [layer for layer in layers if layer in fc_layers]
    if weights.allows == "features" and refused:
        raise NetworkError(
            f"weights '{weights.name}' have no valid values for {some(refused)}",
            expected="a convolutional or pooling layer: these weights hold 'features' only",
            advice="Choose --layer pool5, or other --weights.",
        )


def bare_name(spec: str) -> str:
    """torchvision's members print as VGG16_Weights.IMAGENET1K_V1; the name is the latter part."""
    return re.sub(r"^\w+_Weights\.", "", spec)


def _random(network: str, spec: str, preprocessing: str | None) -> Weights:
    if not re.fullmatch(r"random:\d{1,18}", spec):
        raise NetworkError(
            f"'{spec}' names no random weights", expected="random:SEED, e.g. random:0"
        )
    given, rounding = load_preprocessing(preprocessing or "torchvision")
    pooling = rounding or "floor"
    return Weights(
        name=spec,
        sha256="",
        source="untrained, drawn from the seed",
        layout="torchvision",
        preprocessing=given,
        pooling=pooling if _has_choice_of_rounding(network) else "as-built",
        untrained=True,
        allows="all",
    )


def _named(
    named: Named, preprocessing: str | None, cache: str | Path | None, progress: Progress | None
) -> tuple[Weights, dict[str, Tensor]]:
    if preprocessing is not None:
        given = load_preprocessing(preprocessing)[0]
        if given.as_json() != named.preprocessing.as_json():
            raise NetworkError(
                f"weights '{named.name}' for {named.network} bring their own preprocessing",
                expected=named.preprocessing.name,
                found=given.name,
                advice="Leave --preprocessing out; it is for files.",
            )
    what = f"weights '{named.name}' for {named.network}"
    path, sha256 = fetch(named.download, what, cache=cache, progress=progress)
    state, allows = prepared(named.network, pth.read(path), path)
    weights = Weights(
        name=named.name,
        sha256=sha256,
        source=named.source,
        layout="torchvision",
        preprocessing=named.preprocessing,
        pooling=named.pooling,
        untrained=False,
        allows="features" if named.allows == "features" else allows,
    )
    return weights, state


def _from_file(
    network: str, path: Path, preprocessing: str | None
) -> tuple[Weights, dict[str, Tensor]]:
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise NetworkError(
            f"'{path}' is in no known form", expected=f"a file ending in {some(list(FORMATS))}"
        )
    _check_readable(path)
    if preprocessing is None:
        raise NetworkError(
            f"weights file '{path}' needs a preprocessing: no file is trusted to choose it",
            expected=f"--preprocessing with one of {some(list(PREPROCESSINGS))}, or a TOML file",
            advice=_hint(path),
        )
    given, rounding = load_preprocessing(preprocessing)
    # Read before hashed: a foreign file is refused by its first bytes, however long it is.
    state, allows = prepared(network, form.read(path), path)
    sha256 = files.sha256_of(path)
    # The paper's own file keeps the rounding it was trained with, whatever name it is given by.
    known = OXFORD.get(network)
    is_oxford = known is not None and sha256.startswith(known.download.sha256_prefix)
    pooling = rounding or ("ceil" if is_oxford else form.pooling)
    weights = Weights(
        name=path.name,
        sha256=sha256,
        source=f"a file in the form {path.suffix.lower()}",
        layout=form.layout,
        preprocessing=given,
        pooling=pooling if _has_choice_of_rounding(network) else "as-built",
        untrained=False,
        allows="features" if _is_known_for_features(network, sha256) else allows,
    )
    return weights, state


def _check_readable(path: Path) -> None:
    if not path.exists():
        raise WeightsUnavailable(f"weights file '{path}' is not there", advice="Check the path.")
    if not path.is_file():
        raise WeightsError(f"weights file '{path}' is not a regular file")
    try:
        path.open("rb").close()
    except PermissionError as error:
        raise NoPermission(f"weights file '{path}' must not be read") from error


def _hint(path: Path) -> str:
    """What the file says of its preprocessing, as a help to choose, not a choice."""
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        stated = safetensor.metadata(path).get("preprocessing")
        return f"The file's own metadata say '{stated:.60}'." if stated else ""
    if suffix == ".mat":
        mean = mat.average_image(path)
        said = (
            f"The file states the average image {tuple(round(m, 3) for m in mean)}. "
            if mean
            else ""
        )
        return said + "For the networks of the VGG paper it is 'matconvnet-vgg'."
    if suffix == ".caffemodel":
        return "For the networks of the VGG paper it is 'caffe-vgg'."
    return ""


def _has_choice_of_rounding(network: str) -> bool:
    return network.startswith(WITH_FC_LAYERS)


def _is_known_for_features(network: str, sha256: str) -> bool:
    """Whether a file is, by its hash, a published one of which only the convolutions are valid."""
    rows = [named_weights(network, name) for name in known_weights(network)]
    return any(
        row.allows == "features" and sha256.startswith(row.download.sha256_prefix) for row in rows
    )
