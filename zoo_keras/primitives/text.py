"""Ops from texts to tokens, and from tokens of each row to numbers of one length.

In: columns of text. Out: one list of tokens (as UTF-8 bytes, or str for characters) for each row;
then padded numbers, or counts. Lower case and white space are those of ASCII, as in TensorFlow.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.column import column_op, rows_of
from zoo_keras.primitives.fed import OPEN
from zoo_keras.primitives.lookup import Table, token_numbers
from zoo_keras.primitives.op import Sample

STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
SPLIT = ("whitespace", "character")
_PUNCTUATION = string.punctuation.encode()
_SEPARATOR = b"\xff"  # in no UTF-8 text


def as_bytes(values: np.ndarray) -> list[bytes]:
    """The texts of a column as UTF-8."""
    return [v if isinstance(v, bytes) else v.encode() for v in values.reshape(-1).tolist()]


def _standard(texts: list[bytes], how: str | None) -> list[bytes]:
    """Lower case, and without punctuation; all texts at once where their bytes allow it."""
    if how is None or not texts:
        return texts
    joined = _SEPARATOR.join(texts)
    if joined.count(_SEPARATOR) != len(texts) - 1:
        return [_standard([t], how)[0] for t in texts] if len(texts) > 1 else [
            _changed(texts[0], how)]  # fmt: skip
    return _changed(joined, how).split(_SEPARATOR)


def _changed(text: bytes, how: str) -> bytes:
    if how.startswith("lower"):
        text = text.lower()
    return text.translate(None, _PUNCTUATION) if how.endswith("strip_punctuation") else text


def _strings(x: np.ndarray) -> np.ndarray:
    """A column as the user's own function gets it: an array of str."""
    return np.array([t.decode() for t in as_bytes(x)], str).reshape(x.shape)


def _same(x: Spec, **attrs: Any) -> Spec:
    return Spec(x.shape, "string")


@column_op(
    shape=_same,
    samples=[Sample([], {"how": "lower"}, make=lambda rng: [np.array(["A-b", b"C"], object)])],
)
def standardized(x, *, how):
    """Texts in lower case, without punctuation, or as the user's function gives them."""
    made = np.empty(x.size, object)
    if callable(how):
        made[:] = np.asarray(how(_strings(x))).reshape(-1).tolist()
    else:
        made[:] = _standard(as_bytes(x), how)
    return made.reshape(x.shape)


def _tokens_spec(x: Spec, *, split: Any, ngrams: Any) -> Spec:
    if split is not None and len(x.shape) > 1 and x.shape[1:] != (1,):
        raise ShapeError("texts to split must have the shape (rows,) or (rows, 1).")
    return Spec((x.shape[0], OPEN), "string")


@column_op(
    shape=_tokens_spec,
    samples=[
        Sample([], {"split": "whitespace", "ngrams": (1, 2)},
               make=lambda rng: [np.array([" a b  c", "", "d"], object)]),
        Sample([], {"split": "character", "ngrams": None},
               make=lambda rng: [np.array([["né"], [b"x y"]], object)]),
    ],
)  # fmt: skip
def tokens(x, *, split, ngrams):
    """The tokens of each row, or its n-grams: those of each width after those of the one before."""
    rows = _split(x, split)
    if ngrams is not None:
        rows = [_ngrams(row, ngrams) for row in rows]
    return rows_of(rows)


def _split(x: np.ndarray, how: Any) -> list[Any]:
    if how is None:
        return [as_bytes(row) for row in x.reshape(len(x), -1)]
    if how == "whitespace":
        return [t.split() for t in as_bytes(x)]
    if how == "character":
        return [list(t.decode(errors="replace")) for t in as_bytes(x)]
    return [list(row) for row in how(_strings(x.reshape(-1)))]


def _ngrams(row: Sequence[Any], widths: Sequence[int]) -> list[Any]:
    words = [t if isinstance(t, bytes) else str(t).encode() for t in row]
    return [
        b" ".join(words[i : i + width])
        for width in widths
        for i in range(len(words) - width + 1)
    ]  # fmt: skip


def _padded_spec(x: Spec, *, table: Any, length: int | None) -> Spec:
    # a length that data decide must differ between any two traces that differ in rows
    return Spec((x.shape[0], x.shape[0] + 1 if length is None else length), "int64")


_ROWS: Callable[..., Any] = lambda rng: [rows_of([[b"a", b"z"], [], [b"b"]])]  # noqa: E731
_TABLE = Table(("a", "b"), 2, mask="", oov=1, oov_first=1)


@column_op(
    shape=_padded_spec,
    samples=[Sample([], {"table": _TABLE, "length": 3}, make=_ROWS),
             Sample([], {"table": _TABLE, "length": 1}, make=_ROWS)],
)  # fmt: skip
def padded_numbers(x, *, table, length):
    """Numbers of the tokens of each row, cut or filled up with 0 to one length: that given, or the
    longest row's."""
    numbers, lengths = _numbers(x, table)
    width = int(lengths.max(initial=0)) if length is None else length
    made = np.zeros((len(x), width), np.int64)
    at = _places(lengths)
    kept = at < width
    made[np.repeat(np.arange(len(x)), lengths)[kept], at[kept]] = numbers[kept]
    return made


def _numbers(x: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.fromiter(map(len, x), np.int64, len(x))
    flat = np.empty(int(lengths.sum()), object)
    flat[:] = list(chain.from_iterable(x))
    return token_numbers.reference(flat, table=table), lengths


def _places(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... within each row, for rows of these lengths laid end to end."""
    starts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) - np.repeat(starts, lengths)


def _counts_spec(x: Spec, *, table: Any, depth: int, once: bool) -> Spec:
    return Spec((x.shape[0], depth), "float32")


@column_op(
    shape=_counts_spec,
    samples=[Sample([], {"table": _TABLE, "depth": 4, "once": once}, make=_ROWS)
             for once in (True, False)],
)  # fmt: skip
def token_sums(x, *, table, depth, once):
    """How often each number occurs in a row; with `once`, whether it does."""
    numbers, lengths = _numbers(x, table)
    rows = np.repeat(np.arange(len(x)), lengths)
    kept = numbers < depth
    flat = rows[kept] * depth + numbers[kept]
    sums = np.bincount(flat, minlength=len(x) * depth).reshape(len(x), depth)
    return np.minimum(sums, 1) if once else sums
