"""One synthetic VGG written by other software in every format gives one descriptor.

Caffe's files hold the first layer for BGR, MatConvNet's for RGB; fc layers are matrices in one and
filters in the other; all of them round pooled sizes up.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.io import savemat

from deepfeat import load_network
from deepfeat.extraction.describe import describe

SHAPES = {
    "conv1_1": (16, 3, 3, 3),
    "conv2_1": (32, 16, 3, 3),
    "conv3_1": (64, 32, 3, 3),
    "conv4_1": (128, 64, 3, 3),
    "conv5_1": (128, 128, 3, 3),
    "fc6": (512, 128, 7, 7),
    "fc7": (512, 512, 1, 1),
    "fc8": (10, 512, 1, 1),
}
TORCHVISION = {
    "conv1_1": "features.0",
    "conv2_1": "features.3",
    "conv3_1": "features.6",
    "conv4_1": "features.9",
    "conv5_1": "features.12",
    "fc6": "classifier.0",
    "fc7": "classifier.3",
    "fc8": "classifier.6",
}
JOHNSON = TORCHVISION | {"fc6": "classifier.1", "fc7": "classifier.4"}


@pytest.fixture(scope="module")
def arrays():
    """Weights (out, in, h, w) for BGR, and biases."""
    random = np.random.default_rng(5)
    found = {}
    for name, shape in SHAPES.items():
        spread = (2 / np.prod(shape[1:])) ** 0.5
        found[name] = (
            random.normal(0, spread, shape).astype(np.float32),
            random.normal(0, 0.1, shape[0]).astype(np.float32),
        )
    return found


def matrix(name, weight):
    return weight.reshape(len(weight), -1) if name.startswith("fc") else weight


def state(arrays, names):
    found = {}
    for name, (weight, bias) in arrays.items():
        found[f"{names[name]}.weight"] = torch.from_numpy(matrix(name, weight).copy())
        found[f"{names[name]}.bias"] = torch.from_numpy(bias.copy())
    return found


def caffemodel(arrays, path, caffe, form):
    """Types 4 and 14 of V1LayerParameter are CONVOLUTION and INNER_PRODUCT."""
    net = caffe.NetParameter(name="small")
    for name, (weight, bias) in arrays.items():
        is_fc = name.startswith("fc")
        if form == "v1":
            kind = 14 if is_fc else 4
            layer = net.layers.add(name=name, type=kind)
            dims = (1, 1, *matrix(name, weight).shape) if is_fc else weight.shape
            sizes = dict(zip(("num", "channels", "height", "width"), dims, strict=True))
            layer.blobs.add(data=weight.ravel(), **sizes)
            layer.blobs.add(data=bias, num=1, channels=1, height=1, width=len(bias))
        else:
            layer = net.layer.add(name=name, type="InnerProduct" if is_fc else "Convolution")
            layer.blobs.add(data=weight.ravel(), shape={"dim": matrix(name, weight).shape})
            layer.blobs.add(data=bias, shape={"dim": bias.shape})
    path.write_bytes(net.SerializeToString())


def matconvnet(arrays, path):
    layers = []
    for name, (weight, bias) in arrays.items():
        rgb = weight[:, ::-1] if name == "conv1_1" else weight
        pair = np.empty((1, 2), object)
        pair[0, 0], pair[0, 1] = np.asfortranarray(rgb.transpose(2, 3, 1, 0)), bias[None]
        layers.append({"name": name, "type": "conv", "weights": pair})
    cell = np.empty((1, len(layers)), object)
    cell[0, :] = layers
    mean = np.array([123.68, 116.779, 103.939], np.float32).reshape(1, 1, 3)
    savemat(path, {"layers": cell, "meta": {"normalization": {"averageImage": mean}}})


WRITERS = {
    "v1.caffemodel": lambda arrays, path, caffe: caffemodel(arrays, path, caffe, "v1"),
    "new.caffemodel": lambda arrays, path, caffe: caffemodel(arrays, path, caffe, "new"),
    "a.mat": lambda arrays, path, caffe: matconvnet(arrays, path),
    "zip.pth": lambda arrays, path, caffe: torch.save(state(arrays, TORCHVISION), path),
    "legacy.pth": lambda arrays, path, caffe: torch.save(
        state(arrays, JOHNSON), path, _use_new_zipfile_serialization=False
    ),
    "a.safetensors": lambda arrays, path, caffe: save_file(state(arrays, TORCHVISION), path),
}


@pytest.fixture(scope="module")
def reference(arrays, tmp_path_factory, picture):
    path = tmp_path_factory.mktemp("reference") / "a.safetensors"
    save_file(state(arrays, TORCHVISION), path)
    network = load_network(
        "vgg8-small", weights=str(path), preprocessing="caffe-vgg", pool_rounding="ceil"
    )
    return describe(network, [picture(230, 251, seed=8)])["fc7"][0]


@pytest.mark.parametrize("name", WRITERS)
def test_one_network_in_every_format_gives_one_descriptor(
    name, arrays, caffe, reference, picture, tmp_path
):
    path = tmp_path / name
    WRITERS[name](arrays, path, caffe)
    is_mat = name.endswith(".mat")
    network = load_network(
        "vgg8-small",
        weights=str(path),
        preprocessing="matconvnet-vgg" if is_mat else "caffe-vgg",
        pool_rounding="ceil",
    )
    row = describe(network, [picture(230, 251, seed=8)])["fc7"][0]
    assert np.linalg.norm(row - reference) / np.linalg.norm(reference) <= 1e-6


@pytest.mark.parametrize("name", ["v1.caffemodel", "a.mat"])
def test_weights_of_caffe_round_pooled_sizes_up_by_themselves(
    name, arrays, caffe, reference, picture, tmp_path
):
    path = tmp_path / name
    WRITERS[name](arrays, path, caffe)
    preprocessing = "matconvnet-vgg" if name.endswith(".mat") else "caffe-vgg"
    network = load_network("vgg8-small", weights=str(path), preprocessing=preprocessing)
    assert network.pooling == "ceil"
    row = describe(network, [picture(230, 251, seed=8)])["fc7"][0]
    assert np.linalg.norm(row - reference) / np.linalg.norm(reference) <= 1e-6


def test_the_wrong_preprocessing_would_be_seen(arrays, reference, picture, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(state(arrays, TORCHVISION), path)
    network = load_network(
        "vgg8-small", weights=str(path), preprocessing="matconvnet-vgg", pool_rounding="ceil"
    )
    row = describe(network, [picture(230, 251, seed=8)])["fc7"][0]
    assert np.linalg.norm(row - reference) / np.linalg.norm(reference) > 1e-2
