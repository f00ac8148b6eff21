"""Images and a network in, a store out: listing, plan, shards one after the other, the end.

A second start of the same command goes on where the first one stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path

from deepfeat.datasets.dataset import DataSet
from deepfeat.errors import CannotCreate, Interrupted, UsageError
from deepfeat.extraction.decoding import Decoders
from deepfeat.extraction.device import environment, reference_mode
from deepfeat.extraction.limit import Limit
from deepfeat.extraction.pipeline import compute_shard
from deepfeat.extraction.prepared import Prepared, check_name, facts_of, summary_of
from deepfeat.extraction.reach import Place, find_readable, nothing_readable
from deepfeat.extraction.request import (
    NetworkChoice,
    Request,
    check_scales,
    identity_of,
    settings_of,
)
from deepfeat.extraction.source import open_source
from deepfeat.extraction.stopping import Stop, Stopped, stop_on_signals
from deepfeat.networks.load import foresee, load_network
from deepfeat.networks.network import Network
from deepfeat.progress import Meter, Report
from deepfeat.status import Status, name_of
from deepfeat.store.writer import Changes, StoreWriter, open_writer

NO_LIMIT = Limit()
RESULTS_PER_WORKER = 4  # decoded images that may wait for the network
OUT_OF_REACH = (Status.MISSING, Status.UNREADABLE)


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
    path = _path_of(store, f"{opened.name}.{request.network.name}.h5")
    check_name(path, request.working.form)
    chosen = request.network
    # Before any weights are fetched: a mistyped layer must not cost half a gigabyte.
    layers = foresee(
        chosen.name,
        layers=chosen.layers,
        weights=chosen.weights,
        pool_rounding=chosen.pool_rounding,
    )
    check_scales(chosen.name, layers, request.sampling.scales)
    network = load_chosen(chosen, download)
    check_scales(network.name, network.layers, request.sampling.scales)
    return Prepared(opened, path, network, request)


def _path_of(store: str | os.PathLike[str] | None, default: str) -> Path:
    path = Path(default if store is None else store)
    if not os.fspath(path.name):
        raise UsageError(f"'{store}' is no name for a store", advice="Give FILE.h5 or a folder.")
    try:
        os.lstat(path)  # noqa: PTH116  (Path.exists hides a name that is too long)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CannotCreate(
            f"the store '{path}' cannot be made",
            found=str(error.strerror),
            advice="Choose another.",
        ) from error
    return path


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
    DataMissing, NoPermission
        Where not one image of the plan can be read; nothing is written down about any.
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
            facts=facts_of(prepared),
            listed=prepared.source.listed(),
            dimensions={name: layer.channels for name, layer in network.layers.items()},
            shard_images=working.shard_images,
            batch_size=prepared.batch_size,
            accept_environment=working.accept_environment,
            lock=working.lock,
            wait=working.wait,
            read_back=working.read_back,
            command=command,
            check_stop=stop.check,
        ) as writer,
    ):
        meter = Meter(len(writer.plan.listed), before=writer.committed_images, report=report)
        resumed, changes = writer.resumed, writer.changes
        if not writer.complete:
            _compute(prepared, writer, meter, stop, limit)
            with meter.stage("disk"):
                writer.finish()
    seconds = time.perf_counter() - started
    summary, failures = summary_of(prepared, meter, seconds)
    limit.check(failures, meter.total)
    return summary | {
        "resumed": resumed,
        "changes": asdict(changes),
        "shards_again": {"gone": writer.gone, "differing": len(writer.differing)},
        "exit_status": 1 if failures and not limit.is_set else 0,
    }


def _compute(
    prepared: Prepared, writer: StoreWriter, meter: Meter, stop: Stop, limit: Limit
) -> None:
    """Compute every pending shard; decoding runs ahead across their borders."""
    _check(writer, limit)
    pending = list(writer.pending)
    images = [listed for number in pending for listed in writer.shard(number)]
    tasks = (prepared.source.task(listed) for listed in images)
    workers = min(prepared.workers, max(1, len(images)))
    ahead = max(RESULTS_PER_WORKER * workers, prepared.batch_size + workers)
    try:
        readable = _in_reach(prepared, writer, stop) if pending else None
        with Decoders(settings_of(prepared.request, prepared.network), workers, ahead) as decoders:
            decoded = decoders.map(tasks, stop)
            for number in pending:
                rows = len(writer.shard(number))
                shard = compute_shard(
                    islice(decoded, rows),
                    rows,
                    prepared.network,
                    prepared.request.sampling,
                    batch_size=writer.plan.batch_size,
                    scratch=prepared.store.absolute().parent,
                    meter=meter,
                    should_stop=stop,
                )
                if any(status in OUT_OF_REACH for status in shard.status):
                    readable = _in_reach(prepared, writer, stop, readable)
                with meter.stage("disk"):
                    writer.commit(number, shard)
                meter.committed(rows)
                _check(writer, limit)
                if stop():
                    raise Stopped
    except Stopped:
        raise _interrupted(prepared, writer, stop) from None


def _in_reach(
    prepared: Prepared, writer: StoreWriter, stop: Stop, before: Place | None = None
) -> Place:
    """An image of the plan that can be read now; the one that could be before is asked first.

    Raises
    ------
    DataMissing, NoPermission
        Where there is none. A store to which nothing is committed is removed, plan and all, so
        that a mended source is listed anew.
    """
    places = (prepared.source.task(listed).path for listed in writer.plan.listed)
    readable = find_readable(chain([] if before is None else [before], places), stop)
    if readable is not None:
        return readable
    planned = writer.plan.listed
    then = ""
    if writer.committed_images:
        then = "The same command then goes on; for another list give another store."
    elif writer.changes != Changes():
        then = "The list of an earlier start was dropped: run the same command again."
    writer.discard()
    first = prepared.source.task(planned[0]).path
    raise nothing_readable(prepared.source.name, len(planned), first, then)


def _check(writer: StoreWriter, limit: Limit) -> None:
    failures = {name_of(code): count for code, count in sorted(writer.holes.items())}
    limit.check(failures, len(writer.plan.listed))


def _interrupted(prepared: Prepared, writer: StoreWriter, stop: Stop) -> Interrupted:
    done, total = writer.committed_images, len(writer.plan.listed)
    return Interrupted(
        f"interrupted: {done} of {total} images are safe in '{prepared.store}'",
        exit_status=128 + stop.signal,
        advice="Run the same command again to go on.",
    )
