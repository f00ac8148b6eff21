"""The optimality of one squared-hinge SVM from its definition: NumPy alone, float64, explicit w.

P(w) = 1/2 |w|^2 + sum_i c_i max(0, 1 - y_i w.x_i)^2, the constant feature s appended to x. The dual
point is alpha = 2 c xi at the best multiple; D(alpha) = sum alpha - 1/2 |sum alpha_i y_i x_i|^2
- sum alpha_i^2 / (4 c_i).
"""

from __future__ import annotations

import numpy as np


def with_constant(X: np.ndarray, scale: float) -> np.ndarray:
    return np.hstack([np.asarray(X, np.float64), np.full((len(X), 1), scale)])


def objective(
    X: np.ndarray,
    y: np.ndarray,
    c: np.ndarray,
    coef: np.ndarray,
    intercept: float,
    scale: float = 1,
) -> float:
    w = np.append(np.asarray(coef, np.float64), intercept / scale if scale else 0.0)
    use = c > 0
    slack = np.maximum(0, 1 - y[use] * (with_constant(X, scale)[use] @ w))
    return float(w @ w / 2 + c[use] @ slack**2)


def bound(
    X: np.ndarray,
    y: np.ndarray,
    c: np.ndarray,
    coef: np.ndarray,
    intercept: float,
    scale: float = 1,
) -> float:
    """A value that no w can go below."""
    use = c > 0
    rows, y, c = with_constant(X, scale)[use], y[use].astype(np.float64), c[use]
    w = np.append(np.asarray(coef, np.float64), intercept / scale if scale else 0.0)
    alpha = 2 * c * np.maximum(0, 1 - y * (rows @ w))
    pull = (alpha * y) @ rows
    curvature = pull @ pull + (alpha**2 / (2 * c)).sum()
    t = alpha.sum() / curvature if curvature > 0 else 0.0
    return float(t * alpha.sum() - t**2 * curvature / 2)
