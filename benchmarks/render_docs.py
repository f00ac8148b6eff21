"""Fill the generated regions of docs/*.md from the package's own tables and committed results.

    python benchmarks/render_docs.py            writes what has changed
    python benchmarks/render_docs.py --check    writes nothing; names the files that have drifted

A region stands between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``; NAME is a row of
``REGIONS``. So a number or an option in the docs cannot say something else than the program.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import figures
import svm_figures
from pages import result, results, source, table

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REGION = re.compile(r"(<!-- begin: ([a-z-]+) -->\n)(.*?)(<!-- end: \2 -->)", re.DOTALL)

# A photograph of 500 x 375 pixels at the scales of the paper.
PHOTOGRAPH = (375, 500)
SCALES = (256, 384, 512, 640, 768)
STRIDE, WINDOW = 32, 7  # of VGG: pixels between positions of pool5, side of fc6's kernel

MEANINGS = {
    "key": "bytes of the key, NUL-padded to the longest",
    "size": "bytes of the image file; -1 unknown",
    "sha256": "of the bytes that were decoded; zeros if none were read",
    "shape": "height, width after orientation; 0, 0 if unknown",
    "status": "what became of the image, table below",
    "notes": "what was done to its pixels, bits, table below",
    "mtime_ns": "modification time as listed; in sealed files only",
    "item": "the image a row belongs to: 0 ... n-1",
    "box": "x0, y0, x1, y1 in the upright image; -1 in holes",
}


def cli() -> str:
    """Every command of the group: what it does, arguments, options, examples, exit statuses."""
    from deepfeat.cli.main import deepfeat

    return "\n\n".join(_command(name, one) for name, one in sorted(deepfeat.commands.items()))


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"deepfeat {name}")
    usage = command.collect_usage_pieces(context)
    words, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    parts = [f"## deepfeat {name}", f"    {' '.join([context.command_path, *usage])}"]
    parts.append(words.strip().replace("<", "&lt;"))
    if examples:
        parts.append("\n".join(["```console", *_commands_of(examples), "```"]))
    options = [one for one in command.params if isinstance(one, click.Option)]
    parts.append(table(("option", "default", "meaning"), [_option(one) for one in options]))
    statuses = re.findall(r"^ *(\d+)  (.*)$", command.epilog or "", re.MULTILINE)
    parts.append(table(("exit status", "meaning"), statuses))
    return "\n\n".join(parts)


def _commands_of(examples: str) -> list[str]:
    lines = (line.strip() for line in examples.splitlines())
    return [f"$ {line}" for line in lines if line.startswith("deepfeat")]


def _option(option: click.Option) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" `{option.metavar or _type(option.type)}`"
    default = "" if option.is_flag and not option.secondary_opts else option.default
    shown = "" if default in (None, "") or not _is_plain(default) else f"`{_plain(option)}`"
    variable = f" Or `{option.envvar}` in the environment." if option.envvar else ""
    return names + value, shown, (option.help or "") + variable


def _is_plain(default: object) -> bool:
    """Whether it is a value; click's mark for "none" is neither text nor number."""
    return isinstance(default, (str, int, float, tuple))


def _plain(option: click.Option) -> str:
    if option.secondary_opts:
        return (option.opts if option.default else option.secondary_opts)[0]
    return str(option.default)


def _type(kind: click.ParamType) -> str:
    return (
        "|".join(map(str, kind.choices))
        if isinstance(kind, click.Choice)
        else kind.name.upper().split()[0]
    )


def exits() -> str:
    from deepfeat.cli.options import EXIT_STATUSES

    return table(("status", "meaning"), EXIT_STATUSES.items())


def statuses() -> str:
    from deepfeat.status import CASES

    rows = [
        (int(code), f"`{case.name}`", case.meaning, case.advice) for code, case in CASES.items()
    ]
    return table(("code", "name", "meaning", "what to do"), rows)


def notes() -> str:
    from deepfeat.status import Note

    rows = [
        (note.value.bit_length() - 1, note.value, note.name.lower().replace("_", " "))
        for note in Note
        if note.value and note.name
    ]
    return table(("bit", "value", "what"), rows)


def columns() -> str:
    """The datasets of a sealed file beside its descriptors."""
    from deepfeat.store.layout import ITEMS, MTIME, ROWS

    rows = [
        (f"`/{group}/{name}`", f"`{dtype}`", str(("n", *shape)).replace("'", ""), MEANINGS[name])
        for group, fields in (("items", ITEMS | MTIME), ("rows", ROWS))
        for name, (dtype, shape) in fields.items()
    ]
    return table(("path", "dtype", "shape", "what"), rows)


def preprocessings() -> str:
    from deepfeat.networks.preprocessing import PREPROCESSINGS

    def numbers(values: Sequence[float]) -> str:
        return ", ".join(f"{value:.6g}" for value in values)

    rows = [
        (f"`{one.name}`", one.order, f"0-{one.range}", numbers(one.mean), numbers(one.std))
        for one in PREPROCESSINGS.values()
    ]
    return table(("name", "order", "range", "mean", "std"), rows)


