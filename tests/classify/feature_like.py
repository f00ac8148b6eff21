"""Rows like descriptors: sparse, positive, of length 1, with a strong common direction."""

from __future__ import annotations

import numpy as np


def feature_like(rows: int, columns: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X (N, D) float32 and y (N, L) int8 in {-1, 1}, classes from rare to common."""
    random = np.random.default_rng(seed)
    latent = random.normal(size=(rows, 24))
    X = np.maximum(latent @ random.normal(size=(24, columns)), 0)
    X += np.maximum(0.5 * random.normal(size=X.shape), 0)
    X /= np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-3)
    score = latent[:, :classes] + 0.4 * random.normal(size=(rows, classes))
    shares = np.geomspace(0.04, 0.4, classes)
    limits = [np.quantile(score[:, j], 1 - share) for j, share in enumerate(shares)]
    return X.astype(np.float32), np.where(score > limits, 1, -1).astype(np.int8)
