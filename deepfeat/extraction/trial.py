"""``--dry-run``: what a run would take, from a short trial on its first images. Writes nothing."""

from __future__ import annotations

import contextlib
import time
from collections import Counter

from deepfeat.extraction.decoding import Decoders
from deepfeat.extraction.device import reference_mode
from deepfeat.extraction.pipeline import Shard
from deepfeat.extraction.prepared import Prepared
from deepfeat.extraction.request import settings_of
from deepfeat.extraction.stopping import Stopped
from deepfeat.files import free_bytes
from deepfeat.status import Status, name_of

TRIAL_SECONDS = 10.0
TRIAL_IMAGES = 16
PATIENCE_S = 10.0  # with an image that is not decoded when the trial is over


def dry_run(prepared: Prepared) -> dict[str, object]:
    """``deepfeat.dry_run/1``: images, bytes needed and free, seconds estimated.

    Up to sixteen images, evenly spread over the list, are tried for about ten seconds; the first
    only warms up. The estimate is None if none of them could be read in time.

    Raises
    ------
    Unavailable
        Where no decoding worker can be started.
    """
    rate, holes = _try(prepared)
    images = len(prepared.source.places)
    copies = 2 if prepared.form == "sealed" else 1
    return {
        "schema": "deepfeat.dry_run/1",
        "store": str(prepared.store),
        "form": prepared.form,
        "images": images,
        "skipped_files": dict(prepared.source.listing.skipped),
        "network": prepared.network.name,
        "weights": prepared.network.weights.name,
        "untrained": prepared.network.weights.untrained,
        "layers": {name: layer.channels for name, layer in prepared.network.layers.items()},
        "scales": list(prepared.request.sampling.scales),
        "bytes_of_descriptors": prepared.bytes_needed,
        "bytes_needed": copies * prepared.bytes_needed,
        "bytes_free": free_bytes(prepared.store.absolute().parent),
        "images_per_second": rate,
        "trial_holes": holes,
        "store_exists": prepared.store.exists(),
        "seconds_estimated": None if rate is None else round(images / rate, 1),
        "exit_status": 0,
    }


def _try(prepared: Prepared) -> tuple[float | None, dict[str, int]]:
    """Rate of a plain loop, and the holes met; a run decodes beside the network, a bit faster."""
    listed = prepared.source.listed()
    chosen = listed[:: max(1, len(listed) // TRIAL_IMAGES)][:TRIAL_IMAGES]
    settings = settings_of(prepared.request, prepared.network)
    sampling = prepared.request.sampling
    seconds: list[float] = []
    holes: Counter[str] = Counter()
    begin = time.perf_counter()

    def is_late() -> bool:
        return time.perf_counter() - begin > TRIAL_SECONDS + PATIENCE_S

    with reference_mode(), Decoders(settings, workers=1, ahead=1) as decoders:
        start = begin
        with contextlib.suppress(Stopped):
            for decoded in decoders.map(map(prepared.source.task, chosen), is_late):
                row = Shard(prepared.network, sampling, rows=1)
                row.status[0] = decoded.status
                for scale, pixels in decoded.views.items():
                    row.add(scale, [(0, pixels)])
                now = time.perf_counter()
                if row.status[0] == Status.OK:
                    seconds.append(now - start)
                else:
                    holes[name_of(row.status[0])] += 1
                if now - begin > TRIAL_SECONDS:
                    break
                start = now
    measured = seconds[1:] or seconds
    return (len(measured) / sum(measured) if measured else None), dict(holes)
