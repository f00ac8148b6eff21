"""What is open knows its files: its own rows or "the store changed", never the rows of another."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from make_store import HOLES, KEYS, LISTED, identity, make, opened, rows_of, values

from deepfeat.errors import NoPermission, StoreLocked
from deepfeat.store.info import describe
from deepfeat.store.read import Store, open_store
from deepfeat.store.verify import verify

FORMS = {"sealed": "x.h5", "shards": "x"}
OTHER = LISTED[1:]  # its rows have the same widths and stand at other places
SAME = "the store changed while it was read(.|\n)*Open it again"


def rows(keys: list[str]) -> np.ndarray:
    """(N, 5): layer fc7 at scale 256, written down without a store."""
    places = [KEYS.index(os.fsencode(key)) for key in keys]
    hole = np.full(5, np.nan, "f4")
    return np.stack([hole if row in HOLES else values(row, "fc7", "256") for row in places])


READS: dict[str, Callable[[Store], np.ndarray]] = {
    "read": lambda store: store.read("fc7", scales=256),
    "keys": lambda store: store.read("fc7", scales=256, keys=store.keys[::-1])[::-1],
    "indexed": lambda store: store["fc7", 256][:],
    "as array": lambda store: np.asarray(store["fc7", 256]),
    "row by row": lambda store: np.stack([store["fc7", 256][row] for row in range(len(store))]),
    "scattered": lambda store: store["fc7", 256][np.arange(len(store))[::-1]][::-1],
    "frame": lambda store: np.stack(store.to_frame(descriptors=True)["fc7/256"].tolist()),
    "stacked": lambda store: store.read("fc7", across_scales="stack")[:, :5],
}


def file_of(path: Path) -> Path:
    """The sealed file, or one shard."""
    return path if path.suffix else path / "000001.h5"


def swap(path: Path, new: Path) -> None:
    """Put ``new`` in the place of ``path``, whatever either is."""
    path.rename(path.with_name("old"))
    new.rename(path)


def overwrite(file: Path, change: Callable[[bytes], bytes]) -> None:
    file.chmod(0o644)
    file.write_bytes(change(file.read_bytes()))


def other_file(path: Path) -> Path:
    """The file of the same name of a store of other images."""
    return file_of(make(path.with_name("other" + path.suffix), _form(path), listed=OTHER))


def link_to(path: Path, target: Path) -> None:
    path.rename(path.with_name("old"))
    path.symlink_to(target)


def emptied(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


CHANGES: dict[str, Callable[[Path], object]] = {
    "file replaced": lambda path: other_file(path).replace(file_of(path)),
    "file written over": lambda path: overwrite(file_of(path), lambda _: _bytes(other_file(path))),
    "rows written over": lambda path: overwrite(file_of(path), lambda old: old[:-40] + bytes(40)),
    "header written over": lambda path: overwrite(file_of(path), lambda old: b"x" + old[1:]),
    "file grown": lambda path: overwrite(file_of(path), lambda old: old + bytes(4096)),
    "file cut": lambda path: overwrite(file_of(path), lambda old: old[: len(old) // 2]),
    "file cut to nothing": lambda path: overwrite(file_of(path), lambda old: b""),
    "file removed": lambda path: file_of(path).unlink(),
    "file a folder": lambda path: (file_of(path).unlink(), file_of(path).mkdir()),
    "file a pipe": lambda path: (file_of(path).unlink(), os.mkfifo(file_of(path))),
    "file a link in a circle": lambda path: link_to(file_of(path), file_of(path)),
    "file a link to another": lambda path: link_to(file_of(path), other_file(path)),
    "store removed": emptied,
    "another store moved there": lambda path: swap(
        path, make(path.with_name("n" + path.suffix), _form(path), listed=OTHER)
    ),
    "another form moved there": lambda path: swap(path, make(*_other_form(path), listed=OTHER)),
    "store a link to another": lambda path: link_to(
        path, make(path.with_name("n" + path.suffix), _form(path), listed=OTHER)
    ),
    "store made anew": lambda path: (emptied(path), make(path, _form(path), listed=OTHER)),
}


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def _form(path: Path) -> str:
    return "sealed" if path.suffix else "shards"


def _other_form(path: Path) -> tuple[Path, str]:
    return (path.with_name("n"), "shards") if path.suffix else (path.with_name("n.h5"), "sealed")


@pytest.fixture(params=FORMS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make(tmp_path / FORMS[request.param], request.param)


@pytest.mark.parametrize("what", CHANGES)
def test_a_store_that_is_no_longer_there_is_never_read_as_another(path: Path, what: str) -> None:
    store = open_store(path)
    keys = store.keys
    CHANGES[what](path)
    for read in READS.values():
        with pytest.raises(StoreLocked, match=SAME) as error:
            read(store)
        assert error.value.exit_status == 75
    assert store.keys == keys  # what was read at opening stays


def test_opened_again_it_has_the_rows_of_the_new_one(path: Path) -> None:
    CHANGES["store made anew"](path)
    store = open_store(path)
    assert [os.fsencode(key) for key in store.keys] == KEYS[1:]
    np.testing.assert_array_equal(store.read("fc7", scales=256), rows(store.keys))


@pytest.mark.parametrize("read", READS)
def test_what_changes_no_row_is_no_change(tmp_path: Path, read: str) -> None:
    """A run goes on, a store is moved aside and back, copied with its times, made read-only."""
    path = make(tmp_path / "x", "shards", stop=1)
    store = open_store(path)
    make(path, "shards")
    shutil.copytree(path, tmp_path / "y")
    swap(path, tmp_path / "y")
    (path / "000000.h5").chmod(0o444)
    np.testing.assert_array_equal(READS[read](store), rows(store.keys))


def test_a_run_that_is_sealed_changed(tmp_path: Path) -> None:
    with opened(tmp_path / "x.h5", "sealed") as writer:
        for number in writer.pending:
            writer.commit(number, rows_of(writer.shard(number), identity()))
        store = open_store(tmp_path / "x.h5")
        np.testing.assert_array_equal(store.read("fc7", scales=256), rows(store.keys))
        writer.finish()
    with pytest.raises(StoreLocked, match=SAME):
        store.read("fc7")
    with pytest.raises(StoreLocked):
        describe(store)


def test_a_file_that_may_no_longer_be_read_says_so(path: Path) -> None:
    store = open_store(path)
    file_of(path).chmod(0)
    if os.access(file_of(path), os.R_OK):  # as root may
        np.testing.assert_array_equal(READS["read"](store), rows(store.keys))
    else:
        with pytest.raises(NoPermission):
            READS["read"](store)


def test_a_file_that_is_cut_between_two_reads_of_it_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look before the rows found it whole."""
    file_of(path).chmod(0o644)
    store, real, calls = open_store(path), os.preadv, []

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        calls.append(offset)
        if len(calls) == 2:
            os.truncate(file_of(path), 600)
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(StoreLocked, match=SAME):
        store["fc7", 256][4:8]


