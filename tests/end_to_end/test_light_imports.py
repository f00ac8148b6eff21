"""What answers without torch, and how soon.

A folder in front of the module search path holds packages named like the heavy ones, which raise
when they are imported: for the command started with it, torch is broken.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMANDS = ("extract", "info", "verify", "networks", "demo")
MOST_SECONDS = 0.2
DEEPFEAT = Path(sys.executable).with_name("deepfeat")


def broken(folder, *packages):
    """An environment in which these packages cannot be imported."""
    for package in packages:
        (folder / f"{package}.py").write_text(f"raise ImportError('{package} is broken')\n")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def run(command, env):
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory):
    return broken(tmp_path_factory.mktemp("broken"), "torch", "torchvision")


@pytest.fixture(scope="module")
def store(tmp_path_factory, save_picture, deepfeat):
    """A finished store of one image, made with torch."""
    root = tmp_path_factory.mktemp("store")
    save_picture(root / "images" / "a.png", 60, 80)
    done = deepfeat(
        "extract", root / "images", root / "s.h5", "--network", "vgg8-small", "--weights",
        "random:0", "--scales", "224", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return root / "s.h5"


def test_torch_is_broken_there(without_torch):
    done = run([DEEPFEAT, "networks", "vgg16"], without_torch)
    assert done.returncode != 0
    assert "torch is broken" in done.stderr


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_with_nothing_heavy(tmp_path, command):
    heavy = ("torch", "torchvision", "numpy", "h5py", "pandas", "scipy", "sklearn", "PIL")
    done = run([DEEPFEAT, *command.split(), "--help"], broken(tmp_path, *heavy))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: deepfeat")


@pytest.mark.parametrize("command", [["info"], ["verify"], ["verify", "--deep"]], ids=" ".join)
def test_a_store_is_looked_at_without_torch(without_torch, store, command):
    done = run([DEEPFEAT, *command, store], without_torch)
    assert done.returncode == 0, done.stderr


def test_open_store_reads_without_torch(without_torch, store):
    code = (
        "import sys, deepfeat\n"
        "with deepfeat.open_store(sys.argv[1]) as store:\n"
        "    print(store.keys, store.read(scales=[224]).shape, 'torch' in sys.modules)"
    )
    done = run([sys.executable, "-c", code, store], without_torch)
    assert done.stdout.strip() == "['a.png'] (1, 512) False", done.stderr


def test_a_function_that_needs_torch_says_so(without_torch):
    done = run([sys.executable, "-c", "from deepfeat import load_network"], without_torch)
    assert "torch is broken" in done.stderr


def seconds_of(code):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    return time.perf_counter() - start


def test_importing_the_package_costs_little_more_than_python():
    """Medians of interleaved runs, so that a busy machine is as busy for both."""
    pairs = [(seconds_of("pass"), seconds_of("import deepfeat")) for _ in range(11)]
    bare, with_package = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert with_package - bare < MOST_SECONDS
