"""What a store says of itself is held against a stated shape: refused by field, never a traceback.

Every field in turn is deleted, or becomes something it cannot be, in a file whose checksums are
right. Whoever opens it, by whichever command, is told 65 (73 where it would be written over), or
it is fine throughout.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from forge import MISSING, ODD, forge, forge_manifest, places, provenance, with_odd
from make_store import DIMENSIONS, ENVIRONMENT, identity, make, opened

from deepfeat.cli.main import _status
from deepfeat.errors import DeepfeatError, StoreDamaged, UsageError
from deepfeat.store.identity import Identity
from deepfeat.store.read import open_store
from deepfeat.store.shape import plain
from deepfeat.store.verify import verify

FACTS = {
    "deepfeat": "0.1",
    "weights": {"name": "oxford", "source": "a place"},
    "untrained": False,
    "preprocessing": "caffe-vgg",
    "decode_timeout_s": 60.0,
    "listing": {"kind": "folder", "extensions": [".jpg", ".png"], "follow_links": False},
    "layers": {"fc7": {"name": "fc7", "channels": 5, "offset": 0.5, "receptive_field": None}},
}
COMMANDS = (
    ("info",),
    ("info", "--json"),
    ("info", "--keys", "--failures"),
    ("info", "--keys", "--failures", "--json"),
    ("verify", "--deep"),
)
Change = Callable[[dict[str, Any], dict[str, Any]], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shape")
    make(folder / "x.h5", "sealed", facts=FACTS)
    make(folder / "x", "shards", facts=FACTS)
    make(folder / "half.h5", "sealed", facts=FACTS, stop=1)
    return folder


def ended(action: Callable[[], object]) -> int:
    """The exit status that the command line would give; a foreign exception is let through."""
    try:
        action()
    except DeepfeatError as error:
        return error.exit_status
    return 0


def write_on(path: Path) -> None:
    form = "shards" if path.is_dir() else "sealed"
    with opened(path, form) as writer:
        assert writer.holes == {4: 1, 8: 1}


def outcomes(path: Path) -> list[int]:
    """Exit statuses of all ways to open a store."""
    statuses = [ended(lambda: open_store(path)), ended(lambda: write_on(path))]
    for command, *options in COMMANDS:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            statuses.append(_status([command, *options, str(path)]))
    return statuses


def is_right(statuses: list[int]) -> bool:
    """Fine throughout, or damaged throughout; other arguments than the store's are a mismatch."""
    reading, writing, *commands = statuses
    if reading == 0:
        return writing in (0, 65) and commands == [0] * len(COMMANDS)
    return {reading, *commands} == {65} and writing in (65, 73)


