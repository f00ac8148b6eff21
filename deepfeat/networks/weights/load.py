"""From what a user asked for to weights: a name, a file, or ``random:SEED``.

Nothing is guessed: a name brings its preprocessing, a file must be given one, and what was loaded
is known by the sha256 of its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from deepfeat import files
from deepfeat.errors import NetworkError, NoPermission, WeightsError, WeightsUnavailable, some
from deepfeat.networks.preprocessing import PREPROCESSINGS, Preprocessing, load_preprocessing
from deepfeat.networks.weights import mat, safetensor
from deepfeat.networks.weights.fetch import Progress, fetch
from deepfeat.networks.weights.fit import Wanted, fit
from deepfeat.networks.weights.forms import (
    CAFFEMODEL,
    ENDINGS,
    MAT,
    SAFETENSORS,
    TORCH,
    Form,
    Layout,
    form_of,
    guarded,
)
from deepfeat.networks.weights.named import (
    OXFORD,
    Allows,
    Named,
    Pooling,
    default_weights,
    known_weights,
    named_weights,
)
from deepfeat.tables import advice

RANDOM = "random:"
# The networks of two stages, convolutions and fc layers, in which pooled sizes may be rounded up.
WITH_FC_LAYERS = ("vgg", "alexnet")


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of weights, without the numbers.

    ``sha256`` is of the file's bytes (empty for random ones, which have no file), ``layout`` the
    naming of the state's keys, ``pooling`` the rounding of pooled sizes they were trained with,
    ``allows`` the layers they hold valid values for: all, or only the convolutional ones;
    ``reading`` says where in the file they stood, if it was not the plain table of its tensors.
    """

    name: str
    sha256: str
    source: str
    layout: Layout
    preprocessing: Preprocessing
    pooling: Pooling
    untrained: bool
    allows: Allows
    reading: str = ""


def load_weights(
    network: str,
    spec: str | None,
    wanted: Callable[[Layout], Wanted],
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
    wanted : callable
        What the layers need of a file whose keys are named so ("torchvision", "caffe-names").
    preprocessing : str, optional
        A name or a TOML file: required for a file; a named weight brings its own.
    cache : path, optional
        Where downloads lie; ``cache_folder`` has the default.

    Returns
    -------
    weights : Weights
    state : dict or None
        The wanted tensors, float32 on the CPU; None for random weights.

    Raises
    ------
    NetworkError
        For an unknown name, an absent preprocessing, or one that contradicts the name's own.
    WeightsError, WeightsUnavailable
        For a file that is damaged, foreign, does not fit in exactly one way, or cannot be had.
    """
    chosen = spec if spec is not None else default_weights(network)
    if chosen.startswith(RANDOM):
        return _random(network, chosen, preprocessing), None
    names = known_weights(network)
    name = bare_name(chosen)
    if name in names:
        return _named(named_weights(network, name), wanted, preprocessing, cache, progress)
    path = files.expanded(chosen)
    if _ending(path) not in ENDINGS and not path.exists():
        hint = advice([*names, "random:0"], chosen)
        raise NetworkError(
            f"unknown weights '{chosen}' for network '{network}'",
            advice=f"{hint} Or a file, such as {some(list(ENDINGS))}.",
        )
    return _from_file(network, path, wanted, preprocessing)


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
    named: Named,
    wanted: Callable[[Layout], Wanted],
    preprocessing: str | None,
    cache: str | Path | None,
    progress: Progress | None,
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
    state, _ = _read(path, TORCH, wanted)
    weights = Weights(
        name=named.name,
        sha256=sha256,
        source=named.source,
        layout="torchvision",
        preprocessing=named.preprocessing,
        pooling=named.pooling,
        untrained=False,
        allows=named.allows,
    )
    return weights, state


def _from_file(
    network: str, path: Path, wanted: Callable[[Layout], Wanted], preprocessing: str | None
) -> tuple[Weights, dict[str, Tensor]]:
    _check_readable(path)
    form = form_of(path)
    if preprocessing is None:
        raise NetworkError(
            f"weights file '{path}' needs a preprocessing: no file is trusted to choose it",
            expected=f"--preprocessing with one of {some(list(PREPROCESSINGS))}, or a TOML file",
            advice=_hint(path, form),
        )
    given, rounding = load_preprocessing(preprocessing)
    # Read before hashed: a foreign file is refused by its first bytes, however long it is.
    state, how = _read(path, form, wanted)
    sha256 = files.sha256_of(path)
    # The paper's own file keeps the rounding it was trained with, whatever name it is given by.
    known = OXFORD.get(network)
    is_oxford = known is not None and sha256.startswith(known.download.sha256_prefix)
    pooling = rounding or ("ceil" if is_oxford else form.pooling)
    ending = _ending(path) if ENDINGS.get(_ending(path)) is form else form.endings[0]
    weights = Weights(
        name=path.name,
        sha256=sha256,
        source=f"a file in the form {ending}" + (f" ({how})" if how else ""),
        layout=form.layout,
        preprocessing=given,
        pooling=pooling if _has_choice_of_rounding(network) else "as-built",
        untrained=False,
        allows="features" if _is_known_for_features(network, sha256) else "all",
        reading=how,
    )
    return weights, state


def _read(
    path: Path, form: Form, wanted: Callable[[Layout], Wanted]
) -> tuple[dict[str, Tensor], str]:
    contents = guarded(path, lambda: form.read(path))
    return fit(wanted(form.layout), contents, path, form.opening)


def _ending(path: Path) -> str:
    """A known ending of a file's name, or the last one; lower case."""
    name = path.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), path.suffix.lower())


def _check_readable(path: Path) -> None:
    if not path.exists():
        raise WeightsUnavailable(f"weights file '{path}' is not there", advice="Check the path.")
    if not path.is_file():
        raise WeightsError(f"weights file '{path}' is not a regular file")
    try:
        path.open("rb").close()
    except PermissionError as error:
        raise NoPermission(f"weights file '{path}' must not be read") from error


def _hint(path: Path, form: Form) -> str:
    """What the file says of its preprocessing, as a help to choose, not a choice."""
    if form is SAFETENSORS:
        stated = guarded(path, lambda: safetensor.metadata(path)).get("preprocessing")
        return f"The file's own metadata say '{stated:.60}'." if stated else ""
    if form is MAT:
        mean = guarded(path, lambda: mat.average_image(path))
        said = (
            f"The file states the average image {tuple(round(m, 3) for m in mean)}. "
            if mean
            else ""
        )
        return said + "For the networks of the VGG paper it is 'matconvnet-vgg'."
    if form is CAFFEMODEL:
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
