"""Notice boards: a small block that its owner rewrites at will and others read over the network.

In: numbers (float64), facts (JSON) and named blobs of the owner. Out, for a reader: the newest
complete record, never a torn one, and the blobs. The driver's board is called `control`, each
rank's `progress`. Knows blocks, not models.

    board = Board(bridge, "job-control", findable=True)
    board.write([0.01, 0.0], {"stop": False})        # a new version
    board.publish("program", data)                   # bytes or an array
    board.share("weights", [region.part(0, 4096)])   # live memory, no copy

    remote = RemoteBoard(bridge, peer, "job-control")
    remote.read()               # Record(version, values, facts); None before the first write
    remote.fetch("program")     # np.ndarray of uint8
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ClusterError, ConfigError
from zoo_keras.spark.transport.bridge import COMMAND_TIMEOUT, Bridge, Part, Peer, Region

BOARD_BYTES = 16384
_HEAD = struct.Struct("<QIII")  # version, checksum of all that follows, values, bytes of text
_PULSE = 8  # bytes at the end: see pulse.py
_TORN = 10.0  # seconds: on a busy machine the writer may be put aside in the middle of a record
_PAUSE = 0.0005


class Record(NamedTuple):
    """What a board says: a version that grows with every write, float64 values, facts."""

    version: int
    values: np.ndarray
    facts: dict[str, Any]


def pack_record(version: int, values: np.ndarray, text: bytes) -> bytes:
    """The bytes of a record, with a checksum by which a torn one is told.

    Raises:
        ConfigError: the record does not fit a board.
    """
    body = values.astype("<f8").tobytes() + text
    tail = struct.pack("<QII", version, len(values), len(text)) + body
    record = _HEAD.pack(version, zlib.crc32(tail), len(values), len(text)) + body
    if len(record) > BOARD_BYTES - _PULSE:
        raise ConfigError(
            f"A notice board holds {BOARD_BYTES - _PULSE} bytes. Received: {len(record)} bytes. "
            "Publish large things as blobs."
        )
    return record


def unpack_record(data: bytes) -> tuple[int, np.ndarray, bytes] | None:
    """The record in a board's bytes; None when it is torn. Version 0 means never written."""
    version, checksum, count, length = _HEAD.unpack_from(data)
    end = _HEAD.size + 8 * count
    if end + length > len(data):
        return None
    body = data[_HEAD.size : end + length]
    tail = struct.pack("<QII", version, count, length) + body
    if version and zlib.crc32(tail) != checksum:
        return None
    return version, np.frombuffer(body, "<f8", count), body[8 * count :]


class Board:
    """A board of ours, with the blobs we publish.

    Args:
        bridge: our bridge.
        name: the block's name, unique to the job.
        findable: lets others find it by `bridge.locate(name)`.

    Attributes:
        pulse: one int64 beside the record, seen by all who read the board.
    """

    def __init__(self, bridge: Bridge, name: str, *, findable: bool = False) -> None:
        self.name = name
        self._bridge = bridge
        self._region = Region(bridge, BOARD_BYTES)
        self._bytes = self._region.array(0, BOARD_BYTES, np.uint8)
        self._version = 0
        self._values = np.zeros(0)
        self._facts: Mapping[str, Any] | None = None
        self._blobs: dict[str, tuple[str, int]] = {}
        self._regions: dict[str, Region] = {}
        self._published = 0
        self.pulse = self._region.array(BOARD_BYTES - _PULSE, 1, np.int64)
        bridge.publish(name, [self._region.part(0, BOARD_BYTES)], findable=findable)

    def write(self, values: Sequence[float] = (), facts: Mapping[str, Any] | None = None) -> int:
        """Replaces values and facts; returns the new version.

        Raises:
            ConfigError: more than 16 KB.
        """
        self._values = np.asarray(values, np.float64).ravel()
        self._facts = facts or {}
        return self._write()

    def _write(self) -> int:
        text = json.dumps({"facts": self._facts, "blobs": self._blobs}).encode()
        record = pack_record(self._version + 1, self._values, text)
        self._bytes[: len(record)] = np.frombuffer(record, np.uint8)
        self._version += 1
        return self._version

    def publish(self, name: str, data: Any) -> None:
        """Publishes a copy of bytes or of an array as a blob, in place of an older one."""
        flat = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else _as_bytes(data)
        region = Region(self._bridge, len(flat))
        region.array(0, len(flat), np.uint8)[:] = flat
        self.share(name, [region.part(0, len(flat))])
        self._regions[name] = region

    def share(self, name: str, parts: Sequence[Part]) -> None:
        """Publishes live memory as a blob: readers get what is there when they read."""
        self.withdraw(name)
        self._published += 1
        block = f"{self.name}-{self._published}"
        self._bridge.publish(block, parts)
        self._blobs[name] = (block, sum(part.nbytes for part in parts))
        self._write()

    def withdraw(self, name: str) -> None:
        """Takes a blob back, if there is one of that name."""
        if name in self._blobs:
            block, _ = self._blobs.pop(name)
            self._write()
            self._bridge.withdraw(block)
        region = self._regions.pop(name, None)
        if region is not None:
            region.close()

    def close(self) -> None:
        """Takes back the board and its blobs."""
        for name in list(self._blobs):
            self.withdraw(name)
        self._bridge.withdraw(self.name)
        self._region.close()


