"""From uint8 pixels to the numbers a network was trained on: order, range, mean, divisor.

Six published ways have a name; another is written in a TOML file. Nothing is guessed: the numbers
come with the weights or from the user, and go into a store's identity without their name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor

from deepfeat.errors import NetworkError, UsageError, some
from deepfeat.tables import advice, look_up
from deepfeat.toml_text import parse_toml

Order = Literal["RGB", "BGR"]
Range = Literal[1, 255]
Rounding = Literal["floor", "ceil"]
Triple = tuple[float, float, float]

MOST_BYTES = 64 << 10
REQUIRED = ("order", "range", "mean", "std")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """``(x * range / 255 - mean) / std`` for each channel of uint8 pixels x.

    ``mean`` and ``std`` stand in the given ``order`` of channels and in units of ``range``: with
    range 255 they are grey levels.
    """

    name: str
    order: Order
    range: Range
    mean: Triple
    std: Triple

    def as_json(self) -> dict[str, object]:
        """The numbers for an identity, without the name: two names of one set of numbers agree."""
        return {
            "order": self.order,
            "range": self.range,
            "mean": list(self.mean),
            "std": list(self.std),
        }


ONES = (1.0, 1.0, 1.0)
HALVES = (0.5, 0.5, 0.5)

# caffe-vgg and matconvnet-vgg: the training set's mean colour, the only preprocessing of Simonyan &
# Zisserman (2015, section 2.1), in the order of Caffe's and of MatConvNet's files. torchvision: of
# its own weights; torchvision-features: of its port of the paper's convolutions. tf is usually
# written x / 127.5 - 1, which is (x / 255 - 0.5) / 0.5.
PREPROCESSINGS: dict[str, Preprocessing] = {
    row.name: row
    for row in (
        Preprocessing("caffe-vgg", "BGR", 255, (103.939, 116.779, 123.68), ONES),
        Preprocessing("caffe", "BGR", 255, (104.0, 117.0, 123.0), ONES),
        Preprocessing("torchvision", "RGB", 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        Preprocessing(
            "torchvision-features", "RGB", 1, (0.48235, 0.45882, 0.40784), (1 / 255,) * 3
        ),
        Preprocessing("matconvnet-vgg", "RGB", 255, (123.68, 116.779, 103.939), ONES),
        Preprocessing("tf", "RGB", 1, HALVES, HALVES),
    )
}


def preprocess(
    pixels: Tensor, preprocessing: Preprocessing, device: torch.device | str | None = None
) -> Tensor:
    """Convert images to a network's input.

    Parameters
    ----------
    pixels : Tensor
        (B, H, W, 3) uint8, RGB.
    device : torch.device or str, optional
        Where the result shall be; the bytes travel, not the floats. None: where ``pixels`` are.

    Returns
    -------
    Tensor
        (B, 3, H, W) float32, contiguous.
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
        raise UsageError(
            "pixels cannot be preprocessed",
            expected="a uint8 tensor of shape (B, H, W, 3)",
            found=f"{str(pixels.dtype).removeprefix('torch.')} of shape {tuple(pixels.shape)}",
        )
    x = pixels if device is None else pixels.to(device)
    if preprocessing.order == "BGR":
        x = x.flip(-1)
    x = x.permute(0, 3, 1, 2)  # (B, H, W, 3) -> (B, 3, H, W)
    x = x.to(torch.float32, memory_format=torch.contiguous_format)
    if preprocessing.range == 1:
        # Divided, not multiplied by 1/255: the last bit is torchvision's.
        x = x.div_(255)
    mean = x.new_tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = x.new_tensor(preprocessing.std).view(1, 3, 1, 1)
    return x.sub_(mean).div_(std)


def load_preprocessing(name_or_path: str) -> tuple[Preprocessing, Rounding | None]:
    """The preprocessing of a name, or of a TOML file with the rounding of pooled sizes it states.

    Raises
    ------
    NetworkError
        For an unknown name, a file that is missing, over 64 KiB or no TOML, and for keys or values
        that are unknown, absent or of the wrong type.
    """
    path = Path(name_or_path)
    if name_or_path in PREPROCESSINGS or not (path.suffix == ".toml" or path.is_file()):
        row = look_up(PREPROCESSINGS, name_or_path, "preprocessing", error=NetworkError)
        return row, None
    table = _read_toml(path)
    return _from_table(table, path), _rounding(table, path)


def _read_toml(path: Path) -> dict[str, object]:
    try:
        if not path.is_file():
            raise _refused(path, "it is not there, or not a regular file")
        with path.open("rb") as file:
            return parse_toml(file.read(MOST_BYTES + 1), most_bytes=MOST_BYTES)
    except OSError as error:
        raise _refused(path, error.strerror or "it cannot be read") from error
    except ValueError as error:
        raise _refused(path, str(error)) from error


def _from_table(table: dict[str, object], path: Path) -> Preprocessing:
    known = (*REQUIRED, "pooling")
    for key in table:
        if key not in known:
            raise _refused(path, f"unknown key '{key:.80}'", advice(known, key[:80]))
    if absent := [key for key in REQUIRED if key not in table]:
        raise _refused(path, f"{some(absent)} missing", f"Required: {some(REQUIRED)}.")
    order, limit = table["order"], table["range"]
    if order not in ("RGB", "BGR"):
        raise _refused(path, f"order is {order!r:.60}", 'order = "RGB" or "BGR".')
    if isinstance(limit, bool) or not isinstance(limit, int) or limit not in (1, 255):
        raise _refused(path, f"range is {limit!r:.60}", "range = 1 or 255.")
    mean = _triple(table["mean"], "mean", path)
    std = _triple(table["std"], "std", path)
    if not all(0 <= value <= limit for value in mean):
        # The usual slip: grey levels beside range = 1.
        raise _refused(
            path, f"mean is {list(mean)}", f"With range = {limit} it is in 0 ... {limit}."
        )
    if not all(value > 0 for value in std):
        raise _refused(path, f"std is {list(std)}", "Each must be positive.")
    return Preprocessing(path.name, order, cast(Range, limit), mean, std)


def _triple(value: object, key: str, path: Path) -> Triple:
    numbers = [
        float(number)
        for number in (value if isinstance(value, list) else [])
        if isinstance(number, (int, float)) and not isinstance(number, bool) and abs(number) < 1e9
    ]
    if not isinstance(value, list) or len(value) != 3 or len(numbers) != 3:
        raise _refused(
            path, f"{key} is {value!r:.60}", f"{key} = three finite numbers, in 'order'."
        )
    return numbers[0], numbers[1], numbers[2]


def _rounding(table: dict[str, object], path: Path) -> Rounding | None:
    pooling = table.get("pooling")
    if pooling not in (None, "floor", "ceil"):
        raise _refused(path, f"pooling is {pooling!r:.60}", 'pooling = "floor" or "ceil".')
    return pooling


def _refused(path: Path, why: str, what_to_do: str = "") -> NetworkError:
    return NetworkError(f"preprocessing file '{path}' cannot be used: {why}", advice=what_to_do)
