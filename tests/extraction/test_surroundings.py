"""What a session has done to torch, and where a process comes from, changes no number."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from deepfeat import Extractor, extract, load_network
from deepfeat.errors import NetworkError, Unavailable
from deepfeat.extraction.device import reference_mode

backends = torch.backends
NEW = hasattr(backends, "fp32_precision")
CAFFE = {"scales": 96, "preprocessing": "caffe"}


@pytest.fixture(scope="module")
def pixels(picture):
    return picture(96, 120, seed=5)


def made(pixels, *names):
    """Rows of networks that are loaded and run now."""
    return [Extractor(n, weights="random:0", **CAFFE).encode([pixels]) for n in names]


# A head of linear layers behind the average, and widths that the builder computes with tensors.
HEAD, COMPUTED = "mobilenet_v3_small", "regnet_x_400mf"


@pytest.fixture(scope="module")
def expected(pixels):
    return made(pixels, HEAD, COMPUTED)


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_the_default_dtype_changes_nothing(dtype, expected, pixels):
    loaded = Extractor("vgg8-small", weights="random:0", layer="pool5", **CAFFE)
    before = loaded.encode([pixels])
    torch.set_default_dtype(dtype)
    try:
        if dtype is torch.bfloat16:
            assert_same(made(pixels, HEAD, COMPUTED), expected)
        assert_same([loaded.encode([pixels])], [before])
        assert_same([copy.copy(loaded).encode([pixels])], [before])  # loaded anew
        assert torch.get_default_dtype() is dtype
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_default_device_changes_nothing(expected, pixels):
    torch.set_default_device("meta")
    try:
        assert_same(made(pixels, COMPUTED), expected[1:])
    finally:
        torch.set_default_device(None)


def test_autocast_changes_nothing(expected, pixels):
    extractor = Extractor(HEAD, weights="random:0", **CAFFE)
    network = load_network(HEAD, weights="random:0")
    (layer,) = network.layers
    x = network.preprocess(torch.from_numpy(pixels[None]))
    maps = network.maps(x)[layer]
    vectors = network.head(layer, maps.mean(dim=(2, 3)))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            assert_same([extractor.encode([pixels])], expected[:1])  # the first one loads, too
            assert torch.equal(network.maps(x)[layer], maps)
            assert torch.equal(network.head(layer, maps.mean(dim=(2, 3))), vectors)
            assert torch.is_autocast_enabled("cpu")


def test_a_run_inside_autocast_and_a_double_default_writes_the_same_numbers(tmp_path, save_picture):
    save_picture(tmp_path / "images" / "0.png", 230, 250)
    arguments = {"network": "vgg8-small", "weights": "random:0", "scales": 224}
    with extract(tmp_path / "images", tmp_path / "plain.h5", **arguments) as store:
        expected = store.read(across_scales="mean")
    torch.set_default_dtype(torch.float64)
    try:
        with (
            torch.autocast("cpu", dtype=torch.bfloat16),
            extract(tmp_path / "images", tmp_path / "odd.h5", **arguments) as store,
        ):
            np.testing.assert_array_equal(store.read(across_scales="mean"), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def precisions():
    """Everything that torch says about the precision of float32; what it refuses to say is None."""
    readers = [
        lambda: backends.cuda.matmul.allow_tf32,
        lambda: backends.cudnn.allow_tf32,
        lambda: (backends.cudnn.benchmark, backends.cudnn.deterministic),
        torch.get_float32_matmul_precision,
    ]
    if NEW:
        readers += [
            lambda holder=holder: holder.fp32_precision
            for holder in (
                backends, backends.cudnn, backends.mkldnn, backends.cuda.matmul,
                backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul,
                backends.mkldnn.conv,
            )
        ]  # fmt: skip
    found = []
    for read in readers:
        try:
            found.append(read())
        except RuntimeError:
            found.append(None)
    return found


SETTINGS = [
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "backends.cuda.matmul.allow_tf32 = True",
    "backends.cudnn.allow_tf32 = False",
    "backends.cudnn.benchmark = True",
]
if NEW:
    SETTINGS += [
        "backends.fp32_precision = 'tf32'",
        "backends.fp32_precision = 'ieee'",
        "backends.cuda.matmul.fp32_precision = 'tf32'",
        "backends.cudnn.conv.fp32_precision = 'ieee'",
        "backends.cudnn.fp32_precision = 'tf32'",
        "backends.mkldnn.conv.fp32_precision = 'bf16'",
        "backends.mkldnn.fp32_precision = 'bf16'",
        "backends.cuda.matmul.allow_tf32 = True; backends.mkldnn.matmul.fp32_precision = 'tf32'",
        "torch.set_float32_matmul_precision('high'); backends.fp32_precision = 'bf16'",
    ]
_EACH = """
import os, sys
sys.path.insert(0, sys.argv[1])
import torch
from test_surroundings import SETTINGS, backends, precisions, reference_mode
for setting in SETTINGS:
    child = os.fork()  # a process each: not every setting can be taken back
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0, setting
        continue
    exec(setting)
    before = precisions()
    with reference_mode():
        inside = precisions()
        assert torch.get_float32_matmul_precision() == "highest", setting
        for holder in (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.conv):
            assert getattr(holder, "fp32_precision", "ieee") == "ieee", setting
        with reference_mode():
            assert precisions() == inside, setting
        assert precisions() == inside, setting
    assert precisions() == before, (setting, before, precisions())
    os._exit(0)
