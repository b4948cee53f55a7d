"""Texts of variable length in attributes, read from the bytes of an HDF5 file.

The HDF5 library takes as much memory as the length of such a text says before it looks whether the
text is there, and a damaged heap of texts can keep it busy for ever. In: a file's bytes and the
address of an object header. Out: the texts. Source: HDF5 File Format Specification, III.E and IV.A.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_CONTINUATION, _ATTRIBUTE = 0x10, 0x0C
_TEXT = struct.Struct("<IQI")  # its length, the heap it is in, its number there
_LARGEST = 64 << 20  # bytes of all blocks of one header

Message = tuple[int, bytes]


def read_texts(
    file: BinaryIO, base: int, address: int, name: bytes, count: int
) -> list[bytes] | None:
    """The `count` texts of an attribute; None when the header itself does not hold it.

    Args:
        base: where HDF5's data begin in the file; addresses count from there.

    Raises struct.error, KeyError or ValueError for what is cut off, damaged, or of an unknown kind.
    """
    size = file.seek(0, 2)
    for kind, data in _messages(file, base, address):
        if kind == _ATTRIBUTE and (values := _values(data, name)) is not None:
            places = [_TEXT.unpack_from(values, i * _TEXT.size) for i in range(count)]
            if sum(length for length, _, _ in places) > size:
                raise ValueError(f"the texts of {name!r} claim to be longer than the file")
            heaps = {heap: _heap(file, base + heap) for _, heap, _ in places if heap}
            return [heaps[h][i][:length] if length else b"" for length, h, i in places]
    return None


def _heap(file: BinaryIO, place: int) -> dict[int, bytes]:
    """The objects of a global heap by their numbers."""
    signature, size = struct.unpack("<4s4xQ", _read(file, place, 16))
    if signature != b"GCOL":
        raise ValueError("no heap of texts where one should be")
    data, found, start = _read(file, place, size), {}, 16
    while start + 16 <= len(data):
        number, length = struct.unpack_from("<H6xQ", data, start)
        if number == 0:  # the free rest
            break
        found[number] = data[start + 16 : start + 16 + length]
        start += 16 + -(-length // 8) * 8
    return found


def _values(message: bytes, name: bytes) -> bytes | None:
    """The values in an attribute's message, if it has this name."""
    version, _, *sizes = struct.unpack_from("<BBHHH", message)
    start = 9 if version == 3 else 8
    if message[start : start + sizes[0]].rstrip(b"\0") != name:
        return None
    padded = [-(-size // 8) * 8 for size in sizes] if version == 1 else sizes
    return message[start + sum(padded) :]


def _messages(file: BinaryIO, base: int, address: int) -> Iterator[Message]:
    """All messages of an object header, those of its continuation blocks too."""
    address += base
    start = _read(file, address, 16)
    modern = start[:4] == b"OHDR"
    if not modern and start[0] != 1:
        raise ValueError("an object header of an unknown kind")
    flags = start[5] if modern else 0
    head = _HEADS[2 if modern and flags & 4 else int(modern)]
    blocks = [_first_block(file, address, flags) if modern else _old_first_block(start, address)]
    left = _LARGEST
    for place, size in blocks:
        left -= size + head.size
        if left < 0:
            raise ValueError("an object header without end")
        for kind, data in _block(_read(file, place, size), head):
            yield kind, data
            if kind == _CONTINUATION:
                at, length = struct.unpack_from("<QQ", data)
                blocks.append((base + at + 4, length - 8) if modern else (base + at, length))


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
    if place < 0 or size > file.seek(0, 2) - place:
        raise ValueError("an object header that is cut off")
    file.seek(place)
    return file.read(size)
