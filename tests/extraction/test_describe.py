"""From pixels to descriptors, against a few lines of functional torch on the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.small_vgg import fc7_map, numbers_of, preprocessed

from deepfeat import load_network
from deepfeat.extraction.describe import aggregate, describe

BLOCKS = (1, 1, 1, 1, 1)
TORCHVISION = ("RGB", 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE_VGG = ("BGR", 255, (103.939, 116.779, 123.68), (1, 1, 1))


def load(preprocessing="torchvision", pooling=None, layers=("fc7",)):
    return load_network(
        "vgg8-small",
        weights="random:3",
        preprocessing=preprocessing,
        layers=layers,
        pool_rounding=pooling,
    )


@pytest.fixture(scope="module")
def network():
    return load()


def expected(network, pixels, numbers=TORCHVISION, *, ceil=False, mirror=True, over=np.mean):
    """The descriptor in float64, position by position."""
    state = numbers_of(network.body.state_dict())
    views = [pixels, pixels[:, ::-1]] if mirror else [pixels]
    maps = [fc7_map(state, BLOCKS, preprocessed(view, *numbers), ceil=ceil) for view in views]
    return np.mean([over(m.double().numpy(), axis=0) for m in maps], axis=0)


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize("size", [(224, 224), (256, 341), (300, 230)], ids=str)
def test_descriptor_is_the_mean_over_positions_of_picture_and_mirror(network, picture, size):
    pixels = picture(*size, seed=1)
    assert distance(describe(network, [pixels])["fc7"][0], expected(network, pixels)) <= 1e-5


def test_without_mirror_the_picture_alone_counts(network, picture):
    pixels = picture(256, 300, seed=1)
    ours = describe(network, [pixels], mirror=False)["fc7"][0]
    assert distance(ours, expected(network, pixels, mirror=False)) <= 1e-5
    assert distance(ours, expected(network, pixels)) > 1e-3


def test_the_maximum_over_positions_is_taken_in_each_view(network, picture):
    pixels = picture(256, 341, seed=2)
    ours = describe(network, [pixels], over_positions="max")["fc7"][0]
    assert distance(ours, expected(network, pixels, over=np.max)) <= 1e-5


def test_channels_come_in_the_order_of_the_weights(picture):
    network = load("caffe-vgg")
    pixels = picture(240, 260, seed=3)
    ours = describe(network, [pixels])["fc7"][0]
    assert distance(ours, expected(network, pixels, CAFFE_VGG)) <= 1e-5


def test_pooled_sizes_are_rounded_up_when_asked(picture):
    network = load(pooling="ceil")
    pixels = picture(256, 341, seed=4)
    ours = describe(network, [pixels])["fc7"][0]
    assert distance(ours, expected(network, pixels, ceil=True)) <= 1e-5


def test_a_picture_and_its_mirror_have_one_descriptor(network, picture):
    pixels = picture(250, 331, seed=5)
    one, other = (describe(network, [p])["fc7"][0] for p in (pixels, pixels[:, ::-1].copy()))
    assert distance(one, other) <= 1e-6


def test_a_descriptor_does_not_depend_on_its_batch(network, picture):
    pixels = [picture(256, 300, seed=seed) for seed in range(3)]
    together = describe(network, pixels)["fc7"]
    alone = np.concatenate([describe(network, [p])["fc7"] for p in pixels])
    assert distance(together, alone) <= 1e-5


def test_permuting_pictures_permutes_rows(network, picture):
    pixels = [picture(224, 260, seed=seed) for seed in range(4)]
    order = [2, 0, 3, 1]
    rows = describe(network, pixels)["fc7"]
    permuted = describe(network, [pixels[i] for i in order])["fc7"]
    assert distance(permuted, rows[order]) <= 1e-6
    assert distance(rows[0], rows[1]) > 1e-3


def test_several_layers_come_out_of_one_pass(picture):
    network = load(layers=("pool5", "fc6", "fc7"))
    rows = describe(network, [picture(256, 256, seed=6)])
    assert {name: row.shape for name, row in rows.items()} == {
        "pool5": (1, 128),
        "fc6": (1, 512),
        "fc7": (1, 512),
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_aggregates_are_numpys(scales, images, seed):
    random = np.random.default_rng(seed)
    blocks = {str(s): random.normal(size=(images, 5)).astype(np.float32) for s in range(scales)}
    stack = np.stack(list(blocks.values())).astype(np.float64)
    np.testing.assert_allclose(
        aggregate(blocks, "mean")["mean"], stack.mean(0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(aggregate(blocks, "max")["max"], stack.max(0).astype(np.float32))
    assert list(aggregate(blocks, "none")) == list(blocks)