"""


def test_every_setting_of_precision_is_full_inside_and_afterwards_what_it_was():
    command = [sys.executable, "-c", _EACH, str(Path(__file__).parent)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr


def test_blocks_that_overlap_in_threads_restore_what_was_before_the_first():
    """One begins, the other begins, the first ends, the other ends."""
    before = precisions()
    inside, ended = threading.Event(), threading.Event()

    def other():
        with reference_mode():
            inside.set()
            ended.wait(10)

    thread = threading.Thread(target=other)
    with reference_mode():
        thread.start()
        inside.wait(10)
    assert torch.get_float32_matmul_precision() == "highest"
    assert backends.cudnn.deterministic
    ended.set()
    thread.join()
    assert precisions() == before


def test_what_somebody_sets_meanwhile_stays():
    try:
        with reference_mode():
            backends.cudnn.benchmark = True
        assert backends.cudnn.benchmark
    finally:
        backends.cudnn.benchmark = False


_FORKS = """
import concurrent.futures, multiprocessing, os, sys, threading
import numpy, torch
from PIL import Image
from deepfeat import Extractor, load_network
torch.set_num_threads(2)
folder = sys.argv[1]
fork = multiprocessing.get_context("fork")
pixels = numpy.random.default_rng(0).integers(0, 256, (230, 300, 3)).astype(numpy.uint8)
path = os.path.join(folder, "one.png")
Image.fromarray(pixels).save(path)
extractor = Extractor("vgg8-small", weights="random:0", scales=[230])
network = load_network("vgg8-small", weights="random:0")
x = network.preprocess(torch.from_numpy(pixels[None]))
row, maps = extractor.encode([path]), network.maps(x)["fc7"]

def same(found): return bool(numpy.allclose(found, row, atol=1e-5))
def encode(images): return same(extractor.encode(images))
def mapped(_): return bool(torch.allclose(network.maps(x)["fc7"], maps, atol=1e-4))
def loaded(_): return same(Extractor("vgg8-small", weights="random:0", scales=[230]).encode([path]))
def grandchild(_):
    torch.ones(4)
    child = fork.Process(target=lambda: os._exit(0 if encode([pixels]) else 1))
    encode([pixels])
    child.start(); child.join(60)
    return child.exitcode == 0
def in_thread(_):
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        return threads.submit(encode, [path]).result(60) and encode([path])

for work in (mapped, loaded, in_thread):
    with fork.Pool(1) as pool:
        print(work.__name__, pool.map_async(work, [None]).get(60), flush=True)
