"""The house: which room imports which, where heavy libraries live, what names do not exist."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import deepfeat

PACKAGE = Path(deepfeat.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = [  # a room may import rooms of lower floors, and itself
    {"errors"},
    {"terminal"},
    {"tables", "toml_text", "status", "files", "progress", "machine", "numbers"},
    {"images", "networks", "datasets", "metrics", "classify", "store"},
    {"extraction"},
    {"evaluation"},
    {"report", "demo"},
    {"cli", "__init__"},
    {"__main__"},
]
HEAVY = {  # where a heavy library may be imported
    "torch": {"networks", "extraction", "classify"},
    "torchvision": {"networks", "extraction"},
    "timm": {"networks"},
    "sklearn": {"classify"},
    "h5py": {"store"},
    "pandas": {"store", "evaluation"},
    "PIL": {"images", "extraction", "report", "demo"},
    "simplejpeg": {"images"},
    "pooch": {"networks", "datasets"},
    "click": {"cli"},
    "rich": {"cli", "progress"},
}
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base"}
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imports(path: Path) -> set[str]:
    """Every module imported in the file, inside functions too, as absolute dotted names."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def violations(path: Path, package: Path) -> list[str]:
    """Imports of ``path`` that go up, sideways, or bring a heavy library into the wrong room."""
    room = path.relative_to(package).parts[0].removesuffix(".py")
    found = []
    for name in sorted(imports(path)):
        top, *rest = name.split(".")
        if top == "deepfeat" and rest and rest[0] != "__version__":
            if rest[0] != room and not FLOOR_OF.get(rest[0], 99) < FLOOR_OF[room]:
                found.append(name)
        elif top in HEAVY and room not in HEAVY[top] and room != "__init__":
            found.append(name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    assert violations(path, PACKAGE) == []


def test_the_house_test_sees_an_upward_and_a_heavy_import(tmp_path: Path) -> None:
    room = tmp_path / "store"
    room.mkdir()
    file = room / "x.py"
    file.write_text("import torch\ndef f():\n    from deepfeat.cli import main\n")
    assert violations(file, tmp_path) == ["deepfeat.cli.main", "torch"]


def test_oracles_share_no_code_with_the_package() -> None:
    files = sorted((ROOT / "tests" / "oracles").rglob("*.py"))
    files += sorted((ROOT / "benchmarks").glob("oracle_*.py"))
    guilty = [f.name for f in files if any(n.startswith("deepfeat") for n in imports(f))]
    assert files
    assert guilty == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_or_file_bears_a_forbidden_name(path: Path) -> None:
    parts = {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts}
    assert not parts & FORBIDDEN


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_no_room_is_named_like_a_public_name() -> None:
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()}
    assert not rooms & (set(deepfeat.__all__) - {"__version__"})


def test_every_public_name_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in deepfeat.__all__ if name not in readme] == []


def test_every_public_name_resolves() -> None:
    assert all(hasattr(deepfeat, name) for name in deepfeat.__all__)


@pytest.mark.parametrize(
    "code",
    ["import deepfeat", "from deepfeat.cli.main import _status; _status(['--help'])"],
)
def test_import_and_help_load_nothing_heavy(code: str) -> None:
    script = f"{code}\nimport sys; print('LOADED', sorted(sys.modules))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = done.stdout.split("LOADED")[-1]
    heavy = (set(HEAVY) | {"numpy", "scipy"}) - {"click", "rich"}
    assert [name for name in sorted(heavy) if f"'{name}'" in loaded] == []
