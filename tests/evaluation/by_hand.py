"""Stores and data sets made by hand: descriptors as they are given, no image and no network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from deepfeat.datasets.dataset import DataSet, Entry
from deepfeat.status import Status
from deepfeat.store.identity import Identity, ImagePart, NetworkPart, SamplingPart
from deepfeat.store.writer import Listed, ShardRows, open_writer

KEYS = tuple(b"%02d.png" % number for number in range(100))


PREPROCESSING = {"order": "BGR", "range": 255, "mean": [103.9, 116.8, 123.7], "std": [1, 1, 1]}


def make_store(
    path: Path,
    scales: Mapping[str, np.ndarray],
    *,
    keys: Sequence[bytes] = KEYS,
    holes: Collection[int] = (),
    same: Mapping[int, int] | None = None,
    network: str = "vgg16",
    across_scales: str = "none",
    untrained: bool = False,
    finished: bool = True,
    mirror: bool = True,
    root: Path | None = None,
) -> Path:
    """Write a store: row i of each scale's (N, C) matrix is the descriptor of key i.

    ``same`` says which rows have the bytes of another row's image. An image's bytes are its key, as
    ``make_dataset`` writes them, or those of the file below ``root``.
    """
    count, dimension = next(iter(scales.values())).shape
    order = sorted(range(count), key=lambda row: keys[row])
    named = tuple(scales) if across_scales == "none" else ("256", "384")
    identity = Identity(
        NetworkPart(network, "ab" * 32, "ceil", PREPROCESSING, ("fc7",)),
        ImagePart(True, (255, 255, 255), "floor", "bilinear", True, 178956970, 1 << 29),
        SamplingPart("dense", named, mirror, "mean", across_scales, "fp32", "float32"),
    )
    contents = [_contents(row, keys, same, root) for row in range(count)]
    sizes = [len(one) for one in contents]
    digests = [list(hashlib.sha256(one).digest()) for one in contents]
    status = np.array([Status.CORRUPT if row in holes else Status.OK for row in range(count)], "u1")
    with open_writer(
        path,
        form="sealed",
        identity=identity,
        environment={"python": "3.11"},
        facts={"weights": {"name": "oxford"}, "untrained": untrained},
        listed=[Listed(keys[row], sizes[row], 20) for row in order],
        dimensions={"fc7": dimension},
        shard_images=count if finished else count - 1,
    ) as writer:
        for number in writer.pending[: None if finished else 1]:
            rows = [keys.index(one.key) for one in writer.shard(number)]
            values = {
                ("fc7", scale): np.where(status[rows][:, None] == 0, matrix[rows], np.nan)
                for scale, matrix in scales.items()
            }
            writer.commit(
                number,
                ShardRows(
                    size=np.array(sizes, "i8")[rows],
                    sha256=np.array(digests, "u1")[rows],
                    shape=np.full((len(rows), 2), 64, "i4"),
                    status=status[rows],
                    notes=np.zeros(len(rows), "u4"),
                    descriptors={name: block.astype("f4") for name, block in values.items()},
                    details=["" if code == 0 else "broken" for code in status[rows]],
                ),
            )
        if finished:
            writer.finish()
    return path if finished else path.with_name(f"{path.name}.work")


def _contents(
    row: int, keys: Sequence[bytes], same: Mapping[int, int] | None, root: Path | None
) -> bytes:
    if root is not None:
        return (root / os.fsdecode(keys[row])).read_bytes()
    return keys[(same or {}).get(row, row)]


def make_dataset(
    folder: Path,
    labels: np.ndarray,
    splits: Mapping[str, Sequence[int]] | None = None,
    *,
    name: str = "voc2007",
    keys: Sequence[bytes] = KEYS,
    absent: Collection[int] = (),
    same: Mapping[int, int] | None = None,
) -> DataSet:
    """A data set whose files are there, but for ``absent``; classes are a, b, c ..."""
    folder.mkdir(exist_ok=True)
    count, classes = labels.shape
    for row in set(range(count)) - set(absent):
        (folder / os.fsdecode(keys[row])).write_bytes(_contents(row, keys, same, None))
    return DataSet(
        name,
        tuple(Entry(key, folder / os.fsdecode(key)) for key in keys[:count]),
        tuple("abcdefghijklmnopqrstuvwxyz"[:classes]),
        labels.astype(np.int8),
        {split: np.array(rows, np.int64) for split, rows in (splits or {}).items()},
    )


def clouds(owners: Sequence[int], dimension: int, seed: int, noise: float = 1.0) -> np.ndarray:
    """(N, D) float32: each class a point of its own, and noise around it."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 1, (max(owners) + 1, dimension))
    rows = centres[list(owners)] + noise * random.normal(0, 1, (len(owners), dimension))
    return np.maximum(rows + 1, 0).astype(np.float32)


def single(owners: Sequence[int], classes: int | None = None) -> np.ndarray:
    """(N, L) labels: 1 for the owner, -1 for the others."""
    return np.where(np.arange(classes or max(owners) + 1) == np.array(owners)[:, None], 1, -1)
