"""Several threads on one Extractor or network: every call gets the rows of its own images."""

from __future__ import annotations

import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from deepfeat import Extractor, load_network
from deepfeat.extraction import encode as encoding
from deepfeat.networks.from_torchvision import FAMILIES

THREADS = 16
SIDE = 96  # pixels; inception_v3 needs 75
# One network of each way a pass ends: stages, a module's output, a ReLU on it, a head behind it.
QUICK = {"vgg8-small": "pool5", "resnet18": None, "mobilenet_v3_small": None}
EVERY = QUICK | {"alexnet": "pool5", "vgg11": "pool5", "densenet121": None, "convnext_tiny": None}
EVERY |= {names.split()[0]: None for names in FAMILIES.values() if "convnext" not in names}


@pytest.fixture(autouse=True)
def switching_often():
    """Python changes threads every 200 microseconds instead of every 5 milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def pictures(picture):
    return [picture(SIDE, SIDE + 8 * number, seed=number) for number in range(8)]


def extractor_of(name, layer=None, **more):
    options = {"scales": SIDE, "mirror": False, "normalise": "none", "preprocessing": "torchvision"}
    return Extractor(name, weights="random:0", layer=layer, **options | more)


def in_threads(work, threads=THREADS):
    """Run ``work(number)`` in many threads that start together; raise what any of them raised."""
    start, raised = threading.Barrier(threads), []

    def run(number):
        start.wait()
        try:
            work(number)
        except BaseException as error:
            raised.append(error)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if raised:
        raise raised[0]


def assert_own_rows(call, expected, calls):
    """Give each thread pictures in an order of its own, and compare each with its own row."""
    distances = np.linalg.norm(expected[:, None] - expected[None], axis=2)
    apart = distances[~np.eye(len(expected), dtype=bool)].min()
    assert apart > 0
    wrong = []

    def work(number):
        order = np.random.default_rng(number).integers(0, len(expected), calls // THREADS)
        for one in order:
            if np.linalg.norm(call(one) - expected[one]) > 1e-3 * apart:
                wrong.append(one)

    in_threads(work)
    assert wrong == []


@pytest.mark.parametrize(("name", "layer"), QUICK.items())
def test_threads_on_one_extractor_get_their_own_rows(name, layer, pictures, calls=96):
    extractor = extractor_of(name, layer)
    expected = extractor.encode(pictures)
    assert_own_rows(lambda one: extractor.encode([pictures[one]])[0], expected, calls)


@pytest.mark.stress
@pytest.mark.parametrize(("name", "layer"), EVERY.items())
def test_threads_on_every_kind_of_network_get_their_own_rows(name, layer, pictures):
    test_threads_on_one_extractor_get_their_own_rows(name, layer, pictures, calls=10_000)


def test_every_family_is_in_the_table():
    families = [set(names.split()) for names in FAMILIES.values()]
    assert all(family & set(EVERY) for family in families)


def test_threads_may_ask_one_network_for_different_layers(pictures):
    layers = ("layer1", "layer2.0", "layer3", "layer4")
    network = load_network("resnet18", weights="random:0", layers=layers)
    x = [network.preprocess(torch.from_numpy(one[None])) for one in pictures]
    expected = [network.maps(one) for one in x]
    wrong = []

    def work(number):
        random = np.random.default_rng(number)
        for _ in range(4):
            one = random.integers(len(x))
            asked = list(random.permutation(layers)[: random.integers(1, 4)])
            maps = network.maps(x[one], asked)
            same = all(torch.allclose(maps[name], expected[one][name]) for name in asked)
            if list(maps) != asked or not same:
                wrong.append(asked)

    in_threads(work)
    assert wrong == []


def test_a_pass_inside_a_pass_keeps_both_apart(pictures):
    network = load_network("resnet18", weights="random:0")
    other = load_network("squeezenet1_1", weights="random:0")
    x, y = (network.preprocess(torch.from_numpy(one[None])) for one in pictures[:2])
    expected = [network.maps(x)["layer4"], other.maps(y)["features"], network.maps(y)["layer4"]]
    inner = []

    def hook(module, inputs, output):
        if not inner:
            inner.append(None)
            inner[:] = [other.maps(y)["features"], network.maps(y)["layer4"]]

    network.body.model.get_submodule("layer2").register_forward_hook(hook)
    found = [network.maps(x)["layer4"], *inner]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_threads_on_a_fresh_extractor_load_it_once(pictures, monkeypatch):
    loaded, load = [], encoding.load_chosen
    monkeypatch.setattr(encoding, "load_chosen", lambda *a: loaded.append(a) or load(*a))
    extractor = extractor_of("squeezenet1_1")
    rows = [None] * THREADS

    def work(number):
        rows[number] = extractor.encode([pictures[number % len(pictures)]])[0]

    in_threads(work)
    assert len(loaded) == 1
    expected = extractor.encode(pictures)
    np.testing.assert_allclose(rows, np.concatenate([expected, expected]), rtol=1e-4, atol=1e-5)


def test_loading_disturbs_neither_another_load_nor_a_module_of_the_callers(pictures):
    mine = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    x = torch.ones(1, 3, 16, 16)
    expected = mine(x).detach()
    names = ("squeezenet1_1", "squeezenet1_0", "shufflenet_v2_x0_5")
    ended = threading.Event()
    networks = [None] * 3

    def work(number):
        if number < 3:
            networks[number] = load_network(names[number], weights="random:0")
            if all(networks):
                ended.set()
        else:
            while not ended.is_set():
                assert torch.allclose(mine(x), expected)

    try:
        in_threads(work, threads=4)
    finally:
        ended.set()
    alone = load_network(names[0], weights="random:0")
    assert (networks[0].layers, networks[0].weights) == (alone.layers, alone.weights)


def test_threads_that_mix_two_extractors_keep_their_settings(pictures):
    one = extractor_of("squeezenet1_1")
    other = extractor_of("squeezenet1_1", scales=(64, SIDE), across_scales="stack", mirror=True)
    expected = [one.encode(pictures), other.encode(pictures)]

    def work(number):
        for turn in range(4):
            which = (number + turn) % 2
            row = (one, other)[which].encode([pictures[turn]])
            np.testing.assert_allclose(row[0], expected[which][turn], rtol=1e-4, atol=1e-5)

    in_threads(work)


def test_a_parameter_set_meanwhile_counts_from_the_next_call_on(pictures):
    extractor = extractor_of("squeezenet1_1", across_scales="stack")
    possible = [
        extractor.set_params(scales=scales).encode(pictures) for scales in ((64, SIDE), SIDE)
    ][::-1]

    def work(number):
        for turn in range(4):
            if number == 0:
                extractor.scales = (SIDE, (64, SIDE))[turn % 2]
            row = extractor.encode([pictures[turn]])[0]
            expected = possible[len(row) == possible[1].shape[1]][turn]
            np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)

    in_threads(work)


def test_threads_may_share_files_and_an_opened_image(pictures, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    for path, pixels in zip(paths, pictures, strict=True):
        Image.fromarray(pixels).save(path)
    extractor = extractor_of("vgg8-small", "pool5")
    expected = extractor.encode(pictures)
    filters = list(warnings.filters)

    def work(number):
        mine = [(number + step) % len(paths) for step in range(2)]
        rows = extractor.encode([paths[one] for one in mine])
        np.testing.assert_allclose(rows, expected[mine], rtol=1e-4, atol=1e-5)
        one = number % 2
        rows = extractor.encode([opened[one]])
        np.testing.assert_allclose(rows[0], expected[one], rtol=1e-4, atol=1e-5)

    with Image.open(paths[0]) as first, Image.open(paths[1]) as second:
        opened = (first, second)
        in_threads(work)
    assert list(warnings.filters) == filters
