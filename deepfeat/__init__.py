"""deepfeat: exact dense descriptors of images, kept safely, judged by linear SVMs.

Public names are resolved on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepfeat.classify.svm import LinearSVM, LinearSVMCV
    from deepfeat.datasets.csv_file import csv_dataset
    from deepfeat.datasets.folder import folder_dataset
    from deepfeat.datasets.loading import load_dataset
    from deepfeat.evaluation.recipe import load_recipe
    from deepfeat.evaluation.run import evaluate
    from deepfeat.extraction.encode import Extractor
    from deepfeat.extraction.extract import extract
    from deepfeat.networks.load import load_network
    from deepfeat.networks.table import list_networks
    from deepfeat.store.read import open_store

__version__ = "0.1.0"

_HOMES = {
    "LinearSVM": "deepfeat.classify.svm",
    "LinearSVMCV": "deepfeat.classify.svm",
    "load_dataset": "deepfeat.datasets.loading",
    "load_recipe": "deepfeat.evaluation.recipe",
    "evaluate": "deepfeat.evaluation.run",
    "load_network": "deepfeat.networks.load",
    "list_networks": "deepfeat.networks.table",
    "extract": "deepfeat.extraction.extract",
    "Extractor": "deepfeat.extraction.encode",
    "open_store": "deepfeat.store.read",
    "folder_dataset": "deepfeat.datasets.folder",
    "csv_dataset": "deepfeat.datasets.csv_file",
}

__all__ = [
    "Extractor",
    "LinearSVM",
    "LinearSVMCV",
    "__version__",
    "csv_dataset",
    "evaluate",
    "extract",
    "folder_dataset",
    "list_networks",
    "load_dataset",
    "load_network",
    "load_recipe",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'deepfeat' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
