"""Pixel by pixel against written-out formulas in float64, and against torchvision's transforms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import models

from deepfeat.errors import NetworkError, UsageError
from deepfeat.networks.preprocessing import (
    PREPROCESSINGS,
    Preprocessing,
    load_preprocessing,
    preprocess,
)

# r, g, b: grey levels 0 ... 255 as float64; the three channels in the order the network has them.
Channels = tuple[Any, Any, Any]
FORMULAS: dict[str, Callable[[Any, Any, Any], Channels]] = {
    "caffe-vgg": lambda r, g, b: (b - 103.939, g - 116.779, r - 123.68),
    "caffe": lambda r, g, b: (b - 104, g - 117, r - 123),
    "torchvision": lambda r, g, b: (
        (r / 255 - 0.485) / 0.229,
        (g / 255 - 0.456) / 0.224,
        (b / 255 - 0.406) / 0.225,
    ),
    "torchvision-features": lambda r, g, b: (
        r - 255 * 0.48235,
        g - 255 * 0.45882,
        b - 255 * 0.40784,
    ),
    "matconvnet-vgg": lambda r, g, b: (r - 123.68, g - 116.779, b - 103.939),
    "tf": lambda r, g, b: (r / 127.5 - 1, g / 127.5 - 1, b / 127.5 - 1),
}
TOML = """
order = "BGR"
range = 255
mean = [1, 2.5, 3]
std = [4.0, 5.0, 6.0]
"""


@pytest.fixture
def pixels() -> torch.Tensor:
    generator = np.random.default_rng(5)
    return torch.from_numpy(generator.integers(0, 256, (2, 7, 11, 3), np.uint8))


def test_six_names_are_known() -> None:
    assert set(PREPROCESSINGS) == set(FORMULAS)
    assert all(name == row.name for name, row in PREPROCESSINGS.items())


@pytest.mark.parametrize("name", FORMULAS)
def test_every_pixel_equals_the_formula(name: str, pixels: torch.Tensor) -> None:
    red, green, blue = np.moveaxis(pixels.numpy().astype(np.float64), -1, 0)
    expected = np.stack(FORMULAS[name](red, green, blue), axis=1)
    found = preprocess(pixels, PREPROCESSINGS[name])
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize(
    ("name", "enum"),
    [
        ("torchvision", models.VGG16_Weights.IMAGENET1K_V1),
        ("torchvision-features", models.VGG16_Weights.IMAGENET1K_FEATURES),
        ("tf", models.EfficientNet_V2_L_Weights.IMAGENET1K_V1),
    ],
)
def test_pixels_are_bit_for_bit_those_of_torchvisions_preset(
    name: str, enum: Any, pixels: torch.Tensor
) -> None:
    # The crop's size is the image's, so that neither resizing nor cropping changes anything.
    side = 8
    square = (
        pixels[:, :1, :1].expand(2, side, side, 3)
        + torch.arange(side, dtype=torch.uint8)[None, :, None, None]
    )
    preset = enum.transforms(crop_size=side, resize_size=side)
    expected = preset(square.permute(0, 3, 1, 2))
    assert torch.equal(preprocess(square, PREPROCESSINGS[name]), expected)


def test_caffe_vgg_is_matconvnet_vgg_with_channels_reversed(pixels: torch.Tensor) -> None:
    bgr = preprocess(pixels, PREPROCESSINGS["caffe-vgg"])
    rgb = preprocess(pixels, PREPROCESSINGS["matconvnet-vgg"])
    assert torch.equal(bgr, rgb.flip(1))


def test_images_do_not_influence_each_other(pixels: torch.Tensor) -> None:
    row = PREPROCESSINGS["torchvision"]
    together = preprocess(pixels, row)
    assert torch.equal(together[1:], preprocess(pixels[1:], row))


def test_pixels_are_left_as_they_were(pixels: torch.Tensor) -> None:
    before = pixels.clone()
    preprocess(pixels, PREPROCESSINGS["caffe-vgg"])
    assert torch.equal(pixels, before)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(1, 4, 4, 3),
        torch.zeros(4, 4, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
    ],
    ids=["float", "three sizes", "channels first"],
)
def test_other_tensors_are_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="uint8 tensor of shape"):
        preprocess(wrong, PREPROCESSINGS["tf"])


@pytest.mark.parametrize("name", FORMULAS)
def test_a_name_loads_its_row_and_states_no_rounding(name: str) -> None:
    assert load_preprocessing(name) == (PREPROCESSINGS[name], None)


def test_unknown_name_gets_the_near_miss() -> None:
    with pytest.raises(NetworkError, match="Did you mean 'caffe-vgg'") as caught:
        load_preprocessing("cafe-vgg")
    assert caught.value.exit_status == 64


def test_identity_has_the_numbers_without_the_name() -> None:
    assert PREPROCESSINGS["caffe"].as_json() == {
        "order": "BGR",
        "range": 255,
        "mean": [104.0, 117.0, 123.0],
        "std": [1.0, 1.0, 1.0],
    }


@pytest.mark.parametrize("rounding", [None, "floor", "ceil"])
def test_toml_file_is_read(rounding: str | None, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TOML + (f'pooling = "{rounding}"' if rounding else ""))
    expected = Preprocessing("mine.toml", "BGR", 255, (1.0, 2.5, 3.0), (4.0, 5.0, 6.0))
    assert load_preprocessing(str(path)) == (expected, rounding)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("order", "ordre"), "unknown key 'ordre'\n.*Did you mean 'order'"),
        (('order = "BGR"', ""), "'order' missing"),
        (('"BGR"', '"GBR"'), "order is 'GBR'"),
        (('"BGR"', '["BGR"]'), "order is \\['BGR'\\]"),
        (("range = 255", "range = 128"), "range is 128"),
        (("range = 255", "range = true"), "range is True"),
        (("range = 255", "range = 1.0"), "range is 1.0"),
        (("range = 255", "range = 1"), "mean is .*With range = 1"),
        (("[1, 2.5, 3]", "[1, 2.5]"), "mean is"),
        (("[1, 2.5, 3]", '[1, 2.5, "3"]'), "mean is"),
        (("[1, 2.5, 3]", "[1, 2.5, nan]"), "mean is"),
        (("[1, 2.5, 3]", "[1, 2.5, true]"), "mean is"),
        (("[1, 2.5, 3]", "3"), "mean is 3"),
        (("[4.0, 5.0, 6.0]", "[4.0, 0.0, 6.0]"), "std is"),
        (("[4.0, 5.0, 6.0]", "[4.0, inf, 6.0]"), "std is"),
        (("std", 'pooling = "round"\nstd'), "pooling is 'round'"),
        (("std", 'pooling = ["floor"]\nstd'), "pooling is"),
        (("=", ":"), "no TOML"),
    ],
)
def test_wrong_toml_is_refused_with_the_reason(
    change: tuple[str, str], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(TOML.replace(*change))
    with pytest.raises(NetworkError, match=f"(?s){words}"):
        load_preprocessing(str(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"#" * (64 << 10) + b"\n", "over 64 KiB"),
        (b"\xff\xfe", "no TOML"),
        (b"mean = " + b"[" * 60_000, "brackets nest over 32 deep"),
        (b"mean." * 12_000 + b"x = 1", "a key of over 8 parts"),
        (b"range = 0x" + b"f" * 60_000, "over 128 characters"),
        (b'"' + b"a" * 60_000 + b'" = 1', "unknown key 'a{80}'"),
        (None, "not there"),
    ],
    ids=["too long", "not UTF-8", "deep", "dotted", "number", "key", "absent"],
)
def test_hostile_toml_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NetworkError, match=words):
        load_preprocessing(str(path))


@settings(max_examples=50, deadline=None)
@given(
    order=st.sampled_from(["RGB", "BGR"]),
    limit=st.sampled_from([1, 255]),
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.01, 100)] * 3),
)
def test_any_preprocessing_equals_its_definition(
    order: Any, limit: Any, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3) * 5
    found = preprocess(torch.from_numpy(grey), Preprocessing("any", order, limit, mean, std))
    for channel in range(3):
        source = 2 - channel if order == "BGR" else channel
        x = grey[..., source].astype(np.float64) * limit / 255
        expected = (x - mean[channel]) / std[channel]
        np.testing.assert_allclose(found[:, channel].numpy(), expected, rtol=1e-5, atol=1e-4)
