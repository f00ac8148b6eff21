"""``--dry-run``: what a run would take, from a short trial on its first images. Writes nothing."""

from __future__ import annotations

import time
from collections import Counter

from deepfeat.extraction.decoding import prepare_file
from deepfeat.extraction.describe import describe
from deepfeat.extraction.device import reference_mode
from deepfeat.extraction.prepared import Prepared
from deepfeat.extraction.request import settings_of
from deepfeat.files import free_bytes
from deepfeat.status import Status, name_of

TRIAL_SECONDS = 10.0
TRIAL_IMAGES = 16


def dry_run(prepared: Prepared) -> dict[str, object]:
    """``deepfeat.dry_run/1``: images, bytes needed and free, seconds estimated.

    Up to sixteen images, evenly spread over the list, are tried for about ten seconds; the first
    only warms up. The estimate is None if none of them could be read.
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
    with reference_mode():
        begin = time.perf_counter()
        for one in chosen:
            start = time.perf_counter()
            decoded = prepare_file(prepared.source.task(one), settings)
            if decoded.status != Status.OK:
                holes[name_of(decoded.status)] += 1
                continue
            for pixels in decoded.views.values():
                describe(
                    prepared.network,
                    [pixels],
                    mirror=sampling.mirror,
                    over_positions=sampling.over_positions,
                )
            seconds.append(time.perf_counter() - start)
            if time.perf_counter() - begin > TRIAL_SECONDS:
                break
    measured = seconds[1:] or seconds
    return (len(measured) / sum(measured) if measured else None), dict(holes)
