"""What shapes a row's numbers: two stores with the same identity may be joined, others never.

An identity is plain values, written as canonical JSON (sorted keys, no spaces, UTF-8, floats by
``repr``, no NaN), whose sha256 stands in every file of a store. How fast something is computed
(device, batch size, workers) never enters it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deepfeat.errors import StoreDamaged, UsageError
from deepfeat.store.layout import LONGEST_NAME, MOST_COLUMNS
from deepfeat.store.shape import choice, flag, number, record, sequence, text, whole

POOLINGS = ("floor", "ceil", "as-built")
AGGREGATES = ("none", "mean", "max")
STORE_DTYPES = {"float32": "<f4", "float16": "<f2"}


@dataclass(frozen=True)
class NetworkPart:
    """The network, its weights by contents, and the numbers of its preprocessing."""

    name: str
    weights_sha256: str
    pooling: str
    preprocessing: Mapping[str, object]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class ImagePart:
    """How an image becomes pixels: orientation, colour, the size rule and the limits."""

    exif: bool
    background: tuple[int, int, int]
    long_side: str
    filter: str
    upscale: bool
    max_pixels: int
    max_bytes: int


@dataclass(frozen=True)
class SamplingPart:
    """Which descriptors are kept of it: view, scales, mirror, aggregation, precision."""

    view: str
    scales: tuple[str, ...]
    mirror: bool
    over_positions: str
    across_scales: str
    precision: str
    store_dtype: str


@dataclass(frozen=True)
class Identity:
    """Everything that a stored number depends on beside the image itself."""

    network: NetworkPart
    image: ImagePart
    sampling: SamplingPart

    def __post_init__(self) -> None:
        checks = [
            ("network.pooling", self.network.pooling, POOLINGS),
            ("sampling.across_scales", self.sampling.across_scales, AGGREGATES),
            ("sampling.store_dtype", self.sampling.store_dtype, tuple(STORE_DTYPES)),
        ]
        for field, value, allowed in checks:
            if value not in allowed:
                raise UsageError(
                    f"{field} is '{value}'", expected=" or ".join(f"'{name}'" for name in allowed)
                )
        for field, names in (
            ("network.layers", self.network.layers),
            ("sampling.scales", self.sampling.scales),
        ):
            bad = [n for n in names if not n or "/" in n or "\0" in n or n.strip(".") == ""]
            if not names or bad or len(set(names)) != len(names):
                raise UsageError(
                    f"{field} is {list(names)}", expected="distinct names without '/', at least one"
                )
        if (count := len(self.network.layers) * len(self.columns)) > MOST_COLUMNS:
            raise UsageError(
                f"{count} descriptors an image: layers times scales",
                expected=f"at most {MOST_COLUMNS}",
                advice="Choose fewer layers or scales, or several stores.",
            )

    def canonical(self) -> bytes:
        """Return the canonical JSON, UTF-8."""
        return canonical_json(asdict(self))

    def as_value(self) -> dict[str, Any]:
        """The identity as JSON values, for a provenance."""
        value: dict[str, Any] = json.loads(self.canonical())
        return value

    @property
    def sha256(self) -> str:
        """Hex sha256 of the canonical JSON: the identity as files carry it."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @property
    def columns(self) -> list[str]:
        """Names of the stored scales of each layer: the scales, or the one aggregate."""
        if self.sampling.across_scales == "none":
            return list(self.sampling.scales)
        return [self.sampling.across_scales]

    @classmethod
    def from_json(cls, text: str | bytes) -> Identity:
        """Read what ``canonical`` wrote. Raises ``StoreDamaged`` naming the field that is wrong."""
        return cls.from_value(load_json(text, "identity"))

    @classmethod
    def from_value(cls, value: object) -> Identity:
        """Build from parsed JSON. Raises ``StoreDamaged`` naming the field that is wrong."""
        SHAPE(value, "identity")
        parts: Any = value
        network, image, sampling = (dict(parts[name]) for name in ("network", "image", "sampling"))
        network["layers"] = tuple(network["layers"])
        image["background"] = tuple(image["background"])
        sampling["scales"] = tuple(sampling["scales"])
        try:
            return cls(NetworkPart(**network), ImagePart(**image), SamplingPart(**sampling))
        except UsageError as error:
            raise StoreDamaged("the identity is not valid", found=str(error)) from error


def differences(a: Identity, b: Identity) -> list[tuple[str, object, object]]:
    """Return (field, value in ``a``, value in ``b``) for every field that differs."""
    return unequal(a.as_value(), b.as_value())


def unequal(a: object, b: object, name: str = "") -> list[tuple[str, object, object]]:
    """Return (dotted name, value in ``a``, value in ``b``) wherever two JSON values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in sorted(set(a) | set(b)):
            found += unequal(a.get(key), b.get(key), f"{name}.{key}" if name else str(key))
        return found
    return [] if a == b and type(a) is type(b) else [(name, a, b)]


def canonical_json(value: object) -> bytes:
    """Serialise so that equal values give equal bytes. Raises ``ValueError`` for NaN."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def load_json(text: str | bytes, what: str) -> Any:
    """Parse JSON from a file of unknown origin. Raises ``StoreDamaged`` naming ``what``."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise StoreDamaged(f"{what} is not readable as JSON", found=str(error)[:200]) from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


_NAME = text(LONGEST_NAME, least=1, is_name=True)
_NAMES = sequence(_NAME, 1, MOST_COLUMNS)
SHA256 = text(64, least=64, is_name=True)
PREPROCESSING = record(
    {
        "order": choice("RGB", "BGR"),
        "range": choice(1, 255),
        "mean": sequence(number(-1e9, 1e9), 3, 3),
        "std": sequence(number(0, 1e9), 3, 3),
    }
)
SHAPE = record(
    {
        "network": record(
            {
                "name": _NAME,
                "weights_sha256": SHA256,
                "pooling": choice(*POOLINGS),
                "preprocessing": PREPROCESSING,
                "layers": _NAMES,
            }
        ),
        "image": record(
            {
                "exif": flag,
                "background": sequence(whole(0, 255), 3, 3),
                "long_side": _NAME,
                "filter": _NAME,
                "upscale": flag,
                "max_pixels": whole(1),
                "max_bytes": whole(1),
            }
        ),
        "sampling": record(
            {
                "view": _NAME,
                "scales": _NAMES,
                "mirror": flag,
                "over_positions": _NAME,
                "across_scales": choice(*AGGREGATES),
                "precision": _NAME,
                "store_dtype": choice(*STORE_DTYPES),
            }
        ),
    }
)
