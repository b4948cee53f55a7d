"""Softmax along one axis and the cross-entropies computed from logits.

In: arrays of any shape; the cross-entropies work on the last axis and give one value a row.
Out: probabilities, log-probabilities or losses. The gradients compute the softmax again from the
logits, so the forward pass keeps nothing.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from zoo_keras.errors import DataError, ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.elementwise import multiply, negative
from zoo_keras.primitives.op import Sample, all_float32, op, registry
from zoo_keras.primitives.reduce import axis_numbers, normal_axis
from zoo_keras.primitives.row_rules import other_axis

_SHAPES = [((7,), -1), ((4, 5), 1), ((4, 5), 0), ((3, 4, 5), 1), ((3, 40), -1), ((2, 3, 19), 0)]
_ALONG = [Sample([shape], {"axis": axis}) for shape, axis in _SHAPES]
_ALONG += [Sample([(3, 5)], {"axis": 1}, low=-50, high=50), Sample([(0, 5)], {"axis": 1})]
_ALONG_PAIRS = [Sample([shape, shape], {"axis": axis}) for shape, axis in _SHAPES]


def _along(x: Spec, *more: Spec, axis: int) -> Spec:
    normal_axis(axis, len(x.shape))
    return x


def _softmax(x: Any, axis: int) -> Any:
    e = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
    return e / np.sum(e, axis=axis, keepdims=True)


def _log_softmax(x: Any, axis: int) -> Any:
    shifted = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


_along_axis: Any = functools.partial(
    op, kernel=True, inplace=(0,), shape=_along, attrs_to_c=axis_numbers, dtypes=all_float32
)


@_along_axis(
    rows=other_axis,
    grad=lambda g, y, x, *, axis: (softmax_grad(g, y, axis=axis),),
    samples=_ALONG,
)
def softmax(x: Any, *, axis: int) -> Any:
    """exp(x) divided by its sum along the axis."""
    return _softmax(x, axis)


@_along_axis(samples=_ALONG_PAIRS)
def softmax_grad(g: Any, y: Any, *, axis: int) -> Any:
    """Gradient of softmax from its output y: y * (g - sum(g * y))."""
    return y * (g - np.sum(g * y, axis=axis, keepdims=True))


@_along_axis(
    rows=other_axis,
    grad=lambda g, y, x, *, axis: (log_softmax_grad(g, y, axis=axis),),
    samples=_ALONG,
)
def log_softmax(x: Any, *, axis: int) -> Any:
    """The logarithm of softmax, without its overflow and underflow."""
    return _log_softmax(x, axis)


@_along_axis(samples=_ALONG_PAIRS)
def log_softmax_grad(g: Any, y: Any, *, axis: int) -> Any:
    """Gradient of log_softmax from its output y: g - exp(y) * sum(g)."""
    return g - np.exp(y) * np.sum(g, axis=axis, keepdims=True)


def _rows(target: Spec, logits: Spec) -> Spec:
    if not logits.shape or target.shape != logits.shape:
        raise ShapeError("target and logits must have one shape of at least one dimension.")
    return Spec(logits.shape[:-1], logits.dtype)


def _like_logits(g: Spec, target: Spec, logits: Spec) -> Spec:
    return logits


def _cross_entropy_grad(g: Any, y: Any, target: Any, logits: Any) -> tuple[Any, Any]:
    rows = registry["reshape"](g, shape=(*g.shape, 1))
    to_target = negative(multiply(rows, log_softmax(logits, axis=-1)))
    return to_target, softmax_cross_entropy_grad(g, target, logits)


@op(
    kernel=True,
    shape=_rows,
    dtypes=all_float32,
    grad=_cross_entropy_grad,
    samples=[Sample([s, s], low=0) for s in [(7,), (4, 5), (3, 40), (2, 3, 19), (4, 1), (0, 3)]]
    + [Sample([(5, 7), (5, 7)], low=-30, high=30)],
)
def softmax_cross_entropy(target: Any, logits: Any) -> Any:
    """-sum(target * log_softmax(logits)) over the last axis."""
    return -np.sum(target * _log_softmax(logits, -1), axis=-1)


@op(
    kernel=True,
    inplace=(2,),
    shape=_like_logits,
    dtypes=all_float32,
    samples=[Sample([s[:-1], s, s]) for s in [(7,), (4, 5), (3, 40), (2, 3, 19), (0, 3)]],
)
def softmax_cross_entropy_grad(g: Any, target: Any, logits: Any) -> Any:
    """Gradient by the logits: g * (softmax(logits) * sum(target) - target), row by row."""
    whole = np.sum(target, axis=-1, keepdims=True)
    return g[..., None] * (_softmax(logits, -1) * whole - target)


def _sparse_rows(labels: Spec, logits: Spec) -> Spec:
    if not logits.shape or labels.shape != logits.shape[:-1]:
        raise ShapeError("labels must have the logits' shape without its last axis.")
    return Spec(labels.shape, logits.dtype)


def _labels_fit(*specs: Spec) -> bool:
    return [s.dtype for s in specs[-2:]] == ["int32", "float32"]


def _check(labels: Any, classes: int) -> Any:
    bad = (labels < 0) | (labels >= classes)
    if np.any(bad):
        raise DataError(
            f"sparse_softmax_cross_entropy: every label must lie in 0..{classes - 1}, the last "
            f"axis of the logits. Received: {labels[bad].flat[0]}. Check the labels, or give the "
            "last layer more units."
        )
    return labels[..., None].astype(np.int64)


def _labelled(shape: tuple[int, ...], with_g: bool = False) -> Sample:
    def make(rng: np.random.Generator) -> list[np.ndarray]:
        labels = rng.integers(0, shape[-1], shape[:-1]).astype("int32")
        logits = rng.uniform(-4, 4, shape).astype("float32")
        g = rng.uniform(-1, 1, shape[:-1]).astype("float32")
        return [g, labels, logits] if with_g else [labels, logits]

    return Sample([], make=make)


_LABELLED = [(7,), (4, 5), (3, 40), (2, 3, 19), (4, 1), (0, 3)]


@op(
    kernel=True,
    shape=_sparse_rows,
    dtypes=_labels_fit,
    grad=lambda g, y, labels, logits: (
        None,
        sparse_softmax_cross_entropy_grad(g, labels, logits),
    ),
    samples=[_labelled(s) for s in _LABELLED],
)
def sparse_softmax_cross_entropy(labels: Any, logits: Any) -> Any:
    """-log_softmax(logits)[label] for every row; DataError for a label that is no class."""
    places = _check(labels, logits.shape[-1])
    return -np.take_along_axis(_log_softmax(logits, -1), places, -1)[..., 0]


@op(
    kernel=True,
    inplace=(2,),
    shape=_like_logits,
    dtypes=_labels_fit,
    samples=[_labelled(s, with_g=True) for s in _LABELLED],
)
def sparse_softmax_cross_entropy_grad(g: Any, labels: Any, logits: Any) -> Any:
    """Gradient by the logits: g * (softmax(logits) - one_hot(label)), row by row."""
    places = _check(labels, logits.shape[-1])
    result = _softmax(logits, -1)
    hit = np.take_along_axis(result, places, -1) - 1
    np.put_along_axis(result, places, hit, -1)
    return g[..., None] * result
