"""Folders, CSV files and data sets into stores: every row belongs to its key."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from deepfeat import csv_dataset, extract, folder_dataset, load_network, open_store
from deepfeat.errors import (
    CannotCreate,
    DataError,
    DataMissing,
    NetworkError,
    StoreMismatch,
    TooManyFailures,
    UsageError,
    WeightsUnavailable,
)
from deepfeat.extraction import pipeline
from deepfeat.extraction.describe import describe
from deepfeat.extraction.limit import limit_of
from deepfeat.extraction.request import NetworkChoice, Request, Sampling, Working, scales_of
from deepfeat.extraction.run import prepare_run, run
from deepfeat.status import CASES, Status
from deepfeat.store.info import describe as info_of

SMALL = {"network": "vgg8-small", "weights": "random:3"}


@pytest.fixture(scope="module")
def images(tmp_path_factory, save_picture):
    """Eight pictures of two sizes in two classes, at a scale that leaves them as they are."""
    folder = tmp_path_factory.mktemp("run") / "images"
    for number in range(8):
        width = 240 if number % 2 else 272
        save_picture(folder / "ab"[number // 4] / f"{number}.png", 224, width, seed=number)
    return folder


@pytest.fixture(scope="module")
def alone(images):
    """Every picture described by itself, by its path."""
    network = load_network("vgg8-small", weights="random:3")
    found = {}
    for path in sorted(images.rglob("*.png")):
        pixels = np.asarray(Image.open(path))
        found[path.relative_to(images).as_posix()] = describe(network, [pixels])["fc7"][0]
    return found


def assert_rows_are(store, alone, scale="224"):
    rows = store["fc7", scale][:]
    for key, expected in alone.items():
        row = rows[store.index(key)]
        assert np.linalg.norm(row - expected) / np.linalg.norm(expected) <= 1e-5, key


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("name", ["a.h5", "a"])
def test_every_row_belongs_to_its_key(name, batch_size, images, alone, tmp_path):
    with extract(
        images, tmp_path / name, **SMALL, scales=(224,), batch_size=batch_size, workers=2
    ) as store:
        assert store.keys == sorted(alone)
        assert_rows_are(store, alone)


def test_scales_and_layers_each_have_a_column(images, alone, tmp_path):
    with extract(images, tmp_path / "a.h5", **SMALL, layer="fc6,fc7", scales=(256, 224)) as store:
        assert store.scales == ["224", "256"]
        assert store["fc6", "256"].shape == (8, 512)
        assert_rows_are(store, alone)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_an_aggregate_is_numpys_over_the_scales(how, images, tmp_path):
    with (
        extract(images, tmp_path / "all.h5", **SMALL, scales=(224, 256)) as whole,
        extract(images, tmp_path / "one.h5", **SMALL, scales=(224, 256), across_scales=how) as one,
    ):
        stack = np.stack([whole["fc7", "224"][:], whole["fc7", "256"][:]]).astype(np.float64)
        np.testing.assert_allclose(one["fc7", how][:], getattr(stack, how)(axis=0), rtol=1e-5)


def test_native_keeps_a_picture_as_it_is(images, alone, tmp_path):
    with extract(images, tmp_path / "a.h5", **SMALL, scales=("native",)) as store:
        assert_rows_are(store, alone, "native")


def test_a_csv_names_the_pictures(images, alone, tmp_path):
    path = images / "some.csv"
    chosen = ["b/5.png", "a/0.png"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label"], *[[key, "x"] for key in chosen]])
    with extract(path, tmp_path / "a.h5", **SMALL, scales=(224,)) as store:
        assert store.keys == sorted(chosen)
        assert_rows_are(store, {key: alone[key] for key in chosen})
    data = csv_dataset(path)
    with extract(data, tmp_path / "b.h5", **SMALL, scales=(224,)) as store:
        assert store.keys == sorted(chosen)


def test_a_data_set_of_a_folder_gives_the_folders_rows(images, alone, tmp_path):
    data = folder_dataset(images)
    with extract(data, tmp_path / "a.h5", **SMALL, scales=(224,)) as store:
        assert [entry.key.decode() for entry in data.entries] == store.keys
        assert_rows_are(store, alone)


def test_absolute_paths_of_a_csv_become_keys_without_a_root(images, alone, tmp_path):
    path = tmp_path / "absolute.csv"
    place = images / "a" / "1.png"
    path.write_text(f"path\n{place}\n")
    with extract(path, tmp_path / "a.h5", **SMALL, scales=(224,)) as store:
        assert store.keys == [str(place.resolve()).lstrip("/")]
        row = store["fc7", "224"][0]
        assert np.linalg.norm(row - alone["a/1.png"]) / np.linalg.norm(row) <= 1e-5


def test_regions_are_refused_rather_than_described_as_whole_images(images, tmp_path):
    path = images / "regions.csv"
    path.write_text("path,x0,y0,x1,y1\na/0.png,0,0,100,100\n")
    with pytest.raises(UsageError, match="regions"):
        extract(path, tmp_path / "a.h5", **SMALL, scales=(224,))


def test_two_paths_to_one_key_are_refused(images, tmp_path):
    path = images.parent / "twice.csv"
    place = images / "a" / "1.png"
    inside = str(place.resolve()).lstrip("/")
    path.write_text(f"path\n{place}\n{inside}\n")
    with pytest.raises(DataError, match="two entries would have the key"):
        extract(path, tmp_path / "a.h5", **SMALL, scales=(224,))


def test_the_same_call_again_opens_the_finished_store(images, tmp_path):
    with extract(images, tmp_path / "a.h5", **SMALL, scales=(224,)):
        before = (tmp_path / "a.h5").stat().st_mtime_ns
    with extract(images, tmp_path / "a.h5", **SMALL, scales=(224,)) as store:
        assert len(store) == 8
    assert (tmp_path / "a.h5").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scales": (256,)}, "scales"),
        ({"mirror": False}, "mirror"),
        ({"weights": "random:4"}, "weights_sha256"),
        ({"pool_rounding": "ceil"}, "pooling"),
        ({"layer": "fc6"}, "layers"),
        ({"over_positions": "max"}, "over_positions"),
        ({"filter": "bicubic"}, "filter"),
        ({"exif": False}, "exif"),
        ({"background": (0, 0, 0)}, "background"),
        ({"preprocessing": "caffe-vgg"}, "preprocessing"),
        ({"store_dtype": "float16"}, "store_dtype"),
        ({"upscale": False}, "upscale"),
        ({"max_pixels": 10**7}, "max_pixels"),
    ],
)
def test_other_arguments_are_refused_by_field(change, field, images, tmp_path_factory):
    store = images.parent / "once.h5"
    with extract(images, store, **SMALL, scales=(224,)):
        pass
    with pytest.raises(StoreMismatch, match=field):
        extract(images, store, **{**SMALL, "scales": (224,), **change})


def test_more_failures_than_allowed_end_the_run(images, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "good.png").write_bytes((images / "a" / "0.png").read_bytes())
    (folder / "empty.png").write_bytes(b"")
    with pytest.raises(TooManyFailures, match="1 of 2"):
        extract(folder, tmp_path / "a.h5", **SMALL, scales=(224,), max_failures=0)
    with extract(folder, tmp_path / "a.h5", **SMALL, scales=(224,), max_failures=1) as store:
        assert [bool(ok) for ok in store.ok] == [False, True]


@pytest.mark.parametrize("name", ["a.h5", "a"])
def test_the_limit_holds_for_a_store_that_is_finished(name, images, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "good.png").write_bytes((images / "a" / "0.png").read_bytes())
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_bytes(b"no image")
    arguments = {**SMALL, "scales": (224,)}
    with extract(folder, tmp_path / name, **arguments):
        pass
    for limit in (0, 1, "10%"):
        with pytest.raises(TooManyFailures, match="2 of 3"):
            extract(folder, tmp_path / name, **arguments, max_failures=limit)
    for limit in (2, "70%"):
        with extract(folder, tmp_path / name, **arguments, max_failures=limit) as store:
            assert len(store) == 3


@pytest.mark.parametrize("limit", ["x", "-1", -1, "101%", "1.5"])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(UsageError, match="limits no failures"):
        limit_of(limit)


def test_a_mistyped_layer_or_scale_costs_no_download(images, tmp_path, monkeypatch):
    """vgg16's own weights are not here and cannot be had: that is not what is told first."""
    monkeypatch.setenv("DEEPFEAT_OFFLINE", "1")
    monkeypatch.setenv("DEEPFEAT_CACHE", str(tmp_path))
    with pytest.raises(NetworkError, match="no layer 'fc77'"):
        extract(images, tmp_path / "a.h5", layer="fc77")
    with pytest.raises(UsageError, match="scale 64 is too small"):
        extract(images, tmp_path / "a.h5", scales=64)
    with pytest.raises(NetworkError, match="no valid values for 'fc7'"):
        extract(images, tmp_path / "a.h5", weights="IMAGENET1K_FEATURES")
    with pytest.raises(NetworkError, match="no layer 'fc77'"):
        load_network("vgg16", layers=("fc77",))
    with pytest.raises(WeightsUnavailable):
        extract(images, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5.work").exists()


@pytest.mark.parametrize("source", [["a.png"], 5, b"images"])
def test_a_source_that_is_none_is_refused(source):
    with pytest.raises(UsageError, match="a source cannot be"):
        extract(source, "a.h5", **SMALL)


def test_one_image_is_no_source(images):
    with pytest.raises(UsageError, match="is one image"):
        extract(images / "a" / "0.png", "a.h5", **SMALL)


def test_a_csv_of_another_separator_is_told_so(images):
    path = images / "semicolons.csv"
    path.write_text("path;label\na/0.png;x\n")
    with pytest.raises(DataError, match="separated by commas"):
        extract(path, "a.h5", **SMALL)


@pytest.mark.parametrize(
    ("source", "store", "error"),
    [("x" * 300, "a.h5", DataMissing), (None, "x" * 300, CannotCreate), (None, "", UsageError)],
)
def test_names_that_cannot_be_are_refused(source, store, error, images, tmp_path):
    place = tmp_path / store if store else ""
    with pytest.raises(error):
        extract(source or images, place, **SMALL, scales=(224,))


def test_an_unfinished_store_says_how_many_images_are_planned(images, tmp_path):
    """The eighth image is the third shard's; the run ends before it is committed."""

    def stop(state):
        if state.done + state.running == 8:
            raise KeyboardInterrupt

    request = Request(
        NetworkChoice("vgg8-small", "random:3"),
        Sampling(("224",)),
        working=Working(shard_images=3),
    )
    prepared = prepare_run(images, tmp_path / "a.h5", request)
    with pytest.raises(KeyboardInterrupt):
        run(prepared, report=stop)
    with open_store(tmp_path / "a.h5") as store:
        assert (len(store), store.planned, store.complete) == (6, 8, False)
        assert info_of(store)["planned"] == 8
    run(prepared)
    with open_store(tmp_path / "a.h5") as store:
        assert (len(store), store.planned, store.complete) == (8, 8, True)


def test_progress_ends_with_every_image(images, tmp_path):
    seen = []
    with extract(images, tmp_path / "a.h5", **SMALL, scales=(224,), progress=seen.append):
        pass
    assert seen[-1].done == seen[-1].total == 8
    assert abs(sum(seen[-1].share.values()) - 1) < 1e-6


def test_same_contents_are_noted_on_the_later_row(images, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes((images / "a" / "0.png").read_bytes())
    with extract(folder, tmp_path / "s.h5", **SMALL, scales=(224,)) as store:
        assert [int(note) & 1 << 9 for note in store.notes] == [0, 1 << 9]


def test_an_image_that_cannot_fit_in_memory_is_a_hole_and_the_others_are_not(
    images, save_picture, tmp_path
):
    """A long strip, enlarged: 224 x 56,000 pixels for a network of some 400 bytes a pixel."""
    folder = tmp_path / "images"
    save_picture(folder / "good.png", 224, 240, seed=1)
    save_picture(folder / "strip.png", 24, 7000, seed=2)
    network = load_network("vgg8-small", weights="random:3")
    needed = 2 * 224 * (7000 * 224 // 24) * network.bytes_per_pixel
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "memory_bytes", lambda device: needed - 1)
        with extract(folder, tmp_path / "a.h5", **SMALL, scales=(224,)) as store:
            assert [CASES[Status(s)].name for s in store.statuses] == ["ok", "out-of-memory"]
    assert "GB of memory" in (tmp_path / "a.h5.failures.csv").read_text()


def test_the_estimate_of_memory_is_above_what_the_first_layers_hold():
    """VGG's first block keeps 64 channels in and out of a convolution at full size."""
    network = load_network("vgg11", weights="random:0", layers=("pool1",))
    assert network.bytes_per_pixel >= 2 * 4 * 64


@pytest.mark.parametrize("scales", [(0,), (-5,), (256, 256), (100_000,), ("big",), (), (1.5,)])
def test_impossible_scales_are_refused(scales):
    with pytest.raises(UsageError, match="scale"):
        scales_of(scales)


def test_a_scale_below_the_smallest_side_is_refused_before_anything_is_made(images, tmp_path):
    with pytest.raises(UsageError, match="224 to"):
        extract(images, tmp_path / "a.h5", **SMALL, scales=(200,))
    assert list(tmp_path.iterdir()) == []
