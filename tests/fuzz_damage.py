"""Damage for files of models: bytes, lengths, pieces of other files, and values of JSON.

In: the files of a model by name, and a generator. Out: the same with damage in one of them, written
to a path. Knows no format but those of archives and JSON.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz_seeds import Files, put

NUMBERS = [b"\xff" * 4, b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f", b"\x80" * 9 + b"\x01",
           b"\xff" * 9 + b"\x01", b"\x00\x00\x00\x80", b"9" * 12, b"-1", b"1e999",
           b"null"]  # fmt: skip
WRONG = [None, [], {}, "", "x", -1, 0, 1.5, True, [1, 2, 3], 10**30, 10**9, "a/b", ["x", 0, 0],
         {"class_name": "Dense", "config": None}, [[["a", 0, 0]]], "float64",
         1e-320]  # fmt: skip


def write(path: Path, files: Files, kept: dict[str, Files], draw: random.Random) -> None:
    """Files with damage in one of them; pieces come out of all that are kept."""
    hit = draw.choice(sorted(files))
    other = draw.choice(list(draw.choice(list(kept.values())).values()))
    put(path, {n: _hit(data, other, draw) if n == hit else data for n, data in files.items()})


def _hit(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """Damage; in an archive mostly within a member, whose checksum is right then."""
    if data.startswith(b"PK") and draw.random() < 0.7:
        return _in_a_member(data, other, draw)
    if data.startswith(b'{"') and draw.random() < 0.6:
        return json.dumps(_distorted(json.loads(data), draw)).encode()
    return damaged(data, other, draw)


def _in_a_member(data: bytes, other: bytes, draw: random.Random) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(made, "w") as out:
        hit = draw.choice(given.namelist())
        for name in given.namelist():
            member = given.read(name)
            out.writestr(name, _hit(member, other, draw) if name == hit else member)
    return made.getvalue()


def _distorted(told: Any, draw: random.Random) -> Any:
    """JSON with a value exchanged for a wrong one or one from elsewhere in it, or left out."""
    for _ in range(draw.choice([1, 1, 2])):
        places = list(_places(told))
        if not places:
            break
        holder, key = draw.choice(places)
        elsewhere, other = draw.choice(places)
        what = draw.randrange(5)
        if what == 0:
            del holder[key]
        elif what == 1:
            holder[key] = json.loads(json.dumps(elsewhere[other]))
        else:
            holder[key] = json.loads(json.dumps(draw.choice(WRONG)))  # its own copy
    return told


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)


# ---- bytes ---------------------------------------------------------------------------------------


def damaged(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """The same bytes with one to eight kinds of damage."""
    made = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 3, 8])):
        if not made:
            break
        place, size = draw.randrange(len(made)), draw.choice([1, 2, 4, 16, 256])
        draw.choice(DAMAGE)(made, place, size, other, draw)
    return bytes(made)


def _flip(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    made[place] ^= 1 << draw.randrange(8)


def _byte(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    made[place] = draw.randrange(256)


def _noise(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    made[place : place + size] = draw.randbytes(size)


def _gap(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    del made[place : place + size]


def _again(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    piece = made[place : place + min(size, 16)]
    made[place:place] = piece * draw.choice([1, 1, 1, 2, 30, 2000])


def _moved(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    start = draw.randrange(len(made))
    made[place : place + size] = made[start : start + size]


def _spliced(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    start = draw.randrange(len(other) or 1)
    made[place : place + draw.choice([0, size])] = other[start : start + size]


def _number(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    number = draw.choice(NUMBERS)
    made[place : place + len(number)] = number


def _length(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    """A number a little larger or smaller, or many times as large."""
    width = draw.choice([1, 2, 4, 8])
    found = int.from_bytes(made[place : place + width], "little")
    changed = draw.choice([found + 1, found - 1, found * 2, found << 16, len(made)])
    made[place : place + width] = (changed % (1 << 8 * width)).to_bytes(width, "little")


def _cut(made: bytearray, place: int, size: int, other: bytes, draw: random.Random) -> None:
    del made[place:]


DAMAGE = [_flip, _byte, _noise, _gap, _again, _moved, _spliced, _number, _length, _length, _cut]
