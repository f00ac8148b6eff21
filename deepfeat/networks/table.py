"""Every network by name: how it is built, its default layer, and what its classifier is called.

Nothing heavy is imported to look a name up.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from deepfeat.errors import NetworkError
from deepfeat.tables import look_up

LISTING = "deepfeat networks"


@dataclass(frozen=True, slots=True)
class Row:
    """One network.

    ``family`` is "vgg", "alexnet" or "torchvision"; ``classifier`` the key of the last weighted
    layer, whose first dimension is the number of classes.
    """

    family: str
    default_layer: str
    classifier: str

    @property
    def rounds_pooled_sizes(self) -> bool:
        """Whether floor or ceil is a choice: for the networks with fc layers only."""
        return self.family != "torchvision"


def networks() -> dict[str, Row]:
    """Name -> row, in order of families. Imports torch."""
    from deepfeat.networks.from_torchvision import CUTS
    from deepfeat.networks.vgg import CONFIGURATIONS

    rows = {name: Row("vgg", "fc7", "classifier.6") for name in CONFIGURATIONS}
    rows["alexnet"] = Row("alexnet", "fc7", "classifier.6")
    return rows | {name: Row("torchvision", cut.layer, cut.last) for name, cut in CUTS.items()}


def list_networks(pattern: str = "*") -> list[str]:
    """Names of the networks that match a shell pattern such as ``'vgg*'``."""
    return [name for name in networks() if fnmatchcase(name, pattern)]


def row_of(name: str) -> Row:
    """The row of a network.

    Raises
    ------
    NetworkError
        For an unknown name (with the nearest ones), or one that cannot be applied densely.
    """
    from deepfeat.networks.from_torchvision import NOT_DENSE

    if isinstance(name, str) and name in NOT_DENSE:
        raise NetworkError(
            f"network '{name}' cannot be applied densely",
            expected="a convolutional network, whose map grows with the image",
            found="a network that sees an image as a fixed grid of tokens or windows",
            advice="Crops of its own input size are its way; there is no such view yet. "
            f"'{LISTING}' lists the networks that can be used.",
        )
    return look_up(networks(), name, "network", error=NetworkError, listing=LISTING)
