"""The ± over splits, by hand."""

from __future__ import annotations

import math

import pytest

from deepfeat.errors import DataError, UsageError
from deepfeat.metrics.spread import SPREADS, spread


def test_by_hand() -> None:
    figures = [90, 92, 94]
    assert spread(figures) == 2  # (4 + 0 + 4) / (3 - 1)
    assert spread(figures, "std1") == 2
    assert spread(figures, "std0") == pytest.approx(math.sqrt(8 / 3))


def test_one_split_has_no_sample_deviation() -> None:
    assert math.isnan(spread([91.8]))
    assert spread([91.8], "std0") == 0
    assert all(math.isnan(spread([], name)) for name in SPREADS)


@pytest.mark.parametrize("figures", [[1, math.nan], [math.inf, 1], [[1, 2], [3, 4]], 1])
def test_what_has_no_spread_is_refused(figures: object) -> None:
    with pytest.raises(DataError):
        spread(figures)  # type: ignore[arg-type]


def test_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="std1"):
        spread([1, 2], "std2")
