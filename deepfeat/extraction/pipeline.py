"""One shard from decoded images to rows: batches of one size, holes left NaN."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deepfeat.extraction.decoding import Decoded
from deepfeat.extraction.describe import aggregate, describe
from deepfeat.extraction.device import memory_bytes
from deepfeat.extraction.request import Sampling
from deepfeat.extraction.stopping import Stopped
from deepfeat.extraction.waiting import Batch, Size, View, Waiting
from deepfeat.machine import available_bytes
from deepfeat.networks.network import Network
from deepfeat.progress import Meter
from deepfeat.status import Note, Status
from deepfeat.store.writer import ShardRows

MEMORY_PATIENCE_S = 5.0
MEMORY_LOOK_S = 0.25
Array = NDArray[np.float32]


@dataclass(slots=True)
class Shard:
    """Rows of a shard as they fill up. Descriptors are NaN until they are there."""

    network: Network
    sampling: Sampling
    rows: int
    status: NDArray[np.uint8] = field(init=False)
    descriptors: dict[tuple[str, str], Array] = field(init=False)
    details: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.status = np.zeros(self.rows, np.uint8)
        self.details = [""] * self.rows
        self.descriptors = {
            (layer.name, scale): np.full((self.rows, layer.channels), np.nan, np.float32)
            for layer in self.network.layers.values()
            for scale in self.sampling.scales
        }

    def add(self, scale: str, batch: Batch) -> None:
        """Describe a batch of one size at one scale, and put each row in its place."""
        rows = [row for row, _ in batch]
        sampling = self.sampling
        try:
            if lacking := self._lacking(len(batch), *batch[0][1].shape[:2]):
                raise MemoryError(lacking)
            described = describe(
                self.network,
                [pixels for _, pixels in batch],
                mirror=sampling.mirror,
                over_positions=sampling.over_positions,
            )
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(batch) > 1:
                for one in batch:
                    self.add(scale, [one])
            else:
                self.status[rows] = Status.OUT_OF_MEMORY
                self.details[rows[0]] = f"at scale {scale}: {str(error).splitlines()[0][:200]}"
            return
        for layer, values in described.items():
            self.descriptors[layer, scale][rows] = values

    def passes(self, size: Size, count: int, views: Iterable[View]) -> Iterator[Batch]:
        """All ``count`` views of a size at once, or one by one where so many cannot fit.

        That is asked before any is read: what waits may be more than there is memory.
        """
        if count > 1 and self._lacking(count, *size[1:]):
            yield from ([view] for view in views)
        else:
            yield list(views)

    def _lacking(self, count: int, height: int, width: int) -> str:
        """Why views of a size cannot be described at once; empty where they can.

        The system would end the whole run, not this image alone.

        What the machine or its group has in all decides first, and always alike. What is free
        decides only where others hold the rest, and goes on holding it for a while.
        """
        views = count * (2 if self.sampling.mirror else 1)
        needed = views * height * width * self.network.bytes_per_pixel
        device = self.network.device
        there, words = memory_bytes(device), "are there"
        if needed <= there and device.type == "cpu":
            there, words = _free_bytes(needed), "are free"
        if needed <= there:
            return ""
        return (
            f"{height} x {width} pixels would need about {needed / 1e9:.1f} GB of memory, "
            f"{there / 1e9:.1f} GB {words}"
        )

    def columns(self) -> dict[tuple[str, str], Array]:
        """What is stored: every scale, or the aggregate alone."""
        stored = {}
        for layer in self.network.layers:
            scales = {scale: self.descriptors[layer, scale] for scale in self.sampling.scales}
            for column, values in aggregate(scales, self.sampling.across_scales).items():
                stored[layer, column] = values
        return stored


def compute_shard(
    decoded: Iterable[Decoded],
    rows: int,
    network: Network,
    sampling: Sampling,
    *,
    batch_size: int,
    scratch: Path,
    meter: Meter,
    should_stop: Callable[[], bool],
) -> ShardRows:
    """Compute the rows of one shard.

    Images of one size at a scale share a pass, in row order, ``batch_size`` at a time; so the
    batches depend on the shard's images alone, not on how fast they are decoded. Views that wait
    for others of their size beyond a bound of memory do so on the disk of the folder ``scratch``.

    Raises
    ------
    Stopped
        When ``should_stop`` says so, after an image or between two batches.
    StoreError
        Where the disk does not give views back.
    """
    shard = Shard(network, sampling, rows)
    images: list[Decoded] = []
    results = iter(decoded)

    def compute(size: Size, count: int, views: Iterable[View]) -> None:
        for batch in shard.passes(size, count, views):
            shard.add(size[0], batch)
            if should_stop():
                raise Stopped

    with Waiting(scratch) as waiting:
        for row in range(rows):
            with meter.stage("decode"):
                image = next(results)
            shard.status[row] = image.status
            shard.details[row] = image.detail
            with meter.stage("network"):
                for scale, pixels in image.views.items():
                    size = (scale, *pixels.shape[:2])
                    count = waiting.count(size) + 1
                    if count < batch_size:
                        waiting.add(size, row, pixels)
                    else:
                        compute(size, count, chain(waiting.take(size), [(row, pixels)]))
            image.views.clear()
            images.append(image)
            meter.computed(1)
            if should_stop():  # also of an image without views: a hole may take its time
                raise Stopped
        with meter.stage("network"):
            for size in waiting.sizes():
                compute(size, waiting.count(size), waiting.take(size))
    return ShardRows(
        size=np.array([image.size_bytes for image in images], np.int64),
        sha256=np.array([list(image.sha256) for image in images], np.uint8).reshape(rows, 32),
        shape=np.array([image.shape for image in images], np.int32).reshape(rows, 2),
        status=shard.status,
        notes=_notes(images),
        descriptors=shard.columns(),
        details=shard.details,
    )


def _free_bytes(needed: int) -> int:
    """Memory that is free, after a look or two whether ``needed`` bytes come free."""
    end = time.monotonic() + MEMORY_PATIENCE_S
    while (free := available_bytes()) < needed and time.monotonic() < end:
        time.sleep(MEMORY_LOOK_S)
    return free


def _notes(images: list[Decoded]) -> NDArray[np.uint32]:
    """The decoders' notes, and a mark on images whose bytes an earlier row of the shard has."""
    seen: set[bytes] = set()
    notes = np.array([int(image.notes) for image in images], np.uint32)
    for row, image in enumerate(images):
        if image.status == Status.OK and image.sha256 in seen:
            notes[row] |= int(Note.SAME_CONTENTS)
        seen.add(image.sha256)
    return notes


def _is_out_of_memory(error: BaseException) -> bool:
    """torch's CPU allocator raises a plain RuntimeError."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "allocate memory" in str(error)
