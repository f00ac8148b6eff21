"""Do real networks recognise real images when deepfeat loads and preprocesses them?

Thirty-eight classes of Caltech-101 are classes of ImageNet as well. Each image is resized by Pillow
(bilinear, shorter side 256), its centre of 224 x 224 goes through ``load_network``'s network, and
the classifier's own last weights turn the map into ImageNet's 1000 scores. Right is an image whose
best class is among those accepted for its folder. Writes ``results/top1.json``.

    DEEPFEAT_TEST_DATA=DIR python benchmarks/top1.py

DIR holds ``caltech101/101_ObjectCategories`` and ``weights/`` with ``caltech_to_imagenet.json``.
The figures are of a subset chosen by file size: compare them with each other, not with published
ones.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from machine import provenance
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from deepfeat import load_network

HERE = Path(__file__).parent
SHORTER_SIDE, CROP, BATCH = 256, 224, 16
FIRST = 8  # files a class of the short check

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """A network, its weights file, the layer to average, and the way from there to 1000 scores."""

    weights: str
    preprocessing: str
    layer: str
    linear: str = ""  # key of the last linear layer, where the layer's average is not the scores


CASES = {
    "squeezenet1_0": Case("squeezenet1_0.caffe.safetensors", "caffe", "classifier.2"),
    "squeezenet1_1": Case("squeezenet1_1.torchvision.safetensors", "torchvision", "classifier.2"),
    "mobilenet_v2": Case("mobilenet_v2.tf.safetensors", "tf", "features", "classifier.1"),
}
WRONG = {"squeezenet1_0": "torchvision", "squeezenet1_1": "caffe", "mobilenet_v2": "torchvision"}


@dataclass(frozen=True)
class Figure:
    """Per cent of the images whose class is the best, or among the five best."""

    images: int
    top1: float
    top5: float


def listed(data: Path, first: int | None = None) -> list[tuple[Path, tuple[int, ...]]]:
    """Images of the 38 classes, or the ``first`` of each, with the ImageNet classes accepted."""
    accepted = json.loads((data / "weights" / "caltech_to_imagenet.json").read_text())
    folders = data / "caltech101" / "101_ObjectCategories"
    return [
        (path, tuple(classes))
        for name, classes in sorted(accepted.items())
        for path in sorted((folders / name).glob("*.jpg"))[:first]
    ]


def centre(path: Path) -> Pixels:
    """(224, 224, 3) uint8 RGB from the middle of the resized image."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    shorter = min(image.size)
    size = (image.width * SHORTER_SIDE // shorter, image.height * SHORTER_SIDE // shorter)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
    return np.array(image.crop((left, top, left + CROP, top + CROP)))


def classifier(data: Path, network: str, preprocessing: str) -> Callable[[Tensor], Tensor]:
    """RGB uint8 (B, H, W, 3) -> scores (B, 1000), by the network as deepfeat loads it."""
    case = CASES[network]
    weights = data / "weights" / case.weights
    loaded = load_network(
        network,
        weights=str(weights),
        preprocessing=preprocessing,
        layers=(case.layer,),
        device="cpu",
    )
    state = load_file(weights) if case.linear else {}

    def scores(pixels: Tensor) -> Tensor:
        average = loaded.maps(loaded.preprocess(pixels))[case.layer].mean((2, 3))
        if not case.linear:
            return average
        weight, bias = state[f"{case.linear}.weight"], state[f"{case.linear}.bias"]
        return torch.nn.functional.linear(average, weight.float(), bias.float())

    return scores


def figure(
    scores: Callable[[Tensor], Tensor],
    pixels: Sequence[Pixels],
    accepted: Sequence[tuple[int, ...]],
) -> Figure:
    """Classify images (each (224, 224, 3) uint8) and count."""
    best = []
    for start in range(0, len(pixels), BATCH):
        batch = torch.from_numpy(np.stack(pixels[start : start + BATCH]))
        best += scores(batch).topk(5).indices.tolist()
    first = sum(five[0] in right for five, right in zip(best, accepted, strict=True))
    among = sum(bool({*five} & {*right}) for five, right in zip(best, accepted, strict=True))
    return Figure(len(best), 100 * first / len(best), 100 * among / len(best))


def main() -> None:
    data = Path(os.environ["DEEPFEAT_TEST_DATA"])
    head = provenance("python benchmarks/top1.py")
    paths, accepted = zip(*listed(data), strict=True)
    short_paths, short_accepted = zip(*listed(data, FIRST), strict=True)
    crops = {path: centre(path) for path in paths}
    everything = [crops[path] for path in paths]
    short = [crops[path] for path in short_paths]
    right, wrong = {}, {}
    for network, case in CASES.items():
        scores = classifier(data, network, case.preprocessing)
        right[network] = _row(
            case.weights, case.preprocessing, figure(scores, everything, accepted)
        )
        scores = classifier(data, network, WRONG[network])
        wrong[network] = _row(case.weights, WRONG[network], figure(scores, short, short_accepted))
    result = {
        **head,
        "data": "subset of Caltech-101 chosen by file size: 38 classes that ImageNet has too",
        "pixels": f"Pillow bilinear, shorter side {SHORTER_SIDE}, centre {CROP} x {CROP}",
        "per_cent": right,
        "per_cent_with_the_wrong_preprocessing": wrong,
    }
    text = json.dumps(result, indent=1, allow_nan=False)
    (HERE / "results" / "top1.json").write_text(text + "\n")
    print(text)


def _row(weights: str, preprocessing: str, found: Figure) -> dict[str, object]:
    return {
        "weights": weights,
        "preprocessing": preprocessing,
        "images": found.images,
        "top1": round(found.top1, 2),
        "top5": round(found.top5, 2),
    }


if __name__ == "__main__":
    if "DEEPFEAT_TEST_DATA" not in os.environ:
        sys.exit("set DEEPFEAT_TEST_DATA to the folder of real images and weights")
    main()
