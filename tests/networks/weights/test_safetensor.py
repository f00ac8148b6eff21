"""Files written by safetensors, read after our own look at their header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from deepfeat.networks.weights.safetensor import metadata, read

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


def test_numbers_are_as_written(small: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    save_file({key: torch.from_numpy(array) for key, array in small.items()}, path)
    tensors = read(path)
    assert set(tensors) == set(small)
    for key, array in small.items():
        np.testing.assert_array_equal(tensors[key].numpy(), array, err_msg=key, strict=True)


def test_metadata_are_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "said.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"preprocessing": "caffe"})
    assert metadata(path) == {"preprocessing": "caffe"}
    assert set(read(path)) == {"a"}


def test_file_without_metadata_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "silent.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    assert metadata(path) == {}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tensors=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(
            lambda name: name != "__metadata__"
        ),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=4)),
        min_size=1,
        max_size=5,
    )
)
def test_what_safetensors_writes_is_never_refused(
    tensors: dict[str, tuple[torch.dtype, list[int]]], tmp_path: Path
) -> None:
    path = tmp_path / "any.safetensors"
    saved = {name: torch.ones(shape).to(dtype) for name, (dtype, shape) in tensors.items()}
    save_file(saved, path)
    found = read(path)
    assert {name: (t.dtype, t.shape) for name, t in found.items()} == {
        name: (t.dtype, t.shape) for name, t in saved.items()
    }
