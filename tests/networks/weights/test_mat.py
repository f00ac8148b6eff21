"""MatConvNet's layout written by SciPy, in both forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from deepfeat.errors import WeightsError
from deepfeat.networks.weights.mat import average_image, read


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_both_layouts_give_the_numbers_written(
    old: bool, compressed: bool, write_mat: Callable[..., Path], expected: dict[str, Any]
) -> None:
    tensors = read(write_mat(old=old, compressed=compressed))
    assert list(tensors) == list(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(tensors[key].numpy(), array, err_msg=key, strict=True)


@pytest.mark.parametrize("old", [False, True])
def test_average_colour_is_found_in_both_layouts(old: bool, write_mat: Callable[..., Path]) -> None:
    found = average_image(write_mat(old=old))
    assert found == pytest.approx((123.68, 116.779, 103.939), abs=1e-4)


def test_average_picture_is_averaged(write_mat: Callable[..., Path]) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (5, 7, 3)).astype(np.float32)
    found = average_image(write_mat(image=image))
    assert found == pytest.approx(image.mean(axis=(0, 1), dtype=np.float64), rel=1e-9)


def test_file_without_average_image_says_none(tmp_path: Path) -> None:
    path = tmp_path / "bare.mat"
    savemat(path, {"layers": np.zeros((1, 1))})
    assert average_image(path) is None


def test_filters_that_lost_trailing_sizes_get_them_back(tmp_path: Path) -> None:
    # MATLAB keeps no trailing size of one: a single filter of 3 x 3 x 2 is an array of three sizes.
    filters = np.arange(18, dtype=np.float32).reshape(3, 3, 2)
    cell = np.empty((1, 1), object)
    cell[0, 0] = {"name": "conv1", "filters": filters, "biases": np.float32([[1]])}
    path = tmp_path / "single.mat"
    savemat(path, {"layers": cell})
    weight = read(path)["conv1.weight"].numpy()
    np.testing.assert_array_equal(weight[0], filters.transpose(2, 0, 1), strict=True)
    assert weight.shape == (1, 2, 3, 3)


def test_double_filters_become_float32(tmp_path: Path) -> None:
    cell = np.empty((1, 1), object)
    filters = np.random.default_rng(1).normal(size=(1, 1, 2, 3))
    cell[0, 0] = {"name": "conv1", "filters": filters, "biases": np.zeros((3, 1))}
    path = tmp_path / "double.mat"
    savemat(path, {"layers": cell})
    np.testing.assert_array_equal(
        read(path)["conv1.weight"].numpy(),
        filters.transpose(3, 2, 0, 1).astype(np.float32),
        strict=True,
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"net": np.zeros((1, 1))}, "no cell named 'layers'"),
        ({"layers": np.zeros((1, 3))}, "no cell named 'layers'"),
        ({"layers": np.array([[{"name": "relu", "type": "relu"}]], object)}, "none of its layers"),
        (
            {"layers": np.array([[{"name": "c", "filters": "text", "biases": 0.0}]], object)},
            "no numbers",
        ),
        (
            {"layers": np.array([[{"filters": np.ones((1, 1)), "biases": 0.0}]], object)},
            "has the name ''",
        ),
        (
            {
                "layers": np.array(
                    [[{"name": "c", "filters": np.ones((1, 1, 1, 2)), "biases": [0.0, 1, 2]}]],
                    object,
                )
            },
            "2 filters and 3 biases",
        ),
    ],
)
def test_another_matlab_file_is_refused_with_the_reason(
    content: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.mat"
    savemat(path, content)
    with pytest.raises(WeightsError, match=words):
        read(path)


@pytest.mark.parametrize(
    ("kind", "count", "words"),
    [
        (np.uint8, 24 << 20, "far more bytes as float32"),
        (np.int16, 36 << 20, "far more bytes as float32"),
        (np.uint8, 4 << 20, "none of its layers"),
        (np.float32, 8 << 20, "none of its layers"),
    ],
)
def test_numbers_that_grow_as_they_are_read_are_refused(
    kind: Any, count: int, words: str, tmp_path: Path
) -> None:
    cell = np.empty((1, 1), object)
    cell[0, 0] = {"name": "relu", "other": np.zeros((1, 1), kind)}
    path = tmp_path / "narrow.mat"
    savemat(path, {"layers": cell, "x": np.zeros(count, kind)})
    with pytest.raises(WeightsError, match=words):
        read(path)
