"""What ``deepfeat extract`` says before, instead of and after the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepfeat.cli.table import facts, size
from deepfeat.progress import duration
from deepfeat.status import ANEW

if TYPE_CHECKING:
    from deepfeat.extraction.prepared import Prepared


def beginning(prepared: Prepared) -> list[str]:
    """What the run will do, before it begins."""
    network, sampling = prepared.network, prepared.request.sampling
    views = len(sampling.scales) * (2 if sampling.mirror else 1)
    listing = prepared.source.listing
    weights = _weights_words(network.weights.name, network.weights.untrained)
    layers = ", ".join(f"{name} ({layer.channels})" for name, layer in network.layers.items())
    lines = [
        f"{len(prepared.source.places)} images, {views} views each "
        f"(scales {', '.join(sampling.scales)}{', with mirror' if sampling.mirror else ''}), "
        f"{size(prepared.bytes_needed)} of descriptors -> {prepared.store}",
        f"{network.name}, weights {weights}, layers {layers}, on {network.device}",
    ]
    if network.weights.reading:
        lines.append(f"of the weights file was taken: {network.weights.reading}")
    if listing.skipped:
        counts = ", ".join(
            f"{n} {extension or 'without'}" for extension, n in listing.skipped.items()
        )
        lines.append(f"left out by extension: {counts} (--all-files takes them)")
    never = [f"{listing.hidden} hidden"] if listing.hidden else []
    never += [f"{n} '{name}'" for name, n in listing.system.items()]
    if never:
        lines.append(f"never taken: {', '.join(never)}")
    if listing.unreadable:
        lines.append(f"folders that could not be read: {', '.join(listing.unreadable[:10])}")
    if listing.links:
        lines.append(f"{len(listing.links)} links to folders not followed (--follow-links)")
    return lines


def _weights_words(name: str, untrained: bool) -> str:
    return f"'{name}' (UNTRAINED: random numbers, for trying only)" if untrained else f"'{name}'"


def dry_run_lines(answer: dict[str, Any]) -> list[str]:
    seconds, rate = answer["seconds_estimated"], answer["images_per_second"]
    return facts(
        [
            ("images", answer["images"]),
            ("network", answer["network"]),
            ("weights", _weights_words(answer["weights"], answer["untrained"])),
            ("layers", ", ".join(f"{name} ({d})" for name, d in answer["layers"].items())),
            ("scales", ", ".join(answer["scales"])),
            ("store", f"{answer['store']} ({answer['form']})"),
            ("", "exists: the run would go on with it" if answer["store_exists"] else None),
            ("disk needed", size(answer["bytes_needed"])),
            ("disk free", size(answer["bytes_free"])),
            ("rate", _counts(answer["trial_holes"]) + " in the trial: unknown" if rate is None
             else f"{rate:.2f} images/s in a short trial"),
            ("time", "unknown" if seconds is None else f"about {duration(seconds)}"),
        ]
    )  # fmt: skip


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """What the run did, and where to look next."""
    failures = _counts(summary["failures"])
    changes = dict(summary["changes"])
    touched = changes.pop("touched")
    changed = ", ".join(f"{n} {what}" for what, n in changes.items() if n)
    computed, rate = summary["computed"], summary["images_per_second"]
    share = ", ".join(f"{name} {100 * part:.0f} %" for name, part in summary["share"].items())
    done = f"{computed} images in {duration(summary['seconds'])}, {rate:.2f} images/s ({share})"
    return facts(
        [
            ("store", f"{summary['store']} ({summary['form']}, {size(summary['bytes'])})"),
            ("images", f"{summary['ok']} of {summary['images']} ok"),
            ("holes", failures and f"{failures}; see {summary['failures_csv']}"),
            ("names", summary["hint"]),
            ("to mend", failures and f"do as it advises, {ANEW}"),
            ("folders not read", ", ".join(summary["unreadable_folders"])),
            ("duplicates", summary["duplicates"] or None),
            ("computed", done if computed else "nothing to do: everything was there"),
            ("weights", _weights_words(summary["weights"], True) if summary["untrained"] else None),
            (
                "source changed",
                changed
                and f"{changed} since the start; not taken in: the store stays with the images "
                "that it was begun with. To take them in, remove the store and give the command "
                "again",
            ),
            ("", f"{touched} have another time, and the size they had" if touched else None),
            ("shards", _again(**summary["shards_again"])),
            ("next", f"deepfeat info {summary['store']}"),
        ]
    )


def _again(gone: int, differing: int) -> str:
    """Of shards that were gone when the run began; empty if none was."""
    if not gone:
        return ""
    what = "1 shard was gone and is" if gone == 1 else f"{gone} shards were gone and are"
    same = f"{differing} with other bytes than before" if differing else "with the same bytes"
    return f"{what} computed again, {same}"


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in numbers.items())
