"""The file of a deeper network is not one of a shallower; heads and what tools leave are no matter.

torchvision's own families are the oracle: which pairs share shapes is its doing, not ours.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from deepfeat.errors import WeightsError
from deepfeat.networks.load import skeleton
from deepfeat.networks.needs import wanted
from deepfeat.networks.table import networks
from deepfeat.networks.weights.fit import Wanted, fit
from deepfeat.networks.weights.held import Contents, Held

PATH = Path("file.pth")
FAMILIES = [
    ["vgg11", "vgg13", "vgg16", "vgg19"],
    ["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"],
    ["resnet18", "resnet34"],
    ["resnet50", "resnet101", "resnet152"],
    ["densenet121", "densenet169", "densenet201"],
    ["convnext_tiny", "convnext_small"],
    ["efficientnet_b0", "efficientnet_b1", "efficientnet_b2"],
    ["mobilenet_v3_small", "mobilenet_v3_large"],
    ["regnet_y_400mf", "regnet_y_800mf"],
]
QUICK = ("resnet18", "resnet34", "convnext", "mobilenet", "regnet", "vgg11", "vgg13")
PAIRS = [
    pytest.param(
        one,
        other,
        marks=() if one.startswith(QUICK) and other.startswith(QUICK) else pytest.mark.stress,
    )
    for family in FAMILIES
    for one in family
    for other in family
    if one != other
]


@functools.cache
def state_of(name: str) -> dict[str, Tensor]:
    if name == "vgg8-small":
        body = skeleton(name)[1]
        return {body.file_key(key, "torchvision"): one for key, one in body.state_dict().items()}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        return dict(models.get_model(name, weights=None).state_dict())


@functools.cache
def needs(name: str, layer: str | None = None) -> Wanted:
    row, body = skeleton(name)
    return wanted(name, row, body, [layer or row.default_layer], "torchvision")


def contents(state: dict[str, Tensor], prefix: str = "") -> Contents:
    """As a reader gives them; the numbers are ones."""
    return {
        prefix + key: Held(
            tuple(value.shape),
            str(value.dtype).removeprefix("torch."),
            prefix + key,
            lambda value=value: torch.ones(1).expand(value.shape),  # type: ignore[misc]
        )
        for key, value in state.items()
    }


def words_of(name: str, found: Contents, layer: str | None = None) -> str:
    return fit(needs(name, layer), found, PATH, None)[1]


@pytest.mark.parametrize(("network", "file"), PAIRS)
def test_no_network_takes_the_file_of_its_larger_or_smaller_sister(network: str, file: str) -> None:
    for prefix in ("", "module."):
        with pytest.raises(WeightsError, match="do not fit network") as caught:
            words_of(network, contents(state_of(file), prefix))
        assert caught.value.exit_status == 65


@pytest.mark.parametrize(
    ("network", "file", "name"),
    [
        ("resnet18", "resnet34", "layer1.2.conv1.weight"),
        ("resnet50", "resnet101", "layer3.6.conv1.weight"),
        ("efficientnet_b0", "efficientnet_b1", "features.1.1.block.0.0.weight"),
        ("convnext_tiny", "convnext_small", "features.5.9.layer_scale"),
    ],
)
def test_a_deeper_network_is_called_so(network: str, file: str, name: str) -> None:
    with pytest.raises(WeightsError, match="they are of a deeper one") as caught:
        words_of(network, contents(state_of(file), "net."))
    assert f"'{name.rpartition('.')[0]}" in str(caught.value)


@pytest.mark.parametrize(
    ("network", "file", "layer"),
    [
        ("vgg13", "vgg16", "pool3"),
        ("vgg16", "vgg19", "pool3"),
        ("vgg16", "vgg16_bn", "conv1_1"),
        ("resnet18", "resnet34", "layer1"),
        ("resnet18", "resnet34", "layer2"),
    ],
)
def test_an_early_layer_of_a_deeper_network_is_refused_too(
    network: str, file: str, layer: str
) -> None:
    with pytest.raises(WeightsError, match="do not fit network"):
        words_of(network, contents(state_of(file)), layer)


@pytest.mark.parametrize("name", [family[0] for family in FAMILIES if "vgg" not in family[0]])
def test_every_networks_own_file_is_taken(name: str) -> None:
    assert words_of(name, contents(state_of(name))) == ""


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_heads_of_training_are_no_deeper_network(name: str) -> None:
    with torch.device("meta"):
        model = models.get_model(name, weights=None, aux_logits=True, init_weights=False)
    assert any(key.startswith(("aux", "AuxLogits")) for key in model.state_dict())
    assert words_of(name, contents(dict(model.state_dict()))) == ""


@pytest.mark.parametrize(
    ("network", "layer", "others"),
    [
        ("resnet18", "layer4", ["head.0.weight", "layer5.0.conv1.weight", "fc.2.weight"]),
        ("resnet18", "layer1", ["layer2.2.conv1.weight", "layer4.3.bn1.bias"]),
        ("resnet18", "layer4", ["layer1.total_ops", "layer1.0.relu.total_ops", "total_params"]),
        ("resnet18", "layer4", ["layer1.0.conv1.activation_post_process.scale"]),
        ("vgg16", "pool5", ["classifier.7.weight", "classifier.1.bias", "features2.0.weight"]),
        ("vgg8-small", "fc7", ["classifier.8.weight", "classifier.6.1.weight"]),
        ("vgg8-small", "fc8", ["classifier.7.weight"]),
        ("vgg16", "pool2", ["features.18.weight", "features.30.weight"]),
        ("squeezenet1_1", "features", ["classifier.3.weight", "projector.0.weight"]),
    ],
)
def test_heads_later_layers_and_what_tools_leave_are_ignored(
    network: str, layer: str, others: list[str]
) -> None:
    more = {name: torch.ones(3) for name in others}
    assert f"{len(others)} others" in words_of(network, contents(state_of(network) | more), layer)


def test_the_one_network_of_two_depths_that_is_meant_is_taken() -> None:
    both: Contents = {
        "teacher": contents(state_of("resnet34"), "t."),
        "student": contents(state_of("resnet18"), "s."),
    }
    assert words_of("resnet18", both).startswith("tensors in ['student'] under 's.'")


def test_caffes_longer_rows_are_of_a_deeper_network() -> None:
    row, body = skeleton("vgg16")
    needed = wanted("vgg16", row, body, ["pool5"], "caffe-names")
    state = {
        key: torch.empty([n or 9 for n in shapes[0]], device="meta")
        for key, shapes in needed.shapes.items()
    }
    head = {"fc8_flickr.weight": torch.ones(2), "extra_1.weight": torch.ones(2)}
    assert fit(needed, contents(state | head), PATH, None)[1]
    with pytest.raises(WeightsError, match=r"deeper one(?s:.*)conv3_4\.weight"):
        fit(needed, contents(state | {"conv3_4.weight": torch.ones(2)}), PATH, None)


def test_the_networks_are_in_the_table() -> None:
    assert {one for family in FAMILIES for one in family} <= set(networks())
    assert issubclass(models.ResNet, nn.Module)
