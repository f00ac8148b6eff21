"""TOML within bounds: what people write is parsed as the library does, the rest refused at once."""

from __future__ import annotations

import sys
import time
import tracemalloc

import pytest

from deepfeat.toml_text import parse_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOM = 64 << 10
EIGHT = ".".join("abcdefgh")


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{EIGHT} = 1.5",
        f"[{EIGHT}]\nx = 2020-01-01T00:00:00.123",
        '"a.b.c.d.e.f.g.h.i.j.k".x = "1.2.3.4.5.6.7.8.9.10"',
        "x = '''\n[[[[ a.b.c.d.e.f.g.h.i.j''''' # a.b.c.d.e.f.g.h.i.j [[[[",
        'x = """ \\""" a.b.c.d.e.f.g.h.i.j """\r\n# "\r\ny = ["[", {z = 1}]',
        f"x = {'[' * 32}{']' * 32}",
        f'x = "{"long " * 1000}"',
        "'a' . b . \"c\" = -1e-3",
    ],
)
def test_what_people_write_is_parsed_as_the_library_does(text: str) -> None:
    assert parse_toml(text.encode(), most_bytes=ROOM) == tomllib.loads(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"x = 1\n" + b"a." * 20_000 + b"b = 1", "line 2: a key of over 8 parts"),
        (b"[" + b'"a" . ' * 10_000 + b"b]", "line 1: a key of over 8 parts"),
        (b"[[" + b"'a'." * 9 + b"b]]", "a key of over 8 parts"),
        (b"x = {" + b"a." * 1500 + b"b = 1}", "a key of over 8 parts"),
        (b"x = " + b"[" * 30_000, "brackets nest over 32 deep"),
        (b"x = " + b"{a = " * 10_000, "brackets nest over 32 deep"),
        (b"x = 0x" + b"f" * 60_000, "a word or number of over 128 characters"),
        (b"x = " + b"9" * 5000, "a word or number of over 128 characters"),
        (b"a" * 5000 + b" = 1", "a word or number of over 128 characters"),
        (b'x = "' + b'\\"' * 30_000, "it is no TOML"),
        (b'x = """' + b"a." * 30_000, "it is no TOML"),
        (b"x = 1979-99-99", "it is no TOML"),
        (b"x = 1\nx = 2", "it is no TOML"),
        (b"\xff\xfe", "it is no TOML: byte 0 is no UTF-8"),
        (b"#" * (ROOM + 1), "it is over 64 KiB"),
    ],
)
def test_the_rest_is_refused_in_little_time_and_memory(text: bytes, words: str) -> None:
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(ValueError, match=words) as caught:
            parse_toml(text, most_bytes=ROOM)
        assert time.process_time() - started < 2
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "piece",
    [
        b'\\"""a"\n',
        b"\\'''a'\n",
        b'"""a" \\"\n',
        b'x = ""a"""\n',
        b"'" + b'"""' + b"\n",
        b'a."""\\"""',
        b'"\\"\n',
        b"a   ",
        b'"a". ',
    ],
)
def test_a_mebibyte_of_quotes_that_do_not_close_takes_no_second(piece: bytes) -> None:
    text = (piece * (1 << 20))[: 1 << 20]
    started = time.process_time()
    with pytest.raises(ValueError):
        parse_toml(text, most_bytes=1 << 20)
    assert time.process_time() - started < 1
