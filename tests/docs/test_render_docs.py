"""The generated regions of the pages: fresh, seen when they drift, true to their sources."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from deepfeat.cli.main import deepfeat
from deepfeat.networks.listing import describe_network

ROOT = Path(__file__).parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text()
RUN = {
    "command": "deepfeat extract caltech101 --max-failures 0",
    "commit": "0123456789abcdef",
    "date": "2026-01-02",
    "machine": "a small machine",
    "network": "vgg16",
    "images": 9144,
    "ok": 9142,
    "failures": {"corrupt": 2},
    "seconds": 5210.4,
    "images_per_second": 1.755,
    "share": {"decode": 0.02, "network": 0.96, "disk": 0.02},
    "bytes": 451000000,
    "info": "store  x.h5\nimages  9142 of 9144 ok",
    "h5py": "",
}


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("render_docs")


def test_generated_regions_have_not_drifted(
    render: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (render.main(["--check"]), capsys.readouterr().err) == (0, "")


def test_a_drifted_page_is_named_and_left_alone(
    render: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page, other = tmp_path / "docs" / "a.md", tmp_path / "docs" / "b.md"
    page.parent.mkdir()
    fresh = render.rendered("# A\n\n<!-- begin: statuses -->\n<!-- end: statuses -->\n\nEnd.\n")
    altered = fresh.replace("| 4 | `corrupt` |", "| 5 | `corrupt` |")
    page.write_text(altered)
    other.write_text("No region.\n")
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "DOCS", page.parent)
    assert render.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/a.md has drifted: run 'make docs'\n"
    assert page.read_text() == altered != fresh
    assert render.main([]) == 0
    assert (page.read_text(), other.read_text()) == (fresh, "No region.\n")


def test_an_unknown_region_is_refused(render: ModuleType) -> None:
    with pytest.raises(KeyError):
        render.rendered("<!-- begin: nosuch -->\n<!-- end: nosuch -->")


def test_every_region_stands_in_a_page(render: ModuleType) -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert [name for name in render.REGIONS if f"<!-- begin: {name} -->" not in pages] == []


def test_every_option_of_every_command_stands_in_the_reference() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    for name, command in deepfeat.commands.items():
        section = page.partition(f"## deepfeat {name}\n")[2].partition("\n## ")[0]
        options = [one for one in command.params if isinstance(one, click.Option)]
        spellings = [text for one in options for text in [*one.opts, *one.secondary_opts]]
        assert [text for text in spellings if f"`{text}`" not in section] == [], name


@pytest.mark.parametrize("pattern", [r"DEEPFEAT_[A-Z]+", r"deepfeat\.[a-z_]+/1"])
def test_every_variable_and_schema_of_the_program_stands_in_the_reference(pattern: str) -> None:
    sources = "".join(path.read_text() for path in (ROOT / "deepfeat").rglob("*.py"))
    named = sorted(set(re.findall(pattern, sources)))
    page = (ROOT / "docs" / "cli.md").read_text()
    assert named
    assert [name for name in named if f"`{name}`" not in page] == []


def test_every_dependency_has_its_reason() -> None:
    lists = re.findall(r"^(?:dependencies|dev) = \[(.*?)^\]", PROJECT, re.MULTILINE | re.DOTALL)
    names = [
        name for one in lists for name in re.findall(r'^ +"([A-Za-z0-9-]+)', one, re.MULTILINE)
    ]
    bold = " ".join(re.findall(r"\*\*([^*]+)\*\*", (ROOT / "docs" / "decisions.md").read_text()))
    assert len(names) > 20
    assert [name for name in names if name not in re.split(r"[ ,.()]+", bold)] == []


@pytest.mark.parametrize("name", ["vgg19", "alexnet", "resnet18", "mobilenet_v3_small"])
def test_the_table_of_networks_is_what_the_program_says(name: str) -> None:
    """One network of each kind; building all of them takes minutes."""
    found = json.loads((ROOT / "benchmarks" / "results" / "networks.json").read_text())
    rows = {row["name"]: row for row in found["networks"]}
    assert rows[name] == describe_network(name)


def test_the_table_of_networks_has_every_network() -> None:
    from deepfeat.networks.table import list_networks

    found = json.loads((ROOT / "benchmarks" / "results" / "networks.json").read_text())
    assert [row["name"] for row in found["networks"]] == list_networks()


def test_a_run_is_shown_with_its_command_and_what_readers_say(
    render: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("pages"), "RESULTS", tmp_path)
    (tmp_path / "extract-vgg16.json").write_text(json.dumps(RUN))
    text = render.runs()
    assert "| holes | 2 corrupt |" in text
    assert "| time | 5,210 s, 1.75 images/s (decode 2 %, network 96 %, disk 2 %) |" in text
    assert (
        "(`deepfeat extract caltech101 --max-failures 0`, commit 0123456789, 2026-01-02, "
        "a small machine)" in text
    )
    assert "```text\nstore  x.h5\nimages  9142 of 9144 ok\n```" in text
    assert "h5py" not in text
