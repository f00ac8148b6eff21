"""One network of each of torchvision's families, cut where torchvision's own last layer begins."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

from deepfeat import list_networks, load_network
from deepfeat.errors import NetworkError, WeightsError
from deepfeat.networks import load as loading
from deepfeat.networks.from_torchvision import CUTS, FAMILIES, NOT_DENSE

NATIVE = {"inception_v3": 299}
REPRESENTATIVES = [
    "resnet18", "resnext50_32x4d", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2",
    "efficientnet_b0", "efficientnet_v2_s", "densenet121", "convnext_tiny", "mobilenet_v3_small",
    "mnasnet0_5", "shufflenet_v2_x0_5", "regnet_x_400mf", "regnet_y_400mf", "googlenet",
    "inception_v3",
]  # fmt: skip
QUICK = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}


def random_model(name, **options):
    """torchvision's model with random weights and batch statistics, in evaluation mode."""
    model = models.get_model(name, weights=None, **QUICK.get(name, {}), **options).eval()
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.requires_grad_(False)


def input_of_last_layer(name, model, x):
    """What torchvision feeds its classifier's last weighted layer, averaged if it is a map."""
    caught = []
    last = model.get_submodule(CUTS[name].last)
    handle = last.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    with torch.inference_mode():
        model(x)
    handle.remove()
    (found,) = caught
    return found.mean(dim=(2, 3)) if found.ndim == 4 else found


@pytest.fixture(params=REPRESENTATIVES)
def pair(request, tmp_path):
    """torchvision's model, and deepfeat's network from the same file."""
    model = random_model(request.param)
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    return model, load_network(request.param, weights=str(path), preprocessing="torchvision")


def test_mean_of_the_map_is_the_input_of_torchvisions_last_layer(pair):
    model, network = pair
    side = NATIVE.get(network.name, 224)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    (layer,) = network.layers
    ours = network.head(layer, network.maps(x)[layer].mean(dim=(2, 3)))
    theirs = input_of_last_layer(network.name, model, x)
    assert ours.shape == theirs.shape == (2, network.layers[layer].channels)
    assert (ours - theirs).norm() / theirs.norm() <= 1e-5


def test_every_family_has_a_representative():
    assert {CUTS[name] for name in REPRESENTATIVES} == set(FAMILIES)


def test_every_classifier_of_torchvision_is_in_a_table():
    known = set(list_networks()) | NOT_DENSE
    assert set(models.list_models(module=models)) <= known


@pytest.mark.parametrize(
    ("name", "first"), [("googlenet", "conv1"), ("inception_v3", "Conv2d_1a_3x3")]
)
def test_the_input_transform_is_applied_exactly_once(name, first, tmp_path, monkeypatch):
    """With torchvision's own file its forward converts; with any other file nothing does."""
    model = random_model(name, transform_input=True, aux_logits=False)
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    caught = []
    model.get_submodule(first).register_forward_hook(lambda m, i, output: caught.append(output))
    with torch.inference_mode():
        model(x)
    maps = []
    for is_own in (True, False):
        monkeypatch.setattr(loading, "is_torchvisions_own", lambda name, sha256, own=is_own: own)
        network = load_network(
            name, weights=str(path), preprocessing="torchvision", layers=(first,)
        )
        maps.append(network.maps(x)[first])
    assert (maps[0] - caught[0]).norm() / caught[0].norm() <= 1e-5
    assert (maps[1] - caught[0]).norm() / caught[0].norm() > 1e-2


@pytest.mark.parametrize("name", sorted(NOT_DENSE))
def test_networks_of_tokens_are_refused_and_told_their_way(name):
    with pytest.raises(NetworkError, match="Crops of its own input size are its way"):
        load_network(name, weights="random:0")


def test_any_module_with_a_map_can_be_a_layer():
    network = load_network("resnet18", weights="random:0", layers=("layer2.0", "layer3", "layer4"))
    maps = network.maps(torch.randn(1, 3, 96, 128))
    shapes = {name: tuple(m.shape) for name, m in maps.items()}
    assert shapes == {
        "layer2.0": (1, 128, 12, 16),
        "layer3": (1, 256, 6, 8),
        "layer4": (1, 512, 3, 4),
    }


def test_layers_asked_for_together_equal_layers_asked_for_alone():
    """A later operation in place must not reach into an earlier layer's map."""
    layers = ("features.0", "features.3", "features")
    together = load_network("squeezenet1_0", weights="random:0", layers=layers)
    x = torch.randn(1, 3, 100, 100, generator=torch.Generator().manual_seed(2))
    maps = together.maps(x)
    for layer in layers:
        alone = load_network("squeezenet1_0", weights="random:0", layers=(layer,))
        assert torch.equal(alone.maps(x)[layer], maps[layer])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("layer5", "no layer 'layer5'"),
        ("fc", "gives no map"),
        ("avgpool", "gives no map"),
        ("layer1.0.relu", "runs more than once"),
    ],
)
def test_layers_that_cannot_be_used_are_refused_with_the_reason(layer, words):
    with pytest.raises(NetworkError, match=words):
        load_network("resnet18", weights="random:0", layers=(layer,))


def test_an_image_below_the_smallest_side_is_refused():
    network = load_network("squeezenet1_1", weights="random:0")
    side = network.smallest_side
    network.maps(torch.randn(1, 3, side, side))
    with pytest.raises(NetworkError, match=f"at least {side} pixels"):
        network.maps(torch.randn(1, 3, side - 1, 300))


def test_weights_of_another_network_name_what_does_not_fit(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(random_model("resnet18").state_dict(), path)
    with pytest.raises(WeightsError, match="do not fit network 'resnet34'.*\n.*\n.*missing"):
        load_network("resnet34", weights=str(path), preprocessing="torchvision")


def test_weights_for_another_number_of_classes_fit(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(random_model("resnet18", num_classes=7).state_dict(), path)
    network = load_network("resnet18", weights=str(path), preprocessing="torchvision")
    assert network.layers["layer4"].channels == 512
