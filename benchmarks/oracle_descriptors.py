"""Dense descriptors written a second time, from the definition, sharing no code with the package.

For an image at scale Q: resize the shorter side to Q; subtract and divide as the weights want it;
apply the network; average the last map over its positions; average with the descriptor of the
mirror image. Everything is done the plain way: one image and one view at a time, torchvision's own
model, VGG's fully-connected layers as Linear layers on every unfolded 7 x 7 window, averages in
float64.

The pixels come on one of two ways. ``pil``: Pillow decodes and resizes, so that a difference to the
package can only come from the network. ``torchvision``: torchvision's decoder and torch's resizing
on uint8 tensors, so that decoding and resizing are another implementation as well.

    python benchmarks/oracle_descriptors.py --images LIST.txt --root DIR --network squeezenet1_1 \
        --weights FILE.safetensors --preprocessing torchvision --scales 224,320 --out OUT.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.io import ImageReadMode, decode_image
from torchvision.models import get_model
from torchvision.transforms.v2 import functional

Describe = Callable[[Tensor], Tensor]


def size_at(height: int, width: int, side: int) -> tuple[int, int]:
    """The shorter side becomes ``side``; the longer keeps the proportion, rounded down."""
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side


def by_pillow(path: Path, side: int) -> Tensor:
    """(3, h, w) uint8 RGB, decoded and resized by Pillow."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    height, width = size_at(image.height, image.width, side)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def by_torchvision(path: Path, side: int) -> Tensor:
    """(3, h, w) uint8 RGB, decoded by torchvision and resized by torch."""
    image = decode_image(str(path), mode=ImageReadMode.RGB, apply_exif_orientation=True)
    size = size_at(image.shape[1], image.shape[2], side)
    return functional.resize(image, list(size), antialias=True)


PIXELS = {"pil": by_pillow, "torchvision": by_torchvision}


def column(*values: float) -> Tensor:
    """Three numbers of the channels, as (3, 1, 1)."""
    return torch.tensor(values).reshape(3, 1, 1)


# (3, h, w) float32 RGB from 0 to 255 -> what the weights were trained on
PREPROCESSINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "torchvision": lambda x: (x / 255 - column(0.485, 0.456, 0.406)) / column(0.229, 0.224, 0.225),
    "tf": lambda x: x / 127.5 - 1,
    "caffe": lambda x: x[[2, 1, 0]] - column(104, 117, 123),
}


def vgg_fc7(model: nn.Module) -> Describe:
    """fc7 of a VGG after its ReLU: the classifier on each 7 x 7 window of the last map."""
    first, second = model.classifier[0], model.classifier[3]

    def describe(x: Tensor) -> Tensor:
        maps = model.features(x)  # (1, 512, a, b)
        windows = nn.functional.unfold(maps, 7)[0].T  # (positions, 512 * 49)
        fc6 = torch.relu(first(windows))
        fc7 = torch.relu(second(fc6))  # (positions, 4096)
        return fc7.double().mean(0)

    return describe


def last_map(model: nn.Module) -> Describe:
    """The output of ``features``, averaged over its positions."""

    def describe(x: Tensor) -> Tensor:
        return model.features(x)[0].double().mean((1, 2))  # (1, C, a, b) -> (C,)

    return describe


NETWORKS = {"vgg16": vgg_fc7, "squeezenet1_1": last_map, "squeezenet1_0": last_map}
NETWORKS |= {"mobilenet_v2": last_map}


def load(network: str, weights: Path) -> Describe:
    """torchvision's model with the numbers of the file, half precision widened."""
    model = get_model(network, weights=None)
    state = load_file(weights)
    model.load_state_dict(
        {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    )
    return NETWORKS[network](model.eval())


def descriptor(
    describe: Describe, preprocess: Callable[[Tensor], Tensor], pixels: Tensor
) -> Tensor:
    """Of an image and its mirror, (3, h, w) uint8 -> (D,) float64."""
    x = preprocess(pixels.float())
    views = (x[None], x.flip(2)[None])
    image, mirror = (describe(view.contiguous()) for view in views)
    return (image + mirror) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="a list of relative paths")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--network", choices=NETWORKS, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--preprocessing", choices=PREPROCESSINGS, required=True)
    parser.add_argument("--scales", required=True, help="shorter sides, with commas between")
    parser.add_argument("--pixels", choices=PIXELS, default="torchvision")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()

    names = given.images.read_text().split("\n")
    names = [name for name in names if name]
    describe = load(given.network, given.weights)
    preprocess = PREPROCESSINGS[given.preprocessing]
    found = {}
    with torch.inference_mode():
        for scale in given.scales.split(","):
            rows = [
                descriptor(
                    describe, preprocess, PIXELS[given.pixels](given.root / name, int(scale))
                )
                for name in names
            ]
            found[scale] = torch.stack(rows).numpy()  # (N, D) float64
    np.savez(given.out, names=np.array(names), **found)


if __name__ == "__main__":
    main()
