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
