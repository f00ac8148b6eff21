"""Fill the generated regions of docs/*.md from the package's own tables and committed results.

    python benchmarks/render_docs.py            writes what has changed
    python benchmarks/render_docs.py --check    writes nothing; names the files that have drifted

A region stands between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``; NAME is a row of
``REGIONS``. So a number or an option in the docs cannot say something else than the program.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
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


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; a pipe within a cell is escaped."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *cells])


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


def recipe_keys() -> str:
    """Every key of a recipe, with its default where it does not depend on others."""
    from deepfeat.evaluation.keys import KEYS, REQUIRED

    def default(row: Any) -> str:
        if row.default is REQUIRED:
            return "wanted"
        if callable(row.default):
            return "by the set"
        return "" if row.default is None else f"`{json.dumps(row.default)}`"

    rows = [
        (f"`{name}`", accepted(row.check), default(row), row.meaning) for name, row in KEYS.items()
    ]
    return table(("key", "accepts", "default", "meaning"), rows)


def accepted(check: Callable[[Any], Any]) -> str:
    """What a check says it wants."""
    try:
        check(None)
    except ValueError as error:
        return str(error)
    raise AssertionError("a check took None")


def reproduction() -> str:
    """The figures of real runs on the subset of Caltech-101."""
    found = results("svm-eval-caltech101*")
    if not found:
        return "None is committed yet."
    rows = [
        (
            " + ".join(one["network"] for one in run["features"]),
            sum(one["dimension"] for one in run["features"]),
            plus_minus(run["figure"]),
            f"{run['figure']['low']:.1f} to {run['figure']['high']:.1f}",
            f"{run['measures']['accuracy']['value']:.1f}",
            ", ".join(f"{split['C']:g}" for split in run["splits"]),
            f"{run['timings']['solve']:.0f} s",
            run["solver"]["name"],
        )
        for run in found
    ]
    head = ("descriptors", "values", "mean class recall", "95 % interval", "accuracy")
    lines = "\n\n".join(
        f"{' + '.join(one['network'] for one in run['features'])}: {source(run)}"
        + (f" {run['remark']}" if run["remark"] else "")
        for run in found
    )
    return table((*head, "C of each split", "solving", "solver"), rows) + "\n\n" + lines


def study() -> str:
    """Mean, max and stack over every subset of scales, a column a run."""
    found = [run for run in results("svm-eval-caltech101*") if run["study"]]
    if not found:
        return "None is committed yet."
    names = [" + ".join(one["network"] for one in run["features"]) for run in found]
    rows = [
        (", ".join(lines[0]["scales"]), lines[0]["across_scales"] or "")
        + tuple(f"{one['value']:.2f} ± {one['spread']:.2f}" for one in lines)
        for lines in zip(*(run["study"] for run in found), strict=True)
    ]
    return table(("scales", "across", *names), rows)


def agreement() -> str:
    """Figures by deepfeat and by a script that shares nothing with it."""
    found = results("agreement-*")
    if not found:
        return "None is committed yet."
    rows = [
        (
            " + ".join(one["networks"]),
            one["solver"],
            f"{one['ours']:.3f}",
            f"{one['theirs']:.3f}",
            f"{sum(s['differing'] for s in one['splits'])} of "
            f"{sum(s['test'] for s in one['splits']):,}",
            f"{max(s['largest_margin'] for s in one['splits']):.1e}",
        )
        for one in found
    ]
    head = ("descriptors", "solver", "deepfeat", "script", "predictions that differ")
    lines = "\n\n".join(f"{' + '.join(one['networks'])}: {source(one)}" for one in found)
    return table((*head, "their largest margin"), rows) + "\n\n" + lines


def rehearsal() -> str:
    """VOC 2007 on the few real pictures at hand: what a partial figure looks like."""
    found = results("svm-eval-voc2007*")
    if not found:
        return "None is committed yet."
    parts = []
    for run in found:
        names = [one["class"] for one in run["per_class"] if one["value"] is None]
        parts.append(
            f"{run['data']['missing']:,} of {run['data']['images']:,} listed images are missing, "
            f"so the figure is labelled partial: {run['figure']['what']} {run['figure']['value']:.1f} "
            f"({run['figure']['definition']}) on {run['data']['test']} test images, trained on "
            f"{run['data']['train']}. Without a positive training image, hence without an AP: "
            f"{', '.join(names)}. {source(run)}"
        )
    return "\n\n".join(parts)


def plus_minus(figure: dict[str, Any]) -> str:
    spread = "" if figure["spread"] is None else f" ± {figure['spread']:.2f}"
    return f"{figure['value']:.2f}{spread}" + (" (subset)" if figure["partial"] else "")


DISTANCES = ("median_relative", "largest_relative", "median_same_pixels", "largest_same_pixels")


def source(found: dict[str, Any]) -> str:
    """The line under a number: command, commit, date, machine in words."""
    machine = found["machine"]
    if isinstance(machine, dict):
        devices = [machine[name] for name in ("processor", "device") if machine.get(name)]
        machine = f"{', '.join(devices)}, {machine['cores']} cores"
    changed = "" if found.get("package_as_committed", True) else " with changes"
    commit = f"commit {found['commit'][:10]}{changed}"
    return f"(`{found['command']}`, {commit}, {found['date']}, {machine})"


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def results(pattern: str) -> list[dict[str, Any]]:
    return [result(path.stem) for path in sorted(RESULTS.glob(f"{pattern}.json"))]


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
    "recipe-keys": recipe_keys,
    "reproduction": reproduction,
    "study": study,
    "agreement": agreement,
    "rehearsal": rehearsal,
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
