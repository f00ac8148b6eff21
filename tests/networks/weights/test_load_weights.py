"""From what is asked for to weights: names, files, random ones, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from deepfeat.errors import (
    DeepfeatError,
    NetworkError,
    NoPermission,
    WeightsError,
    WeightsUnavailable,
)
from deepfeat.networks.preprocessing import PREPROCESSINGS
from deepfeat.networks.weights import load
from deepfeat.networks.weights.fit import Wanted
from deepfeat.networks.weights.load import Weights, check_layers
from deepfeat.networks.weights.named import Download, Named

VGG_KEYS = ["features.0", "classifier.0", "classifier.3", "classifier.6"]
VGG_SHAPES = {f"{key}.weight": (2, 3) for key in VGG_KEYS}


def load_weights(
    network: str,
    spec: str | None,
    shapes: Mapping[str, tuple[int, ...]] = VGG_SHAPES,
    **options: Any,
) -> tuple[Weights, dict[str, torch.Tensor] | None]:
    """For a network that needs tensors of these names and shapes."""
    known = frozenset(shapes) | frozenset(VGG_SHAPES)
    wanted = Wanted(network, {key: (shape,) for key, shape in shapes.items()}, known)
    return load.load_weights(network, spec, lambda layout: wanted, **options)


def state_of(names: list[str]) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    return {f"{name}.weight": torch.randn(2, 3, generator=random) for name in names}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_state(state: dict[str, torch.Tensor], name: str = "mine.safetensors") -> Path:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save(state, path)
        return path

    return write_state


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a state into a cache under the name of published weights, whose row is adapted to it."""

    def put(named: Named, state: dict[str, torch.Tensor]) -> Path:
        path = tmp_path / "weights" / named.download.file
        path.parent.mkdir(exist_ok=True)
        torch.save(state, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        row = Named(
            named.name,
            named.network,
            Download(path.name, "http://127.0.0.1:1/", digest[:8], None),
            named.preprocessing,
            named.pooling,
            named.allows,
            named.source,
        )
        monkeypatch.setattr(load, "named_weights", lambda network, name: row)
        return tmp_path

    return put


@pytest.mark.parametrize("spec", [None, "oxford"])
def test_oxford_brings_what_the_paper_needs(spec: str | None, cached: Callable[..., Path]) -> None:
    old = ["features.0", "classifier.1", "classifier.4", "classifier.6"]
    state = state_of(old)
    cache = cached(load.named_weights("vgg16", "oxford"), state)
    weights, found = load_weights("vgg16", spec, cache=cache)
    assert found is not None
    assert weights.name == "oxford"
    assert weights.preprocessing == PREPROCESSINGS["caffe-vgg"]
    assert (weights.pooling, weights.layout) == ("ceil", "torchvision")
    assert (weights.untrained, weights.allows) == (False, "all")
    path = cache / "weights/vgg16-00b39a1b.pth"
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    # Johnson's keys become torchvision's, with their own numbers.
    assert list(found) == [f"{name}.weight" for name in VGG_KEYS]
    for new, before in zip(VGG_KEYS, old, strict=True):
        assert torch.equal(found[f"{new}.weight"], state[f"{before}.weight"])


@pytest.mark.parametrize("spec", ["IMAGENET1K_V1", "AlexNet_Weights.IMAGENET1K_V1"])
def test_torchvisions_names_are_known_short_and_long(
    spec: str, cached: Callable[..., Path]
) -> None:
    # AlexNet's own keys are 1, 4, 6: nothing is renamed.
    state = state_of(["features.0", "classifier.1", "classifier.4", "classifier.6"])
    cache = cached(load.named_weights("alexnet", "IMAGENET1K_V1"), state)
    shapes = {key: (2, 3) for key in state}
    weights, found = load_weights("alexnet", spec, shapes, cache=cache)
    assert found is not None
    assert list(found) == list(state)
    assert (weights.name, weights.pooling) == ("IMAGENET1K_V1", "floor")
    assert weights.preprocessing == PREPROCESSINGS["torchvision"]


def test_preprocessing_against_the_names_own_is_refused(cached: Callable[..., Path]) -> None:
    cache = cached(load.named_weights("vgg16", "oxford"), state_of(VGG_KEYS))
    with pytest.raises(NetworkError, match="bring their own preprocessing"):
        load_weights("vgg16", "oxford", preprocessing="torchvision", cache=cache)
    weights, _ = load_weights("vgg16", "oxford", preprocessing="caffe-vgg", cache=cache)
    assert weights.preprocessing.name == "caffe-vgg"


def test_download_that_cannot_happen_ends_with_69(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFEAT_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable, match="vgg16-00b39a1b.pth") as caught:
        load_weights("vgg16", None, cache=tmp_path)
    assert caught.value.exit_status == 69
    assert str(tmp_path / "weights") in str(caught.value)


def test_port_of_the_convolutions_allows_features_only(cached: Callable[..., Path]) -> None:
    state = state_of(VGG_KEYS)
    cache = cached(load.named_weights("vgg16", "IMAGENET1K_FEATURES"), state)
    weights, _ = load_weights("vgg16", "IMAGENET1K_FEATURES", cache=cache)
    assert weights.allows == "features"  # by name, with every number finite


def test_port_of_the_convolutions_is_known_as_a_file_by_its_hash(
    write: Callable[..., Path], cached: Callable[..., Path]
) -> None:
    state = state_of(VGG_KEYS)
    cache = cached(load.named_weights("vgg16", "IMAGENET1K_FEATURES"), state)
    path = cache / "weights/vgg16_features-amdegroot-88682ab5.pth"
    copy = path.rename(cache / "copy.pth")
    weights, _ = load_weights("vgg16", str(copy), preprocessing="torchvision-features")
    assert weights.allows == "features"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_the_layer_does_not_need_may_hold_no_numbers(
    value: float, write: Callable[..., Path]
) -> None:
    state = state_of(VGG_KEYS)
    state["classifier.3.weight"][1, 2] = value
    before = {key: (2, 3) for key in VGG_SHAPES if key < "classifier.3"} | {
        "features.0.weight": (2, 3)
    }
    _, found = load_weights("vgg16", str(write(state)), before, preprocessing="torchvision")
    assert found is not None
    assert "classifier.3.weight" not in found
    with pytest.raises(WeightsError, match="NaN or Inf in 'classifier.3.weight'") as caught:
        load_weights("vgg16", str(write(state)), preprocessing="torchvision")
    assert caught.value.exit_status == 65


@pytest.mark.parametrize(
    ("network", "key"), [("vgg16", "features.0.weight"), ("resnet50", "classifier.6.weight")]
)
def test_numbers_that_are_none_are_refused_by_tensor(
    network: str, key: str, write: Callable[..., Path]
) -> None:
    state = state_of(VGG_KEYS)
    state[key][0, 0] = float("nan")
    with pytest.raises(WeightsError, match=f"NaN or Inf in '{key}'"):
        load_weights(network, str(write(state)), preprocessing="torchvision")


def test_layers_without_valid_values_are_refused(cached: Callable[..., Path]) -> None:
    cache = cached(load.named_weights("vgg16", "IMAGENET1K_FEATURES"), state_of(VGG_KEYS))
    weights, _ = load_weights("vgg16", "IMAGENET1K_FEATURES", cache=cache)
    check_layers(weights, ["pool5", "conv5_3"], ("fc6", "fc7", "fc8"))
    with pytest.raises(NetworkError, match="no valid values for 'fc7'") as caught:
        check_layers(weights, ["pool5", "fc7"], ("fc6", "fc7", "fc8"))
    assert caught.value.exit_status == 64


def test_whole_weights_allow_every_layer(write: Callable[..., Path]) -> None:
    path = write(state_of(VGG_KEYS))
    weights, _ = load_weights("vgg16", str(path), preprocessing="torchvision")
    assert weights.allows == "all"
    check_layers(weights, ["fc7"], ("fc6", "fc7", "fc8"))


def test_one_network_in_every_form_gives_the_same_tensors(
    write: Callable[..., Path],
    write_mat: Callable[..., Path],
    write_caffemodel: Callable[..., Path],
    small: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    keys = {"conv1_1": "features.0", "conv2_1": "features.3"}
    keys |= {"fc6": "classifier.0", "fc7": "classifier.3"}
    state = {}
    for key, array in expected.items():
        name, _, kind = key.partition(".")
        state[f"{keys[name]}.{kind}"] = torch.from_numpy(array)
    caffe_shapes = {key: array.shape for key, array in expected.items()}
    paths = [write(state), write(state, "mine.pth"), write_mat(), write_mat(old=True)]
    paths += [write_caffemodel("v1"), write_caffemodel("new")]
    for path in paths:
        is_mine = path.stem == "mine"
        shapes = {key: tuple(t.shape) for key, t in state.items()} if is_mine else caffe_shapes
        weights, found = load_weights("vgg11", str(path), shapes, preprocessing="matconvnet-vgg")
        assert found is not None
        assert weights.layout == ("torchvision" if path.stem == "mine" else "caffe-names")
        named = found
        if weights.layout == "torchvision":
            back = {value: key for key, value in keys.items()}
            named = {
                f"{back[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value
                for key, value in found.items()
            }
        assert set(named) == set(expected)
        for key, array in expected.items():
            assert torch.equal(named[key], torch.from_numpy(array)), (path, key)


@pytest.mark.parametrize(
    ("network", "name", "pooling"),
    [("vgg16", "mine.safetensors", "floor"), ("resnet50", "mine.pth", "as-built")],
)
def test_file_is_known_by_its_bytes(
    network: str, name: str, pooling: str, write: Callable[..., Path]
) -> None:
    path = write(state_of(VGG_KEYS), name)
    weights, _ = load_weights(network, str(path), preprocessing="caffe")
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (weights.name, weights.pooling, weights.untrained) == (name, pooling, False)
    assert weights.preprocessing == PREPROCESSINGS["caffe"]


@pytest.mark.parametrize("form", ["mat", "caffemodel"])
def test_files_of_caffe_round_up(
    form: str, write_mat: Callable[..., Path], write_caffemodel: Callable[..., Path]
) -> None:
    path = {"mat": write_mat, "caffemodel": write_caffemodel}[form]()
    shapes = {"conv1_1.weight": (4, 3, 3, 3)}
    weights, _ = load_weights("vgg11", str(path), shapes, preprocessing="caffe-vgg")
    assert weights.pooling == "ceil"


def test_rounding_of_the_toml_file_wins(write: Callable[..., Path], tmp_path: Path) -> None:
    toml = tmp_path / "mine.toml"
    toml.write_text('order="RGB"\nrange=1\nmean=[0,0,0]\nstd=[1,1,1]\npooling="ceil"')
    weights, _ = load_weights("vgg16", str(write(state_of(VGG_KEYS))), preprocessing=str(toml))
    assert weights.pooling == "ceil"
    assert weights.preprocessing.name == "mine.toml"


def test_half_floats_are_widened(write: Callable[..., Path]) -> None:
    state = {
        "half": torch.tensor([0.1, 60000], dtype=torch.float16),
        "brain": torch.tensor([0.1, 3e38], dtype=torch.bfloat16),
        "double": torch.tensor([0.1, 1], dtype=torch.float64),
        "bn.num_batches_tracked": torch.tensor(5),
    }
    shapes = {key: (2,) for key in ("half", "brain", "double")}
    for name in ("mine.safetensors", "mine.pth"):
        path = str(write(state, name))
        _, found = load_weights("resnet50", path, shapes, preprocessing="torchvision")
        assert found is not None
        assert torch.equal(found["half"], torch.tensor([0.0999755859375, 60000.0]))
        assert torch.equal(found["brain"], state["brain"].float())
        assert torch.equal(found["double"], torch.tensor([0.1, 1]))
        assert {value.dtype for value in found.values()} == {torch.float32}


def test_doubles_that_overflow_float32_are_refused(write: Callable[..., Path]) -> None:
    path = write({"double": torch.tensor([1e300], dtype=torch.float64)})
    with pytest.raises(WeightsError, match="NaN or Inf in 'double'"):
        load_weights("resnet50", str(path), {"double": (1,)}, preprocessing="torchvision")


def test_mixed_classifier_keys_are_refused(write: Callable[..., Path]) -> None:
    path = write(state_of(["features.0", "classifier.0", "classifier.4"]))
    with pytest.raises(WeightsError, match=r"missing: 'classifier\.[36]\.weight'"):
        load_weights("vgg16", str(path), preprocessing="torchvision")


def test_old_keys_of_densenet_are_renamed(write: Callable[..., Path]) -> None:
    prefix = "features.denseblock1.denselayer2."
    path = write(state_of([prefix + "norm.1", prefix + "conv.2", "features.norm5"]), "d.pth")
    new = [f"{prefix}norm1.weight", f"{prefix}conv2.weight", "features.norm5.weight"]
    shapes = dict.fromkeys(new, (2, 3))
    _, found = load_weights("densenet121", str(path), shapes, preprocessing="torchvision")
    assert found is not None
    assert list(found) == new


@pytest.mark.parametrize(
    ("stated", "words"), [("caffe", "metadata say 'caffe'"), (None, "'torchvision'")]
)
def test_file_without_preprocessing_is_refused_with_the_choices(
    stated: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"preprocessing": stated} if stated else None)
    with pytest.raises(NetworkError, match=words) as caught:
        load_weights("vgg16", str(path))
    assert all(f"'{name}'" in str(caught.value) for name in PREPROCESSINGS)
    assert caught.value.exit_status == 64


def test_mat_without_preprocessing_reports_its_average(write_mat: Callable[..., Path]) -> None:
    with pytest.raises(NetworkError, match=r"\(123.68, 116.779, 103.939\).*'matconvnet-vgg'"):
        load_weights("vgg16", str(write_mat()))


@pytest.mark.parametrize("preprocessing", [None, "caffe"])
def test_random_weights_are_labelled(preprocessing: str | None) -> None:
    weights, state = load_weights("vgg16", "random:7", preprocessing=preprocessing)
    assert state is None
    assert (weights.name, weights.untrained, weights.sha256) == ("random:7", True, "")
    assert weights.preprocessing.name == (preprocessing or "torchvision")
    assert (weights.pooling, weights.allows) == ("floor", "all")


@pytest.mark.parametrize("spec", ["random:", "random:x", "random:-1", "random:1.5", "random:1 "])
def test_seed_must_be_a_number(spec: str) -> None:
    with pytest.raises(NetworkError, match="random:SEED"):
        load_weights("vgg16", spec)


def test_unknown_name_gets_the_near_miss() -> None:
    with pytest.raises(NetworkError, match="Did you mean 'oxford'") as caught:
        load_weights("vgg16", "oxfrod")
    assert caught.value.exit_status == 64


def test_weights_of_another_network_are_unknown() -> None:
    with pytest.raises(NetworkError, match="unknown weights 'oxford' for network 'resnet50'"):
        load_weights("resnet50", "oxford")


def _absent(folder: Path) -> Path:
    return folder / "absent.pth"


def _folder(folder: Path) -> Path:
    path = folder / "folder.pth"
    path.mkdir()
    return path


def _another_form(folder: Path) -> Path:
    path = folder / "weights.onnx"
    path.write_bytes(b"x")
    return path


def _pipe(folder: Path) -> Path:
    import os

    path = folder / "pipe.pth"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (_absent, WeightsUnavailable, "is not there"),
        (_folder, WeightsError, "not a regular file"),
        (_pipe, WeightsError, "not a regular file"),
        (_another_form, WeightsError, "no known form"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    make: Callable[[Path], Path], error: type[DeepfeatError], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        load_weights("vgg16", str(make(tmp_path)), preprocessing="caffe")


def test_unreadable_file_ends_with_77(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(state_of(VGG_KEYS))

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    # By patch, because root may read everything.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(NoPermission) as caught:
        load_weights("vgg16", str(path), preprocessing="caffe")
    assert caught.value.exit_status == 77
