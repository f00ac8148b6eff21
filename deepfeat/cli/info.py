"""``deepfeat info``: what a store holds, from what, with which holes."""

from __future__ import annotations

from typing import Any

import click

from deepfeat.cli.options import exits, print_json, with_output_options
from deepfeat.cli.table import facts, size, table
from deepfeat.terminal import answer


@click.command(epilog=exits(0, 64, 65, 66, 70, 74, 75, 77))
@click.argument("store")
@click.option("--keys", is_flag=True, help="List every key with its status.")
@click.option("--failures", is_flag=True, help="List the holes with status and advice.")
@with_output_options
def info(store: str, keys: bool, failures: bool, as_json: bool, quiet: bool) -> None:
    """Say what STORE holds, from what it was made, and where it has holes.

    Reads both forms, and the unfinished directory of a run that was interrupted.
    """
    from deepfeat.status import ANEW, CASES, Status
    from deepfeat.store.info import describe
    from deepfeat.store.read import open_store

    with open_store(store) as opened:
        described = describe(opened)
        rows = [
            (key, CASES[Status(int(status))])
            for key, status in zip(opened.keys, opened.statuses, strict=True)
            if keys or (failures and status != Status.OK)
        ]
    if as_json:
        listed = [{"key": key, "status": case.name} for key, case in rows]
        print_json(described | ({"keys": listed} if keys or failures else {}))
        return
    answer(*_lines(described))
    if rows:
        listed_rows = [(key, case.name, case.advice) for key, case in rows]
        answer("", *table(("key", "status", "advice"), listed_rows))
        if any(case.advice for _, case in rows):
            answer("", f"To mend holes: do as advised, {ANEW}.")


_POOLED = {"floor": "rounded down", "ceil": "rounded up", "as-built": "as built"}


def _unfinished(described: dict[str, Any]) -> str:
    done, planned = described["images"], described["planned"]
    return f"no: {done} of {planned} images are there; run the same command to go on"


def _stated(facts: Any, *names: str) -> str:
    """A fact by its path; a store from elsewhere need not state it."""
    for name in names:
        facts = facts.get(name) if isinstance(facts, dict) else None
    return facts if isinstance(facts, str) else "not stated"


def _triple(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _lines(described: dict[str, Any]) -> list[str]:
    identity = described["identity"]
    provenance = described["provenance"]
    layers = [
        f"{name}: {', '.join(layer['scales'])} x {layer['dimension']} {layer['dtype']}"
        for name, layer in described["layers"].items()
    ]
    holes = {name: n for name, n in described["statuses"].items() if name != "ok"}
    made_of, stated = provenance["identity"], provenance["facts"]
    network, image, sampling = made_of["network"], made_of["image"], made_of["sampling"]
    numbers = network["preprocessing"]
    views = [
        sampling["view"],
        "averaged with the mirror" if sampling["mirror"] else "without mirror",
        f"{sampling['over_positions']} over positions",
        *(
            [f"{sampling['across_scales']} across scales {', '.join(sampling['scales'])}"]
            if sampling["across_scales"] != "none"
            else []
        ),
    ]
    pixels = [
        f"{image['filter']} to the shorter side",
        "EXIF applied" if image["exif"] else "EXIF ignored",
        *([] if image["upscale"] else ["never enlarged"]),
    ]
    return facts(
        [
            ("store", f"{described['store']} ({described['form']}, {size(described['bytes'])})"),
            ("complete", "yes" if described["complete"] else _unfinished(described)),
            ("images", f"{described['statuses'].get('ok', 0)} of {described['images']} ok"),
            ("holes", ", ".join(f"{n} {name}" for name, n in holes.items())),
            ("descriptors", "; ".join(layers)),
            ("network", f"{network['name']}, pooled sizes {_POOLED[network['pooling']]}"),
            (
                "weights",
                f"{_stated(stated, 'weights', 'name')}, sha256 {network['weights_sha256'][:16]}...",
            ),
            (
                "untrained",
                "YES: random numbers, for trying only" if stated.get("untrained") else None,
            ),
            (
                "preprocessing",
                f"{_stated(stated, 'preprocessing')}: {numbers['order']}, 0-{numbers['range']}, "
                f"minus {_triple(numbers['mean'])}, by {_triple(numbers['std'])}",
            ),
            ("views", ", ".join(views)),
            ("images to pixels", ", ".join(pixels)),
            ("identity", identity),
            ("environments", len(described["environments"])),
        ]
    )
