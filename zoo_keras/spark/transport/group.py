"""The ranks of one job, able to exchange blocks with each other.

In: a bridge, this rank's number, and a way to tell the others one's address. Out: exchanges, in
which every rank says that its data are in place and takes what it wants from the others: through
Spark's block managers from other machines, out of shared memory from neighbours on its own. Knows
blocks, not models.

    group = Group(bridge, "job", rank, size, gather=gather)    # gather: dict -> list of dicts
    plan = group.plan({1: [("name", [region.part(0, 64)])]})
    group.exchange(plan); group.barrier(); group.close()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo_keras.spark.transport import neighbours
from zoo_keras.spark.transport.bridge import Bridge, Part, Peer, Region
from zoo_keras.spark.transport.neighbours import Desk, Foreign, Neighbour

Gather = Callable[[dict[str, Any]], list[dict[str, Any]]]


class Group:
    """One rank's place among the ranks of a job. Every rank must make the same calls in order.

    Args:
        bridge: the connection to this executor's JVM.
        job: a name that no job has had before.
        rank, size: which of how many.
        gather: tells everyone's dict to everyone, in rank order; called once, after all that the
            others may ask of this rank is in place.
        facts: what to tell the others besides the address.
        timeout: seconds to wait for the slowest rank in an exchange.
        same_host: whether ranks of one machine may use each other's memory.

    Attributes:
        facts: what every rank has told, in rank order.
        peers: every rank's address, in rank order.
        near: the ranks whose memory is seen from here.
    """

    def __init__(
        self,
        bridge: Bridge,
        job: str,
        rank: int,
        size: int,
        *,
        gather: Gather,
        facts: dict[str, Any] | None = None,
        timeout: float = 600.0,
        same_host: bool = True,
    ) -> None:
        self.bridge, self.job, self.rank, self.size, self.timeout = bridge, job, rank, size, timeout
        self.near: dict[int, Neighbour] = {}
        self._handle = bridge.new_group(job, rank, size)
        self._desk = Desk(bridge)
        self._near_block = f"{job}-near-{rank}"
        bridge.publish(self._near_block, [self._desk.near_part(neighbours.MOST_RANKS)])
        here = {"address": list(bridge.here()), "desk": self._desk.describe()}
        told = gather({**here, "facts": facts or {}})
        self.peers = [Peer(*each["address"]) for each in told]
        self.facts = [each["facts"] for each in told]
        bridge.join(self._handle, self.peers)
        self._number = 0
        self._rings = 0
        if same_host and 1 < size <= neighbours.MOST_RANKS:
            self._meet_neighbours([each["desk"] for each in told])
        self._nothing = self.plan({})

    def _meet_neighbours(self, desks: list[dict[str, Any]]) -> None:
        """Two ranks are neighbours when each sees the other: asked once, through Spark."""
        seen = neighbours.find(desks, self.rank)
        for rank in seen:
            self._desk.near[rank] = 1
        answers = Region(self.bridge, self.size * neighbours.MOST_RANKS)
        places = {
            rank: answers.part(rank * neighbours.MOST_RANKS, neighbours.MOST_RANKS)
            for rank in self.others()
        }
        wanted = {rank: [(f"{self.job}-near-{rank}", [part])] for rank, part in places.items()}
        self.exchange(self.plan(wanted))
        told = answers.array(0, self.size * neighbours.MOST_RANKS, "u1").reshape(self.size, -1)
        self.near = {rank: desk for rank, desk in seen.items() if told[rank, self.rank]}
        answers.close()

    def others(self) -> list[int]:
        """The other ranks, the next one first, so that not all ask the same one at once."""
        return [(self.rank + i) % self.size for i in range(1, self.size)]

    def plan(self, wanted: dict[int, list[tuple[str, list[Part]]]]) -> int:
        """Prepares an exchange that fetches blocks, by name, from ranks that are not near."""
        far = [rank for rank in self.others() if rank not in self.near]
        return self.bridge.plan(self._handle, [(rank, wanted.get(rank, [])) for rank in far])

    def exchange(self, plan: int) -> None:
        """Tells all peers that this rank's data are in place, waits until they have said the same,
        and fetches what the plan names. What neighbours have can be read from then on.

        Raises:
            BridgeTimeoutError, PeerLostError, TaskCancelledError: each names the peer.
        """
        if self.size == 1:
            return
        self._number += 1
        self._desk.reach(self._number)
        if len(self.near) < self.size - 1:
            self.bridge.exchange(self._handle, plan, self._number, self.timeout)
        for rank, desk in self.near.items():
            if not desk.has_reached(self._number):
                desk.wait(self._number, self.timeout, self._name(rank), self.bridge.check)

    def _name(self, rank: int) -> str:
        peer = self.peers[rank]
        return f"rank {rank} (host {peer.host}, executor {peer.executor})"

    def barrier(self) -> None:
        """Returns when every rank has called it; no data."""
        self.exchange(self._nothing)

    def show(self, region: Region) -> dict[int, Foreign]:
        """Lets neighbours see a region; returns the one that each of them shows."""
        self._desk.show(region)
        self.barrier()
        shown = {rank: desk.region() for rank, desk in self.near.items()}
        self.barrier()
        return shown

    def next_ring(self) -> str:
        """A name for the next ring, the same on every rank."""
        self._rings += 1
        return f"{self.job}-{self._rings}"

    def close(self) -> None:
        """The last barrier: nobody leaves while another may still read from it."""
        self.barrier()

    def leave(self) -> None:
        """Tells neighbours that this rank has failed, so that they do not wait for it."""
        self._desk.leave()
