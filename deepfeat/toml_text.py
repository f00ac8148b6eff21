"""Parse TOML that a stranger may have written, within bounds.

The parser's memory grows with the square of the parts of a dotted key, and it calls itself once
for each bracket. Files for people need neither, so both are counted before anything is parsed.
"""

from __future__ import annotations

import re
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_PARTS = 8
DEEPEST = 32
LONGEST_WORD = 128  # letters of a key or digits of a number without quotes

# One token each, left to right. A quote that opens nothing whole ends the look: the parser, which
# reads in the same order, stops there too. Three quotes never are an empty string and one more, or
# each of them would be looked at to the end of the text.
STRING = (
    r'"""(?:\\.|[^\\])*?""""{0,2}'
    r"|'''.*?''''{0,2}"
    r'|(?!""")"(?:\\.|[^"\\\n])*"'
    r"|(?!''')'[^'\n]*'"
)
PART = rf"(?:[\w+:-]+|{STRING})"
TOKEN = re.compile(
    rf"(?P<comment>#[^\n]*)|(?P<parts>{PART}(?:[ \t]*\.[ \t]*{PART})*)|(?P<bracket>[\[\]{{}}])"
    r"|(?P<unclosed>[\"'])",
    re.DOTALL,
)
ONE_PART = re.compile(PART, re.DOTALL)


def parse_toml(text: bytes, *, most_bytes: int) -> dict[str, object]:
    """The tables of a TOML file of at most ``most_bytes`` bytes.

    A key may have 8 parts, arrays and inline tables may nest 32 deep, and a key or number without
    quotes has at most 128 characters.

    Raises
    ------
    ValueError
        With words for people, which follow "the file cannot be used: ".
    """
    if len(text) > most_bytes:
        raise ValueError(f"it is over {most_bytes >> 10:,} KiB")
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no TOML: byte {error.start} is no UTF-8") from error
    _check_bounds(decoded)
    try:
        tables: dict[str, object] = tomllib.loads(decoded)
    except Exception as error:  # whatever a parser trips over, the file is the cause
        raise ValueError(f"it is no TOML: {error!s:.160}") from error
    return tables


def _check_bounds(text: str) -> None:
    depth = 0
    for token in TOKEN.finditer(text):
        found = token[0]
        if token.lastgroup == "bracket":
            depth += 1 if found in "[{" else -1
            if depth > DEEPEST:
                raise _at(token, f"brackets nest over {DEEPEST} deep")
        elif token.lastgroup == "parts":
            parts = [part[0] for part in ONE_PART.finditer(found)]
            if len(parts) > MOST_PARTS:
                raise _at(token, f"a key of over {MOST_PARTS} parts")
            if any(len(part) > LONGEST_WORD and part[0] not in "\"'" for part in parts):
                raise _at(token, f"a word or number of over {LONGEST_WORD} characters")
        elif token.lastgroup == "unclosed":
            return


def _at(token: re.Match[str], what: str) -> ValueError:
    line = token.string.count("\n", 0, token.start()) + 1
    return ValueError(f"line {line}: {what}")
