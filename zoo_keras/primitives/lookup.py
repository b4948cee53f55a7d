"""Ops between tokens and their numbers: lookup, inverse lookup, hashing.

In: columns of text or whole numbers. Out: columns of numbers, or of tokens again. A Table holds the
tokens; it is plain data, and makes its dictionary where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import DataError
from zoo_keras.graph import Spec
from zoo_keras.primitives import farmhash
from zoo_keras.primitives.column import as_dtype, column_op
from zoo_keras.primitives.op import Sample


class Table:
    """Tokens in the order of their numbers, which start at `first`.

    Attributes:
        tokens: a tuple of str, or of int.
        mask: the token that means "nothing here", with its number in `mask_number`; None: no such.
        oov: how many numbers, from `oov_first` on, stand for all other tokens.
        salt: two numbers that key the hash by which these are chosen, or None.
        modulo: choose by remainder, not by hash.
    """

    __slots__ = ("_index", "first", "mask", "mask_number", "modulo", "oov", "oov_first", "salt",
                 "tokens")  # fmt: skip

    def __init__(
        self,
        tokens: Sequence[Any],
        first: int,
        mask: Any = None,
        mask_number: int = 0,
        oov: int = 1,
        oov_first: int = 0,
        salt: tuple[int, int] | None = None,
        modulo: bool = False,
    ) -> None:
        self.tokens, self.first = tuple(tokens), first
        self.mask, self.mask_number = mask, mask_number
        self.oov, self.oov_first, self.salt, self.modulo = oov, oov_first, salt, modulo
        self._index: dict[Any, int] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Table, (self.tokens, self.first, self.mask, self.mask_number, self.oov,
                       self.oov_first, self.salt, self.modulo)  # fmt: skip

    def index(self) -> dict[Any, int]:
        """Token -> number. Text is there as str and as bytes: columns hold either."""
        if self._index is None:
            found = {t: i for i, t in enumerate(self.tokens, self.first)}
            if self.mask is not None:
                found[self.mask] = self.mask_number
            found.update({t.encode(): i for t, i in found.items() if isinstance(t, str)})
            self._index = found
        return self._index


_LETTERS = Table(("a", "b", "é"), 2, mask="", oov=1, oov_first=1)
_NUMBERS = Table((12, 36, 42), 2, oov=2, modulo=True)


def _text(*values: Any) -> Any:
    return lambda rng: [np.array(values, object)]


def _whole(*values: list[int]) -> Any:
    return lambda rng: [np.array(values, np.int64)]


@column_op(
    shape=as_dtype("int64"),
    samples=[
        Sample([], {"table": _LETTERS}, make=_text(["a", "", b"a"], ["z", "\u00e9", "b"])),
        Sample([], {"table": _NUMBERS}, make=_whole([12, 5], [42, 6])),
    ],
)
def token_numbers(x, *, table):
    """The number of every token in a Table."""
    flat = x.reshape(-1)
    found = table.index().get
    numbers = np.fromiter([found(t, -1) for t in flat.tolist()], np.int64, flat.size)
    unknown = numbers == -1
    if unknown.any():
        numbers[unknown] = _unknown(flat[unknown], table)
    return numbers.reshape(x.shape)


def _unknown(tokens: np.ndarray, table: Table) -> Any:
    """Numbers for tokens that are in no vocabulary."""
    if table.oov == 0:
        raise DataError(
            f"With num_oov_indices=0 all tokens must be in the vocabulary. Received: "
            f"{_few(tokens)}. Add them, or set num_oov_indices=1."
        )
    if table.oov == 1:
        return table.oov_first
    if table.modulo:
        return tokens.astype(np.int64) % table.oov + table.oov_first
    return farmhash.buckets(tokens, table.oov, table.salt).astype(np.int64) + table.oov_first


def _few(tokens: np.ndarray) -> str:
    kept = list(dict.fromkeys(tokens.tolist()))
    return ", ".join(map(repr, kept[:5])) + (", ..." if len(kept) > 5 else "")


def _inverse_spec(x: Spec, *, tokens: Any, unknown: Any) -> Spec:
    return Spec(x.shape, "string" if isinstance(unknown, str) else "int64")


@column_op(
    shape=_inverse_spec,
    samples=[
        Sample([], {"tokens": ("", "[UNK]", "a"), "unknown": "[UNK]"}, make=_whole([2, 0], [1, 9])),
        Sample([], {"tokens": (-1, 12, 36), "unknown": -1}, make=_whole([2, 0], [1, 9])),
    ],
)
def tokens_of_numbers(x, *, tokens, unknown):
    """The token that each number stands for."""
    kind = object if isinstance(unknown, str) else np.int64
    known = np.array([*tokens, unknown], kind)
    inside = (x >= 0) & (x < len(tokens))
    return known[np.where(inside, x, len(tokens))]


@column_op(
    shape=lambda x, bins, mask, salt, dtype="int64": Spec(x.shape, dtype),
    samples=[
        Sample([], {"bins": 7, "mask": None, "salt": None}, make=_text("a", "bc", "")),
        Sample([], {"bins": 7, "mask": "a", "salt": (1, 2)}, make=_text("a", "bc", "")),
        Sample([], {"bins": 3, "mask": 4, "salt": None}, make=_whole([1, 2], [3, 4])),
    ],
)
def hash_bins(x, *, bins, mask, salt, dtype="int64"):
    """The bin of every value by its hash; bin 0 is that of `mask`, if there is one."""
    flat = x.reshape(-1)
    masked = mask is not None and bins > 1
    if flat.dtype.kind == "f":
        flat = flat.astype(np.int64)
    numbers = farmhash.buckets(flat, bins - masked, salt).astype(np.int64)
    if masked:
        names = (mask, mask.encode()) if isinstance(mask, str) else (mask,)
        hit = np.fromiter((v in names for v in x.reshape(-1).tolist()), bool, x.size)
        numbers = np.where(hit, 0, numbers + 1)
    return numbers.reshape(x.shape).astype(dtype)


@column_op(
    shape=lambda *columns, bins: Spec(columns[0].shape, "int64"),
    samples=[
        Sample([], {"bins": 7}, make=_text("a", "bc")),
        Sample([], {"bins": 3}, make=_whole([1, 2], [3, 4])),
    ],
)
def cross_bins(*columns, bins):
    """The bin of every combination of values that stand at the same place in several columns."""
    flat = [c.reshape(-1) for c in columns]
    return farmhash.crossed(flat, bins).astype(np.int64).reshape(columns[0].shape)
