"""Weights as training leaves them: wrappers, checkpoints, other heads, written by torch itself.

A reading that fits alone is taken, and said; one that fits twice is refused with the way out.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from deepfeat import load_network
from deepfeat.errors import WeightsError
from deepfeat.networks.load import skeleton
from deepfeat.networks.needs import wanted
from deepfeat.networks.table import networks
from deepfeat.networks.weights.fit import Wanted
from deepfeat.networks.weights.load import Weights, load_weights

NETWORK = "squeezenet1_1"
State = dict[str, Tensor]
BOTH = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])


@functools.cache
def needs(network: str = NETWORK, layer: str = "features", layout: Any = "torchvision") -> Wanted:
    return wanted(network, *skeleton(network), [layer], layout)


def load(path: Path, network: str = NETWORK, layer: str = "features") -> tuple[Weights, State]:
    weights, state = load_weights(
        network,
        str(path),
        lambda layout: needs(network, layer, layout),
        preprocessing="torchvision",
    )
    assert state is not None
    return weights, state


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(3)
    return models.squeezenet1_1()


@pytest.fixture(scope="module")
def state(model: nn.Module) -> State:
    return dict(model.state_dict())


def assert_taken(found: State, state: State) -> None:
    """Everything the layer needs, and the numbers of ``state``."""
    assert set(found) == {key for key in state if key.startswith("features.")}
    assert all(torch.equal(found[key], state[key]) for key in found)


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def backbone(state: State) -> State:
    return {key: value for key, value in state.items() if key.startswith("features.")}


def trained(model: nn.Module) -> dict[str, Any]:
    """What an optimizer with momentum remembers."""
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    model.zero_grad()
    return optimizer.state_dict()


def lightning(model: nn.Module, state: State) -> dict[str, Any]:
    return {
        "epoch": 3,
        "global_step": 700,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": OrderedDict(prefixed("model.", state) | {"loss.weight": torch.ones(3)}),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": Path("a/b.ckpt")}},
        "optimizer_states": [trained(model)],
        "lr_schedulers": [{"last_epoch": 3, "base_lrs": [0.1], "verbose": False}],
        "hparams_name": "kwargs",
        "hyper_parameters": argparse.Namespace(lr=0.1, sizes=(1, 2), name=None),
    }


def head(prefix: str) -> State:
    return {f"{prefix}0.weight": torch.ones(3, 4), f"{prefix}2.weight": torch.ones(4, 4)}


# What torch is given to save -> what is said of it.
LAYOUTS: dict[str, tuple[Callable[[nn.Module, State], Any], str]] = {
    "plain": (lambda model, state: model.state_dict(), ""),
    "without a classifier": (lambda model, state: backbone(state), ""),
    "another classifier": (
        lambda model, state: backbone(state) | head("classifier."),
        "tensors, leaving out 2 others",
    ),
    "other classes": (
        lambda model, state: backbone(state) | {"classifier.1.weight": torch.ones(7, 512, 1, 1)},
        "",
    ),
    "DataParallel": (
        lambda model, state: nn.DataParallel(model).state_dict(),
        "tensors under 'module.'",
    ),
    "compile": (lambda model, state: prefixed("_orig_mod.", state), "tensors under '_orig_mod.'"),
    "both": (
        lambda model, state: prefixed("module._orig_mod.", state),
        "tensors under 'module._orig_mod.'",
    ),
    "reference script": (
        lambda model, state: {
            "epoch": 90,
            "arch": "squeezenet1_1",
            "state_dict": nn.DataParallel(model).state_dict(),
            "best_acc1": torch.tensor(58.1),
            "optimizer": trained(model),
            "scheduler": None,
            "args": argparse.Namespace(data="imagenet", lr=0.1),
        },
        "tensors in ['state_dict'] under 'module.'",
    ),
    "model": (lambda model, state: {"model": state, "epoch": 1}, "tensors in ['model']"),
    "model_state_dict": (
        lambda model, state: {"model_state_dict": state, "loss": [0.5, None, "nan"]},
        "tensors in ['model_state_dict']",
    ),
    "a pair": (lambda model, state: (state, trained(model)), "tensors in [0]"),
    "deep": (
        lambda model, state: {"a": {"b": {"net": [prefixed("x.y.z.", state)]}}},
        "tensors in ['a']['b']['net'][0] under 'x.y.z.'",
    ),
    "Lightning": (lightning, "tensors in ['state_dict'] under 'model.', leaving out 1 others"),
    "MoCo's query": (
        lambda model, state: {
            "state_dict": prefixed("module.encoder_q.", backbone(state) | head("classifier."))
            | {"module.queue": torch.ones(8, 9), "module.queue_ptr": torch.zeros(1).long()}
        },
        "tensors in ['state_dict'] under 'module.encoder_q.', leaving out 4 others",
    ),
    "DINO's teacher": (
        lambda model, state: {
            "teacher": prefixed("backbone.", backbone(state)) | head("head.mlp."),
            "student": head("module.head.mlp."),
            "dino_loss": {"center": torch.zeros(1, 9)},
        },
        "tensors in ['teacher'] under 'backbone.', leaving out 2 others",
    ),
    "one network under two names": (
        lambda model, state: prefixed("backbone.", state) | prefixed("model.net.", state),
        "tensors under 'backbone.', leaving out 52 others",
    ),
    "with integers that nobody needs": (
        lambda model, state: state | {"classifier.1.weight": torch.ones(7).long()},
        "",
    ),
}


@BOTH
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_one_reading_that_fits_is_taken_and_said(
    name: str, is_zip: bool, model: nn.Module, state: State, tmp_path: Path
) -> None:
    make, words = LAYOUTS[name]
    path = tmp_path / "checkpoint.pth"
    torch.save(make(model, state), path, _use_new_zipfile_serialization=is_zip)
    weights, found = load(path)
    assert_taken(found, state)
    assert weights.reading == words
    assert weights.source == "a file in the form .pth" + (f" ({words})" if words else "")


@pytest.mark.stress  # importing the compiler takes seconds
def test_what_torch_compile_saves_is_taken(model: nn.Module, state: State, tmp_path: Path) -> None:
    path = tmp_path / "compiled.pth"
    torch.save(torch.compile(model).state_dict(), path)
    weights, found = load(path)
    assert_taken(found, state)
    assert weights.reading == "tensors under '_orig_mod.'"


@pytest.mark.parametrize("prefix", ["module.", "student.backbone.", "timm-like/name."])
def test_prefixes_are_taken_off_safetensors_too(prefix: str, state: State, tmp_path: Path) -> None:
    path = tmp_path / "prefixed.safetensors"
    save_file(prefixed(prefix, state) | {"queue": torch.ones(2)}, path)
    weights, found = load(path)
    assert_taken(found, state)
    assert weights.reading == f"tensors under '{prefix}', leaving out 1 others"


def test_vggs_older_names_are_known_under_a_prefix(tmp_path: Path) -> None:
    shapes = needs("vgg8-small", "fc7").shapes
    state = {key: torch.randn([n or 9 for n in shape[-1]]) for key, shape in shapes.items()}
    old = {"classifier.0": "classifier.1", "classifier.3": "classifier.4"}
    path = tmp_path / "old.pth"
    renamed = {
        old.get(key.rpartition(".")[0], key.rpartition(".")[0]) + "." + key.rpartition(".")[2]: t
        for key, t in state.items()
    }
    assert set(renamed) != set(state)
    torch.save({"net": prefixed("module.", renamed)}, path)
    weights, found = load(path, "vgg8-small", "fc7")
    assert weights.reading == "tensors in ['net'] under 'module.'"
    assert all(torch.equal(found[key], state[key]) for key in state)


TWICE: dict[str, Callable[[State, State], Any]] = {
    "MoCo": lambda one, other: {
        "state_dict": prefixed("module.encoder_q.", one) | prefixed("module.encoder_k.", other)
    },
    "DINO": lambda one, other: {
        "student": prefixed("module.backbone.", one),
        "teacher": prefixed("backbone.", other),
    },
    "mean of weights": lambda one, other: {"model": one, "ema": other},
    "plain beside a prefix": lambda one, other: one | prefixed("teacher.", other),
    "foreign classes": lambda one, other: {
        "student": prefixed("module.backbone.", one),
        "teacher": prefixed("backbone.", other),
        "args": argparse.Namespace(lr=0.1),
        "best": np.float64(3.5),
    },
    "a long key": lambda one, other: {"x" * 90: one, "k" * 90 + "'": prefixed("p." * 40, other)},
    "a plain one around a table": lambda one, other: {"ema": other} | one,
    "quotes": lambda one, other: {"it's": prefixed("a.", one) | prefixed("b'.", other)},
}


@BOTH
@pytest.mark.parametrize("name", TWICE)
def test_what_fits_twice_is_refused_and_the_advice_leads_out(
    name: str, is_zip: bool, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {key: value + 1 for key, value in state.items()}
    path = tmp_path / "it's" / "twice.pth"
    path.parent.mkdir()
    torch.save(TWICE[name](state, other), path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match=f"fit network '{NETWORK}' in 2 ways") as caught:
        load(path)
    assert caught.value.exit_status == 65
    assert len(str(caught.value)) < 1500
    assert ("only if you trust it" in caught.value.advice) is (name == "foreign classes")
    monkeypatch.chdir(tmp_path)
    exec(caught.value.advice.partition(": ")[2], {})
    _, found = load(tmp_path / "one.pth")
    assert_taken(found, other)


@pytest.mark.parametrize("crowd", [20, 21])
@pytest.mark.parametrize("both", [False, True])
def test_no_crowd_of_larger_prefixes_hides_a_second_way(
    crowd: int, both: bool, state: State, tmp_path: Path
) -> None:
    stem = {key: value for key, value in state.items() if key.startswith("features.0.")}
    rest = {f"n{i}.{key}": torch.ones(1) for i in range(crowd) for key in state if key not in stem}
    ways = prefixed("stem.", stem) | (prefixed("a.b.", stem) if both else {})
    other = {key: value + (1 if "b" in key else 0) for key, value in ways.items()}
    path = tmp_path / "crowd.pth"
    torch.save(rest | other, path)
    layer = "features.1"
    if both:
        with pytest.raises(WeightsError, match="in 2 ways"):
            load(path, layer=layer)
    else:
        assert load(path, layer=layer)[0].reading.startswith("tensors under 'stem.'")


@pytest.mark.parametrize("ways", [2, 20, 21, 300])
def test_any_number_of_ways_is_refused(ways: int, state: State, tmp_path: Path) -> None:
    stem = {key: value for key, value in state.items() if key.startswith("features.0.")}
    path = tmp_path / "ways.pth"
    torch.save({f"n{i}.{key}": one + i for i in range(ways) for key, one in stem.items()}, path)
    with pytest.raises(WeightsError, match=f"in {ways} ways"):
        load(path, layer="features.1")


def test_thousands_of_tables_and_prefixes_take_no_seconds(state: State, tmp_path: Path) -> None:
    one = torch.ones(1)
    names = [f"p{i}.features.0.weight" for i in range(100)]
    tables = {f"t{i}": dict.fromkeys(names, one) for i in range(2100)}
    path = tmp_path / "tables.pth"
    torch.save(tables | {"last": prefixed("net.", state)}, path)
    needs()
    started = time.process_time()
    weights, found = load(path)
    assert time.process_time() - started < 5
    assert weights.reading == "tensors in ['last'] under 'net.'"
    assert_taken(found, state)


def test_of_a_view_only_its_own_numbers_are_kept(state: State, tmp_path: Path) -> None:
    key = "features.0.weight"
    wide = torch.zeros(*state[key].shape, 5)
    wide[..., 2] = state[key]
    path = tmp_path / "wide.pth"
    torch.save(state | {key: wide[..., 2]}, path)
    found = load(path)[1]
    assert_taken(found, state)
    assert found[key].untyped_storage().nbytes() == 4 * found[key].numel()


@pytest.mark.parametrize(("parts", "length"), [(33, 3), (200, 9)])
def test_no_prefix_is_too_long(parts: int, length: int, state: State, tmp_path: Path) -> None:
    prefix = ("x" * length + ".") * parts
    path = tmp_path / "long.pth"
    torch.save(prefixed(prefix, state), path)
    assert_taken(load(path)[1], state)


def test_two_ways_in_a_safetensors_are_refused_with_its_own_way_out(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {key: value + 1 for key, value in state.items()}
    path = tmp_path / "twice.safetensors"
    save_file(prefixed("encoder_q.", state) | prefixed("encoder_k.", other), path)
    with pytest.raises(WeightsError, match="in 2 ways") as caught:
        load(path)
    monkeypatch.chdir(tmp_path)
    exec(caught.value.advice.partition(": ")[2], {})
    _, found = load(tmp_path / "one.pth")
    is_query = "under 'encoder_q.'" in caught.value.found.partition(" and ")[2]
    assert_taken(found, state if is_query else other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {k: v for k, v in s.items() if "12.squeeze" not in k},
         "missing: 'features.12.squeeze.weight', 'features.12.squeeze.bias'"),
        (lambda s: s | {"features.0.weight": torch.ones(64, 3, 5, 5)},
         r"features.0.weight \(64, 3, 5, 5\) instead of \(64, 3, 3, 3\)"),
        (lambda s: {"state_dict": prefixed("module.", dict(list(s.items())[:-8]))},
         r"missing: .*looked at: tensors in \['state_dict'\] under 'module.'"),
        (lambda s: s | {"features.0.bias": torch.eye(64).to_sparse()},
         "features.0.bias is a sparse tensor"),
    ],
)  # fmt: skip
def test_what_lacks_something_needed_is_refused_by_its_name(
    change: Callable[[State], Any], words: str, state: State, tmp_path: Path
) -> None:
    path = tmp_path / "lacking.pth"
    torch.save(change(state), path)
    with pytest.raises(WeightsError, match=f"(?s)do not fit network.*{words}") as caught:
        load(path)
    assert "Give the network that these weights were trained for" not in str(caught.value)
    assert caught.value.exit_status == 65


def test_a_file_of_another_network_is_told_by_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "vit.pth"
    torch.save({"blocks.0.attn.qkv.weight": torch.ones(3, 3)}, path)
    with pytest.raises(WeightsError, match=r"it holds 'blocks.0.attn.qkv.weight'") as caught:
        load(path)
    assert "Give the network that these weights were trained for" in str(caught.value)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_no_name_of_a_file_moves_the_cursor(is_zip: bool, state: State, tmp_path: Path) -> None:
    evil = "\x1b]52;c;AAAA\x07\x1b[2J\r\n"
    path = tmp_path / "evil.pth"
    contents = [
        {evil: prefixed(evil + ".", state), "other": prefixed("x.", {"y": torch.ones(1)})},
        {evil + "1": state, evil + "2": {key: value + 1 for key, value in state.items()}},
        {evil: torch.ones(1)},
        {evil: 3},
        {"a": {evil * 100: torch.eye(3).to_sparse()}},
    ]
    said = []
    for content in contents:
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
        try:
            said.append(load(path)[0].source)
        except WeightsError as error:
            said.append(str(error).replace("\n  ", ""))
    assert len(said) == len(contents)
    assert all(words.isprintable() and len(words) < 1500 for words in said)


def test_one_part_of_several_is_named(state: State, tmp_path: Path) -> None:
    path = tmp_path / "model-00001-of-00002.safetensors"
    save_file(dict(list(state.items())[:20]), path)
    with pytest.raises(WeightsError, match="it is one part of several: join them"):
        load(path)


@pytest.mark.parametrize(
    "make",
    [
        lambda value: value.round().to(torch.int8),
        lambda value: value.long(),
        lambda value: value > 0,
        lambda value: value.to(torch.complex64),
        lambda value: value.to(torch.uint16),
        lambda value: value.to(torch.float8_e4m3fn),
        lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    ],
    ids=["int8", "int64", "bool", "complex64", "uint16", "float8", "quantised"],
)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.filterwarnings("ignore")
def test_what_are_no_floats_are_refused_by_name_where_they_are_needed(
    make: Callable[[Tensor], Tensor], ending: str, state: State, tmp_path: Path
) -> None:
    for key, is_needed in (("features.3.squeeze.weight", True), ("classifier.1.weight", False)):
        path = tmp_path / f"other{ending}"
        changed = state | {key: make(state[key])}
        if ending == ".pth":
            torch.save(changed, path)
        elif changed[key].is_quantized:
            pytest.skip("safetensors has no quantised tensors")
        else:
            save_file(changed, path)
        if is_needed:
            with pytest.raises(WeightsError, match=r"features\.3\.squeeze\.weight") as caught:
                load(path)
            assert caught.value.exit_status == 65
        else:
            assert_taken(load(path)[1], state)


def test_a_path_is_a_path_and_the_maps_are_those_of_the_plain_file(
    state: State, tmp_path: Path
) -> None:
    plain, wrapped = tmp_path / "plain.pth", tmp_path / "wrapped.ckpt"
    torch.save(state, plain)
    torch.save({"state_dict": prefixed("module.", backbone(state))}, wrapped)
    x = torch.randn(1, 3, 64, 64)
    maps = [
        load_network(NETWORK, weights=path, preprocessing="torchvision", device="cpu").maps(x)
        for path in (plain, str(plain), wrapped)
    ]
    assert torch.equal(maps[0]["features"], maps[1]["features"])
    assert torch.equal(maps[0]["features"], maps[2]["features"])


@pytest.mark.parametrize("classes", [7, 1000])
def test_a_classifier_of_any_number_of_classes_is_taken(classes: int, tmp_path: Path) -> None:
    torch.manual_seed(1)
    path = tmp_path / "classes.pth"
    torch.save(models.squeezenet1_1(num_classes=classes).state_dict(), path)
    layer = "classifier.1"
    network = load_network(
        NETWORK, weights=path, layers=[layer], preprocessing="torchvision", device="cpu"
    )
    assert network.layers[layer].channels == classes


# One of each family, the smallest.
SMALL = [
    "vgg8-small", "alexnet", "resnet18", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small",
    "mnasnet0_5", "shufflenet_v2_x0_5", "regnet_y_400mf", "efficientnet_b0", "densenet121",
    "convnext_tiny", "googlenet", "inception_v3",
]  # fmt: skip


@pytest.mark.stress
@pytest.mark.parametrize("name", SMALL)
def test_what_is_not_needed_has_no_part_in_the_layer(name: str) -> None:
    row = networks()[name]
    _, body = skeleton(name)
    needed = set(body.needed([row.default_layer]))
    assert needed < set(body.state_dict())
    body.to_empty(device="cpu").eval()
    for key, target in body.state_dict().items():
        target.fill_(0.01) if key in needed else target.fill_(
            float("nan") if target.is_floating_point() else 0
        )
    with torch.inference_mode():
        vectors = body(torch.rand(1, 3, 256, 256), [row.default_layer])[row.default_layer]
        found = body.head(row.default_layer, vectors.mean((2, 3)))
    assert bool(torch.isfinite(found).all())
