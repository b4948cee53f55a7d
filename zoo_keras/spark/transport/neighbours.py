"""Ranks of one machine see each other's shared memory, and so need no network between them.

In: this rank's regions and what the others tell of theirs. Out: read-only views of a neighbour's
memory, and a wait until a neighbour has reached an exchange. Works between processes of one user
in one process namespace; others are reached through Spark. Knows no blocks and no models.
"""

from __future__ import annotations

import json
import mmap
import os
import platform
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo_keras.spark.transport.bridge import (
    Bridge,
    BridgeTimeoutError,
    PeerLostError,
    Region,
    TaskCancelledError,
)

DESK_BYTES = 4096
_CARD_AT, _NEAR_AT = 64, 2048
MOST_RANKS = DESK_BYTES - _NEAR_AT
_LEFT = -1
_SPIN, _NAP, _LONGEST_NAP = 200e-6, 50e-6, 1e-3
_LOOK_EVERY, _GRACE = 0.2, 5.0


def machine() -> str:
    """What processes that can see each other's memory have in common; "" if that is unknown."""
    if platform.machine() not in ("x86_64", "AMD64"):  # the flags need its strict order of stores
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}/{os.getuid()}"
    except OSError:
        return ""


class Foreign:
    """Another process' region, read-only.

    Raises:
        OSError: it is gone or may not be read.
    """

    def __init__(self, pid: int, fd: int, nbytes: int) -> None:
        here = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY)
        try:
            if os.fstat(here).st_size < nbytes:  # reading behind its end would end this process
                raise OSError(f"process {pid} has given file {fd} to something else")
            self._memory = mmap.mmap(here, nbytes, prot=mmap.PROT_READ)
        finally:
            os.close(here)

    def array(self, offset: int, count: int, dtype: Any = np.float32) -> np.ndarray:
        """A view of `count` values from byte `offset`."""
        return np.frombuffer(self._memory, dtype, count, offset)


class Desk:
    """This rank's page for its neighbours: how far it has come, and where its regions are."""

    def __init__(self, bridge: Bridge) -> None:
        self.region = Region(bridge, DESK_BYTES)
        self._reached = self.region.array(0, 1, np.int64)
        self._name = self.region.array(8, 16, np.uint8)
        self._name[:] = np.frombuffer(uuid.uuid4().bytes, np.uint8)
        self._card = self.region.array(_CARD_AT, _NEAR_AT - _CARD_AT, np.uint8)
        self.near = self.region.array(_NEAR_AT, MOST_RANKS, np.uint8)

    def near_part(self, ranks: int) -> Any:
        """Where `near` lies, for the other ranks to fetch."""
        return self.region.part(_NEAR_AT, ranks)

    def describe(self) -> dict[str, Any]:
        """What another rank needs to find this desk."""
        name = self._name.tobytes().hex()
        return {"machine": machine(), "pid": os.getpid(), "fd": self.region.fd, "name": name}

    def reach(self, number: int) -> None:
        """Tells the neighbours that this rank's data for an exchange are in place."""
        self._reached[0] = number

    def leave(self) -> None:
        """Tells the neighbours that this rank will reach nothing more."""
        self._reached[0] = _LEFT

    def show(self, region: Region) -> None:
        """Says where a region is, for `Neighbour.region`."""
        card = json.dumps([os.getpid(), region.fd, region.nbytes]).encode().ljust(100)
        self._card[: len(card)] = np.frombuffer(card, np.uint8)


class Neighbour:
    """Another rank's desk.

    Raises:
        OSError: it cannot be seen from here, or is not the one described.
    """

    def __init__(self, desk: dict[str, Any]) -> None:
        self._pid = desk["pid"]
        self._desk = Foreign(desk["pid"], desk["fd"], DESK_BYTES)
        if self._desk.array(8, 16, np.uint8).tobytes().hex() != desk["name"]:
            raise OSError("another process has taken its place")
        self._reached = self._desk.array(0, 1, np.int64)

    def region(self) -> Foreign:
        """The region it shows."""
        card = self._desk.array(_CARD_AT, 100, np.uint8).tobytes()
        return Foreign(*json.loads(card))

    def has_reached(self, number: int) -> bool:
        """Whether its data for an exchange are in place."""
        return int(self._reached[0]) >= number

    def is_gone(self) -> bool:
        """Whether it will reach nothing more."""
        return int(self._reached[0]) == _LEFT or not os.path.exists(f"/proc/{self._pid}")

    def wait(self, number: int, timeout: float, who: str, check: Callable[[], None]) -> None:
        """Returns when it has reached an exchange: at once, or after spinning and ever longer naps.

        Args:
            who: how messages call it.
            check: called now and then; raises TaskCancelledError when this rank should give up.

        Raises:
            PeerLostError, BridgeTimeoutError: it is gone, or late; naming it.
        """
        start = look = time.monotonic()
        nap = _NAP
        while not self.has_reached(number):
            now = time.monotonic()
            if now - start < _SPIN:
                os.sched_yield()
                continue
            if now - look > _LOOK_EVERY:
                look = now
                try:
                    self._look(number, now - start > timeout, who, check)
                except TaskCancelledError as error:
                    raise TaskCancelledError(f"{error}, while it waited for {who}") from None
            time.sleep(nap)
            nap = min(nap * 1.2, _LONGEST_NAP)

    def _look(self, number: int, late: bool, who: str, check: Callable[[], None]) -> None:
        check()
        if late:
            raise BridgeTimeoutError(f"Exchange {number}: this rank waited too long for {who}")
        if self.is_gone() and not self.has_reached(number):
            _give_spark_time(check)
            raise PeerLostError(f"Exchange {number}: this rank lost {who}: its process has ended")


def _give_spark_time(check: Callable[[], None]) -> None:
    """The first failure the driver hears of is the one it reports; it should not be ours."""
    end = time.monotonic() + _GRACE
    while time.monotonic() < end:
        check()
        time.sleep(_LOOK_EVERY)


def find(desks: list[dict[str, Any]], rank: int) -> dict[int, Neighbour]:
    """The ranks whose desks can be seen from here."""
    found = {}
    for other, desk in enumerate(desks):
        if other != rank and desk["machine"] and desk["machine"] == desks[rank]["machine"]:
            try:
                found[other] = Neighbour(desk)
            except OSError:
                continue
    return found
