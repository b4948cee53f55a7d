"""Lengths of variable-length texts in attributes, read from the bytes of an HDF5 file.

The HDF5 library takes as much memory as such a length says before it looks whether the text is
there, so that a few bytes could ask for any amount. In: a file's bytes and the address of an object
header. Out: the lengths. Source: HDF5 File Format Specification, section IV.A.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_CONTINUATION, _ATTRIBUTE = 0x10, 0x0C
_DESCRIPTOR = 16  # bytes of one text: its length (4), where it is (12)
_LARGEST = 64 << 20  # bytes of all blocks of one header

Message = tuple[int, bytes]


def text_lengths(file: BinaryIO, address: int, name: bytes, count: int) -> list[int] | None:
    """Lengths of the `count` texts of an attribute; None when the header does not hold it.

    Raises struct.error or ValueError for a header that is cut off or of an unknown kind.
    """
    found: list[int] = []
    for kind, data in _messages(file, address):
        if kind == _ATTRIBUTE and (values := _values(data, name)) is not None:
            if len(values) < count * _DESCRIPTOR:
                raise ValueError("an attribute is shorter than its shape says")
            places = range(0, count * _DESCRIPTOR, _DESCRIPTOR)
            found += [int.from_bytes(values[i : i + 4], "little") for i in places]
    return found or None


def _values(message: bytes, name: bytes) -> bytes | None:
    """The values in an attribute's message, if it has this name."""
    version, _, *sizes = struct.unpack_from("<BBHHH", message)
    start = 9 if version == 3 else 8
    if message[start : start + sizes[0]].rstrip(b"\0") != name:
        return None
    padded = [-(-size // 8) * 8 for size in sizes] if version == 1 else sizes
    return message[start + sum(padded) :]


def _messages(file: BinaryIO, address: int) -> Iterator[Message]:
    """All messages of an object header, those of its continuation blocks too."""
    start = _read(file, address, 16)
    modern = start[:4] == b"OHDR"
    if not modern and start[0] != 1:
        raise ValueError("an object header of an unknown kind")
    flags = start[5] if modern else 0
    head = _HEADS[2 if modern and flags & 4 else int(modern)]
    blocks = [_first_block(file, address, flags) if modern else _old_first_block(start, address)]
    left = _LARGEST
    for place, size in blocks:
        left -= size + _DESCRIPTOR
        if left < 0:
            raise ValueError("an object header without end")
        for kind, data in _block(_read(file, place, size), head):
            yield kind, data
            if kind == _CONTINUATION:
                at, length = struct.unpack_from("<QQ", data)
                blocks.append((at + 4, length - 8) if modern else (at, length))


# How a message begins: version 1; version 2; version 2 that notes the order of creation.
_HEADS = (struct.Struct("<HHB3x"), struct.Struct("<BHB"), struct.Struct("<BHB2x"))


def _old_first_block(start: bytes, address: int) -> tuple[int, int]:
    return address + 16, struct.unpack_from("<I", start, 8)[0]


def _first_block(file: BinaryIO, address: int, flags: int) -> tuple[int, int]:
    place = address + 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
    width = 1 << (flags & 3)
    return place + width, int.from_bytes(_read(file, place, width), "little")


def _block(data: bytes, head: struct.Struct) -> Iterator[Message]:
    place = 0
    while place + head.size <= len(data):
        kind, size, _ = head.unpack_from(data, place)
        place += head.size
        yield kind, data[place : place + size]
        place += size


def _read(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    data = file.read(size)
    if len(data) < size:
        raise ValueError("an object header that is cut off")
    return data
