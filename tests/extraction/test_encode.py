"""The extractor in memory: the same numbers as a store, and scikit-learn's manners."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from deepfeat import Extractor, extract
from deepfeat.errors import DataError, UsageError
from deepfeat.extraction import standby
from deepfeat.extraction.request import Pixels

SMALL = {"network": "vgg8-small", "weights": "random:3"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, save_picture):
    folder = tmp_path_factory.mktemp("encode")
    for number in range(4):
        save_picture(folder / f"{number}.png", 230 + number, 250, seed=number)
    return folder


@pytest.mark.parametrize("across_scales", ["mean", "max", "stack"])
@pytest.mark.parametrize("normalise", ["none", "end", "each", "each+end"])
def test_encode_gives_what_a_store_reads(across_scales, normalise, folder, tmp_path_factory):
    place = folder / "store.h5"
    extractor = Extractor(
        **SMALL, scales=(224, 256), across_scales=across_scales, normalise=normalise
    )
    with extract(folder, place, **SMALL, scales=(224, 256)) as store:
        expected = store.read(across_scales=across_scales, normalise=normalise)
        rows = extractor.encode([folder / key for key in store.keys])
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


def test_paths_pil_images_and_arrays_are_one_picture(folder):
    path = folder / "2.png"
    image = Image.open(path)
    rows = Extractor(**SMALL, scales=(224,)).encode([path, str(path), image, np.asarray(image)])
    assert rows.shape == (4, 512)
    assert np.array_equal(rows, np.repeat(rows[:1], 4, axis=0))


def test_a_bad_picture_is_an_error_that_names_it_or_a_row_of_nan(folder, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes((folder / "0.png").read_bytes()[:200])
    extractor = Extractor(**SMALL, scales=(224,))
    with pytest.raises(DataError, match=r"bad\.png.*corrupt"):
        extractor.encode([folder / "0.png", bad])
    rows = extractor.encode([bad, folder / "0.png"], errors="nan")
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1]).all()


def test_arrays_of_another_kind_are_refused():
    with pytest.raises(UsageError, match="uint8"):
        Extractor(**SMALL, scales=(224,)).encode([np.zeros((224, 224, 3), np.float32)])


def test_one_image_that_is_no_list_is_refused(folder):
    extractor = Extractor(**SMALL, scales=224)
    path = folder / "0.png"
    for single in (path, str(path), Image.open(path), np.asarray(Image.open(path)), b"abc"):
        with pytest.raises(UsageError, match="a list of images"):
            extractor.encode(single)
    with pytest.raises(UsageError, match="a NoneType is no image"):
        extractor.encode([None])
    with pytest.raises(UsageError, match="one layer"):
        Extractor(**SMALL, layer=["fc6", "fc7"]).encode([path])


def test_scales_may_be_one_number_or_a_text(folder):
    path = folder / "0.png"
    one = Extractor(**SMALL, scales=224).encode([path])
    text = Extractor(**SMALL, scales="224,256", across_scales="stack").encode([path])
    assert (one.shape, text.shape) == ((1, 512), (1, 1024))


def test_it_drops_into_a_pipeline(folder):
    paths = [folder / f"{number}.png" for number in range(4)]
    pipeline = make_pipeline(Extractor(**SMALL, scales=(224,)), StandardScaler(), LinearSVC())
    assert pipeline.fit(paths, [0, 1, 0, 1]).predict(paths).tolist() == [0, 1, 0, 1]
    names = pipeline[:1].get_feature_names_out()
    assert names[0] == "fc7_0"
    assert len(names) == 512


def test_stacked_columns_are_named_by_scale():
    extractor = Extractor(**SMALL, scales=(256, 224), across_scales="stack")
    names = extractor.get_feature_names_out()
    assert (names[0], names[512], len(names)) == ("fc7_224_0", "fc7_256_0", 1024)


def test_clone_and_set_params_take_the_constructors_arguments():
    extractor = Extractor(**SMALL, scales=(224,))
    assert clone(extractor).get_params() == extractor.get_params()
    assert extractor.set_params(mirror=False).mirror is False
    with pytest.raises(UsageError, match="no parameter 'mirrors'"):
        extractor.set_params(mirrors=False)


def test_an_empty_list_gives_no_rows():
    assert Extractor(**SMALL, scales=(224,)).encode([]).shape == (0, 512)


# One convolution and a pooling: fast enough to try many ways of giving images.
QUICK = SMALL | {"layer": "pool1", "scales": 32, "mirror": False}
COLUMNS = {
    "texts": lambda paths: np.array(paths),
    "bytes": lambda paths: np.array([os.fsencode(path) for path in paths]),
    "objects": lambda paths: np.array(paths, dtype=object),
    "slice": lambda paths: np.array([paths, paths]).T[:, 0],
    "series": lambda paths: pandas.Series(paths, index=range(9, 9 + len(paths))),
    "strings": lambda paths: pandas.Series(paths, dtype="string"),
    "categories": lambda paths: pandas.Series(paths, dtype="category"),
    "index": lambda paths: pandas.Index(paths),
    "tuple": tuple,
    "generator": iter,
    "scalars": lambda paths: list(np.array(paths)),
    "list of bytes": lambda paths: [os.fsencode(path) for path in paths],
}


@pytest.fixture(scope="module")
def quick():
    return Extractor(**QUICK)


@pytest.fixture(scope="module")
def paths(folder):
    return [str(folder / f"{number}.png") for number in (2, 0, 3, 1)]


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_paths_is_a_list_of_images(kind, quick, paths):
    pixels = [np.asarray(Image.open(path)) for path in paths]
    rows = quick.encode(COLUMNS[kind](paths))
    assert np.array_equal(rows, quick.encode(pixels))
    assert len(np.unique(rows, axis=0)) == len(paths)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (pandas.DataFrame({"path": ["a.png"]}), "DataFrame is no list.*\n.*one column"),
        (np.array([["a.png"], ["b.png"]]), "one dimension"),
        (np.array("a.png"), "a list of images"),
        (np.str_("a.png"), "a list of images"),
        (np.zeros(3), "a list of images"),
        ({"a.png": 1}, "dict is no list"),
        ({"a.png"}, "set is no list"),
        (None, "NoneType is no list"),
        (7, "int is no list"),
        ([7], "int is no image"),
        ([["a.png"]], "list is no image"),
    ],
    ids=str,
)
def test_what_is_no_list_of_images_is_refused(images, words, quick):
    with pytest.raises(UsageError, match=f"(?s){words}"):
        quick.encode(images)


@pytest.mark.parametrize("errors", ["ignore", "NaN", None, True])
def test_other_ways_to_treat_errors_are_refused(errors, quick):
    with pytest.raises(UsageError, match="'raise' or 'nan'"):
        quick.encode([], errors=errors)


def test_arrays_of_paths_go_through_scikit_learns_splits(paths):
    images, labels = np.array(paths * 3), np.array([0, 1] * 6)
    pipeline = make_pipeline(Extractor(**QUICK), LinearSVC())
    train, test, *_ = train_test_split(images, labels, random_state=0)
    assert pipeline[0].transform(test).shape == (len(test), 16)
    assert len(cross_val_score(pipeline, images, labels, cv=2)) == 2
    search = GridSearchCV(pipeline, {"extractor__scales": [32, (32, 48)]}, cv=2)
    assert search.fit(images, labels).predict(train[:1]) in (0, 1)


def test_a_parameter_counts_however_it_is_set(folder):
    path = [np.asarray(Image.open(folder / "0.png"))]
    changes = {
        "scales": [48], "mirror": True, "across_scales": "stack", "normalise": "none",
        "layer": "pool2", "preprocessing": "caffe", "weights": "random:4", "pool_rounding": "ceil",
    }  # fmt: skip
    extractor = Extractor(**QUICK | {"scales": [32, 48]})
    fresh = dict(extractor.get_params())
    before = extractor.encode(path)
    for name, value in changes.items():
        setattr(extractor, name, value)
        fresh[name] = value
        rows = extractor.encode(path)
        np.testing.assert_array_equal(rows, Extractor(**fresh).encode(path))
        if name not in ("across_scales", "pool_rounding"):  # one scale; sides of even length
            assert rows.shape != before.shape or not np.array_equal(rows, before), name
        before = rows
    extractor.scales.append(64)  # in place
    assert extractor.encode(path).shape == (1, 2 * 32)


def test_settings_that_leave_the_network_as_it_is_do_not_load_it_again(quick, paths):
    extractor = Extractor(**QUICK)
    extractor.encode(paths[:1])
    network, workers = extractor._load().network, extractor._load().standby
    assert extractor.set_params(mirror=True)._load()[1:] == (network, "pool1", workers)
    assert extractor.set_params(scales=48)._load().network is network


def workers_of(extractor):
    return extractor._load().standby._decoders.pids


def has_ended(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_files_are_decoded_in_processes_that_stay_and_end_with_their_extractor(paths):
    extractor = Extractor(**QUICK)
    extractor.encode([np.zeros((40, 40, 3), np.uint8)])
    assert extractor._load().standby._decoders is None  # pixels need none
    extractor.encode(paths)
    pids = workers_of(extractor)
    extractor.encode(paths)
    assert workers_of(extractor) == pids
    del extractor
    gc.collect()
    assert all(has_ended(pid) for pid in pids)


def test_no_file_is_decoded_in_this_process(paths, quick, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a decoder was called")

    monkeypatch.setattr(Image.Image, "load", refuse)
    monkeypatch.setattr("deepfeat.images.decode.decode_bytes", refuse)
    assert len(quick.encode(paths)) == len(paths)


def test_files_have_the_time_of_a_run(quick):
    assert quick._load().standby.settings.timeout_s == Pixels().decode_timeout_s == 60


def test_a_name_is_looked_up_where_the_caller_is_now(quick, tmp_path, paths, monkeypatch):
    """The processes stay in the folder they were started in."""
    rows = quick.encode(paths)
    for number, path in enumerate(paths):
        place = tmp_path / str(number)
        place.mkdir()
        (place / "one.png").write_bytes(open(path, "rb").read())  # noqa: SIM115, PTH123
        monkeypatch.chdir(place)
        assert np.array_equal(quick.encode(["one.png"])[0], rows[number])


@pytest.mark.parametrize("is_started", [True, False])
def test_from_a_folder_that_was_removed_files_are_found_by_their_whole_names(
    is_started, tmp_path, paths, folder, monkeypatch
):
    extractor = Extractor(**SMALL, scales=224)
    if is_started:
        monkeypatch.chdir(folder)  # a relative name must not be looked up where a worker stays
        extractor.encode(paths[:1])
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    found = extractor.encode([paths[0], "0.png", str(paths[1])], errors="nan")
    assert np.isnan(found).any(axis=1).tolist() == [False, True, False]
    with pytest.raises(DataError, match=r"0\.png"):
        extractor.encode(["0.png"])


def test_files_pixels_and_errors_keep_their_places(quick, paths, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"GIF89a")
    pixels = [np.asarray(Image.open(path)) for path in paths]
    opened = Image.open(paths[3])
    images = [paths[0], bad, paths[1], pixels[2], opened, bad, *paths * 5]
    rows = quick.encode(iter(images), errors="nan")
    own = quick.encode(pixels)
    hole = np.full_like(own[0], np.nan)
    expected = [own[0], hole, own[1], own[2], own[3], hole, *np.concatenate([own] * 5)]
    np.testing.assert_array_equal(rows, expected)
    with pytest.raises(DataError, match=r"bad\.png"):
        quick.encode([os.fsencode(bad)])
    assert len(quick.encode(paths)) == len(paths)  # after an error, too


def test_few_processes_are_started(monkeypatch):
    monkeypatch.setattr(standby, "available_cores", lambda: 64)
    started = []
    monkeypatch.setattr(standby, "Decoders", lambda *a: started.append(a) or _Nothing())
    list(standby.Standby(None).map([]))
    assert [arguments[1] for arguments in started] == [standby.MOST_WORKERS]


class _Nothing:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def map(self, tasks):
        return iter(())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", None),
        ("network", 5),
        ("network", Path("vgg8-small")),
        ("network", ["vgg8-small"]),
        ("weights", 5),
        ("weights", b"random:0"),
        ("weights", ["random:0"]),
        ("preprocessing", 1.5),
        ("across_scales", None),
        ("across_scales", ["mean"]),
        ("normalise", None),
        ("normalise", True),
        ("pool_rounding", "up"),
        ("pool_rounding", 5),
        ("layer", 5),
        ("scales", None),
        ("scales", 64.5),
        ("scales", np.float64(64)),
        ("scales", b"64"),
        ("scales", []),
        ("scales", [64.5]),
        ("scales", [None]),
        ("scales", 10**5000),
        ("scales", [10**5000]),
        ("scales", "9" * 5000),
        ("scales", ["\u0666\u0664"]),
        ("scales", "\u00b2"),
        ("weights", "w" * 300),
        ("weights", "a\0b"),
        ("weights", "a/" * 3000),
        ("preprocessing", "p" * 300 + ".toml"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_an_argument_that_is_not_possible_is_named(name, value, quick, paths):
    with pytest.raises(UsageError) as refused:
        Extractor(**QUICK | {name: value}).encode(paths[:1])
    words = {"pool_rounding": "pool_rounding", "layer": "layer", "scales": "scale"}
    assert words.get(name, name) in str(refused.value)
    assert refused.value.exit_status == 64
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("scales", [np.int64(32), np.uint8(32), [np.int32(32)], np.array([32])])
def test_scales_may_be_numbers_of_numpy(scales, paths):
    rows = Extractor(**QUICK | {"scales": scales}).encode(paths[:1])
    np.testing.assert_array_equal(rows, Extractor(**QUICK | {"scales": 32}).encode(paths[:1]))


@pytest.mark.parametrize("array", [np.arange(5), np.zeros(3), np.array(7), np.array([])])
def test_an_array_of_numbers_is_told_what_an_image_is(array, quick):
    with pytest.raises(UsageError, match="is none, and no image") as refused:
        quick.encode(array)
    assert "(H, W, 3) uint8" in refused.value.expected
    assert "Put the one image" not in str(refused.value)
