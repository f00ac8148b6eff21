"""The size rule against its laws and against torchvision; the filter against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from deepfeat.errors import UsageError
from deepfeat.extraction.resize import resize, resized_size

SIDES = st.integers(1, 20_000)
SCALES = st.integers(1, 2_000)


@given(SIDES, SIDES, SCALES)
def test_shorter_side_is_exactly_the_scale(height: int, width: int, scale: int) -> None:
    assert min(resized_size(height, width, str(scale))) == scale


@given(SIDES, SIDES, SCALES)
def test_longer_side_is_the_floor_of_the_ratio(height: int, width: int, scale: int) -> None:
    long = max(resized_size(height, width, str(scale)))
    short, longer = sorted((height, width))
    assert long * short <= longer * scale < (long + 1) * short


@given(SIDES, SIDES, SCALES)
def test_size_turns_with_the_image(height: int, width: int, scale: int) -> None:
    turned = resized_size(width, height, str(scale))
    assert resized_size(height, width, str(scale)) == turned[::-1]


@given(SIDES, SIDES)
def test_native_keeps_the_size(height: int, width: int) -> None:
    assert resized_size(height, width, "native") == (height, width)


@given(SIDES, SIDES, SCALES)
def test_nothing_is_enlarged_where_that_is_forbidden(height: int, width: int, scale: int) -> None:
    size = resized_size(height, width, str(scale), upscale=False)
    allowed = resized_size(height, width, str(scale))
    assert size == ((height, width) if min(height, width) < scale else allowed)


def test_size_is_that_of_torchvision() -> None:
    """A thousand random sizes; the seconds that it takes are the import of torchvision."""
    from torchvision.transforms.functional import _compute_resized_output_size

    draw = np.random.default_rng(0)
    for _ in range(1000):
        height, width, scale = (int(n) for n in draw.integers(1, 3000, 3))
        theirs = tuple(_compute_resized_output_size((height, width), [scale]))
        assert resized_size(height, width, str(scale)) == theirs


@pytest.mark.parametrize("scale", ["0", "-1", "256.0", "", "65536", "Native", "²"])
def test_what_is_no_scale_is_refused(scale: str) -> None:
    with pytest.raises(UsageError, match="not a scale"):
        resized_size(4, 4, scale)


PIXELS = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.mark.parametrize("filter", ["bilinear", "bicubic", "lanczos", "nearest"])
@pytest.mark.parametrize("size", [(20, 30), (7, 90), (80, 120)])
def test_filter_is_that_of_pillow(filter: str, size: tuple[int, int]) -> None:
    method = getattr(Pillow.Resampling, filter.upper())
    theirs = Pillow.fromarray(PIXELS).resize(size[::-1], method)
    assert np.array_equal(resize(PIXELS, size, filter), np.asarray(theirs))


def test_halving_by_the_triangle_filter_is_the_formula() -> None:
    """Halving widens the triangle to four columns with weights 1 3 3 1; equal rows stay out."""
    row = PIXELS[0].astype(float)
    halved = resize(np.repeat(PIXELS[:1], 2, 0), (2, 30))[0]  # column j is around 2 j + 1/2
    inner = sum(w * row[1 + i : 57 + i : 2] for i, w in enumerate((1, 3, 3, 1))) / 8
    assert np.abs(halved[1:29] - inner).max() <= 0.5


def test_same_size_is_the_same_pixels() -> None:
    assert resize(PIXELS, (40, 60)) is PIXELS


def test_unknown_filter_names_the_near_one() -> None:
    with pytest.raises(UsageError, match="bicubic"):
        resize(PIXELS, (5, 5), "bicubik")
