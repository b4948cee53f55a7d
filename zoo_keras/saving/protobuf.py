"""The wire format of protocol buffers, as far as files of models use it.

In: bytes. Out: the fields of a message, by number. Lengths are checked before anything is taken;
nothing is copied. Knows no kind of message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras.errors import FileError

Fields = dict[int, list[Any]]  # number -> its values: int, float's bytes, or a memoryview

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Of one message: so many fields whatever they hold, and one more for so many bytes. A field of two
# bytes takes two hundred here.
_FREE_FIELDS, _BYTES_OF_MORE = 100_000, 8


def fields(data: memoryview) -> Fields:
    """All fields of a message. FileError when it is cut off or no such message."""
    found: Fields = {}
    most = _FREE_FIELDS + len(data) // _BYTES_OF_MORE
    for count, (number, value) in enumerate(_walk(data)):
        if count > most:
            raise _damaged(f"more fields than {most} in {len(data)} bytes")
        found.setdefault(number, []).append(value)
    return found


def _walk(data: memoryview) -> Iterator[tuple[int, Any]]:
    place, end = 0, len(data)
    while place < end:
        key, place = varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = varint(data, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = varint(data, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise _damaged(f"a field of kind {kind}")
        if number == 0 or size > end - place:
            raise _damaged(f"a field of {size} bytes where {end - place} are left")
        yield number, data[place : place + size]
        place += size


def varint(data: memoryview, place: int) -> tuple[int, int]:
    """(a number of so many bytes as it needs, the place behind it)."""
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise _damaged("a number that does not end")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


def _damaged(what: str) -> FileError:
    return FileError(
        f"the file is no protocol buffer of a model. Received: {what}. The file is cut off, "
        "damaged, or of another kind; get a fresh copy."
    )


def integer(found: Fields, number: int, default: int = 0) -> int:
    """A field as a signed number."""
    values = found.get(number)
    if not values:
        return default
    if not isinstance(values[-1], int):
        raise _damaged("bytes where a number should be")
    return _signed(values[-1])


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def integers(found: Fields, number: int) -> list[int]:
    """A repeated field of numbers, packed or not."""
    made = []
    for value in found.get(number, ()):
        if isinstance(value, int):
            made.append(_signed(value))
            continue
        place = 0
        while place < len(value):
            one, place = varint(value, place)
            made.append(_signed(one))
    return made


def floats(found: Fields, number: int, kind: str = "<f4") -> np.ndarray:
    """A repeated field of floats, packed or not."""
    data = b"".join(map(_bytes, found.get(number, ())))
    if len(data) % np.dtype(kind).itemsize:
        raise _damaged("a list of floats that is cut off")
    return np.frombuffer(data, kind)


def number_of(found: Fields, number: int) -> float:
    """A field as a float."""
    data = _bytes(found[number][-1]) if number in found else b"\0\0\0\0"
    if len(data) != 4:
        raise _damaged("a float of another size")
    return float(struct.unpack("<f", data)[0])


def raw(found: Fields, number: int) -> memoryview:
    """A field of bytes; empty when it is not there."""
    values = found.get(number)
    return memoryview(_bytes(values[-1])) if values else memoryview(b"")


def text(found: Fields, number: int) -> str:
    """A field as str."""
    return _text(raw(found, number))


def texts(found: Fields, number: int) -> list[str]:
    """A repeated field of str."""
    return [_text(_bytes(value)) for value in found.get(number, ())]


def messages(found: Fields, number: int) -> Iterator[Fields]:
    """A repeated field of messages, read one at a time, as all together may be large."""
    return (fields(memoryview(_bytes(value))) for value in found.get(number, ()))


def message(found: Fields, number: int) -> Fields:
    """A message; without fields when it is not there."""
    return fields(raw(found, number))


def _bytes(value: Any) -> Any:
    if isinstance(value, int):
        raise _damaged("a number where bytes should be")
    return value


def _text(value: Any) -> str:
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise _damaged("a name that is no text") from None