def refused() -> str:
    from deepfeat.networks.from_torchvision import NOT_DENSE

    return ", ".join(f"`{name}`" for name in sorted(NOT_DENSE))


def networks() -> str:
    found = result("networks")
    head = ("network", "default layer", "dimension", "stride", "offset", "receptive field")
    rows = [
        (one["name"], layer["name"], layer["channels"], layer["stride"], layer["offset"])
        + (
            layer["receptive_field"] or "whole image",
            layer["smallest_side"],
            ", ".join(one["weights"]),
        )
        for one in found["networks"]
        for layer in one["layers"]
    ]
    return table((*head, "smallest side", "weights"), rows) + "\n\n" + source(found)


def fields() -> str:
    """Receptive fields of the paper's networks, and how far fc7 sees beyond its 224 pixels."""
    names = ("vgg11", "vgg11-lrn", "vgg13", "vgg16c", "vgg16", "vgg19")
    found = {one["name"]: one["layers"][0] for one in result("networks")["networks"]}
    rows = []
    for name in names:
        field = found[name]["receptive_field"]
        pool5 = field - (WINDOW - 1) * STRIDE
        rows.append((f"`{name}`", pool5, field, (field - STRIDE * WINDOW) // 2))
    return table(("network", "pool5 cell", "fc6 or fc7 position", "beyond each side of 224"), rows)


def sizes() -> str:
    """The map of fc7 at each scale, rows x columns, under both roundings of pooled sizes."""
    short, long = PHOTOGRAPH
    rows = []
    for scale in SCALES:
        sides = (scale, long * scale // short)
        floor = [side // STRIDE - WINDOW + 1 for side in sides]
        ceil = [-(-side // STRIDE) - WINDOW + 1 for side in sides]
        rows.append((scale, *(f"{a} x {b}" for a, b in (sides, floor, ceil))))
    return table(("scale", "resized", "fc7 map, floor", "fc7 map, ceil"), rows)


def runs() -> str:
    """Real runs: what was extracted, how fast, and what other programs say of the store."""
    return "\n\n".join(_run(found) for found in results("extract-*")) or "None is committed yet."


def _run(found: dict[str, Any]) -> str:
    share = ", ".join(f"{name} {100 * part:.0f} %" for name, part in found["share"].items())
    failures = ", ".join(f"{n} {name}" for name, n in found["failures"].items()) or "none"
    rows = [
        ("images", f"{found['images']:,}"),
        ("with descriptors", f"{found['ok']:,}"),
        ("holes", failures),
        ("time", f"{found['seconds']:,.0f} s, {found['images_per_second']:.2f} images/s ({share})"),
        ("store", f"{found['bytes']:,} bytes"),
    ]
    rows += [("remark", found["remark"])] if found.get("remark") else []
    parts = [f"### {found['network']}", table(("", ""), rows), source(found)]
    for name, reader in (("info", "`deepfeat info`"), ("h5py", "h5py"), ("pandas", "pandas")):
        if found.get(name):
            parts.append(f"What {reader} says:\n\n```text\n{found[name].rstrip()}\n```")
    return "\n\n".join(parts)


def oracles() -> str:
    """Distances to descriptors that share no code with ours."""
    rows = [
        (found["network"], f"{found['layer']}, {found['weights']}", f"{found['images']:,}")
        + tuple(f"{found[name]:.1e}" for name in DISTANCES)
        for found in results("oracle-*")
    ]
    if not rows:
        return "None is committed yet."
    head = ("network", "layer, weights", "images", "median", "largest")
    words = "\n\n".join(f"{found['network']}: {source(found)}" for found in results("oracle-*"))
    return table((*head, "median, same pixels", "largest, same pixels"), rows) + "\n\n" + words


DISTANCES = ("median_relative", "largest_relative", "median_same_pixels", "largest_same_pixels")


REGIONS: dict[str, Callable[[], str]] = {
    "cli": cli,
    "exits": exits,
    "statuses": statuses,
    "notes": notes,
    "columns": columns,
    "preprocessings": preprocessings,
    "networks": networks,
    "refused": refused,
    "fields": fields,
    "sizes": sizes,
    "runs": runs,
    "oracles": oracles,
    "recipe-keys": figures.recipe_keys,
    "reproduction": figures.reproduction,
    "study": figures.study,
    "agreement": figures.agreement,
    "rehearsal": figures.rehearsal,
    "svm-benchmark": svm_figures.benchmark,
    "svm-profile": svm_figures.profile,
    "svm-growth": svm_figures.growth,
}


def rendered(text: str) -> str:
    """A page with its regions filled; an unknown name is a ``KeyError``."""
    return REGION.sub(lambda m: f"{m[1]}\n{REGIONS[m[2]]()}\n\n{m[4]}", text)


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given not in ([], ["--check"]):
        print("usage: render_docs.py [--check]", file=sys.stderr)
        return 64
    texts = {path: path.read_text() for path in sorted(DOCS.glob("*.md"))}
    drifted = {path: new for path, old in texts.items() if (new := rendered(old)) != old}
    if given:
        for path in drifted:
            print(f"{path.relative_to(ROOT)} has drifted: run 'make docs'", file=sys.stderr)
        return 1 if drifted else 0
    for path, text in drifted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