def test_a_file_that_is_written_to_behind_the_first_look_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, real, calls = open_store(path), os.preadv, []

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        calls.append(offset)
        if len(calls) == 2:
            overwrite(file_of(path), lambda old: bytes(len(old)))
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(StoreLocked, match=SAME):
        store["fc7", 256][4:8]


def in_threads(work: Callable[[Random], str], count: int, threads: int = 16) -> Counter[str]:
    """Call ``work`` ``count`` times from several threads; count its answers and errors."""
    found = Counter[str]()
    lock = threading.Lock()

    def run(seed: int) -> None:
        random = Random(seed)
        for _ in range(count // threads):
            try:
                answer = work(random)
            except Exception as error:  # what a thread raises would be lost
                answer = repr(error)
            with lock:
                found[answer] += 1

    running = [threading.Thread(target=run, args=(seed,)) for seed in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return found


def look(store: Store, random: Random) -> str:
    """Some rows in some way; "right" where they are those of their keys."""
    keys = random.choices(store.keys, k=random.randrange(1, 12))
    way = random.randrange(4)
    try:
        if way == 0:
            found = store.read("fc7", scales=256, keys=keys)
        elif way == 1:
            found = store["fc7", 256][np.array([store.index(key) for key in keys])]
        elif way == 2:
            keys, found = store.keys, store["fc7", "256"][:]
        else:
            first = random.randrange(len(store))
            keys, found = store.keys[first:], store["fc7", 256][first:]
            store.close()  # only lets go of the row index
    except StoreLocked:
        return "changed"
    return "right" if np.array_equal(found, rows(keys), equal_nan=True) else "wrong"


@pytest.mark.parametrize("count", [320, pytest.param(10_000, marks=pytest.mark.stress)])
def test_sixteen_threads_on_one_store_each_get_their_rows(path: Path, count: int) -> None:
    store = open_store(path)
    done = in_threads(lambda random: look(store, random), count)
    assert done == {"right": count // 16 * 16}


SWAPPER = """
import os, shutil, sys, time
path, one, other = sys.argv[1:]
print("begun", flush=True)
for turn in range(10**9):
    source = (one, other)[turn % 2]
    if turn % 6 < 4:
        shutil.copy2(source, path + ".new")
        os.replace(path + ".new", path)
    elif turn % 6 == 4:
        os.unlink(path)
    else:
        with open(source, "rb") as new, open(path, "wb") as old:
            old.write(new.read())
    time.sleep(0.002)
"""


@pytest.mark.parametrize("count", [480, pytest.param(10_000, marks=pytest.mark.stress)])
def test_a_store_that_is_replaced_over_and_over_gives_its_own_rows_or_none(
    path: Path, tmp_path: Path, count: int
) -> None:
    """Renamed over, removed, and written in place, by another process."""
    file = file_of(path)
    one, other = shutil.copy2(file, tmp_path / "one"), tmp_path / "two"
    shutil.copy2(other_file(path), other)
    file.chmod(0o644)
    store = open_store(path)
    swapper = subprocess.Popen(
        [sys.executable, "-c", SWAPPER, str(file), str(one), str(other)], stdout=subprocess.PIPE
    )
    assert swapper.stdout
    try:
        swapper.stdout.readline()
        done = in_threads(lambda random: look(store, random), count)
        for _ in range(100):  # a busy machine may not have let the other process run yet
            if len(done) < 2:
                done += in_threads(lambda random: look(store, random), 160)
    finally:
        swapper.kill()
        swapper.communicate()
    assert set(done) == {"right", "changed"}


def test_a_frame_keeps_keys_that_no_text_column_could(path: Path) -> None:
    """With pyarrow, pandas makes text columns of its own that refuse what is not UTF-8."""
    frame = open_store(path).to_frame()
    assert frame["key"].dtype == object
    assert [os.fsencode(key) for key in frame["key"]] == KEYS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["relative", "upwards", "Path"])
def test_a_store_opened_by_a_relative_path_is_read_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, how: str
) -> None:
    name = make(tmp_path / FORMS[form], form).name
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere" if how == "upwards" else tmp_path)
    given = {"relative": name, "upwards": f"../{name}", "Path": Path(name)}[how]
    store = open_store(given)  # type: ignore[arg-type]
    assert store.path == Path(given)  # type: ignore[arg-type]
    monkeypatch.chdir("/")
    for read in READS.values():
        np.testing.assert_array_equal(read(store), rows(store.keys))
    assert store.verify(deep=True) == []


def hidden(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of names in a folder that may not be searched, even to root."""
    for name in ("stat", "lstat", "open"):
        real = getattr(os, name)

        def call(place: object, *rest: object, real: Callable[..., object] = real, **more: object):  # type: ignore[no-untyped-def]
            if str(place).startswith(str(path)):
                raise OSError(number, os.strerror(number), str(place))
            return real(place, *rest, **more)

        monkeypatch.setattr(os, name, call)


LOOKS: dict[str, Callable[[Path], object]] = {
    "open": open_store,
    "verify": verify,
    "deep": lambda path: verify(path, deep=True),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", ["x.h5", "x", "none.h5"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_folder_that_may_not_be_searched_is_no_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str, name: str, number: int
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    for form, file in FORMS.items():
        make(closed / file, form)
    hidden(closed / "", number, monkeypatch)
    with pytest.raises(NoPermission, match=f"{name}' may not be read"):
        LOOKS[look](closed / name)


@pytest.mark.parametrize("deep", [True, False])
def test_verify_counts_the_bytes_that_it_read(tmp_path: Path, deep: bool) -> None:
    whole = make(tmp_path / "x.h5", "sealed")
    assert verify(whole, deep=deep)["bytes"] == whole.stat().st_size
    folder = make(tmp_path / "x", "shards")
    named = [*folder.glob("*.h5"), folder / "manifest.jsonl", folder / "identity.json"]
    assert verify(folder, deep=deep)["bytes"] == sum(path.stat().st_size for path in named)
    foreign = tmp_path / "foreign.h5"
    for start in (b"", b"dear", b"\x89HDF\r\n\x1a\n", whole.read_bytes()):
        foreign.write_bytes(start)
        os.truncate(foreign, 1 << 36)
        found = verify(foreign, deep=deep)
        assert (found["exit_status"], found["bytes"]) == (65, 512)
