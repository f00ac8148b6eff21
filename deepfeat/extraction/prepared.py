"""A run that is about to start, and what it will say about itself in the store and at the end."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from deepfeat import __version__
from deepfeat.errors import UsageError
from deepfeat.extraction.device import available_cores
from deepfeat.extraction.reach import hint
from deepfeat.extraction.request import Request
from deepfeat.extraction.source import Source
from deepfeat.networks.network import Network
from deepfeat.progress import Meter
from deepfeat.status import Status, name_of
from deepfeat.store.identity import STORE_DTYPES
from deepfeat.store.info import describe
from deepfeat.store.read import Store, open_store
from deepfeat.store.reports import report_path

HINTS = 10  # missing files whose folders are looked at

# Endings of files of other kinds: a folder of that name would be looked for in vain by its readers.
ENDINGS = (
    *(".h5", ".hdf5", ".h5py", ".hdf", ".he5", ".nc", ".zarr", ".parquet", ".arrow", ".feather"),
    *(".npy", ".npz", ".mat", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".pkl", ".pickle"),
    *(".pt", ".pth", ".safetensors", ".zip", ".tar", ".gz", ".db", ".sqlite"),
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is about to start: everything is checked that can be before an image is read."""

    source: Source
    store: Path
    network: Network
    request: Request

    @property
    def form(self) -> str:
        """ "sealed" or "shards": as asked for, else by the name of the store."""
        by_name = "sealed" if self.store.suffix == ".h5" else "shards"
        return self.request.working.form or by_name

    @property
    def batch_size(self) -> int:
        """Images in a pass; each brings its mirror. One is enough to keep a CPU busy."""
        return self.request.working.batch_size or (8 if self.network.device.type == "cuda" else 1)

    @property
    def workers(self) -> int:
        return self.request.working.workers or min(8, available_cores())

    @property
    def bytes_needed(self) -> int:
        """Of descriptors in the finished store."""
        sampling = self.request.sampling
        columns = len(sampling.scales) if sampling.across_scales == "none" else 1
        values = columns * sum(layer.channels for layer in self.network.layers.values())
        return (
            len(self.source.places) * values * np.dtype(STORE_DTYPES[sampling.store_dtype]).itemsize
        )


def check_name(store: Path, form: str | None) -> None:
    """Refuse a name that promises a file where a directory would be made.

    Raises
    ------
    UsageError
        Unless the form was chosen, or a directory of that name is there already.
    """
    ending = store.suffix
    if form is None and ending != ".h5" and ending.lower() in ENDINGS and not store.is_dir():
        raise UsageError(
            f"'{store}' is no name for a store by itself",
            expected="a name that ends in .h5 (in small letters), or the name of a folder",
            found=f"the ending {ending}",
            advice=f"Name it '{store.with_suffix('.h5')}', or give --form sealed or --form shards.",
        )


def facts_of(prepared: Prepared) -> dict[str, object]:
    """What a store says about itself beyond its identity; no path, host or time in it."""
    weights, pixels = prepared.network.weights, prepared.request.pixels
    return {
        "deepfeat": __version__,
        "weights": {"name": weights.name, "source": weights.source},
        "untrained": weights.untrained,
        "preprocessing": weights.preprocessing.name,
        "decode_timeout_s": pixels.decode_timeout_s,
        "listing": dict(prepared.source.rule),
        "layers": {name: asdict(layer) for name, layer in prepared.network.layers.items()},
    }


def summary_of(
    prepared: Prepared, meter: Meter, seconds: float
) -> tuple[dict[str, object], dict[str, int]]:
    """``deepfeat.extract/1``, read from the finished store itself, and its holes by status."""
    with open_store(prepared.store) as store:
        statuses = Counter(int(status) for status in store.statuses)
        failures = {name_of(c): n for c, n in sorted(statuses.items()) if c != Status.OK}
        hashes = [bytes(row) for row in store.items["sha256"][store.ok]]
        weights = prepared.network.weights
        state = meter.now()
        failures_csv = report_path(prepared.store, prepared.form, "failures.csv")
        summary: dict[str, object] = {
            "schema": "deepfeat.extract/1",
            "store": str(prepared.store),
            "form": prepared.form,
            "complete": True,
            "images": len(store),
            "rows": len(store),
            "ok": statuses[Status.OK],
            "failures": failures,
            "failures_csv": str(failures_csv) if failures else None,
            "hint": _hint(prepared, store),
            "computed": meter.done,
            "skipped_files": dict(prepared.source.listing.skipped),
            "skipped_hidden": prepared.source.listing.hidden,
            "skipped_system": dict(prepared.source.listing.system),
            "unreadable_folders": list(prepared.source.listing.unreadable),
            "links_not_followed": list(prepared.source.listing.links),
            "duplicates": len(hashes) - len(set(hashes)),
            "removed": 0,
            "layers": {name: layer.channels for name, layer in prepared.network.layers.items()},
            "scales": list(prepared.request.sampling.scales),
            "network": prepared.network.name,
            "weights": weights.name,
            "untrained": weights.untrained,
            "identity": store.identity.sha256,
            "bytes": describe(store)["bytes"],
            "seconds": round(seconds, 3),
            "images_per_second": round(meter.done / seconds, 4) if seconds > 0 else None,
            "share": {name: round(part, 4) for name, part in state.share.items()},
        }
        return summary, failures


def _hint(prepared: Prepared, store: Store) -> str:
    """What may be wrong with the names of files that are missing, from the first few of them."""
    missing = np.flatnonzero(store.statuses == Status.MISSING)[:HINTS]
    places = (prepared.source.places.get(store.items["key"][row]) for row in missing)
    return next(filter(None, (hint(os.fspath(place)) for place in places if place)), "")
