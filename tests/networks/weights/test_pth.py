"""States saved by torch itself, in its two formats; what is hostile stands in its own file."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import models

from deepfeat.errors import WeightsError
from deepfeat.networks.weights import pth
from deepfeat.networks.weights.held import Held


def read(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a file that holds one table of them."""
    found = {}
    for key, value in pth.read(path).items():
        assert isinstance(key, str)
        assert isinstance(value, Held)
        found[key] = value.read()
    return found


BOTH = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])


@BOTH
def test_both_formats_give_the_numbers_written(
    is_zip: bool, small: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "small.pth"
    state = OrderedDict((key, torch.from_numpy(array)) for key, array in small.items())
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    tensors = read(path)
    assert list(tensors) == list(small)
    for key, array in small.items():
        np.testing.assert_array_equal(tensors[key].numpy(), array, err_msg=key, strict=True)


@BOTH
def test_state_of_a_real_network_is_read(is_zip: bool, tmp_path: Path) -> None:
    state = models.squeezenet1_1(num_classes=3).state_dict()
    path = tmp_path / "squeezenet.pth"
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    tensors = read(path)
    assert list(tensors) == list(state)
    assert all(torch.equal(tensors[key], state[key]) for key in state)


@BOTH
def test_parameters_counters_and_half_floats_are_read(is_zip: bool, tmp_path: Path) -> None:
    state = {
        "weight": torch.nn.Parameter(torch.arange(3.0)),
        "num_batches_tracked": torch.tensor(7),
        "half": torch.ones(2, dtype=torch.float16),
        "brain": torch.ones(2, dtype=torch.bfloat16),
    }
    path = tmp_path / "kinds.pth"
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    tensors = read(path)
    assert {key: value.dtype for key, value in tensors.items()} == {
        "weight": torch.float32,
        "num_batches_tracked": torch.int64,
        "half": torch.float16,
        "brain": torch.bfloat16,
    }


@BOTH
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(2)], "holds a list"),
        ({"state_dict": {}}, "'state_dict' is a dict, not a tensor"),
        ({"epoch": 7}, "'epoch' is a int"),
        ({3: torch.zeros(2)}, "not tensors by name"),
        ({"a": torch.zeros(1).expand(1 << 40)}, "claim more bytes"),
        ({"a": torch.eye(3).to_sparse()}, "holds a sparse tensor"),
        (torch.zeros(2), "holds a tensor, not tensors by name"),
        (None, "holds a NoneType"),
    ],
    ids=["list", "checkpoint", "number", "key", "expanded", "sparse", "tensor", "nothing"],
)
def test_anything_but_tensors_by_name_is_refused(
    is_zip: bool, content: Any, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match=words):
        read(path)


@BOTH
def test_a_whole_network_is_refused_by_the_name_of_its_class(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "network.pth"
    torch.save(np.float32(1), path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match="wants to use 'numpy"):
        read(path)


@BOTH
def test_a_cut_file_is_refused(is_zip: bool, small: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    state = {key: torch.from_numpy(array) for key, array in small.items()}
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    for cut in (0, 1, 3, 4, 10, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(WeightsError, match="is refused"):
            read(path)


def test_the_advice_never_is_to_load_unsafely(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"a": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(WeightsError) as caught:
        read(path)
    assert "weights_only" not in str(caught.value)


@BOTH
def test_a_long_list_of_numbers_beside_the_tensors_is_no_damage(
    is_zip: bool, tmp_path: Path
) -> None:
    path = tmp_path / "curve.pth"
    state = {"a": torch.ones(2)}
    curve = [0.5 * number for number in range(600_000)]
    torch.save(state | {"loss": curve}, path, _use_new_zipfile_serialization=is_zip)
    assert torch.equal(read(path)["a"], state["a"])


@BOTH
def test_a_pickle_that_is_too_long_is_called_so(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "array.pth"
    content = {"a": torch.ones(2), "images": np.zeros(17 << 20, np.uint8)}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match="its pickle is over 16 MiB"):
        read(path)


@BOTH
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["qint8", "quint8", "qint32", "float8", "uint16"])
def test_what_nobody_needs_costs_no_file(is_zip: bool, kind: str, tmp_path: Path) -> None:
    ones = torch.ones(7)
    odd = {
        "qint8": lambda: torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
        "quint8": lambda: torch.quantize_per_tensor(ones, 0.1, 0, torch.quint8),
        "qint32": lambda: torch.quantize_per_tensor(ones, 0.1, 0, torch.qint32),
        "float8": lambda: ones.to(torch.float8_e4m3fn),
        "uint16": lambda: ones.to(torch.uint16),
    }[kind]()
    path = tmp_path / "odd.pth"
    plain = torch.arange(5.0)
    torch.save({"x": odd, "a": plain, "z": odd}, path, _use_new_zipfile_serialization=is_zip)
    found = pth.read(path)["a"]
    assert isinstance(found, Held)
    assert torch.equal(found.read(), plain)


@BOTH
@pytest.mark.parametrize(("views", "is_taken"), [(1, True), (3, True), (6, False), (300, False)])
def test_views_may_leave_out_some_times_the_files_bytes_together(
    views: int, is_taken: bool, is_zip: bool, tmp_path: Path
) -> None:
    storage = torch.arange(100_000.0)
    state = {f"a{i}": storage[i::90_000] for i in range(views)}  # two numbers, far apart
    path = tmp_path / "spread.pth"
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    if is_taken:
        assert all(torch.equal(tensor, state[key]) for key, tensor in read(path).items())
    else:
        with pytest.raises(WeightsError, match="spread over far more bytes"):
            read(path)


@BOTH
@pytest.mark.parametrize(("depth", "is_taken"), [(20, True), (32, True), (33, False)])
def test_tables_that_are_too_deep_are_no_tables_left_out(
    depth: int, is_taken: bool, is_zip: bool, tmp_path: Path
) -> None:
    deep: Any = {"b": torch.ones(2)}
    for _ in range(depth - 1):
        deep = {"n": deep}
    path = tmp_path / "deep.pth"
    content = {"a": torch.ones(2), "n": deep}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    if is_taken:
        found: Any = pth.read(path)
        for _ in range(depth):
            found = found["n"]
        assert torch.equal(found["b"].read(), torch.ones(2))
    else:
        with pytest.raises(WeightsError, match="nest over 32 deep"):
            pth.read(path)
