"""The worked examples of docs/own-data.md run as they stand, on a few images made by program."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from deepfeat.cli.main import main
from deepfeat.demo.shapes import make_images

PAGE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text()


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of six images, and a CSV file with several labels an image."""
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "photographs", per_class=6)
    folder = tmp_path / "photographs"
    for name in ("checks", "stripes", "triangles"):
        shutil.rmtree(folder / name)
    labels = {"discs": "round", "dots": "round;many", "squares": "square"}
    lines = [
        f"{name}/00{number}.png,{label},{'train' if number < 3 else 'test'}"
        for name, label in labels.items()
        for number in range(6)
    ]
    (folder / "labels.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")
    return folder


def test_the_commands_and_the_python_of_the_page_run(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some ten seconds: images at scale 224."""
    commands = re.findall(r"^\$ deepfeat (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(command))
        assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "mean class recall" in shown and "mAP" in shown
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(block, {})
    printed = capsys.readouterr().out
    assert "squares" in printed and Path("discs.json").is_file()
