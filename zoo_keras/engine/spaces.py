"""The names of memory spaces: all that a Program and those who give it memory must agree on.

A space of which there is one is a constant; of others a Kind makes names: OUT(0) is "out0". Names
travel inside Programs, so no other file spells them. Knows no Program and no array.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

# What a program brings along.
ARENA, CONSTANTS, PACKED = "arena", "constants", "packed"
# The flat vectors of a State, and their gradients.
WEIGHTS, STATE, METRICS, GRADS = "weights", "state", "metrics", "grads"
# A step: (step, first row) for random ops, how a part counts in its global batch, the optimizer's.
RNG, SHARE, COUNTS = "rng", "share", "counts"
RATE, ITERATIONS, NORMS = "lr", "iterations", "norms"
# A step of a user's on ranks: what they have summed between its phases, its logs.
SUMS, LOGS = "sums", "logs"
# Tables that are updated by rows: norms of their gradients, number of steps that rows may lag.
ROW_NORMS, NOTED = "row_norms", "noted"


class Kind:
    """Spaces that differ in a number, or in a name behind a colon.

    >>> OUT(1), OUT.named(["a", "b"]), "out7" in OUT, "weights" in W
    ('out1', {'out0': 'a', 'out1': 'b'}, True, False)
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __call__(self, which: int | str) -> str:
        return f"{self.prefix}{which}"

    def __contains__(self, space: str) -> bool:
        rest = space.removeprefix(self.prefix)
        return rest != space and (rest.isdigit() or self.prefix.endswith(":"))

    def number(self, space: str) -> int:
        """The number of one of these spaces."""
        return int(space.removeprefix(self.prefix))

    def named(self, items: Iterable[T]) -> dict[str, T]:
        """The items by the names of their spaces."""
        return {self(i): item for i, item in enumerate(items)}


X, Y, W = Kind("x"), Kind("y"), Kind("w")  # leaves of a batch: inputs, targets, sample weights
IN, OUT = Kind("in"), Kind("out")  # of a plain call, a loop's body; results
SLOT = Kind("slot:")  # of the optimizer, by name
VAR, OPTIMIZER = Kind("var"), Kind("optimizer")  # Variables by themselves: of the model; of it
ROWS, SORTED = Kind("rows"), Kind("sorted")  # gradients of tables, as large as a batch has ids
IDS = Kind("ids")  # of these rows
CARRY = Kind("carry")  # from one phase of a step to another
LAST, NOTES, COEFFICIENTS = Kind("last"), Kind("notes"), Kind("coefficients")


def of_batch(groups: Iterable[Sequence[T]]) -> dict[str, T]:
    """The leaves of inputs, targets and sample weights by the names of their spaces."""
    found: dict[str, T] = {}
    for kind, leaves in zip((X, Y, W), groups, strict=True):
        found.update(kind.named(leaves))
    return found
