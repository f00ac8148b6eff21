"""Caltech-101 and Caltech-256 as published: a folder a class, the background one a class as others.

    101_ObjectCategories/accordion/image_0001.jpg      102 classes with BACKGROUND_Google
    256_ObjectCategories/001.ak47/001_0001.jpg         257 classes with 257.clutter

Classes are in the byte order of their folders, images in that of their names: the seeded splits
depend on both. Only files named .jpg, directly in the folder of a class, are images: the archives
hold strays (BACKGROUND_Google/tmp, 056.dog/greg). A set with images or classes missing is still
read, and says so: `DataSet.official` is the number of the whole, `DataSet.remarks` name classes
that are not there. A class's folder without any image is refused: nobody publishes one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepfeat.datasets.dataset import DataSet, Entry, single_labels
from deepfeat.datasets.listing import is_left_out, list_folder
from deepfeat.errors import DataError, DataMissing, NoPermission, some
from deepfeat.tables import look_up

_NAMES_101 = """
BACKGROUND_Google Faces Faces_easy Leopards Motorbikes accordion airplanes anchor ant barrel
bass beaver binocular bonsai brain brontosaurus buddha butterfly camera cannon car_side
ceiling_fan cellphone chair chandelier cougar_body cougar_face crab crayfish crocodile
crocodile_head cup dalmatian dollar_bill dolphin dragonfly electric_guitar elephant emu
euphonium ewer ferry flamingo flamingo_head garfield gerenuk gramophone grand_piano hawksbill
headphone hedgehog helicopter ibis inline_skate joshua_tree kangaroo ketch lamp laptop llama
lobster lotus mandolin mayfly menorah metronome minaret nautilus octopus okapi pagoda panda
pigeon pizza platypus pyramid revolver rhino rooster saxophone schooner scissors scorpion
sea_horse snoopy soccer_ball stapler starfish stegosaurus stop_sign strawberry sunflower tick
trilobite umbrella watch water_lilly wheelchair wild_cat windsor_chair wrench yin_yang
"""
CLASSES_101 = tuple(_NAMES_101.split())
NUMBERS_256 = tuple(f"{number:03d}" for number in range(1, 258))


@dataclass(frozen=True, slots=True)
class Published:
    """What was published of a set.

    Parameters
    ----------
    title : str
    images, background_images : int
        In the whole set, and those of them in the background class. protocols.md 3.1; of
        Caltech-256 second hand.
    background : str
        The folder of the background class.
    classes : tuple of str
        What identifies each class: ``identify`` of its folder.
    identify : callable
        From a folder's name to one of ``classes``, or to something else for a folder that is none.
    """

    title: str
    images: int
    background_images: int
    background: str
    classes: tuple[str, ...]
    identify: Callable[[str], str]


def _number(folder: str) -> str:
    """Caltech-256 is told by its numbers: ``001`` of ``001.ak47``, "" for another name."""
    found = re.fullmatch(r"([0-9]{3})\..+", folder)
    return found[1] if found else ""


PUBLISHED = {
    "caltech101": Published("Caltech-101", 9144, 467, "BACKGROUND_Google", CLASSES_101, str),
    "caltech256": Published("Caltech-256", 30607, 827, "257.clutter", NUMBERS_256, _number),
}


def caltech_dataset(
    root: str | os.PathLike[str], name: str = "caltech101", *, background: bool = True
) -> DataSet:
    """Read Caltech-101 or Caltech-256 from the folder that holds its classes' folders.

    Parameters
    ----------
    root : path
        ``101_ObjectCategories`` or ``256_ObjectCategories``.
    name : {"caltech101", "caltech256"}
    background : bool
        Whether the background class is one of the classes.

    Returns
    -------
    DataSet
        Keys like ``accordion/image_0001.jpg``; labels (N, L) in {-1, 1}, one 1 a row; no splits
        (`random_splits` draws them).

    Raises
    ------
    DataMissing
        Where there is no such folder, or no class of the set in it.
    DataError
        Where the folder of a class holds no image, or two folders are one class.
    NoPermission
        Where the folder, or that of a class, cannot be listed.
    """
    published = look_up(PUBLISHED, name, "Caltech set")
    folders, others = _folders(Path(root), published)
    if not background:
        folders = [folder for folder in folders if folder != published.background]
    if not folders:
        raise DataMissing(
            f"'{root}' holds no class of {published.title}",
            expected=f"folders like '{published.background}'",
            found=some(others) or "no folder",
        )
    entries = _entries(Path(root), set(folders))
    owners = [os.fsdecode(entry.key.split(b"/")[0]) for entry in entries]
    if empty := sorted(set(folders) - set(owners)):
        raise DataError(
            f"'{root}': {len(empty)} folders of classes hold no image",
            expected="files named .jpg directly in the folder of each class",
            found=f"none in {some(empty)}",
            advice="Unpack the archive again, or remove folders that are to be left out.",
        )
    index = {folder: number for number, folder in enumerate(folders)}
    return DataSet(
        name=name,
        entries=entries,
        classes=tuple(folders),
        labels=single_labels([index[owner] for owner in owners], len(folders)),
        splits={},
        official=published.images - (0 if background else published.background_images),
        remarks=_remarks(published, folders, others, background),
    )


def _folders(root: Path, published: Published) -> tuple[list[str], list[str]]:
    """Folders of classes in byte order, and the other folders."""
    try:
        found = [path.name for path in root.iterdir() if path.is_dir()]
    except PermissionError as error:
        raise NoPermission(f"'{root}' cannot be listed", found=str(error.strerror)) from error
    except OSError as error:
        raise DataMissing(f"there is no folder '{root}'", found=str(error.strerror)) from error
    found.sort(key=os.fsencode)
    folders = [name for name in found if published.identify(name) in published.classes]
    others = [
        name for name in found if name not in set(folders) and not is_left_out(os.fsencode(name))
    ]
    if twice := _twice(folders, published):
        raise DataError(f"'{root}': several folders are one class", found=some(twice))
    return folders, others


def _twice(folders: list[str], published: Published) -> list[str]:
    identities = [published.identify(name) for name in folders]
    return [
        name for name, one in zip(folders, identities, strict=True) if identities.count(one) > 1
    ]


def _entries(root: Path, folders: set[str]) -> tuple[Entry, ...]:
    """Images directly in the folders of classes, which may be links."""
    listing = list_folder(root, extensions=(".jpg",), follow_links=True)
    if hidden := sorted(folders.intersection(name.split("/")[0] for name in listing.unreadable)):
        raise NoPermission(f"'{root}': folders of classes cannot be listed", found=some(hidden))
    known = {os.fsencode(name) for name in folders}
    parts = ((entry, entry.key.split(b"/")) for entry in listing.entries)
    return tuple(entry for entry, names in parts if len(names) == 2 and names[0] in known)


def _remarks(
    published: Published, folders: list[str], others: list[str], background: bool
) -> tuple[str, ...]:
    there = {published.identify(name) for name in folders}
    if not background:
        there.add(published.identify(published.background))
    missing = [name for name in published.classes if name not in there]
    remarks = []
    if missing:
        remarks.append(
            f"{published.title}: {len(missing)} of {len(published.classes)} classes have no folder:"
            f" {some(missing)}"
        )
    if others:
        remarks.append(
            f"{published.title}: {len(others)} folders are no class of it and left out:"
            f" {some(others)}"
        )
    return tuple(remarks)
