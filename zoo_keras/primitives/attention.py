"""Softmax attention over heads as one op, with its gradient; no (queries, keys) matrix is kept.

In: q (batch, queries, heads, width), k (batch, keys, key heads, width), v (batch, keys, key heads,
depth), and optionally a mask and random numbers' source. Out: (batch, queries, heads, depth).
Projections and the choice of masks belong to the layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Node, Spec
from zoo_keras.native import attributes
from zoo_keras.primitives.op import Sample, op
from zoo_keras.primitives.random import words
from zoo_keras.primitives.rounding import nearest

MASKED = float(
    np.float32(-0.7) * np.finfo(np.float32).max
)  # the score of a masked key, as in Keras
_LINE = 64  # random numbers of one query: the number of keys, rounded up to whole groups


def _mask_of(more: Any) -> Any:
    """The mask among the optional inputs, or None; rng is the one of dtype int64."""
    found = [x for x in more if _dtype(x) != "int64"]
    return found[0] if found else None


def _dtype(x: Any) -> str:
    return str(getattr(x.dtype, "name", x.dtype))


def _shape(q: Spec, k: Spec, v: Spec, *more: Spec, rate: float = 0.0, **attrs: Any) -> Any:
    if not len(q.shape) == len(k.shape) == len(v.shape) == 4:
        raise ShapeError("q, k and v need 4 dimensions: batch, time, heads, width.")
    batch, queries, heads, width = q.shape
    if k.shape[0] != batch or k.shape[3] != width or v.shape[:3] != k.shape[:3]:
        raise ShapeError("q, k and v differ in batch, keys, heads or width.")
    if (heads % k.shape[2] if k.shape[2] else heads) != 0:
        raise ShapeError("the heads of q must be a multiple of the heads of k.")
    mask, full = _mask_of(more), (batch, heads, queries, k.shape[1])
    if mask is not None and not _fits(mask.shape, full):
        raise ShapeError(f"the mask must broadcast to {full} and have 4 dimensions.")
    if (rate > 0) != any(s.dtype == "int64" for s in more):
        raise ShapeError("rng is needed when rate is above 0, and only then.")
    return Spec((*q.shape[:3], v.shape[3]), q.dtype), Spec((batch, heads, queries, 2), "float32")


def _fits(shape: tuple[int, ...], full: tuple[int, ...]) -> bool:
    return len(shape) == 4 and all(d in (1, n) for d, n in zip(shape, full, strict=True))


def _kernel_fits(*specs: Spec) -> bool:
    known = all(s.dtype in ("float32", "bool", "int64") for s in specs)
    return known and all(s.dtype == "float32" for s in specs[:3])


def _numbers(attrs: dict[str, Any], ins: Any, outs: Any) -> list[float]:
    names = ("scale", "causal", "blank", "rate", "seed", "rounds")
    return attributes("ATTENTION", **{name: attrs.get(name, 0) for name in names})


def _like_heads(x: np.ndarray, heads: int) -> np.ndarray:
    """Keys or values as (batch, heads, keys, width), each head of them repeated for its group."""
    return np.repeat(x, heads // max(x.shape[2], 1), axis=2).transpose(0, 2, 1, 3)


def _past(scores: np.ndarray) -> np.ndarray:
    """True where the key is not later than the query."""
    return np.tri(*scores.shape[2:]) > 0


def _scores(q: Any, k: Any, mask: Any, scale: float, causal: bool) -> Any:
    scores = q.transpose(0, 2, 1, 3) @ _like_heads(k, q.shape[2]).swapaxes(2, 3) * scale
    if mask is not None:
        scores = np.where(mask, scores, MASKED) if mask.dtype == bool else scores + mask
    return np.where(_past(scores), scores, MASKED) if causal else scores


def _kept(shape: tuple[int, ...], more: Any, rate: float, seed: int) -> Any:
    """The factor of each probability: 0, or 1 / (1 - rate)."""
    if rate <= 0:
        return 1.0
    batch, heads, queries, keys = shape
    line = -(-keys // _LINE) * _LINE
    rng = next(x for x in more if x.dtype == np.int64)
    drawn = words(seed, rng, batch, heads * queries * line).reshape(batch, heads, queries, line)
    kept = (drawn[..., :keys] >> np.uint32(8)) >= math.floor(rate * 2**24 + 0.5)
    return kept * (np.float32(1 / (1 - rate)) if rate < 1 else np.float32(0))


def _attention_backward(g: Any, y: Any, q: Any, k: Any, v: Any, *more: Any, **attrs: Any) -> Any:
    if g[0] is None:
        return (None,) * (3 + len(more))
    given, attrs = (g[0], *y, q, k, v, *more), {**attrs, "rounds": False}
    mask = _mask_of(more)
    added = mask is not None and _dtype(mask) != "bool"
    dmask = attention_mask_grad(*given, **attrs) if added else None
    return (*attention_grad(*given, **attrs), *[dmask if x is mask else None for x in more])


def _rows_of_heads(node: Node, by_row: Sequence[int]) -> bool:
    """Queries, keys and values have rows; a mask has them or is the same for all."""
    masks = zip(node.inputs[3:], by_row[3:], strict=True)
    alike = all(bool(rows) or tensor.shape[:1] == (1,) for tensor, rows in masks)
    return all(by_row[:3]) and alike and not node.attrs.get("rate")


def _samples(before: int = 0) -> list[Sample]:
    """Samples of the ops here: `before` 3 puts g and what forward makes before the inputs."""
    return [
        Sample(
            (),
            {"scale": 0.7, **attrs},
            make=lambda rng, row=row, a=attrs: _made(rng, row, a, before),
        )
        for row, attrs in _ROWS
    ]


class _Row:
    """Sizes of one sample: queries, keys, heads (of q, of k), widths, and its mask."""

    def __init__(
        self, q: Any, k: Any, depth: int = 3, mask: Any = None, added: bool = False
    ) -> None:
        (self.batch, self.queries, self.heads, self.width), (self.keys, self.key_heads) = q, k
        self.depth, self.mask, self.added = depth, mask, added


_ROWS: list[tuple[_Row, dict[str, Any]]] = [
    (_Row((2, 5, 2, 4), (7, 2)), {}),
    (_Row((2, 5, 4, 4), (7, 2), mask=(2, 1, 1, 7)), {}),
    (_Row((1, 6, 3, 5), (6, 1), depth=17), {"causal": True}),
    (_Row((2, 4, 2, 4), (5, 2), mask=(1, 2, 4, 5), added=True), {"causal": True}),
    (_Row((2, 4, 2, 4), (5, 1), mask=(2, 1, 4, 1), added=True), {}),
    (_Row((2, 4, 2, 4), (5, 2), mask=(2, 2, 4, 5)), {"blank": True, "rate": 0.4, "seed": 5}),
    (_Row((1, 1, 1, 1), (1, 1), depth=1), {"rate": 0.2, "seed": 9}),
    (_Row((0, 3, 2, 4), (5, 2)), {}),
    (_Row((2, 3, 2, 4), (0, 2)), {}),
]


def _made(rng: np.random.Generator, row: _Row, attrs: dict[str, Any], before: int) -> list[Any]:
    keys = (row.batch, row.keys, row.key_heads)
    shapes = [
        (row.batch, row.queries, row.heads, row.width),
        (*keys, row.width),
        (*keys, row.depth),
    ]
    made = [rng.normal(size=s).astype("f4") for s in shapes]
    if row.mask:
        seen = rng.uniform(size=row.mask)
        made.append((seen * 2 - 1).astype("f4") if row.added else seen < 0.6)
    if attrs.get("rate"):
        made.append(np.array([3, 1], np.int64))
    if not before:
        return made
    y, stats = attention(*made, scale=0.7, **attrs)
    return [rng.normal(size=y.shape).astype("f4"), y, stats, *made]


@op(
    kernel=True,
    rows=_rows_of_heads,
    shape=_shape,
    grad=_attention_backward,
    attrs_to_c=_numbers,
    dtypes=_kernel_fits,
    samples=_samples(),
)
def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *more: np.ndarray,
    scale: float,
    causal: bool = False,
    blank: bool = False,
    rate: float = 0.0,
    seed: int = 0,
    rounds: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """softmax(scale * q @ k' + mask) @ v for each head, and the statistics of its rows.

    q is (batch, queries, heads, width), k (batch, keys, key heads, width) and v (..., depth); head
    h of q reads head h // (heads / key heads). `more` may hold a mask of 4 axes, each 1 or full
    (batch, heads, queries, keys): bool, True where a key counts, or numbers that are added; and,
    when rate is above 0, rng (step, row0): probabilities are dropped by the seed's numbers.
    A query whose keys are all masked gives the mean of v, as in Keras, or 0 with `blank`.
    The second output (batch, heads, queries, 2) is the maximum and 1 / sum of the exponentials; it
    has no gradient. With `rounds` the two products round q, k, v and the exponentials to bfloat16,
    in tile registers. Dao et al. 2022, arXiv:2205.14135; Ainslie et al. 2023, arXiv:2305.13245.
    """
    q, k, v = (nearest(x) if rounds else x for x in (q, k, v))
    scores = _scores(q, k, _mask_of(more), scale, causal)
    if not scores.shape[3]:
        return np.zeros((*q.shape[:3], v.shape[3]), q.dtype), np.zeros((*scores.shape[:3], 2), "f4")
    top = scores.max(-1, keepdims=True).astype(np.float32)
    raised = np.exp(scores - top)
    by = 1 / raised.sum(-1, keepdims=True)
    by = np.where(top <= MASKED, 0.0, by) if blank else by
    p = raised * _kept(scores.shape, more, rate, seed)
    p = (nearest(p) if rounds else p) * by
    stats = np.concatenate([top, by], -1).astype(np.float32)
    return (p @ _like_heads(v, q.shape[2])).transpose(0, 2, 1, 3), stats


def _grad_shape(
    g: Spec, y: Spec, stats: Spec, q: Spec, k: Spec, v: Spec, *more: Spec, **attrs: Any
):
    wanted = _shape(q, k, v, *more, **attrs)
    if g.shape != wanted[0].shape or y.shape != g.shape or stats.shape != wanted[1].shape:
        raise ShapeError("g, y and stats must look like the outputs of attention.")
    return q, k, v


def _score_grads(
    g: np.ndarray, y: np.ndarray, stats: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray,
    more: Any, scale: float, causal: bool, rate: float, seed: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Probabilities after dropout, and the gradient by the scores (times 1 / scale)."""
    mask = _mask_of(more)
    top, by = stats[..., :1], stats[..., 1:]
    p = np.exp(_scores(q, k, mask, scale, causal) - top) * by
    kept = _kept(p.shape, more, rate, seed)
    dp = g.transpose(0, 2, 1, 3) @ _like_heads(v, q.shape[2]).swapaxes(2, 3) * kept
    ds = p * (dp - (g * y).sum(-1).transpose(0, 2, 1)[..., None])
    if mask is not None and mask.dtype == bool:
        ds = np.where(top <= MASKED, 0.0, ds)
    return p * kept, ds


def _grouped(x: np.ndarray, heads: int) -> np.ndarray:
    """(batch, heads of q, keys, width) summed to (batch, keys, heads of k, width)."""
    batch, all_heads, keys, width = x.shape
    x = x.reshape(batch, heads, all_heads // max(heads, 1), keys, width).sum(2)
    return x.transpose(0, 2, 1, 3)


@op(
    kernel=True,
    shape=_grad_shape,
    attrs_to_c=_numbers,
    dtypes=lambda *specs: _kernel_fits(*specs[3:]) and _kernel_fits(*specs[:3]),
    samples=_samples(before=3),
)
def attention_grad(
    g: np.ndarray, y: np.ndarray, stats: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray,
    *more: np.ndarray, scale: float, causal: bool = False, blank: bool = False, rate: float = 0.0,
    seed: int = 0, rounds: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Gradients (dq, dk, dv) of attention's y, from its outputs and inputs. With `rounds` its five
    products round g, q, k, v, the probabilities and their gradients to bfloat16."""
    g, q, k, v = (nearest(x) if rounds else x for x in (g, q, k, v))
    p, ds = _score_grads(g, y, stats, q, k, v, more, scale, causal, rate, seed)
    p, ds = (nearest(x) if rounds else x for x in (p, ds * scale))
    dq = (ds @ _like_heads(k, q.shape[2])).transpose(0, 2, 1, 3)
    dk = ds.swapaxes(2, 3) @ q.transpose(0, 2, 1, 3)
    dv = p.swapaxes(2, 3) @ g.transpose(0, 2, 1, 3)
    return dq, _grouped(dk, k.shape[2]), _grouped(dv, v.shape[2])


def _mask_shape(
    g: Spec, y: Spec, stats: Spec, q: Spec, k: Spec, v: Spec, *more: Spec, **attrs: Any
):
    _grad_shape(g, y, stats, q, k, v, *more, **attrs)
    return _mask_of(more)


@op(shape=_mask_shape, samples=[s for s, r in zip(_samples(3), _ROWS, strict=True) if r[0].added])
def attention_mask_grad(
    g: np.ndarray, y: np.ndarray, stats: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray,
    *more: np.ndarray, scale: float, causal: bool = False, blank: bool = False, rate: float = 0.0,
    seed: int = 0, rounds: bool = False,
) -> np.ndarray:  # fmt: skip
    """Gradient of attention's y by an additive mask; on the host, with all scores at once."""
    ds = _score_grads(g, y, stats, q, k, v, more, scale, causal, rate, seed)[1]
    if causal:
        ds = np.where(_past(ds), ds, 0.0)
    mask = _mask_of(more)
    shared = tuple(i for i, d in enumerate(mask.shape) if d == 1)
    return ds.sum(shared, keepdims=True) if shared else ds
