"""``load_network``: from a name and weights to a network that can be applied."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from deepfeat.errors import NetworkError, WeightsError, some
from deepfeat.networks import alexnet, from_torchvision, vgg
from deepfeat.networks.device import choose_device
from deepfeat.networks.from_torchvision import INCEPTIONS, Cutting
from deepfeat.networks.geometry import (
    PROBE,
    Field,
    Layer,
    bytes_per_pixel,
    fields_of,
    map_shape,
    smallest_side,
)
from deepfeat.networks.needs import wanted
from deepfeat.networks.network import Body, Network
from deepfeat.networks.table import Row, row_of
from deepfeat.networks.weights.foresee import check_named, foreseen_rounding
from deepfeat.networks.weights.load import Weights, check_layers, load_weights
from deepfeat.networks.weights.named import is_torchvisions_own
from deepfeat.tables import advice

IMAGENET_CLASSES = 1000
LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes
ROUNDINGS = ("floor", "ceil")
FULLY_CONNECTED = ("fc6", "fc7", "fc8")
BUILDERS = {"vgg": vgg.build, "alexnet": alexnet.build}


def load_network(
    name: str = "vgg16",
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocessing: str | os.PathLike[str] | None = None,
    layers: Sequence[str] | None = None,
    pool_rounding: str | None = None,
    device: str | torch.device | None = "auto",
    cache: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Network:
    """Load a network for dense application; several threads may use it at the same time.

    Parameters
    ----------
    name : str
        One of ``list_networks()``.
    weights : str or path, optional
        A known name ("oxford", or one of torchvision's), a file (.safetensors, .pth, MatConvNet's
        .mat, .caffemodel), or "random:SEED"; by default the network's documented weights. Of a
        file only what the layers need is taken; it must be there in exactly one way.
    preprocessing : str or path, optional
        A name, or a TOML file; needed for weights from a file, otherwise it comes with them.
    layers : sequence of str, optional
        Layers to hand out; by default the penultimate one ("fc7" where there is one).
    pool_rounding : {"floor", "ceil"}, optional
        How pooled sizes are rounded; by default as the weights were trained.
    device : str or torch.device, optional
        "auto", "cpu" or "cuda:0"; None is "auto".
    cache : path, optional
        Where downloaded weights lie; by default $DEEPFEAT_CACHE or ~/.cache/deepfeat.
    progress : callable, optional
        Called with (bytes done, bytes in all) during a download.

    Raises
    ------
    NetworkError
        For an unknown network or layer, or one that cannot be applied densely.
    WeightsError, WeightsUnavailable, Unavailable
        For weights that do not fit or are damaged; for weights or a device that cannot be had.
    """
    weights, preprocessing = _text("weights", weights), _text("preprocessing", preprocessing)
    row, empty = skeleton(name)
    _check_rounding(name, row, pool_rounding)
    chosen = list(layers) if layers else [row.default_layer]
    place = choose_device(device)
    # Before anything is fetched: a mistyped layer must not cost half a gigabyte.
    _check_names(name, empty, chosen)
    check_named(name, weights, chosen, FULLY_CONNECTED)
    facts, state = load_weights(
        name,
        weights,
        lambda layout: wanted(name, row, empty, chosen, layout),
        preprocessing=preprocessing,
        cache=cache,
        progress=progress,
    )
    check_layers(facts, chosen, FULLY_CONNECTED)
    pooling = (pool_rounding or facts.pooling) if row.rounds_pooled_sizes else "as-built"
    classes = _classes(row, state)
    own = name in INCEPTIONS and is_torchvisions_own(name, facts.sha256)
    body = _build(name, row, pooling, classes, transform_input=own)
    described = describe_layers(name, body, chosen)
    memory = bytes_per_pixel(body, lambda x: next(iter(body(x, chosen).values())), PROBE)
    if state is None:
        facts = _fill_with_random_numbers(body, facts)
        body.keep_up_to(chosen)
    else:
        body.keep_up_to(chosen)
        _fill(body, state, facts, name)
    body.eval().requires_grad_(False).to(place)
    return Network(name, "dense", described, facts, pooling, body, place, memory)


def foresee(
    name: str,
    *,
    layers: Sequence[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    pool_rounding: str | None = None,
) -> dict[str, Layer]:
    """The layers as ``load_network`` will give them, without any weights.

    Weights from a file tell their rounding of pooled sizes only when they are read; until then the
    smallest sides are those of rounding up, the more lenient ones.

    Raises
    ------
    NetworkError
        As ``load_network``.
    """
    row, weights = row_of(name), _text("weights", weights)
    _check_rounding(name, row, pool_rounding)
    chosen = list(layers) if layers else [row.default_layer]
    pooling = "as-built"
    if row.rounds_pooled_sizes:
        pooling = pool_rounding or foreseen_rounding(name, weights)
    body = _build(name, row, pooling, IMAGENET_CLASSES, transform_input=False)
    check_named(name, weights, chosen, FULLY_CONNECTED)
    return describe_layers(name, body, chosen)


def skeleton(name: str) -> tuple[Row, Body]:
    """The network without numbers, on the meta device: enough to describe its layers."""
    row = row_of(name)
    pooling = "floor" if row.rounds_pooled_sizes else "as-built"
    body = _build(name, row, pooling, IMAGENET_CLASSES, transform_input=False)
    return row, body


def describe_layers(name: str, body: Body, layers: Sequence[str]) -> dict[str, Layer]:
    """Geometry of some layers of a network that lies on the meta device.

    Raises
    ------
    NetworkError
        For a layer that does not exist, has no map, or runs more than once in a pass.
    """
    _check_names(name, body, layers)
    fields = _fields(body)
    return {layer: _describe(name, body, layer, fields) for layer in layers}


def describe_those_with_maps(name: str, body: Body, layers: Sequence[str]) -> dict[str, Layer]:
    """``describe_layers`` without those of ``layers`` that cannot be used; traced once."""
    fields = _fields(body)
    found = {}
    for layer in layers:
        with contextlib.suppress(NetworkError):
            found[layer] = _describe(name, body, layer, fields)
    return found


def _text(argument: str, given: str | os.PathLike[str] | None) -> str | None:
    if given is None:
        return None
    found = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(found, str):
        raise NetworkError(f"{argument}={given!r:.100} is neither a name nor a path")
    parts = found.encode(errors="surrogatepass").split(b"/")
    if "\0" in found or len(found) > LONGEST_PATH or max(map(len, parts)) > LONGEST_NAME:
        raise NetworkError(f"{argument} '{found[:50]}...' is no name that a file can have")
    return found


def _build(name: str, row: Row, pooling: str, classes: int, *, transform_input: bool) -> Body:
    if row.family in BUILDERS:
        with torch.device("meta"):
            return BUILDERS[row.family](name, classes=classes, ceil=pooling == "ceil").eval()
    return from_torchvision.build(
        name, classes=classes, auxiliary=False, transform_input=transform_input
    ).eval()


def _check_rounding(name: str, row: Row, asked: str | None) -> None:
    """Refuse a rounding that there is not, before anything is fetched."""
    if asked is None:
        return
    if not row.rounds_pooled_sizes:
        raise NetworkError(
            f"pooled sizes of '{name}' are rounded as its architecture says",
            advice="Leave --pool-rounding out; it is for VGG and AlexNet.",
        )
    if asked not in ROUNDINGS:
        raise NetworkError(f"pool_rounding={asked!r:.100} is not known", expected="floor or ceil")


def _classes(row: Row, state: Mapping[str, Tensor] | None) -> int:
    """The number of classes the weights were trained for; the classifier's first dimension."""
    for key in (f"{row.classifier}.weight", "fc8.weight"):
        if state is not None and key in state:
            return int(state[key].shape[0])
    return IMAGENET_CLASSES