with fork.Pool(2) as pool:
    results = pool.map_async(encode, [[path], [pixels], [path]]).get(60)
    print("paths and arrays", results, flush=True)
with concurrent.futures.ProcessPoolExecutor(1, mp_context=fork) as pool:
    print("grandchild", pool.submit(grandchild, None).result(60), flush=True)
print("parent", encode([path]), flush=True)
with concurrent.futures.ThreadPoolExecutor(1) as busy:  # its locks and settings at any moment
    going = busy.submit(lambda: [extractor.encode([path, pixels]) for _ in range(3)])
    while not going.done():
        with fork.Pool(1) as pool:
            assert pool.map_async(encode, [[path]]).get(60) == [True]
print("while another thread encodes", flush=True)
"""


def test_a_process_made_by_fork_gets_rows(tmp_path):
    """OpenMP's threads stay behind in the parent: a child that waits for them waits for ever."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKS, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "False" not in done.stdout
    assert len(done.stdout.splitlines()) == 7


ELSEWHERE = ["mps", "xpu", "hpu", "vulkan", "meta", "xla", "privateuseone", "CUDA", "gpu", "", "0"]
ELSEWHERE += ["cuda:-1", "cuda:300", "cuda:", "cpu,cuda", "cuda:0\n", "\x1b[0m"]


@pytest.mark.parametrize("device", ELSEWHERE)
def test_other_devices_are_refused(device):
    with pytest.raises(NetworkError, match="does not compute on") as caught:
        load_network("vgg8-small", weights="random:0", device=device)
    assert caught.value.exit_status == 64


@pytest.mark.parametrize("device", ["cuda:99", torch.device("cuda:77")], ids=str)
def test_a_device_that_is_not_there_is_unavailable(device, pixels):
    with pytest.raises(Unavailable, match="is not there"):
        Extractor("vgg8-small", weights="random:0", device=device).encode([pixels])


@pytest.mark.parametrize("option", [("--device", "mps"), ("--device", "xpu", "--json")], ids=str)
def test_the_command_refuses_other_devices(option, tmp_path, save_picture, command_line):
    save_picture(tmp_path / "images" / "0.png", 230, 250)
    options = ("--network", "vgg8-small", "--weights", "random:0", "--scales", "224")
    ended = command_line("extract", tmp_path / "images", tmp_path / "s.h5", *options, *option)
    assert ended.status == 64
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("device", [None, "auto", "cpu", "cpu:0", torch.device("cpu")], ids=str)
def test_devices_are_names_torchs_own_objects_or_none(device):
    network = load_network("vgg8-small", weights="random:0", layers=("conv1_1",), device=device)
    assert network.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copies_and_pickles_hold_the_parameters_alone(twin, pixels):
    extractor = Extractor("squeezenet1_1", weights="random:0", **CAFFE)
    fresh = len(pickle.dumps(extractor))
    row = extractor.encode([pixels])
    assert len(pickle.dumps(extractor)) == fresh
    copied = twin(extractor)
    assert copied.get_params() == extractor.get_params()
    np.testing.assert_array_equal(copied.encode([pixels]), row)


def test_a_network_pickles(pixels):
    network = load_network("squeezenet1_1", weights="random:0")
    x = network.preprocess(torch.from_numpy(pixels[None]))
    (layer,) = network.layers
    again = pickle.loads(pickle.dumps(network))
    assert torch.equal(again.maps(x)[layer], network.maps(x)[layer])


def test_weights_and_preprocessing_may_be_paths(tmp_path, pixels):
    weights, toml = tmp_path / "weights.safetensors", tmp_path / "mine.toml"
    save_file(models.squeezenet1_1(weights=None).state_dict(), weights)
    toml.write_text('order = "RGB"\nrange = 1\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n')
    by_path = Extractor("squeezenet1_1", weights=weights, preprocessing=toml, scales=96)
    by_name = Extractor("squeezenet1_1", weights=str(weights), preprocessing="tf", scales=96)
    assert by_path.get_params()["weights"] is weights
    np.testing.assert_array_equal(by_path.encode([pixels]), by_name.encode([pixels]))
