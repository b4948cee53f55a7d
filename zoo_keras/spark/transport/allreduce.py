"""All-reduce of one float32 vector over Spark's block managers.

In: the group of ranks. Out: a gradient vector and a weight vector in shared memory, and the
exchanges between them. Knows blocks, not models.

    ring = AllReduce(group, count, wire="float32")
    ring.gradient[:] = ...                     # `count` floats, written by the engine
    notes = ring.reduce_scatter([loss, rows])  # ring.gradient[lo:hi] is now the sum over ranks;
                                               # notes[r] is what rank r wrote in its note
    ring.weights[lo:hi] -= ...                 # lo, hi = ring.bounds
    ring.all_gather()                          # every rank's slice of ring.weights, everywhere
    ring.all_sum([norm])                       # up to 512 float64, summed over ranks
    ring.close()

Sums are taken in rank order, so they are the same bits in every run. What may be overwritten when:
`gradient` after the next exchange that follows reduce_scatter, `weights[lo:hi]` after the next
exchange that follows all_gather; reduce_scatter, update, all_gather in turn keeps to that. Every
rank must make the same calls in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.spark.transport.bridge import Part, Region
from zoo_keras.spark.transport.group import Group
from zoo_keras.spark.transport.neighbours import Foreign
from zoo_keras.spark.transport.wire import WIRE_TYPES, add, sum_in_order, to_wire

SUM_VALUES = 512
NOTE_VALUES = 64
_ALIGN = 16  # floats: a cache line
_LARGEST_BLOCK = 1 << 30


class AllReduce:
    """A vector of `count` float32 that the ranks of a group reduce and gather by slices.

    Args:
        group: the ranks.
        count: values in the vector; 0 is allowed.
        wire: "float32", or "bfloat16"/"float16" to halve what travels: gradients are rounded to
            nearest and summed in float32; of weights the changes are sent, and what rounding has
            held back goes along with the next change. The first all_gather is always exact.

    Attributes:
        gradient, weights: float32 views of `count` values in shared memory.
        bounds: (lo, hi), this rank's own slice of both.

    Raises:
        ConfigError: an unknown wire type or a negative count.
        ClusterError: no room for the shared memory (3 times the vector).
    """

    def __init__(self, group: Group, count: int, *, wire: str = "float32") -> None:
        if wire not in WIRE_TYPES:
            raise ConfigError(
                f"AllReduce: wire must be one of {sorted(WIRE_TYPES)}. Received: wire={wire!r}."
            )
        if count < 0:
            raise ConfigError(f"AllReduce: count must not be negative. Received: count={count}.")
        self.count, self.wire = count, wire
        self._kind = WIRE_TYPES[wire]
        self._item = np.dtype(self._kind).itemsize
        self._group = group
        self._name = group.next_ring()
        self._slice = -(-count // (group.size * _ALIGN)) * _ALIGN
        self._bounds = [self._slice_bounds(rank) for rank in range(group.size)]
        self.bounds = self._bounds[group.rank]
        self._lay_out()
        self._shadow: np.ndarray | None = None
        self._blocks: list[str] = []
        self._sum_turn = 0
        self._foreign: dict[int, Foreign] = {}
        if group.size > 1:
            self._publish()
            self._make_plans()
            self._foreign = group.show(self._region)
        self._look_up()

    def _slice_bounds(self, rank: int) -> tuple[int, int]:
        lo = min(rank * self._slice, self.count)
        return lo, min(lo + self._slice, self.count)

    # Memory: each name is a byte offset into one region, laid out alike on every rank.

    def _lay_out(self) -> None:
        size, others, full = self._group.size, self._group.size - 1, self._slice * self._group.size
        narrow = self._item * self._slice if self.wire != "float32" else 0
        sizes = {
            "gradient": 4 * full,
            "weights": 4 * full,
            "incoming": self._item * self._slice * others,
            "outgoing": narrow * others,
            "change": narrow,
            "note": 8 * NOTE_VALUES * 2,
            "notes": 8 * NOTE_VALUES * size,
            "sum": 8 * SUM_VALUES * 2,
            "sums": 8 * SUM_VALUES * size,
        }
        self._at, end = {}, 0
        for name, nbytes in sizes.items():
            self._at[name], end = end, end + nbytes
        self._region = Region(self._group.bridge, end)
        self.gradient = self._region.array(self._at["gradient"], self.count)
        self.weights = self._region.array(self._at["weights"], self.count)
        self._note = self._table(self._region, "note", 2, NOTE_VALUES)
        self._notes = self._table(self._region, "notes", size, NOTE_VALUES)
        self._spare = np.empty(self._length(self._group.rank), np.float32)  # touched when used
        self._sum = self._table(self._region, "sum", 2, SUM_VALUES)
        self._sums = self._table(self._region, "sums", size, SUM_VALUES)

    def _table(self, region: Region | Foreign, name: str, rows: int, columns: int) -> np.ndarray:
        return region.array(self._at[name], rows * columns, np.float64).reshape(rows, columns)

    def _length(self, rank: int) -> int:
        lo, hi = self._bounds[rank]
        return hi - lo

    def _row(self, name: str, owner: int, other: int) -> int:
        """Where `owner` keeps what it has for, or has from, another rank."""
        return self._at[name] + (other - owner - 1) % self._group.size * self._item * self._slice

    def _look_up(self) -> None:
        """Views of what the exchanges bring: fetched from afar, or in a neighbour's own memory."""
        me = self._group.rank
        self._gradients, self._changes, self._outgoing = {}, {}, {}
        for rank in self._group.others():
            foreign = self._foreign.get(rank)
            region, mine, theirs = foreign or self._region, self._length(me), self._length(rank)
            gradient = change = self._row("incoming", me, rank)
            if foreign:
                gradient, change = self._gradient_at(rank, me), self._at["change"]
            self._gradients[rank] = region.array(gradient, mine, self._kind)
            if self.wire != "float32":
                self._changes[rank] = region.array(change, theirs, self._kind)
                out = self._row("outgoing", me, rank)
                self._outgoing[rank] = self._region.array(out, theirs, self._kind)

    def _gradient_at(self, owner: int, other: int) -> int:
        """Where a rank keeps its gradient of another rank's slice, as it goes on the wire."""
        if self.wire != "float32":
            return self._row("outgoing", owner, other)
        return self._at["gradient"] + 4 * self._bounds[other][0]

    # Blocks: what this rank publishes, and what it wants from the others.

    def _publish(self) -> None:
        rank = self._group.rank
        for peer in self._group.others():
            self._put(f"g{rank}-{peer}", [*self._gradient_parts(peer), self._note_part(0)])
        self._put(f"w{rank}", [*self._weight_parts(rank), self._note_part(1)])
        if self.wire != "float32":
            self._put(f"d{rank}", [*self._change_parts(rank), self._note_part(1)])
        for turn in range(2):
            offset = self._at["sum"] + turn * 8 * SUM_VALUES
            self._put(f"s{turn}-{rank}", [self._region.part(offset, 8 * SUM_VALUES)])

    def _put(self, name: str, parts: list[Part]) -> None:
        for block, pieces in self._cut(name, parts):
            self._group.bridge.publish(block, pieces)
            self._blocks.append(block)

    def _cut(self, name: str, parts: list[Part]) -> list[tuple[str, list[Part]]]:
        """The blocks a slice is sent as. One, unless it is too large for one."""
        pieces = []
        for region, offset, nbytes in parts:
            for start in range(0, nbytes, _LARGEST_BLOCK):
                taken = min(_LARGEST_BLOCK, nbytes - start)
                pieces.append(Part(region, offset + start, taken))
        names = [f"{self._name}-{name}-{i}" for i in range(len(pieces))]
        if sum(piece.nbytes for piece in pieces) <= _LARGEST_BLOCK:
            return [(names[0], pieces)]
        return [(block, [piece]) for block, piece in zip(names, pieces)]

    def _gradient_parts(self, rank: int) -> list[Part]:
        at = self._gradient_at(self._group.rank, rank)
        return [self._region.part(at, self._item * self._length(rank))]

    def _weight_parts(self, rank: int) -> list[Part]:
        offset = self._at["weights"] + 4 * self._bounds[rank][0]
        return [self._region.part(offset, 4 * self._length(rank))]

    def _change_parts(self, rank: int) -> list[Part]:
        me = self._group.rank
        offset = self._at["change"] if rank == me else self._row("incoming", me, rank)
        return [self._region.part(offset, self._item * self._length(rank))]

    def _note_part(self, kind: int) -> Part:
        return self._region.part(self._at["note"] + kind * 8 * NOTE_VALUES, 8 * NOTE_VALUES)

    def _notes_part(self, rank: int) -> Part:
        return self._region.part(self._at["notes"] + rank * 8 * NOTE_VALUES, 8 * NOTE_VALUES)

    def _make_plans(self) -> None:
        me, mine = self._group.rank, self._item * self._length(self._group.rank)
        self._reduce_plan = self._plan(
            lambda r: (f"g{r}-{me}", [self._region.part(self._row("incoming", me, r), mine)])
        )
        self._gather_plan = self._plan(lambda r: (f"w{r}", self._weight_parts(r)))
        if self.wire != "float32":
            self._change_plan = self._plan(lambda r: (f"d{r}", self._change_parts(r)))
        self._sum_plans = [self._sum_plan(turn) for turn in range(2)]

    def _plan(self, wanted: Callable[[int], tuple[str, list[Part]]]) -> int:
        blocks = {}
        for rank in self._group.others():
            name, parts = wanted(rank)
            blocks[rank] = self._cut(name, [*parts, self._notes_part(rank)])
        return self._group.plan(blocks)

    def _sum_plan(self, turn: int) -> int:
        blocks = {}
        for rank in self._group.others():
            place = self._region.part(self._at["sums"] + rank * 8 * SUM_VALUES, 8 * SUM_VALUES)
            blocks[rank] = self._cut(f"s{turn}-{rank}", [place])
        return self._group.plan(blocks)

    # The exchanges.

    def reduce_scatter(self, note: Sequence[float] = ()) -> np.ndarray:
        """Sums this rank's slice of `gradient` over the ranks, in rank order, in place.

        Args:
            note: up to 64 float64 to tell everyone along the way.

        Returns:
            Every rank's note: float64, shape (ranks, len(note)).
        """
        self._write_note(0, note)
        for rank, slots in self._outgoing.items():
            to_wire(self.gradient[slice(*self._bounds[rank])], slots)
        if self._group.size > 1:
            self._group.exchange(self._reduce_plan)
            self._sum_gradients()
        return self._read_notes(0, len(note))

    def _sum_gradients(self) -> None:
        me, came = self._group.rank, self._gradients
        before = [came[rank] for rank in range(me)]
        after = [came[rank] for rank in range(me + 1, self._group.size)]
        sum_in_order(before, self.gradient[slice(*self.bounds)], after, self._spare)

    def all_gather(self, note: Sequence[float] = (), *, exact: bool = False) -> np.ndarray:
        """Brings every rank's own slice of `weights` to every rank.

        Args:
            note: up to 64 float64 to tell everyone along the way.
            exact: send the float32 weights themselves, whatever the wire type is.

        Returns:
            Every rank's note: float64, shape (ranks, len(note)).
        """
        self._write_note(1, note)
        if self._group.size > 1:
            if self._shadow is None or exact:
                self._gather_weights()
            else:
                self._gather_changes(self._shadow)
        return self._read_notes(1, len(note))

    def _gather_weights(self) -> None:
        self._group.exchange(self._gather_plan)
        for rank, foreign in self._foreign.items():
            lo, hi = self._bounds[rank]
            self.weights[lo:hi] = foreign.array(self._at["weights"] + 4 * lo, hi - lo)
        if self.wire != "float32":  # what the others now hold, the base of the changes to come
            self._shadow = self.weights[slice(*self.bounds)].copy()

    def _gather_changes(self, shadow: np.ndarray) -> None:
        lo, hi = self.bounds
        change = self._region.array(self._at["change"], hi - lo, self._kind)
        to_wire(self.weights[lo:hi] - shadow, change)
        add(shadow, change)
        self._group.exchange(self._change_plan)
        for rank, came in self._changes.items():
            add(self.weights[slice(*self._bounds[rank])], came)

    def all_sum(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """The sum over ranks, in rank order, of up to 512 float64; same shape as given."""
        values = np.asarray(values, np.float64)
        if values.size > SUM_VALUES or self._group.size == 1:
            _check_size("all_sum", values.size, SUM_VALUES)
            return values.copy()
        mine = self._sum[self._sum_turn]
        mine[: values.size] = values.ravel()
        self._group.exchange(self._sum_plans[self._sum_turn])
        for rank, foreign in self._foreign.items():
            self._sums[rank] = self._table(foreign, "sum", 2, SUM_VALUES)[self._sum_turn]
        self._sum_turn ^= 1
        self._sums[self._group.rank] = mine
        total = self._sums[0, : values.size].copy()
        for row in self._sums[1:]:
            total += row[: values.size]
        return total.reshape(values.shape)

    def _write_note(self, kind: int, note: Sequence[float]) -> None:
        _check_size("note", len(note), NOTE_VALUES)
        self._note[kind, : len(note)] = note
        self._notes[self._group.rank, : len(note)] = note

    def _read_notes(self, kind: int, length: int) -> np.ndarray:
        for rank, foreign in self._foreign.items() if length else ():
            self._notes[rank] = self._table(foreign, "note", 2, NOTE_VALUES)[kind]
        return self._notes[:, :length].copy()

    def part(self, name: str, lo: int, hi: int) -> Part:
        """Values lo..hi of "gradient" or "weights" as shared memory, for `Board.share`."""
        return self._region.part(self._at[name] + 4 * lo, 4 * (hi - lo))

    def close(self) -> None:
        """Waits until nobody reads from this rank any more, then gives blocks and memory back."""
        self._group.barrier()
        for block in self._blocks:
            self._group.bridge.withdraw(block)
        self._region.close()


def _check_size(what: str, received: int, most: int) -> None:
    if received > most:
        raise ConfigError(
            f"AllReduce: {what} holds at most {most} values. Received: {received} values."
        )