def _as_bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


class RemoteBoard:
    """Somebody else's board.

    Args:
        bridge: our bridge.
        peer: whose board it is.
        name: the board's name.
        who: what to call the peer in messages.
        timeout: seconds to wait for one read.

    Attributes:
        pulse: the owner's, as of the last `read`.
    """

    def __init__(
        self,
        bridge: Bridge,
        peer: Peer,
        name: str,
        who: str = "the driver",
        *,
        timeout: float = COMMAND_TIMEOUT,
    ) -> None:
        self.peer, self.name, self.who, self.timeout = peer, name, who, timeout
        self._bridge = bridge
        self._region = Region(bridge, BOARD_BYTES)
        self._bytes = self._region.array(0, BOARD_BYTES, np.uint8)
        self.pulse = self._region.array(BOARD_BYTES - _PULSE, 1, np.int64)
        self._blobs: dict[str, tuple[str, int]] = {}
        self._last: Record | None = None
        self._read_at = -1e9
        self._kept: dict[str, Region] = {}

    def read(self, *, max_age: float = 0.0) -> Record | None:
        """The newest record, or None before the first `write`. One read is about a
        millisecond on a network; with `max_age` seconds a record that young is not read again.

        Raises:
            PeerLostError: the owner is gone.
            ClusterError: the record stays half-written, or changes faster than we read.
        """
        if time.monotonic() - self._read_at > max_age:
            self._last = self._fetch_record()
            self._read_at = time.monotonic()
        return self._last

    def _fetch_record(self) -> Record | None:
        whole, end = [self._region.part(0, BOARD_BYTES)], time.monotonic() + _TORN
        while True:
            self._bridge.fetch(self.peer, self.name, whole, who=self.who, timeout=self.timeout)
            found = unpack_record(self._bytes.tobytes())
            if found is not None:
                return self._understand(*found)
            if time.monotonic() > end:
                raise ClusterError(
                    f"The notice board {self.name} of {self.who} cannot be read. Received: torn "
                    f"records for {_TORN:.0f} s. Write to it less often, or see whether its "
                    "process stands still."
                )
            time.sleep(_PAUSE)

    def _understand(self, version: int, values: np.ndarray, text: bytes) -> Record | None:
        if version == 0:
            return None
        content = json.loads(text)
        self._blobs = {name: (block, size) for name, (block, size) in content["blobs"].items()}
        facts = content["facts"]
        return None if facts is None else Record(version, values, facts)

    def blobs(self) -> dict[str, int]:
        """Names and sizes in bytes of the blobs, as of the last `read`."""
        return {name: size for name, (_, size) in self._blobs.items()}

    def fetch(self, name: str, *, timeout: float = 600.0, again: bool = False) -> np.ndarray:
        """A copy of a blob, as uint8. One that will be fetched `again` keeps its memory, and the
        next such fetch of that name writes over it.

        Raises:
            ConfigError: there is no blob of that name.
            PeerLostError: the owner is gone.
        """
        self.read()
        if name not in self._blobs:
            raise ConfigError(
                f"{self.who} has published no blob of that name. Received: {name!r}. "
                f"There are: {sorted(self._blobs)}."
            )
        block, size = self._blobs[name]
        region = self._kept_region(name, size) if again else Region(self._bridge, size)
        try:
            parts = [region.part(0, size)]
            self._bridge.fetch(self.peer, block, parts, who=self.who, timeout=timeout)
        finally:
            if not again:
                region.close()
        return region.array(0, size, np.uint8)

    def _kept_region(self, name: str, size: int) -> Region:
        if name in self._kept and self._kept[name].nbytes < size:
            self._kept.pop(name).close()
        if name not in self._kept:
            self._kept[name] = Region(self._bridge, size)
        return self._kept[name]

    def close(self) -> None:
        """Gives back the memory."""
        for region in (self._region, *self._kept.values()):
            region.close()
