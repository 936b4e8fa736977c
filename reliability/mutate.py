"""Mutations of a file: what bits, numbers, texts and whole parts of it may turn into."""

import random
import re
import struct
import zlib
from collections.abc import Sequence

INTEGERS = (0, 1, 2, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
DOUBLES = (0.0, -1.0, 1e-320, 1e-30, 1e30, 1.8e308, float("inf"), -float("inf"), float("nan"))
WORDS = (
    *(b"0 -1 1e400 nan inf -inf NaN Infinity null true 99999999999999999999 1e-320 0x10".split()),
    *(b"[] {} \"\" '' ../../etc /etc/passwd .. \\ud800 \\u0000 \xff\xfe".split()),
    *(b"( ) , : ; # & * ! %".split()),
    *(b"\0", b"\n", b"\t", b" ", b"1" * 400, b"[" * 2000, b"(" * 300, b"a" * 5000),
)  # fmt: skip
NUMBER = re.compile(rb"-?\d+(\.\d*)?([eE][-+]?\d+)?")
PNG_START = b"\x89PNG\r\n\x1a\n"
LONGEST = 1 << 16  # bytes of a mutated file


def mutate(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Apply one to a few mutations; a PNG mostly gets valid checksums again."""
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 5))):
        data = bytes(draw.choice(MUTATIONS)(bytearray(data), others, draw)[:LONGEST])
    if data.startswith(PNG_START) and draw.random() < 0.8:
        data = with_checksums(data)
    return data


def with_checksums(data: bytes) -> bytes:
    """Mend the checksums of the chunks of a PNG, as far as it has chunks."""
    mended, at = bytearray(data), len(PNG_START)
    while at + 12 <= len(mended):
        end = at + 8 + int.from_bytes(mended[at : at + 4])
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(bytes(mended[at + 4 : end])))
        at = end + 4
    return bytes(mended)


def _flip(data: bytearray, _: Sequence[bytes], draw: random.Random) -> bytearray:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def _set(data: bytearray, _: Sequence[bytes], draw: random.Random) -> bytearray:
    if data:
        data[draw.randrange(len(data))] = draw.randrange(256)
    return data


def _put_integer(data: bytearray, _: Sequence[bytes], draw: random.Random) -> bytearray:
    size = draw.choice((1, 2, 4, 8))
    value = draw.choice((*INTEGERS, len(data), draw.getrandbits(64))) % 256**size
    at = draw.randrange(len(data) + 1)
    data[at : at + size] = value.to_bytes(size, draw.choice(("little", "big")))
    return data


def _put_double(data: bytearray, _: Sequence[bytes], draw: random.Random) -> bytearray:
    at = draw.randrange(len(data) + 1)
    data[at : at + 8] = struct.pack("<d", draw.choice(DOUBLES))
    return data


def _put_word(data: bytearray, _: Sequence[bytes], draw: random.Random) -> bytearray:
    at = draw.randrange(len(data) + 1)
    data[at : at + draw.choice((0, 0, 1, 4))] = draw.choice(WORDS)
    return data


def _replace_number(data: bytearray, _: Sequence[bytes], draw: random.Random) -> bytearray:
    numbers = list(NUMBER.finditer(data))
    if numbers:
        start, end = draw.choice(numbers).span()
        data[start:end] = draw.choice(WORDS)
    return data


def _cut(data: bytearray, _: Sequence[bytes], draw: random.Random) -> bytearray:
    return data[: draw.randrange(len(data) + 1)]


def _delete(data: bytearray, _: Sequence[bytes], draw: random.Random) -> bytearray:
    start, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    del data[start : min(end, start + 64)]
    return data


def _repeat(data: bytearray, _: Sequence[bytes], draw: random.Random) -> bytearray:
    start, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    data[start:start] = data[start:end] * draw.choice((1, 1, 2, 50))
    return data


def _splice(data: bytearray, others: Sequence[bytes], draw: random.Random) -> bytearray:
    other = draw.choice(others)
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]


MUTATIONS = (
    *(_flip, _flip, _set, _put_integer, _put_integer, _put_double, _put_word, _replace_number),
    *(_replace_number, _cut, _delete, _repeat, _splice),
)
