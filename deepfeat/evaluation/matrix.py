"""From stores to one matrix: a row for every entry that has descriptors in all of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfeat.datasets.dataset import DataSet
from deepfeat.evaluation.features import Feature, check_contents, rows_of
from deepfeat.status import Status, name_of
from deepfeat.store.matrix import unit

Matrix = NDArray[np.float32]
Rows = NDArray[np.int64]
BLOCK = 1024
SAME = 0.9999  # cosine above which two images are taken for one (protocols.md 8.26)


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Which rows of which stores belong to which entries.

    Parameters
    ----------
    features : tuple of Feature
    rows : tuple of (M,) int64
        Of each store, for the entries that have descriptors in all.
    position : (N,) int64
        Row of the matrix for each entry, -1 for none.
    missing : tuple of str
        Keys of entries whose images are not there.
    holes : tuple of (key, status name)
        Entries whose image is there and could not be used.
    """

    features: tuple[Feature, ...]
    rows: tuple[Rows, ...]
    position: Rows
    missing: tuple[str, ...]
    holes: tuple[tuple[str, str], ...]


def join(features: Sequence[Feature], dataset: DataSet, wanted: Rows) -> Joined:
    """Join entries and rows by key; ``wanted`` are the entries that some split uses.

    Raises
    ------
    StoreMismatch
        Where a store knows nothing of images that are there, or was made from others.
    """
    found = [rows_of(feature, dataset) for feature in features]
    usable = np.zeros(len(dataset.entries), bool)
    usable[wanted] = True
    missing: set[int] = set()
    holes: dict[int, str] = {}
    for feature, rows in zip(features, found, strict=True):
        check_contents(feature, dataset, rows, wanted)
        statuses = np.where(rows >= 0, feature.store.statuses[rows], Status.MISSING)
        for entry in wanted[statuses[wanted] != Status.OK]:
            if rows[entry] < 0:
                missing.add(int(entry))
            else:
                holes.setdefault(int(entry), name_of(int(statuses[entry])))
        usable &= statuses == Status.OK
    entries = np.flatnonzero(usable)
    position = np.full(len(dataset.entries), -1, np.int64)
    position[entries] = np.arange(len(entries))
    keys = [os.fsdecode(entry.key) for entry in dataset.entries]
    return Joined(
        tuple(features),
        tuple(rows[entries] for rows in found),
        position,
        tuple(keys[entry] for entry in sorted(missing)),
        tuple((keys[entry], status) for entry, status in sorted(holes.items())),
    )


def contents_digest(joined: Joined, dataset: DataSet) -> str:
    """Hex sha256 of what a figure rests on: key, labels and sha256 of every image that was used."""
    digest = hashlib.sha256()
    digests = joined.features[0].store.items["sha256"][joined.rows[0]]
    for entry in np.flatnonzero(joined.position >= 0):
        digest.update(dataset.entries[entry].key + b"\0" + dataset.labels[entry].tobytes())
        digest.update(digests[joined.position[entry]].tobytes())
    return digest.hexdigest()


def matrix_of(
    joined: Joined,
    fuse_weights: Sequence[float] = (),
    *,
    scales: Sequence[str] | None = None,
    across_scales: str | None = None,
) -> Matrix:
    """Read the matrix, (M, D) float32: each network by its block, stacked in order.

    Several networks are weighted and the whole row gets length 1 again, so that C means the same in
    every recipe (protocols.md 8.6, 8.22). ``scales`` and ``across_scales`` replace those of the
    blocks, for a study.
    """
    blocks = []
    for feature, rows in zip(joined.features, joined.rows, strict=True):
        block, store = feature.block, feature.store
        keeps_all = store.identity.sampling.across_scales == "none"
        keys = store.items["key"][rows].tolist()
        blocks.append(
            store.read(
                feature.layer,
                scales=(scales or block.scales) if keeps_all else None,
                across_scales=across_scales or block.across_scales,
                normalise=block.normalise,
                keys=keys,
                missing="raise",
            )
        )
    if len(blocks) == 1:
        return blocks[0]
    weights = fuse_weights or (1.0,) * len(blocks)
    weighted = [b * np.float32(w) for b, w in zip(blocks, weights, strict=True)]
    return unit(np.concatenate(weighted, axis=1))  # K x (M, D_k) -> (M, D)


def twins(
    joined: Joined, X: Matrix, dataset: DataSet, train: Rows, test: Rows
) -> list[tuple[int, int]]:
    """Pairs (test entry, training entry) that show the same image.

    The same bytes, or, unless the network is untrained and finds everything alike, a cosine above
    0.9999.
    """
    position = joined.position
    train, test = (rows[position[rows] >= 0] for rows in (train, test))
    store, rows = joined.features[0].store, joined.rows[0]
    digests = [bytes(one) for one in store.items["sha256"][rows]]
    owners: dict[bytes, list[int]] = {}
    for entry in train:
        owners.setdefault(digests[position[entry]], []).append(int(entry))
    pairs = {(int(t), e) for t in test for e in owners.get(digests[position[t]], ())}
    if not any(feature.untrained for feature in joined.features):
        units = unit(X)
        trained = units[position[train]]
        for start in range(0, len(test), BLOCK):
            some_test = test[start : start + BLOCK]
            cosines = units[position[some_test]] @ trained.T  # (B, D) x (D, n) -> (B, n)
            for row, column in zip(*np.nonzero(cosines > SAME), strict=True):
                pairs.add((int(some_test[row]), int(train[column])))
    return sorted(pairs)
