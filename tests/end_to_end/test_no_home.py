"""Users without a home: as in a container that runs under a number nobody knows.

What needs no folder for downloads works; what needs one says how to name it.
"""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from deepfeat.errors import CannotCreate
from deepfeat.files import cache_folder, known_cache_folder

TINY = ("--network", "vgg8-small", "--scales", "48", "--layer", "pool5", "--device", "cpu")


def nobody(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")


def unset(patch, tmp_path):
    patch.delenv("HOME", raising=False)


def relative(patch, tmp_path):
    patch.setenv("HOME", "some/where")


def a_file(patch, tmp_path):
    (tmp_path / "home").write_text("no folder")
    patch.setenv("HOME", str(tmp_path / "home"))


def nowhere(patch, tmp_path):
    patch.setenv("HOME", "/nonexistent")


def not_ours(patch, tmp_path):
    """Another's home: nothing in it can be looked at, whoever runs the tests."""
    home = tmp_path / "root"
    patch.setenv("HOME", str(home))

    def refused(method):
        def look(path, *arguments, **options):
            if str(path).startswith(str(home)):
                raise PermissionError(13, "Permission denied", str(path))
            return method(path, *arguments, **options)

        return look

    for name in ("stat", "mkdir"):
        patch.setattr(Path, name, refused(getattr(Path, name)))


HOMES = (unset, relative, a_file, nowhere, not_ours)


@pytest.fixture(params=HOMES, ids=lambda home: home.__name__)
def homeless(request, tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "DEEPFEAT_CACHE", "DEEPFEAT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setenv("DEEPFEAT_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    request.param(monkeypatch, tmp_path)
    return tmp_path


def test_what_needs_no_downloads_works(homeless, command_line, save_picture):
    for number in range(8):
        save_picture(homeless / "tree" / "xy"[number % 2] / f"{number}.png", 50, 60, seed=number)
    assert command_line("recipes").status == 0
    assert command_line("networks", "vgg8*").status == 0
    changes = ("network=vgg8-small", "weights=random:0", "layer=pool5", "scales=[48]")
    alone = ("--set", "svm.C=[1]", "--set", "svm.select.on=fixed")
    sets = [word for one in changes for word in ("--set", f"extract.{one}")]
    command = ("svm-eval", "folder", "--data", "tree", "--device", "cpu", *sets, *alone)
    assert command_line(*command).status == 0


@pytest.mark.parametrize("offline", ["0", "1"])
def test_weights_that_would_be_fetched_say_how_to_name_a_folder(
    homeless, command_line, save_picture, monkeypatch, offline
):
    monkeypatch.setenv("DEEPFEAT_OFFLINE", offline)
    if offline == "0":  # never over the network in a test: the folder has to be refused before
        monkeypatch.setattr("deepfeat.networks.weights.fetch._receive", unreachable)
    save_picture(homeless / "images" / "a.png", 50, 60)
    ended = command_line("extract", "images", "s.h5", "--network", "resnet18", "--device", "cpu")
    assert ended.status in (69, 73), ended.err
    assert "--cache" in ended.err
    assert "DEEPFEAT_CACHE" in ended.err
    assert not (homeless / "some").exists()


def unreachable(download, what, part, progress):
    raise PermissionError(13, "Permission denied", str(part))


def test_a_data_set_that_is_not_there_says_where_to_put_it(homeless, command_line):
    ended = command_line("svm-eval", "voc2007")
    assert ended.status == 66
    assert "--data" in ended.err


def test_a_folder_that_is_named_is_enough(homeless, monkeypatch):
    assert cache_folder(homeless / "c") == homeless / "c"
    monkeypatch.setenv("XDG_CACHE_HOME", str(homeless / "x"))
    assert cache_folder() == homeless / "x" / "deepfeat"
    monkeypatch.setenv("DEEPFEAT_CACHE", str(homeless / "d"))
    assert cache_folder() == homeless / "d"


@pytest.mark.parametrize("home", [unset, relative])
def test_without_any_there_is_none(tmp_path, monkeypatch, home):
    for name in ("XDG_CACHE_HOME", "DEEPFEAT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    home(monkeypatch, tmp_path)
    assert known_cache_folder() is None
    with pytest.raises(CannotCreate, match="DEEPFEAT_CACHE"):
        cache_folder()


def test_the_home_of_a_user_that_is_not_there_is_a_name(tmp_path, command_line):
    """``~name`` of nobody: a file may begin with it."""
    (tmp_path / "images").mkdir()
    ended = command_line("svm-eval", "folder", "--data", "~nosuchuser/x")
    assert ended.status == 66
    (tmp_path / "images" / "a.png").touch()
    ended = command_line("extract", tmp_path / "images", tmp_path / "s.h5", *TINY, "--weights",
                         "~nosuchuser.pth", "--preprocessing", "caffe")  # fmt: skip
    assert ended.status in (64, 69), ended.err
