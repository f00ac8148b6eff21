"""Images and a network in, a store out: listing, plan, shards one after the other, the end.

A second start of the same command goes on where the first one stopped.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from deepfeat import __version__
from deepfeat.datasets.dataset import DataSet
from deepfeat.errors import Interrupted, TooManyFailures
from deepfeat.extraction.decoding import Decoders
from deepfeat.extraction.device import available_cores, environment, reference_mode
from deepfeat.extraction.pipeline import Stopped, compute_shard
from deepfeat.extraction.request import (
    STORE_DTYPES,
    NetworkChoice,
    Request,
    check_scales,
    identity_of,
    settings_of,
)
from deepfeat.extraction.source import Source, open_source
from deepfeat.extraction.stopping import Stop, stop_on_signals
from deepfeat.networks.load import load_network
from deepfeat.networks.network import Network
from deepfeat.progress import Meter, Report
from deepfeat.status import Status, name_of
from deepfeat.store.info import describe
from deepfeat.store.read import open_store
from deepfeat.store.reports import report_path
from deepfeat.store.writer import StoreWriter, open_writer

RESULTS_PER_WORKER = 4  # decoded images that may wait for the network


@dataclass(frozen=True, slots=True)
class Limit:
    """How many holes are accepted: a number, or a percentage of the images; None for any."""

    count: int | None = None
    per_cent: float | None = None

    def allows(self, holes: int, images: int) -> bool:
        if self.per_cent is not None:
            return holes <= images * self.per_cent / 100
        return self.count is None or holes <= self.count

    @property
    def is_set(self) -> bool:
        return self.count is not None or self.per_cent is not None


NO_LIMIT = Limit()


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
        return len(self.source.places) * values * STORE_DTYPES[sampling.store_dtype]


def prepare_run(
    source: str | os.PathLike[str] | DataSet,
    store: str | os.PathLike[str] | None,
    request: Request,
    *,
    download: Callable[[int, int], None] | None = None,
) -> Prepared:
    """List the source and load the network; writes nothing.

    ``store`` defaults to ``<source>.<network>.h5`` in the working directory.

    Raises
    ------
    DeepfeatError
        For anything that is wrong with source, network, weights or scales.
    """
    opened = open_source(source, request.selection)
    network = load_chosen(request.network, download)
    check_scales(network, request.sampling.scales)
    path = Path(store) if store is not None else Path(f"{opened.name}.{network.name}.h5")
    return Prepared(opened, path, network, request)


def load_chosen(
    chosen: NetworkChoice, download: Callable[[int, int], None] | None = None
) -> Network:
    """Load the network of a request."""
    return load_network(
        chosen.name,
        weights=chosen.weights,
        preprocessing=chosen.preprocessing,
        layers=chosen.layers,
        pool_rounding=chosen.pool_rounding,
        device=chosen.device,
        cache=chosen.cache,
        progress=download,
    )


def run(
    prepared: Prepared,
    *,
    limit: Limit = NO_LIMIT,
    report: Report | None = None,
    command: Sequence[str] = (),
) -> dict[str, object]:
    """Compute what is missing, finish the store, and say what it holds.

    Returns
    -------
    dict
        The summary that ``deepfeat extract --json`` prints.

    Raises
    ------
    StoreError, CannotCreate
        Where the store cannot be made, or belongs to other arguments or to another process.
    TooManyFailures
        With more holes than ``limit``; what is committed stays.
    Interrupted
        After a signal; what is committed stays, and the same command goes on from there.
    """
    request, network = prepared.request, prepared.network
    working = request.working
    started = time.perf_counter()
    with (
        reference_mode(),
        stop_on_signals() as stop,
        open_writer(
            prepared.store,
            form=prepared.form,
            identity=identity_of(request, network),
            environment=environment(network.device),
            facts=_facts(prepared),
            listed=prepared.source.listed(),
            dimensions={name: layer.channels for name, layer in network.layers.items()},
            shard_images=working.shard_images,
            batch_size=prepared.batch_size,
            accept_environment=working.accept_environment,
            lock=working.lock,
            wait=working.wait,
            read_back=working.read_back,
            command=command,
        ) as writer,
    ):
        meter = Meter(len(writer.plan.listed), before=writer.committed_images, report=report)
        resumed, changes = writer.resumed, writer.changes
        if not writer.complete:
            _compute(prepared, writer, meter, stop, limit)
            with meter.stage("disk"):
                writer.finish()
    seconds = time.perf_counter() - started
    summary = _summary(prepared, meter, seconds)
    return summary | {
        "resumed": resumed,
        "changes": {"new": changes.new, "changed": changes.changed, "gone": changes.gone},
        "exit_status": _exit_status(summary, limit),
    }


def _compute(
    prepared: Prepared, writer: StoreWriter, meter: Meter, stop: Stop, limit: Limit
) -> None:
    """Compute every pending shard; decoding runs ahead across their borders."""
    pending = list(writer.pending)
    images = [listed for number in pending for listed in writer.shard(number)]
    tasks = (prepared.source.task(listed) for listed in images)
    workers = min(prepared.workers, max(1, len(images)))
    ahead = max(RESULTS_PER_WORKER * workers, prepared.batch_size + workers)
    with Decoders(settings_of(prepared.request, prepared.network), workers, ahead) as decoders:
        decoded = decoders.map(tasks)
        for number in pending:
            rows = len(writer.shard(number))
            try:
                shard = compute_shard(
                    islice(decoded, rows),
                    rows,
                    prepared.network,
                    prepared.request.sampling,
                    batch_size=writer.plan.batch_size,
                    meter=meter,
                    should_stop=stop,
                )
            except Stopped:
                raise _interrupted(prepared, writer, stop) from None
            with meter.stage("disk"):
                writer.commit(number, shard)
            meter.committed(rows)
            _check_limit(writer, limit)
            if stop():
                raise _interrupted(prepared, writer, stop)


def _interrupted(prepared: Prepared, writer: StoreWriter, stop: Stop) -> Interrupted:
    done, total = writer.committed_images, len(writer.plan.listed)
    return Interrupted(
        f"interrupted: {done} of {total} images are safe in '{prepared.store}'",
        exit_status=128 + stop.signal,
        advice="Run the same command again to go on.",
    )


def _check_limit(writer: StoreWriter, limit: Limit) -> None:
    holes, images = sum(writer.holes.values()), len(writer.plan.listed)
    if not limit.allows(holes, images):
        raise TooManyFailures(
            f"{holes} of {images} images failed, more than --max-failures allows",
            found=", ".join(f"{name_of(code)} {n}" for code, n in sorted(writer.holes.items())),
            advice="What is done stays; run again with a higher --max-failures to go on.",
        )


def _facts(prepared: Prepared) -> dict[str, object]:
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


def _summary(prepared: Prepared, meter: Meter, seconds: float) -> dict[str, object]:
    """``deepfeat.extract/1``, read from the finished store itself."""
    with open_store(prepared.store) as store:
        statuses = Counter(int(status) for status in store.statuses)
        failures = {name_of(c): n for c, n in sorted(statuses.items()) if c != Status.OK}
        hashes = [bytes(row) for row in store.items["sha256"][store.ok]]
        weights = prepared.network.weights
        state = meter.now()
        failures_csv = report_path(prepared.store, prepared.form, "failures.csv")
        return {
            "schema": "deepfeat.extract/1",
            "store": str(prepared.store),
            "form": prepared.form,
            "complete": True,
            "images": len(store),
            "rows": len(store),
            "ok": statuses[Status.OK],
            "failures": failures,
            "failures_csv": str(failures_csv) if failures else None,
            "computed": meter.done,
            "skipped_files": dict(prepared.source.listing.skipped),
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


def _exit_status(summary: dict[str, object], limit: Limit) -> int:
    """1 for holes, unless a limit said beforehand that they are fine."""
    return 1 if summary["failures"] and not limit.is_set else 0
