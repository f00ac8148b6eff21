"""Stride, offset and receptive field against the paper's layer tables and against gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from deepfeat import load_network
from deepfeat.errors import NetworkError
from deepfeat.networks.geometry import fields_of, map_shape
from deepfeat.networks.load import describe_layers, foresee, skeleton
from deepfeat.networks.vgg import CONFIGURATIONS

# Exact parameter counts of table 1 (the paper rounds to millions: 133 133 134 138 144).
PARAMETERS = {
    "vgg11": 132_863_336,
    "vgg11-lrn": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16c": 133_638_952,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
}
FIELDS = {"vgg11": 150, "vgg11-lrn": 150, "vgg13": 156, "vgg16c": 156, "vgg16": 212, "vgg19": 268}


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_configurations_have_the_papers_parameters(name, count):
    _, body = skeleton(name)
    assert sum(parameter.numel() for parameter in body.parameters()) == count


@pytest.mark.parametrize("name", [n for n in CONFIGURATIONS if n in models.list_models()])
def test_configurations_have_torchvisions_tensors(name):
    _, body = skeleton(name)
    with torch.device("meta"):
        theirs = models.get_model(name, weights=None).state_dict()
    converted = body.convert(theirs, "torchvision")
    assert {k: v.shape for k, v in converted.items()} == {
        k: v.shape for k, v in body.state_dict().items()
    }


@pytest.mark.parametrize(("name", "field"), FIELDS.items())
def test_receptive_fields_of_vgg(name, field):
    _, body = skeleton(name)
    layers = describe_layers(name, body, ["pool5", "fc6", "fc7"])
    assert layers["pool5"].receptive_field == field
    assert layers["fc6"].receptive_field == layers["fc7"].receptive_field == field + 6 * 32
    assert {layer.stride for layer in layers.values()} == {32}
    assert layers["fc7"].offset == 112  # the nominal window of position 0 is 0 ... 224
    assert layers["fc7"].smallest_side == 224
    assert layers["fc7"].channels == 4096


def test_rounding_up_lowers_the_smallest_side_to_193():
    network = load_network("vgg8-small", weights="random:0", pool_rounding="ceil")
    assert network.layers["fc7"].smallest_side == 193


def test_alexnet_needs_223_pixels():
    _, body = skeleton("alexnet")
    layer = describe_layers("alexnet", body, ["fc7"])["fc7"]
    assert (layer.smallest_side, layer.receptive_field, layer.channels) == (223, 355, 4096)


# A 500 x 375 picture at each scale: resized height and width, map under floor and under ceil.
SIZES = [
    (256, 341, (2, 4), (2, 5)),
    (384, 512, (6, 10), (6, 10)),
    (512, 682, (10, 15), (10, 16)),
    (640, 853, (14, 20), (14, 21)),
    (768, 1024, (18, 26), (18, 26)),
]


@pytest.mark.parametrize("rounding", ["floor", "ceil"])
def test_map_sizes_are_those_of_both_roundings(rounding):
    network = load_network("vgg8-small", weights="random:0", pool_rounding=rounding)
    body = network.body.to("meta")
    for height, width, floor, ceil in SIZES:
        x = torch.empty(1, 3, height, width, device="meta")
        with torch.inference_mode():
            shape = body(x, ["fc7"])["fc7"].shape[2:]
        assert tuple(shape) == (floor if rounding == "floor" else ceil)


def seen_by_gradient(module, shape, position):
    """Rows of the input whose gradient is not zero for one position of the map."""
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    output = module(x)
    output[0, :, position, position].sum().backward()
    rows = x.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    return int(rows.min()), int(rows.max())


def made_transparent(module):
    """Positive weights and average pooling, in float64: no pixel of the field can hide."""
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d):
            pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
            setattr(module, name, pool)
        else:
            made_transparent(child)
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.01)
    return module.double().eval()


@pytest.mark.parametrize(("name", "path"), [("resnet18", "layer2"), ("squeezenet1_0", "features")])
def test_receptive_field_is_what_gradients_reach(name, path):
    model = models.get_model(name, weights=None)
    field = fields_of(model)[path]
    made_transparent(model)
    stop = list(dict(model.named_children())).index(path)
    cut = nn.Sequential(*list(model.children())[: stop + 1])
    position = 10
    low, high = seen_by_gradient(cut, (1, 3, 320, 320), position)
    assert (low, high) == (
        field.lo + position * field.jump,
        field.hi + position * field.jump,
    )


def test_a_network_with_squeeze_and_excitation_sees_the_whole_image():
    _, body = skeleton("mobilenet_v3_small")
    (layer,) = describe_layers("mobilenet_v3_small", body, ["classifier.1"]).values()
    assert layer.receptive_field is None
    assert layer.channels == 1024


def test_smallest_side_is_where_a_map_begins():
    _, body = skeleton("squeezenet1_1")
    side = describe_layers("squeezenet1_1", body, ["features"])["features"].smallest_side

    def forward(x):
        return body(x, ["features"])["features"]

    assert map_shape(forward, side) is not None
    assert map_shape(forward, side - 1) is None


def test_unknown_networks_name_their_neighbours():
    with pytest.raises(NetworkError, match="vgg16"):
        load_network("vgg61", weights="random:0")


def test_random_weights_are_the_seeds_own_and_labelled():
    one, same, other = (
        load_network("vgg8-small", weights=f"random:{seed}").weights for seed in (1, 1, 2)
    )
    assert one.untrained
    assert one.sha256 == same.sha256 != other.sha256


@pytest.mark.parametrize("rounding", ["up", "", "Floor", 5, True, b"ceil", ["floor"]])
def test_a_rounding_that_there_is_not_is_refused(rounding):
    for call in (load_network, foresee):
        with pytest.raises(NetworkError, match=r"pool_rounding=.* is not known"):
            call("vgg8-small", weights="random:0", pool_rounding=rounding)
