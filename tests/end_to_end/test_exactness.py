"""VGG D and E in their true size: stored rows and maps against torchvision's own modules.

Slow for a reason: each network has 140 million weights and every picture costs some 10^11 products.
"""

from __future__ import annotations

import h5py
import pytest
import torch
from oracles.dense_vgg import (
    descriptors,
    fc_maps,
    preprocessed,
    random_vgg,
    relative_l2,
    with_ceil_pooling,
)
from PIL import Image
from safetensors.torch import save_file

from deepfeat import load_network

SIZES = ((256, 341), (300, 500), (512, 384))  # height, width
BAR = 1e-5


@pytest.fixture(scope="module", params=["vgg16", "vgg19"])
def network(request, tmp_path_factory):
    """Name, torchvision's model with random weights, and the same weights as a file."""
    model = random_vgg(request.param, seed=1)
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.safetensors"
    save_file(model.state_dict(), path)
    yield request.param, model, path
    path.unlink()


def test_stored_rows_equal_linear_layers_on_every_window(network, picture, deepfeat, tmp_path):
    name, model, weights = network
    images, store = tmp_path / "images", tmp_path / "store.h5"
    images.mkdir()
    pictures = {f"{h}x{w}.png": picture(h, w, seed=h) for h, w in SIZES}
    for key, pixels in pictures.items():
        Image.fromarray(pixels).save(images / key)
    done = deepfeat(
        "extract", images, store, "--network", name, "--weights", weights, "--preprocessing",
        "torchvision", "--layer", "fc6,fc7", "--scales", ",".join(str(min(s)) for s in SIZES),
        "--pool-rounding", "floor",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with h5py.File(store) as file:
        keys = [key.decode() for key in file["items/key"][:]]
        for key, pixels in pictures.items():
            expected = descriptors(model, pixels)
            for layer in ("fc6", "fc7"):
                row = file[f"descriptors/{layer}/{min(pixels.shape[:2])}"][keys.index(key)]
                assert relative_l2(row, expected[layer]) <= BAR, (key, layer)


@pytest.fixture(scope="module")
def loaded(network):
    name, _, weights = network
    return load_network(
        name, weights=str(weights), preprocessing="torchvision", layers=("pool5", "fc6", "fc7")
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_maps_equal_linear_layers_at_every_position(network, loaded, picture, size):
    _, model, _ = network
    x = preprocessed(picture(*size, seed=7))
    maps = loaded.maps(x)
    for layer, expected in fc_maps(model, x).items():
        assert maps[layer].shape == expected.shape
        errors = (maps[layer] - expected).norm(dim=1) / expected.norm(dim=1)
        assert errors.max() <= BAR


def test_pool5_inside_picture_and_crop_agree(loaded, picture):
    pixels = picture(512, 384, seed=3)
    top, left, height, width = 32, 32, 448, 320
    whole = loaded.maps(preprocessed(pixels), ["pool5"])["pool5"][0]
    crop = preprocessed(pixels[top : top + height, left : left + width])
    part = loaded.maps(crop, ["pool5"])["pool5"][0]
    reach = (loaded.layers["pool5"].receptive_field - 32) // 2

    def inside(count, start, length, limit):
        """Cells of the crop whose field lies in the crop and in the picture."""
        return [
            i
            for i in range(count)
            if 32 * i - reach >= 0
            and 32 * i + 32 + reach <= length
            and start + 32 * i + 32 + reach <= limit
        ]

    rows = inside(part.shape[1], top, height, 512)
    columns = inside(part.shape[2], left, width, 384)
    assert rows
    assert columns
    ours = part[:, rows][:, :, columns]
    theirs = whole[:, [r + top // 32 for r in rows]][:, :, [c + left // 32 for c in columns]]
    assert relative_l2(ours, theirs) <= BAR
    border = relative_l2(part[:, 0, 0], whole[:, top // 32, left // 32])
    assert border > 100 * BAR  # and at the border, where a crop sees zeros, they do not


def test_without_padding_fc6_equals_the_crop_of_its_receptive_field(network, picture):
    name, _, weights = network
    bare = load_network(name, weights=str(weights), preprocessing="torchvision", layers=("fc6",))
    field = bare.layers["fc6"].receptive_field
    for module in bare.body.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.padding = (0, 0)
    x = preprocessed(picture(field, field + 32, seed=5))
    whole = bare.maps(x)["fc6"]
    assert whole.shape[2:] == (1, 2)
    for position in (0, 1):
        crop = x[:, :, :, 32 * position : 32 * position + field]
        one = bare.maps(crop)["fc6"]
        assert one.shape[2:] == (1, 1)
        assert relative_l2(whole[0, :, 0, position], one[0, :, 0, 0]) <= BAR


def test_at_224_the_whole_is_torchvisions_penultimate(network, loaded, picture):
    _, model, _ = network
    x = preprocessed(picture(224, 224, seed=9))
    with torch.inference_mode():
        pooled = model.avgpool(model.features(x)).flatten(1)
        expected = model.classifier[:5](pooled)  # up to the second ReLU
    assert relative_l2(loaded.maps(x)["fc7"].flatten(1), expected) <= BAR


def test_timm_agrees(network, loaded, picture):
    timm = pytest.importorskip("timm", reason="timm is not installed: an optional peer")
    name, model, _ = network
    peer = timm.create_model(name, pretrained=False).eval()
    state = model.state_dict()
    renamed = {key: value for key, value in state.items() if key.startswith("features")}
    for ours, theirs, shape in (
        ("classifier.0", "pre_logits.fc1", (4096, 512, 7, 7)),
        ("classifier.3", "pre_logits.fc2", (4096, 4096, 1, 1)),
        ("classifier.6", "head.fc", None),
    ):
        weight = state[f"{ours}.weight"]
        renamed[f"{theirs}.weight"] = weight.reshape(shape) if shape else weight
        renamed[f"{theirs}.bias"] = state[f"{ours}.bias"]
    peer.load_state_dict(renamed)
    x = preprocessed(picture(256, 341, seed=11))
    with torch.inference_mode():
        expected = peer.pre_logits(peer.features(x))
    assert relative_l2(loaded.maps(x)["fc7"], expected) <= BAR


@pytest.fixture(scope="module")
def rounding_up(network):
    name, _, weights = network
    return load_network(
        name,
        weights=str(weights),
        preprocessing="torchvision",
        layers=("fc6", "fc7"),
        pool_rounding="ceil",
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_rounding_up_agrees_with_torchvision_in_ceil_mode(network, rounding_up, picture, size):
    _, model, _ = network
    x = preprocessed(picture(*size, seed=13))
    try:
        expected = fc_maps(with_ceil_pooling(model), x)
    finally:
        for module in model.modules():
            if isinstance(module, torch.nn.MaxPool2d):
                module.ceil_mode = False
    maps = rounding_up.maps(x)
    for layer in ("fc6", "fc7"):
        assert tuple(maps[layer].shape[2:]) == tuple(-(-side // 32) - 6 for side in size)
        assert relative_l2(maps[layer], expected[layer]) <= BAR


def test_wrong_weights_would_be_seen(network, picture):
    """The oracle itself: another seed gives another descriptor."""
    name, model, _ = network
    pixels = picture(256, 256, seed=1)
    other = random_vgg(name, seed=2)
    assert relative_l2(descriptors(other, pixels)["fc7"], descriptors(model, pixels)["fc7"]) > 0.1
