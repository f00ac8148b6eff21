"""A tree of folders as a data set: the first folder below the root names the class.

    root/cat/1.jpg            classes cat, dog; no splits
    root/dog/old/2.jpg

With ``split="folders"`` the first folder names the split and the second the class:

    root/train/cat/1.jpg      splits train, test; classes cat, dog
    root/test/dog/2.jpg

Every image has exactly one class. A folder without images is no class.
"""

from __future__ import annotations

import os

import numpy as np

from deepfeat.datasets.dataset import DataSet, Entry, single_labels
from deepfeat.datasets.listing import list_folder
from deepfeat.errors import DataError, some
from deepfeat.tables import look_up

DEPTHS = {"none": 0, "folders": 1}  # of the class below the root


def folder_dataset(
    root: str | os.PathLike[str],
    *,
    split: str | None = None,
    extensions: tuple[str, ...] | None = None,
) -> DataSet:
    """Read a data set from sub-folders.

    Parameters
    ----------
    root : path
    split : {None, "folders"}
        Whether the first level of folders is the split.
    extensions : tuple of str, optional
        See `list_folder`.

    Returns
    -------
    DataSet
        Named like the root; classes in byte order of their folders.

    Raises
    ------
    DataMissing, NoPermission
        As `list_folder`.
    DataError
        Where an image lies too high in the tree to have a class.
    """
    depth = look_up(DEPTHS, split or "none", "way to split a folder")
    entries = list_folder(root, extensions=extensions).entries
    _check_depth(entries, depth)
    owners = [entry.key.split(b"/")[depth] for entry in entries]
    classes = sorted(set(owners))
    index = {name: number for number, name in enumerate(classes)}
    return DataSet(
        name=os.path.basename(os.path.abspath(root)),  # noqa: PTH100, PTH119  (links stay)
        entries=entries,
        classes=tuple(os.fsdecode(name) for name in classes),
        labels=single_labels([index[owner] for owner in owners], len(classes), f"'{root}'"),
        splits=_splits(entries) if depth else {},
    )


def _splits(entries: tuple[Entry, ...]) -> dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    rows: dict[str, list[int]] = {}
    for row, entry in enumerate(entries):
        rows.setdefault(os.fsdecode(entry.key.split(b"/")[0]), []).append(row)
    return {name: np.array(found, np.int64) for name, found in rows.items()}


def _check_depth(entries: tuple[Entry, ...], depth: int) -> None:
    high = [entry.key for entry in entries if entry.key.count(b"/") <= depth]
    if high:
        raise DataError(
            f"{len(high)} images are in no class's folder",
            expected="<split>/<class>/<image>" if depth else "<class>/<image>",
            found=some([key.decode(errors="backslashreplace") for key in high]),
            advice="Move them into a folder each class has, or list the images in a CSV file.",
        )