def odd_fields(value: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Every field, times everything that it could become."""
    return [(at, odd) for at in places(value) for odd in ODD]


def wrong_outcomes(whole: Path, tmp_path: Path, most: int) -> list[object]:
    """What goes wrong with ``most`` odd provenances, drawn at random; 0: with all there are."""
    said = open_store(whole / "x.h5").provenance
    wrong: list[object] = []
    path = tmp_path / "y.h5"
    for at, odd in drawn(odd_fields(said), most):
        shutil.copy(whole / "x.h5", path)
        forge(path, "sealed", provenance(with_odd(said, at, odd)))
        found = outcomes(path)
        if not is_right(found):
            wrong.append((at, "deleted" if odd is MISSING else repr(odd)[:30], found))
    return wrong


def drawn(values: list[Any], most: int) -> list[Any]:
    return Random(5).sample(values, most) if most else values


def test_a_store_forged_without_a_change_is_a_whole_store(whole: Path, tmp_path: Path) -> None:
    """The control: it is the changes below that are refused."""
    shutil.copy(whole / "x.h5", tmp_path / "x.h5")
    shutil.copytree(whole / "x", tmp_path / "x")
    said = open_store(whole / "x.h5").provenance
    forge(tmp_path / "x.h5", "sealed", provenance(json.dumps(said)))
    for name in ("plan.h5", "000000.h5"):
        forge(tmp_path / "x" / name, "plan" if "plan" in name else "shard", lambda *_: None)
    forge_manifest(tmp_path / "x")
    assert outcomes(tmp_path / "x.h5") == outcomes(tmp_path / "x") == [0] * (2 + len(COMMANDS))


def test_an_odd_provenance_is_fine_or_refused_by_every_command(whole: Path, tmp_path: Path) -> None:
    assert not wrong_outcomes(whole, tmp_path, 60)


@pytest.mark.stress
def test_every_odd_provenance_is_fine_or_refused_by_every_command(
    whole: Path, tmp_path: Path
) -> None:
    assert not wrong_outcomes(whole, tmp_path, 0)


@pytest.mark.parametrize(
    "at, value, field",
    [
        ("identity.network.preprocessing", {}, "identity.network.preprocessing.order' is missing"),
        ("identity.network.preprocessing.order", "GRB", "preprocessing.order"),
        ("identity.network.preprocessing.range", True, "preprocessing.range"),
        ("identity.network.preprocessing.mean", "abc", "preprocessing.mean"),
        ("identity.network.preprocessing.mean", [1, 2], "preprocessing.mean' has 2 values"),
        ("identity.network.preprocessing.std", [1, 2, "x"], "preprocessing.std[2]"),
        ("identity.network.preprocessing.std", [1, 2, float("inf")], "'/provenance'"),
        ("identity.network.name", "\x1b[2J", "identity.network.name"),
        ("identity.network.name", "\ud800", "identity.network.name"),
        ("identity.network.layers", ["fc7", 7], "identity.network.layers[1]"),
        ("identity.image.background", [0, 0, 256], "identity.image.background[2]"),
        ("identity.image.max_pixels", 2**63, "identity.image.max_pixels"),
        ("identity.sampling.scales", [], "identity.sampling.scales"),
        ("plan", {}, "provenance.plan.batch_size"),
        ("plan.batch_size", 0, "provenance.plan.batch_size"),
        ("plan.shard_images", "9", "provenance.plan.shard_images"),
        ("plan.blake3", "no", "provenance.plan.blake3"),
        ("environments", [[]], "provenance.environments[0]"),
        ("environments", [{"environment": {"a": [1]}, "shards": [[0, 1]]}], "environment.a"),
        ("environments", [{"environment": {}, "shards": [[1]]}], "environments[0].shards[0]"),
        ("facts", [], "provenance.facts"),
        ("facts.untrained", "no", "provenance.facts.untrained"),
        ("facts.weights", "oxford", "provenance.facts.weights"),
        ("facts.weights.name", 7, "provenance.facts.weights.name"),
        ("facts.weights.name", "\udcff", "provenance.facts.weights.name"),
        ("facts.listing.kind", "k" * 5000, "provenance.facts.listing.kind"),
        ("facts.new", [[[[[[[1]]]]]]], "provenance.facts.new"),
    ],
)
def test_the_field_that_is_wrong_is_named(
    whole: Path, tmp_path: Path, at: str, value: object, field: str
) -> None:
    path = Path(shutil.copy(whole / "x.h5", tmp_path / "x.h5"))
    said = open_store(path).provenance
    forge(path, "sealed", provenance(with_odd(said, tuple(at.split(".")), value)))
    with pytest.raises(StoreDamaged) as refused:
        open_store(path)
    assert field in str(refused.value)
    assert "x.h5" in str(refused.value)


def test_facts_may_say_more_and_less(whole: Path, tmp_path: Path) -> None:
    """A store of a later version, or from elsewhere, says other things that change no number."""
    path = Path(shutil.copy(whole / "x.h5", tmp_path / "x.h5"))
    said = open_store(path).provenance
    more = {"licence": "CC0", "weights": {"name": "a", "year": 2014}, "new": {"a": [1, 2.5, None]}}
    for facts in ({}, more):
        forge(path, "sealed", provenance(json.dumps({**said, "facts": facts})))
        assert outcomes(path) == [0] * (2 + len(COMMANDS))


def odd_lines(folder: Path) -> Iterator[tuple[int, str]]:
    """Every field of the manifest's first line and of a shard's, times what it could become."""
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    for number in (0, 1):
        value = json.loads(lines[number])
        for at, odd in odd_fields(value):
            yield number, with_odd(value, at, odd)
        for text in ("", "[]", "7", "{}", "[" * 900, "null", '{"a":' * 900, lines[number] * 2):
            yield number, text


def wrong_manifests(whole: Path, tmp_path: Path, most: int) -> list[object]:
    folder = Path(shutil.copytree(whole / "x", tmp_path / "x"))
    good = (folder / "manifest.jsonl").read_bytes()
    wrong: list[object] = []
    for number, text in drawn(list(odd_lines(folder)), most):
        (folder / "manifest.jsonl").write_bytes(good)
        forge_manifest(folder, lambda lines: lines.__setitem__(number, text))  # noqa: B023
        reading = ended(lambda: open_store(folder))
        damaged = verify(folder)["exit_status"]
        if {reading, damaged} not in ({65}, {0}):
            wrong.append((text[:100], reading, damaged))
    return wrong


def test_an_odd_line_of_a_manifest_is_damage(whole: Path, tmp_path: Path) -> None:
    assert not wrong_manifests(whole, tmp_path, 100)


@pytest.mark.stress
def test_every_odd_line_of_a_manifest_is_damage(whole: Path, tmp_path: Path) -> None:
    assert not wrong_manifests(whole, tmp_path, 0)


@pytest.mark.parametrize("most", [60, pytest.param(0, marks=pytest.mark.stress)])
def test_an_odd_identity_is_one_that_reads_back_the_same_or_damage(most: int) -> None:
    value = json.loads(identity().canonical())
    for at, odd in drawn(odd_fields(value), most):
        try:
            found = Identity.from_json(with_odd(value, at, odd))
        except StoreDamaged:
            continue
        assert Identity.from_json(found.canonical()) == found


PLANS: dict[str, Change] = {
    "keys not ascending": lambda _, arrays: arrays.update({"items/key": arrays["items/key"][::-1]}),
    "a key less": lambda _, arrays: arrays.update({"items/key": arrays["items/key"][1:]}),
    "shards of another cut": lambda _, arrays: arrays["items/shard"].__setitem__(0, 1),
    "a negative row": lambda _, arrays: arrays["items/row"].__setitem__(0, -1),
    "no shard_images": lambda attributes, _: attributes.pop("shard_images"),
    "shard_images 0": lambda attributes, _: attributes.update(shard_images=np.int64(0)),
    "huge batches": lambda attributes, _: attributes.update(batch_size=np.int64(2**62)),
    "dimensions of another layer": provenance(
        json.dumps(
            {
                "identity": json.loads(identity().canonical()),
                "environment": ENVIRONMENT,
                "facts": {},
                "dimensions": {"fc7": 5, "fc8": 3},
            }
        )
    ),
    "a dimension of 0": provenance(
        json.dumps(
            {
                "identity": json.loads(identity().canonical()),
                "environment": ENVIRONMENT,
                "facts": {},
                "dimensions": {**DIMENSIONS, "fc7": 0},
            }
        )
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_that_makes_no_sense_is_damage(whole: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(whole / "half.h5.work", tmp_path / "x.h5.work"))
    forge(folder / "plan.h5", "plan", PLANS[name])
    forge_manifest(folder)
    assert ended(lambda: open_store(tmp_path / "x.h5")) == 65
    assert ended(lambda: write_on(tmp_path / "x.h5")) == 65
    assert "plan.h5" in [one["file"] for one in verify(tmp_path / "x.h5")["damaged"]]


@pytest.mark.parametrize(
    "facts, field",
    [
        ({"weights": {"name": "caf\udce9.pth"}}, "facts.weights.name"),
        ({"listing": {"column": "c" * 5000}}, "facts.listing.column"),
        ({"a": float("nan")}, "facts.a"),
        ({"a": ["x" * 4000] * 200}, "provenance of"),
    ],
)
def test_what_could_not_be_read_again_is_not_begun(
    tmp_path: Path, facts: dict[str, object], field: str
) -> None:
    with pytest.raises(UsageError, match=field):
        opened(tmp_path / "x", "shards", facts=facts)
    assert not (tmp_path / "x" / "plan.h5").exists()


def test_any_json_is_bounded_before_anybody_goes_through_it() -> None:
    plain({"a": [1, 2.5, None, True, "x"]}, "here")
    for value in ([[[[[[[1]]]]]]], ["x" * 5000], [0] * 5000, {"a\n": 1}, 2**64, float("inf")):
        with pytest.raises(StoreDamaged, match="here"):
            plain(value, "here")
