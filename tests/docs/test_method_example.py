"""The worked example of docs/method.md: its numbers by the package, by NumPy, and in the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepfeat.extraction.describe import OVER_POSITIONS
from deepfeat.networks.dense import Stages, fully_connected
from deepfeat.networks.vgg import build
from deepfeat.store.matrix import combine

PAGE = (Path(__file__).parents[2] / "docs" / "method.md").read_text()
IMAGE = np.array([[1, 0, 2, 0, 1], [0, 1, 0, 3, 0], [2, 0, 1, 0, 0]], np.float32)
WEIGHTS, BIAS = np.array([1, 2, -1, 0], np.float32), -1.0
MAP = [[0, 2, 1, 0], [0, 0, 4, 2]]
BEFORE_RELU = [[0, 2, 1, -2], [-1, 0, 4, 2]]
MIRRORED = [[0, 0, 1, 0], [5, 2, 0, 0]]
SCALES = [np.array([[1.0625, 0.5]], np.float32), np.array([[0.9375, 1.5]], np.float32)]


def layer() -> Stages:
    """The fully-connected layer on 2 x 2 inputs as deepfeat makes it dense."""
    stages = Stages(fully_connected("fc6", 1, 1, 2, key="classifier.0"))
    state = {
        "classifier.0.weight": torch.from_numpy(WEIGHTS)[None],
        "classifier.0.bias": torch.tensor([BIAS]),
    }
    stages.load_state_dict(stages.convert(state, "torchvision"))
    return stages.eval()


def windows(image: np.ndarray) -> np.ndarray:
    """The layer on every 2 x 2 window, one after the other."""
    rows, columns = image.shape[0] - 1, image.shape[1] - 1
    flat = [[image[i : i + 2, j : j + 2].ravel() for j in range(columns)] for i in range(rows)]
    return np.maximum(np.array(flat) @ WEIGHTS + BIAS, 0)


def dense(image: np.ndarray, name: str = "fc6") -> torch.Tensor:
    with torch.inference_mode():
        x = torch.from_numpy(image.copy())[None, None]
        return layer()(x, [name])[name]  # type: ignore[no-any-return]


def test_the_maps_are_those_of_the_page() -> None:
    assert windows(IMAGE).tolist() == MAP
    assert dense(IMAGE)[0, 0].tolist() == MAP
    assert dense(IMAGE, "fc6-prerelu")[0, 0].tolist() == BEFORE_RELU
    assert dense(IMAGE[:, ::-1])[0, 0].tolist() == MIRRORED
    assert windows(IMAGE[:, ::-1]).tolist() == MIRRORED


def test_the_descriptor_is_that_of_the_page() -> None:
    means = [OVER_POSITIONS["mean"](dense(view)).item() for view in (IMAGE, IMAGE[:, ::-1])]
    assert means == [1.125, 1.0]
    assert sum(means) / 2 == 1.0625


def test_the_maps_stand_in_the_page() -> None:
    lines = [" ".join(line.split()) for line in PAGE.splitlines()]
    for row in [*BEFORE_RELU, *MAP, *MIRRORED]:
        text = " ".join(map(str, row))
        assert any(text in line for line in lines), text


@pytest.mark.parametrize(
    ("across", "expected"),
    [
        ("mean", np.mean(SCALES, axis=0)[0]),
        ("max", np.max(SCALES, axis=0)[0]),
        ("stack", np.hstack(SCALES)[0]),
    ],
)
def test_the_table_of_aggregates_is_numpys_and_ours(across: str, expected: np.ndarray) -> None:
    unit = expected / np.linalg.norm(expected)
    cells = [", ".join(f"{v:g}" for v in expected), ", ".join(f"{v:.4f}" for v in unit)]
    assert f"| {across} | ({cells[0]}) | ({cells[1]}) |" in PAGE
    assert combine(SCALES, across, "none")[0].tolist() == expected.tolist()
    assert combine(SCALES, across, "end")[0] == pytest.approx(unit, rel=1e-6)


def test_the_table_of_sizes_is_what_networks_give() -> None:
    for scale in (256, 384, 512, 640, 768):
        sides = (scale, 500 * scale // 375)
        cells = [f"{a} x {b}" for a, b in (sides, _shape(sides, False), _shape(sides, True))]
        assert f"| {scale} | {' | '.join(cells)} |" in PAGE


def test_the_smallest_sides_of_the_page_have_one_position() -> None:
    assert "the smallest side\nis 193 or 224" in PAGE
    assert _shape((193, 193), True) == (1, 1)
    assert _shape((224, 224), False) == (1, 1)
    for side, ceil in ((192, True), (223, False)):
        with pytest.raises(RuntimeError):
            _shape((side, side), ceil)


def _shape(sides: tuple[int, int], ceil: bool) -> tuple[int, int]:
    with torch.device("meta"):
        body = build("vgg8-small", classes=2, ceil=ceil).eval()
        x = torch.empty(1, 3, *sides)
    rows, columns = body(x, ["fc7"])["fc7"].shape[2:]
    return int(rows), int(columns)
