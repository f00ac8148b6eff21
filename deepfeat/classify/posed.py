"""Problems as they were given, and some columns of them as a solver takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.intp] | None


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """``y``, ``weights`` and ``start`` (N, P): ``start`` the dual of similar problems, or None."""

    y: NDArray[np.int8]
    weights: NDArray[np.float64]
    start: NDArray[np.float32] | None

    @property
    def is_cold(self) -> bool:
        """Whether a problem starts from w = 0."""
        return self.start is None or not self.start.any(axis=0).all()

    @property
    def heaviest(self) -> float:
        """The largest weight."""
        return float(self.weights.max(initial=0))

    def columns(
        self, which: NDArray[np.intp], device: torch.device, rows: Rows = None
    ) -> tuple[Tensor, Tensor]:
        """y, 0 where the weight is, and weights of some problems: (p, n) float64 each."""
        weights = _some(self.weights, which, device, rows)
        return torch.where(weights > 0, _some(self.y, which, device, rows), 0.0), weights

    def start_of(
        self, which: NDArray[np.intp], device: torch.device, rows: Rows = None
    ) -> Tensor | None:
        """Their duals (p, n) float64, or None."""
        return None if self.start is None else _some(self.start, which, device, rows)


def _some(
    array: NDArray[np.generic], which: NDArray[np.intp], device: torch.device, rows: Rows
) -> Tensor:
    some = array[:, which] if rows is None else array[np.ix_(rows, which)]
    return torch.from_numpy(np.ascontiguousarray(some.T, np.float64)).to(device)
