"""``deepfeat.extract``: the command as a function."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from deepfeat.datasets.dataset import DataSet
from deepfeat.extraction.limit import limit_of
from deepfeat.extraction.request import (
    DEFAULT_SCALES,
    NetworkChoice,
    Pixels,
    Request,
    Sampling,
    Selection,
    Working,
    scales_of,
)
from deepfeat.extraction.run import prepare_run, run
from deepfeat.images.limits import Limits
from deepfeat.progress import Progress
from deepfeat.store.read import Store, open_store


def extract(
    source: str | os.PathLike[str] | DataSet,
    store: str | os.PathLike[str] | None = None,
    *,
    network: str = "vgg16",
    weights: str | os.PathLike[str] | None = None,
    preprocessing: str | os.PathLike[str] | None = None,
    pool_rounding: str | None = None,
    layer: str | Sequence[str] | None = None,
    scales: int | str | Sequence[int | str] = DEFAULT_SCALES,
    across_scales: str = "none",
    mirror: bool = True,
    over_positions: str = "mean",
    exif: bool = True,
    background: tuple[int, int, int] = (255, 255, 255),
    filter: str = "bilinear",
    upscale: bool = True,
    store_dtype: str = "float32",
    device: str | torch.device | None = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    max_failures: int | str | None = None,
    max_pixels: int | None = None,
    max_bytes: int | None = None,
    extensions: Sequence[str] | None = None,
    form: str | None = None,
    accept_environment: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Store:
    """Compute the descriptors of many images into a store, and open it.

    Calling it again with the same arguments goes on where it stopped; a finished store is opened.

    Parameters
    ----------
    source : path or DataSet
        A folder of images, a CSV file with a column ``path``, or a data set of whole images.
    store : path, optional
        ``.h5`` for one sealed file, otherwise a directory of shards; by default
        ``<source>.<network>.h5`` in the working directory.
    network, weights, preprocessing, pool_rounding, device
        As for ``load_network``.
    layer : str or sequence of str, optional
        Layers to describe in one pass; by default the network's penultimate.
    scales : sequence
        Shorter sides in pixels, or "native".
    across_scales : {"none", "mean", "max"}
        "none" keeps every scale, so that the choice can be made when reading.
    mirror : bool
        Average with the mirror image.
    over_positions : {"mean", "max"}
    exif, background, filter, upscale
        How a file becomes pixels: EXIF orientation, the colour under transparency, the filter of
        resizing ("bilinear", "bicubic", "lanczos", "nearest"), and whether small images are
        enlarged.
    store_dtype : {"float32", "float16"}
    batch_size, workers : int, optional
        Images of one size in a pass, and decoding processes.
    max_failures : int or str, optional
        Holes that are accepted, 12 or "1%"; one more raises ``TooManyFailures``.
    max_pixels, max_bytes : int, optional
        Limits of one image.
    extensions : sequence of str, optional
        Which files of a folder are taken.
    form : {"sealed", "shards"}, optional
    accept_environment : bool
        Go on with a store that was begun with other versions or on another device.
    progress : callable, optional
        Called with a ``Progress`` after every image.

    Warns
    -----
    UserWarning
        Where images of the source are new, of another size, or gone since the store was begun:
        they are not taken in.

    Raises
    ------
    DeepfeatError
        One of its tree in ``deepfeat.errors``. Images that fail do not raise: they are holes.
    Interrupted
        At Ctrl-C or SIGTERM, with what is done safe; a ``KeyboardInterrupt``, no ``Exception``.
    """
    limits = Limits()
    request = Request(
        NetworkChoice(
            network,
            weights,
            preprocessing,
            pool_rounding,
            layers_of(layer),
            device,
        ),
        Sampling(scales_of(scales), mirror, over_positions, across_scales, store_dtype),
        Pixels(
            exif,
            background,
            filter,
            upscale,
            Limits(max_pixels or limits.max_pixels, max_bytes or limits.max_bytes),
        ),
        Selection(None if extensions is None else tuple(extensions)),
        Working(
            form, batch_size=batch_size, workers=workers, accept_environment=accept_environment
        ),
    )
    prepared = prepare_run(source, store, request)
    summary = run(prepared, limit=limit_of(max_failures), report=progress)
    if changed := _changed(summary["changes"]):
        warnings.warn(
            f"the source of '{prepared.store}' is not as it was when the store was begun "
            f"({changed}). That is not taken in: the store stays with the images that it was begun "
            "with. To take it in, remove the store and call extract again.",
            stacklevel=2,
        )
    return open_store(Path(prepared.store))


def _changed(changes: Any) -> str:
    """``2 new, 1 gone``; empty for images that only have another time."""
    counts = {what: changes[what] for what in ("new", "changed", "gone")}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def layers_of(layer: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """``"fc6,fc7"`` or a sequence as a tuple; None stays None."""
    if layer is None:
        return None
    names = layer.split(",") if isinstance(layer, str) else list(layer)
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip())) or None
