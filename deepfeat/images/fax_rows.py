"""Whether a strip of a TIFF in a fax coding is whole: Group 3, Group 4, and modified Huffman.

libtiff mends lines that are too short, too long or cannot be read, and says so in warnings that
Pillow does not pass on. So the codes are walked here (ITU-T T.4 and T.6): each line has to come out
at its width. Only the places where colours change are kept, of two lines.
"""

from __future__ import annotations

from functools import cache

HUFFMAN, GROUP_3, GROUP_4 = 2, 3, 4  # TIFF's numbers for the compressions
MOST_LINES = 1 << 21  # of a page: a line may take a single bit, and is walked all the same
_WHITE = """
00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101
101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100
0011000 00000010 00000011 00011010 00011011 00010010 00010011 00010100 00010101 00010110 00010111
00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010 00001011 01010010
01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011
00110010 00110011 00110100 11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000
01100111 011001100 011001101 011010010 011010011 011010100 011010101 011010110 011010111 011011000
011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011
"""  # runs of 0 to 63, then of 64, 128 ... 1728
_BLACK = """
0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111
000011000 0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111
00000101000 00000010111 00000011000 000011001010 000011001011 000011001100 000011001101
000001101000 000001101001 000001101010 000001101011 000011010010 000011010011 000011010100
000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 000011011011
000001010100 000001010101 000001010110 000001010111 000001100100 000001100101 000001010010
000001010011 000000100100 000000110111 000000111000 000000100111 000000101000 000001011000
000001011001 000000101011 000000101100 000001011010 000001100110 000001100111 0000001111
000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100
0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011
0000001110100 0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100
0000001010101 0000001011010 0000001011011 0000001100100 0000001100101
"""
_LONG = """
00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101
000000010110 000000010111 000000011100 000000011101 000000011110 000000011111
"""  # of both colours: runs of 1792, 1856 ... 2560
_PASS, _HORIZONTAL = 10, 11
_MODES = {  # the shift of a vertical mode, or one of the two others
    "1": 0,
    "011": 1,
    "000011": 2,
    "0000011": 3,
    "010": -1,
    "000010": -2,
    "0000010": -3,
    "0001": _PASS,
    "001": _HORIZONTAL,
}
_LONGEST, _LONGEST_MODE, _END_OF_LINE_ZEROS = 13, 7, 11


class _Damaged(Exception):
    """The message says what is wrong with a line."""


class _Bits:
    """The bits of a strip, in order; behind its end there are zeros, which are counted, too."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._held, self._count, self._at = 0, 0, 0

    def peek(self, number: int) -> int:
        while self._count < number:
            byte = self._data[self._at] if self._at < len(self._data) else 0
            self._held = (self._held & 0xFFFF) << 8 | byte
            self._count += 8
            self._at += 1
        return self._held >> (self._count - number) & ((1 << number) - 1)

    def drop(self, number: int) -> None:
        self.peek(number)
        self._count -= number
        if 8 * self._at - self._count > 8 * len(self._data):
            raise _Damaged("the codes end early")

    def align(self) -> None:
        self._count -= self._count % 8


def fault_in_fax(data: bytes, size: tuple[int, int], compression: int, options: int) -> str | None:
    """Return what is wrong with a strip, in words, or None where it has all of its lines.

    Parameters
    ----------
    size : tuple of two int
        Lines and pixels of a line.
    compression : int
        `HUFFMAN`, `GROUP_3` or `GROUP_4`.
    options : int
        Of Group 3 (tag 292): bit 0 says that lines may refer to the line before.
    """
    bits = _Bits(data)
    lines, width = size
    before: list[int] = []
    for number in range(lines):
        try:
            refers = compression == GROUP_4
            if compression == GROUP_3:
                _find_line(bits)
                if options & 1:
                    refers = not bits.peek(1)
                    bits.drop(1)
            before = _two_dimensional(bits, before, width) if refers else _plain(bits, width)
            if compression == HUFFMAN:
                bits.align()
        except _Damaged as damage:
            return f"line {number + 1} of {lines}: {damage}"
    return None


def _find_line(bits: _Bits) -> None:
    """Pass the code for the end of a line, and the zeros that may fill up the space before it."""
    if bits.peek(_END_OF_LINE_ZEROS):
        raise _Damaged("it does not begin where the line before ends")
    bits.drop(_END_OF_LINE_ZEROS)
    while not bits.peek(1):
        bits.drop(1)
    bits.drop(1)


def _plain(bits: _Bits, width: int) -> list[int]:
    """Read runs of white and black in turn; return where colours change."""
    changes: list[int] = []
    at = 0
    while at < width:
        at += _run(bits, len(changes) % 2)
        changes.append(at)
    return _within(changes, width)


def _two_dimensional(bits: _Bits, before: list[int], width: int) -> list[int]:
    """Read a line that is coded by the changes of the line before (T.4, 4.2.1.3)."""
    above = [*before, width, width, width]
    changes: list[int] = []
    at, near, is_begun = 0, 0, False
    modes = _table_of_modes()
    while at < width:
        colour = len(changes) % 2
        near = max(near - 1, 0)
        near += (near + colour) % 2
        while is_begun and above[near] <= at and above[near] < width:
            near += 2
        length, mode = modes[bits.peek(_LONGEST_MODE)]
        if not length:
            raise _Damaged("a code that is none")
        bits.drop(length)
        is_begun = True
        if mode == _PASS:
            at = above[near + 1]
            continue
        if mode == _HORIZONTAL:
            first = at + _run(bits, colour)
            changes += [first, first + _run(bits, 1 - colour)]
        else:
            changes.append(above[near] + mode)
        if changes[-1] < at:
            raise _Damaged("it goes backwards")
        at = changes[-1]
    return _within(changes, width)


def _within(changes: list[int], width: int) -> list[int]:
    if changes and changes[-1] > width:
        raise _Damaged(f"it is {changes[-1]} pixels long, {width} are right")
    return changes


def _run(bits: _Bits, colour: int) -> int:
    """Read a run: codes for multiples of 64, and one for what is left."""
    table, total = _table_of_runs(colour), 0
    while True:
        length, run = table[bits.peek(_LONGEST)]
        if not length:
            raise _Damaged("a code that is none")
        bits.drop(length)
        total += run
        if run < 64:
            return total


@cache
def _table_of_runs(colour: int) -> list[tuple[int, int]]:
    codes = (_BLACK if colour else _WHITE).split()
    runs = [*range(64), *range(64, 1729, 64), *range(1792, 2561, 64)]
    return _table(dict(zip([*codes, *_LONG.split()], runs, strict=True)), _LONGEST)


@cache
def _table_of_modes() -> list[tuple[int, int]]:
    return _table(_MODES, _LONGEST_MODE)


def _table(codes: dict[str, int], longest: int) -> list[tuple[int, int]]:
    """Length and meaning of the code at the start of any ``longest`` bits; (0, 0) is no code."""
    table = [(0, 0)] * (1 << longest)
    for code, meaning in codes.items():
        free = longest - len(code)
        start = int(code, 2) << free
        table[start : start + (1 << free)] = [(len(code), meaning)] * (1 << free)
    return table
