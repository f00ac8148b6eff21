"""The extractor in memory: the same numbers as a store, and scikit-learn's manners."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from deepfeat import Extractor, extract
from deepfeat.errors import DataError, UsageError

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
