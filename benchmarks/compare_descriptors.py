"""Does ``deepfeat extract`` give the descriptors that ``oracle_descriptors.py`` gives?

Runs the installed command and the oracle, on its two ways to the pixels, over the same images and
compares every descriptor by the relative L2 distance ``|ours - oracle| / |oracle|``. Writes
``results/oracle-<network>.json``. With the oracle's own decoder and resizing the median must be at
most 1e-3; on the same resized pixels the largest must be at most 1e-5, else the exit status is 1.

    DEEPFEAT_TEST_DATA=DIR python benchmarks/compare_descriptors.py squeezenet1_1

DIR holds ``caltech101/101_ObjectCategories`` and ``weights/``. VGG-16 needs no weights: it takes
torchvision's own initialisation with seed 0, saved to a temporary file that both sides load.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from machine import provenance
from safetensors.torch import save_file
from torchvision.models import get_model

from deepfeat import open_store

HERE = Path(__file__).parent
LIST = HERE / "caltech101-500.txt"
MOST_MEDIAN_FROM_FILES = 1e-3
MOST_SAME_PIXELS = 1e-5
SEED = 0


@dataclass(frozen=True)
class Case:
    """A network, its weights file ("" for random ones), and how much of the list it takes."""

    weights: str
    preprocessing: str
    layer: str
    scales: str
    every: int = 1


CASES = {
    "squeezenet1_1": Case(
        "squeezenet1_1.torchvision.safetensors", "torchvision", "features", "224,320"
    ),
    "mobilenet_v2": Case("mobilenet_v2.tf.safetensors", "tf", "features", "224,320"),
    "vgg16": Case("", "torchvision", "fc7", "256,384", every=50),
}


def random_weights(network: str, path: Path) -> Path:
    """torchvision's initialisation, seeded, saved with torchvision's keys."""
    torch.manual_seed(SEED)
    save_file(get_model(network, weights=None).state_dict(), path)
    return path


def ours(
    root: Path, names: list[str], arguments: list[str], scratch: Path
) -> dict[str, np.ndarray]:
    """Descriptors of the installed command: scale -> (N, D) in the order of the names."""
    images, store = scratch / "images", scratch / "ours.h5"
    for name in names:  # paths of a CSV file are relative to it
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, images / name)
    listed = images / "images.csv"
    listed.write_text("\n".join(["path", *names]) + "\n")
    command = [str(Path(sys.executable).with_name("deepfeat")), "extract", str(listed), str(store)]
    subprocess.run([*command, *arguments, "--quiet", "--no-progress"], check=True)
    with open_store(store) as opened:
        rows = [opened.index(name) for name in names]
        (layer,) = opened.layers
        return {scale: np.asarray(opened[layer, scale])[rows] for scale in opened.scales}


def oracles(
    root: Path, names: list[str], arguments: list[str], pixels: str, scratch: Path
) -> dict[str, np.ndarray]:
    """The same from the oracle, in a process of its own."""
    listed, out = scratch / "images.txt", scratch / f"{pixels}.npz"
    listed.write_text("\n".join(names) + "\n")
    command = [sys.executable, str(HERE / "oracle_descriptors.py"), *arguments]
    command += ["--root", str(root), "--images", str(listed), "--pixels", pixels, "--out", str(out)]
    subprocess.run(command, check=True)
    with np.load(out) as found:
        assert found["names"].tolist() == names
        return {key: found[key] for key in found.files if key != "names"}


def distances(ours: dict[str, np.ndarray], oracle: dict[str, np.ndarray]) -> np.ndarray:
    """Relative L2 of every image at every scale: (scales, N), NaN where a row is a hole."""
    assert ours.keys() == oracle.keys()
    norm = np.linalg.norm
    return np.array(
        [norm(ours[q] - oracle[q], axis=1) / norm(oracle[q], axis=1) for q in sorted(oracle)]
    )


def main() -> int:
    network = sys.argv[1] if len(sys.argv) == 2 else ""
    if network not in CASES or "DEEPFEAT_TEST_DATA" not in os.environ:
        print(f"set DEEPFEAT_TEST_DATA and name one of {', '.join(CASES)}", file=sys.stderr)
        return 64
    case, data = CASES[network], Path(os.environ["DEEPFEAT_TEST_DATA"])
    head = provenance(f"python benchmarks/compare_descriptors.py {network}")
    root = data / "caltech101" / "101_ObjectCategories"
    names = LIST.read_text().split()[:: case.every]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        weights = (
            data / "weights" / case.weights if case.weights else scratch / "random.safetensors"
        )
        if not case.weights:
            random_weights(network, weights)
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        given = ["--network", network, "--weights", str(weights), "--scales", case.scales]
        given += ["--preprocessing", case.preprocessing]
        found = ours(root, names, [*given, "--layer", case.layer], scratch)
        from_files = distances(found, oracles(root, names, given, "torchvision", scratch))
        same_pixels = distances(found, oracles(root, names, given, "pil", scratch))
    result = {
        **head,
        "network": network,
        "layer": case.layer,
        "weights": case.weights or f"random, torchvision's initialisation with seed {SEED}",
        "weights_sha256": sha256,
        "preprocessing": case.preprocessing,
        "images": len(names),
        "list": LIST.name if case.every == 1 else f"every {case.every}th of {LIST.name}",
        "scales": [int(scale) for scale in case.scales.split(",")],
        "mirror": True,
        "compared": int(from_files.size),
        "median_relative": float(np.median(from_files)),
        "largest_relative": float(from_files.max()),
        "largest_relative_image": names[int(from_files.max(0).argmax())],
        "median_same_pixels": float(np.median(same_pixels)),
        "largest_same_pixels": float(same_pixels.max()),
        "limits": {
            "median_relative": MOST_MEDIAN_FROM_FILES,
            "largest_same_pixels": MOST_SAME_PIXELS,
        },
    }
    text = json.dumps(result, indent=1, allow_nan=False)
    (HERE / "results" / f"oracle-{network}.json").write_text(text + "\n")
    print(text)
    agrees = result["median_relative"] <= MOST_MEDIAN_FROM_FILES
    return 0 if agrees and result["largest_same_pixels"] <= MOST_SAME_PIXELS else 1


if __name__ == "__main__":
    sys.exit(main())
