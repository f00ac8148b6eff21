"""What is known of published weights, against torchvision's own enums and facts written down."""

from __future__ import annotations

import re

import pytest
import torch.hub
from torchvision import models

from deepfeat import list_networks
from deepfeat.errors import NetworkError
from deepfeat.networks.vgg import NOT_AT_TORCHVISION
from deepfeat.networks.weights.named import (
    default_weights,
    is_torchvisions_own,
    known_weights,
    named_weights,
)

ENUMS = [
    (network, member)
    for network in models.list_models(module=models)
    for member in models.get_model_weights(network)
]


def test_what_torchvision_does_not_have_is_known_without_asking_it() -> None:
    assert set(list_networks()) - set(models.list_models(module=models)) == NOT_AT_TORCHVISION


@pytest.mark.parametrize(
    ("network", "file", "prefix", "mebibytes"),
    [
        ("vgg16", "vgg16-00b39a1b.pth", "00b39a1b", 527.8),
        ("vgg19", "vgg19-d01eb7cb.pth", "d01eb7cb", 548.1),
    ],
)
def test_oxford_is_the_known_conversion(
    network: str, file: str, prefix: str, mebibytes: float
) -> None:
    named = named_weights(network, "oxford")
    assert (named.download.file, named.download.sha256_prefix) == (file, prefix)
    assert named.download.url == f"https://web.eecs.umich.edu/~justincj/models/{file}"
    assert named.download.size_bytes == pytest.approx(mebibytes * 2**20, rel=1e-3)
    assert (named.preprocessing.name, named.pooling, named.allows) == ("caffe-vgg", "ceil", "all")


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("vgg16", "oxford"),
        ("vgg19", "oxford"),
        ("vgg13", "IMAGENET1K_V1"),
        ("alexnet", "IMAGENET1K_V1"),
        ("resnet50", "IMAGENET1K_V2"),
    ],
)
def test_default_is_the_documented_one(network: str, name: str) -> None:
    assert default_weights(network) == name
    assert known_weights(network)[0] == name


def test_all_names_are_known_and_once() -> None:
    assert known_weights("vgg16") == ["oxford", "IMAGENET1K_V1", "IMAGENET1K_FEATURES"]
    assert known_weights("resnet50") == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    assert known_weights("vgg16c") == []


def test_network_without_published_weights_says_what_to_do() -> None:
    with pytest.raises(NetworkError, match="no published weights(?s:.*)--weights FILE"):
        default_weights("vgg11-lrn")


@pytest.mark.parametrize(("network", "member"), ENUMS, ids=lambda value: str(value))
def test_torchvisions_facts_are_taken_over(network: str, member: models.WeightsEnum) -> None:
    named = named_weights(network, member.name)
    hashed = torch.hub.HASH_REGEX.search(member.url)
    assert hashed is not None
    assert named.download.sha256_prefix == hashed.group(1)
    assert member.url.endswith("/" + named.download.file)
    transforms = member.transforms()
    preprocessing = named.preprocessing
    assert (preprocessing.order, preprocessing.range) == ("RGB", 1)
    assert list(preprocessing.mean) == list(transforms.mean)
    assert list(preprocessing.std) == list(transforms.std)
    assert named.download.size_bytes == pytest.approx(member.meta["_file_size"] * 2**20, abs=1)


def test_only_the_port_of_the_convolutions_is_limited_to_them() -> None:
    limited = {
        (network, member.name)
        for network, member in ENUMS
        if named_weights(network, member.name).allows == "features"
    }
    assert limited == {("vgg16", "IMAGENET1K_FEATURES")}
    named = named_weights("vgg16", "IMAGENET1K_FEATURES")
    assert (named.preprocessing.name, named.pooling) == ("torchvision-features", "floor")


def test_rounding_is_a_choice_for_networks_with_fc_layers_only() -> None:
    rounded = {
        network for network, member in ENUMS
        if named_weights(network, member.name).pooling != "as-built"
    }  # fmt: skip
    assert all(re.match("vgg|alexnet", network) for network in rounded)
    assert named_weights("alexnet", "IMAGENET1K_V1").pooling == "floor"


def test_torchvisions_files_are_known_by_their_hash() -> None:
    own = "1a9a5a14" + 56 * "0"  # googlenet-1378be20.pth is another
    assert not is_torchvisions_own("googlenet", own)
    assert is_torchvisions_own("googlenet", "1378be20" + 56 * "0")
    assert not is_torchvisions_own("googlenet", "")
    assert not is_torchvisions_own("vgg16c", "1378be20" + 56 * "0")