def _fields(body: Body) -> dict[str, Field]:
    if isinstance(body, Cutting):
        return fields_of(body.model)
    return fields_of(nn.Sequential(OrderedDict(body.named_children())))


def _check_names(name: str, body: Body, layers: Sequence[str]) -> None:
    known = [*body.names, body.cut.layer] if isinstance(body, Cutting) else body.names
    for layer in layers:
        if layer not in known:
            raise NetworkError(
                f"'{name}' has no layer '{layer}'",
                advice=advice(known, layer, f"deepfeat networks {name}"),
            )


def _describe(name: str, body: Body, layer: str, fields: Mapping[str, Field]) -> Layer:
    def forward(x: Tensor) -> Tensor:
        return body(x, [layer])[layer]  # type: ignore[no-any-return]

    source = body.source(layer) if isinstance(body, Cutting) else layer
    shape = map_shape(forward, PROBE)
    if shape is None or len(shape) != 4 or shape[2:] == (1, 1) or source not in fields:
        raise NetworkError(
            f"layer '{layer}' of '{name}' gives no map",
            expected="an output of shape (images, channels, rows, columns)",
            found="none that grows with the image" if shape is None else f"shape {shape}",
            advice=f"'deepfeat networks {name}' lists layers that can be used.",
        )
    if isinstance(body, Cutting) and body.runs(source, PROBE) != 1:
        raise NetworkError(
            f"layer '{layer}' of '{name}' runs more than once in a pass",
            advice="Name the block around it, whose output is one map.",
        )
    field = fields[source]
    vectors = torch.empty(1, shape[1], device="meta", dtype=torch.float32)
    channels = body.head(layer, vectors).shape[1]
    receptive_field = None if field.whole else field.hi - field.lo + 1
    offset = (field.lo + field.hi + 1) / 2
    side = smallest_side(forward, PROBE)
    return Layer(layer, channels, field.jump, offset, receptive_field, side)


def _fill(body: Body, state: Mapping[str, Tensor], facts: Weights, name: str) -> None:
    """Load what the layers need; the rest is nought, and never used."""
    converted = body.convert(state, facts.layout)
    shapes = {key: value.shape for key, value in body.state_dict().items()}
    other = [key for key, value in converted.items() if value.shape != shapes[key]]
    if other:  # a classifier whose parts disagree about the number of classes
        raise WeightsError(
            f"weights '{facts.name}' do not fit network '{name}'",
            found=f"tensors that contradict each other: {some(other, 3)}",
        )
    body.to_empty(device="cpu")
    with torch.no_grad():
        for key, target in body.state_dict().items():
            target.copy_(converted[key]) if key in converted else target.zero_()


def _fill_with_random_numbers(body: Body, facts: Weights) -> Weights:
    """He-normal weights, small biases and batch statistics near 0 and 1, from the seed in the name.

    [He et al. 2015, equation 10]: standard deviation sqrt(2 / fan-in). The sha256 is that of all
    names and bytes in order.
    """
    generator = torch.Generator().manual_seed(int(facts.name.partition(":")[2]))
    body.to_empty(device="cpu")
    digest = hashlib.sha256()
    for key, target in body.state_dict().items():
        if not target.is_floating_point():
            target.zero_()
        elif target.ndim > 1:
            fan_in = target[0].numel()
            target.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)
        else:
            spread_around_one = key.endswith(("running_var", "weight"))
            target.uniform_(-0.1, 0.1, generator=generator)
            target.add_(1.0 if spread_around_one else 0.0)
        digest.update(key.encode())
        digest.update(target.contiguous().numpy().data)
    return replace(facts, sha256=digest.hexdigest())
