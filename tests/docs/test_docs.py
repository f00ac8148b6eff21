"""The pages say what the program does: generated regions, links, and every command that is shown.

README.md is run from top to bottom in an empty folder, its output compared with what it shows
(``...`` stands for anything). A block behind ``<!-- needs weights -->`` is only parsed.
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from deepfeat import extract
from deepfeat.cli.main import deepfeat, main
from deepfeat.demo.shapes import make_images

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"(<!-- needs weights -->\n)?```(python|console)\n(.*?)```\n", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
ASSIGNMENT = re.compile(r"[A-Z_]+=\S+")
COMPARED = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int
    needs_weights: bool


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start(3)) + 1
        yield Block(found[2], found[3], line, found[1] is not None)


def steps(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output shown under it."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def words_of(command: str) -> tuple[dict[str, str], list[str]]:
    """The variables set in front of a command, and the command itself."""
    words = shlex.split(command)
    count = next(i for i, word in enumerate(words) if not ASSIGNMENT.fullmatch(word))
    return dict(word.split("=", 1) for word in words[:count]), words[count:]


def parse(command: str) -> None:
    """Parse a command line of deepfeat as click does; a ``ClickException`` if it is wrong."""
    _, (_, name, *rest) = words_of(command)
    deepfeat.commands[name].make_context(name, rest)


class Shell:
    """Runs the commands of the README; those of deepfeat in this process, without a new import."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys = capsys
        self.monkeypatch = monkeypatch
        self.status = 0

    def run(self, command: str) -> str:
        """Standard output of a command; of one that fails, what it said on standard error."""
        variables, words = words_of(command)
        if words[0] == "make":  # installs: only the target is looked up
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            return ""
        if words[0] == "deepfeat":
            return self._deepfeat(variables, words[1:])
        if command == "echo $?":
            status, self.status = self.status, 0
            return f"{status}\n"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        return done.stdout

    def _deepfeat(self, variables: dict[str, str], arguments: list[str]) -> str:
        with self.monkeypatch.context() as changed:
            for name, value in variables.items():
                changed.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        said = self.capsys.readouterr()
        self.status = int(ended.value.code or 0)
        return said.err if self.status not in (0, 1) else said.out


def test_readme_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some ten seconds: it imports torch, scikit-learn and pandas, and describes images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEEPFEAT_OFFLINE", raising=False)
    make_images(tmp_path / "deepfeat-demo" / "images", per_class=12)  # make demo: 20
    shell = Shell(capsys, monkeypatch)
    names: dict[str, object] = {}
    checker = doctest.OutputChecker()
    for block in blocks(ROOT / "README.md"):
        if block.language == "python":
            names = run_examples(block, names, checker)
            continue
        for command, shown in [] if block.needs_weights else steps(block):
            assert shell.status == 0 or command == "echo $?", f"ended with {shell.status}"
            got = shell.run(command)
            assert not shown or checker.check_output(shown, got, COMPARED), f"{command}\n{got}"


def run_examples(
    block: Block, names: dict[str, object], checker: doctest.OutputChecker
) -> dict[str, object]:
    """Run the ``>>>`` examples of a block with the names of those before it; the names after it."""
    examples = doctest.DocTestParser().get_doctest(
        block.text, names, "README", None, block.line - 1
    )
    assert examples.examples
    said: list[str] = []
    runner = doctest.DocTestRunner(checker, verbose=False, optionflags=COMPARED)
    runner.run(examples, out=said.append, clear_globs=False)
    assert "".join(said) == ""
    return examples.globs


def test_the_start_page_reads_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds: three scales of an image."""
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "images", per_class=1)
    photographs = tmp_path / "images" / "discs"
    (photographs / "broken.jpg").write_text("<html>")
    given = {"network": "vgg8-small", "weights": "random:0"}  # and the scales of vgg16
    extract(photographs, "photographs.vgg16.h5", **given).close()
    (block,) = [one for one in blocks(ROOT / "docs" / "start.md") if one.language == "python"]
    names: dict[str, object] = {}
    exec(block.text, names)
    assert names["keys"] == ["000.png"]
    assert names["x"].shape == (1, 512)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_parses(page: Path) -> None:
    shown = [command for block in blocks(page) for command, _ in _console(block)]
    for command in shown:
        if words_of(command)[1][0] == "deepfeat":
            parse(command)


def _console(block: Block) -> list[tuple[str, str]]:
    return steps(block) if block.language == "console" else []


def test_a_command_with_an_unknown_option_is_seen() -> None:
    with pytest.raises(click.NoSuchOption):
        parse("deepfeat extract images --scale 256")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether the file is there and, where a heading is named, it has that heading."""
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> list[str]:
    """The headings of a page as links name them: lower case, hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings]


def test_a_link_to_a_missing_file_or_heading_is_seen() -> None:
    start = ROOT / "docs" / "start.md"
    links = ["store.md#two-forms", "store.md#three-forms", "nosuch.md", "#2-run"]
    assert [leads_somewhere(start, link) for link in links] == [True, False, False, True]
