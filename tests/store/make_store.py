"""Stores of three small shards, made by hand: the same call gives the same rows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from deepfeat.store.identity import Identity, ImagePart, NetworkPart, SamplingPart
from deepfeat.store.writer import Listed, ShardRows, StoreWriter, open_writer

ENVIRONMENT: dict[str, str | int] = {"python": "3.11", "torch": "2.4", "threads": 2}
KEYS = [b"a/%02d.jpg" % i for i in range(9)] + [b"b/caf\xe9.jpg", b"b/\xc3\xbc.png"]
LISTED = [Listed(key, 1000 + i, 1_700_000_000_000_000_000 + i) for i, key in enumerate(KEYS)]
PREPROCESSING = {"order": "BGR", "range": 255, "mean": [103.9, 0.1, 7.0], "std": [1.0, 1.0, 1.0]}
SHARD_IMAGES = 4  # 11 images: shards of 4, 4 and 3
HOLES = {2: 4, 9: 8}  # row -> status: corrupt, empty
DIMENSIONS = {"fc7": 5, "pool5": 3}


def identity(**sampling: Any) -> Identity:
    given = {
        "view": "dense",
        "scales": ("256", "384"),
        "mirror": True,
        "over_positions": "mean",
        "across_scales": "none",
        "precision": "fp32",
        "store_dtype": "float32",
        **sampling,
    }
    return Identity(
        NetworkPart("vgg16", "ab" * 32, "ceil", PREPROCESSING, ("fc7", "pool5")),
        ImagePart(True, (255, 255, 255), "floor", "bilinear", True, 178956970, 1 << 29),
        SamplingPart(**given),
    )


def values(row: int, layer: str, column: str) -> np.ndarray:
    """The descriptor of a row, by a formula that no other row, layer or scale shares."""
    start = int(hashlib.md5(f"{row} {layer} {column}".encode()).hexdigest()[:6], 16)
    return (start % 1000 / 8 + np.arange(DIMENSIONS[layer])).astype("f4")


def rows_of(listed: list[Listed], who: Identity) -> ShardRows:
    """What a network would have given for these images."""
    places = [KEYS.index(one.key) for one in listed]
    status = np.array([HOLES.get(row, 0) for row in places], "u1")
    hashes = [list(hashlib.sha256(one.key).digest()) for one in listed]
    return ShardRows(
        size=np.array([one.size for one in listed], "i8"),
        sha256=np.array(hashes, "u1"),
        shape=np.array([(10 + row, 20 + row) for row in places], "i4"),
        status=status,
        notes=np.array([row % 3 for row in places], "u4"),
        descriptors={
            (layer, column): np.stack([values(row, layer, column) for row in places])
            for layer in who.network.layers
            for column in who.columns
        },
        details=["broken stream" if code else "" for code in status],
    )


def opened(path: Path, form: str, who: Identity | None = None, **options: Any) -> StoreWriter:
    """``open_writer`` with this file's images; ``options`` override."""
    given: dict[str, Any] = {
        "identity": who or identity(),
        "environment": ENVIRONMENT,
        "facts": {"deepfeat": "0.1", "untrained": False},
        "listed": LISTED,
        "dimensions": DIMENSIONS,
        "shard_images": SHARD_IMAGES,
        "batch_size": 2,
        "command": ["deepfeat", "extract", "images"],
    }
    return open_writer(path, form=form, **{**given, **options})


def make(
    path: Path, form: str, who: Identity | None = None, *, stop: int | None = None, **options: Any
) -> Path:
    """Write a whole store, or stop after ``stop`` shards without sealing."""
    who = who or identity()
    with opened(path, form, who, **options) as writer:
        for done, number in enumerate(writer.pending):
            if done == stop:
                return path
            writer.commit(number, rows_of(writer.shard(number), who))
        if stop is None:
            writer.finish()
    return path
