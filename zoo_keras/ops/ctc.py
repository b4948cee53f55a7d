"""Public ops on sequences whose alignment with their labels is not known: CTC, Graves et al. 2006.

In: logits (batch, steps, classes), labels (batch, length), and how much of each counts. Out:
losses, which run in the engine and have gradients, or the likeliest labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.dtypes import promote
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.ops import elementwise as e
from zoo_keras.ops.control import scan
from zoo_keras.ops.convert import as_dtype, as_float, dtype_of, value
from zoo_keras.ops.creation import arange
from zoo_keras.ops.indexing import one_hot, take_along_axis, where
from zoo_keras.ops.neural import log_softmax
from zoo_keras.ops.products import matmul
from zoo_keras.ops.reduction import argmax
from zoo_keras.ops.reduction import max as largest
from zoo_keras.ops.reduction import sum as total
from zoo_keras.ops.shaping import concatenate, pad, reshape, stack, transpose
from zoo_keras.ops.sorting import argsort
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives.beams import label_beams

_NEVER = -1e30  # the logarithm of no probability, finite so that gradients are


def _summed(logs: Any) -> Any:
    """The logarithm of the sum of exponentials over the last axis."""
    top = largest(logs, axis=-1, keepdims=True)
    return e.log(total(e.exp(logs - top), axis=-1)) + top[..., 0]


@public
def ctc_loss(
    target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0
) -> Any:
    """(batch,): minus the log probability of the labels, over all ways to place them in the steps.

    Args:
        target: labels (batch, length); output: logits (batch, steps, classes).
        mask_index: the class that stands between labels.

    Raises ShapeError for other shapes. Source: keras.ops.ctc_loss.
    """
    target, logs = as_dtype(value(target), "int32"), log_softmax(as_float(output))
    if len(target.shape) != 2 or len(logs.shape) != 3 or target.shape[0] != logs.shape[0]:
        raise ShapeError(
            "ctc_loss: expected labels (batch, length) and logits (batch, steps, classes). "
            f"Received: shapes {tuple(target.shape)} and {tuple(logs.shape)}. Reshape them."
        )
    batch, steps, classes = logs.shape
    width = 2 * target.shape[1] + 1
    blanks = target * 0 + mask_index % classes
    places = reshape(stack([blanks, target], axis=-1), (batch, width - 1))
    places = concatenate([places, blanks[:, :1] * 0 + mask_index % classes], axis=1)
    emitted = matmul(logs, transpose(one_hot(places, classes), (0, 2, 1)))  # exact: one term each
    # A label may follow another without a blank between, unless it is the same one.
    before = pad(places, ((0, 0), (2, 0)), constant_values=-1)[:, :width]
    odd = arange(width) % 2 == 1
    free = e.logical_and(odd[None, :], e.not_equal(places, before))
    counts = reshape(arange(steps), (-1, 1)) < reshape(
        as_dtype(value(output_length), "int32"), (1, -1)
    )
    start = np.full((batch, width + 2), _NEVER, np.float32)
    start[:, 1] = 0.0  # before the first step: two places in front serve the shifts

    def step(alpha: Any, row: Any) -> tuple[Any, Any]:
        emission, used = row
        here, one, two = alpha[:, 2:], alpha[:, 1:-1], alpha[:, :-2]
        moved = _summed(stack([here, one, where(free, two, _NEVER)], axis=-1)) + emission
        front = alpha[:, :2] * 0 + _NEVER
        new = concatenate([front, moved], axis=1)
        return where(used[:, None], new, alpha), used

    rows = (transpose(emitted, (1, 0, 2)), counts)
    last, _ = scan(step, as_float(start), rows)
    ends = reshape(as_dtype(value(target_length), "int32"), (-1, 1)) * 2
    # The last label, or the blank behind it; without labels the blank alone.
    two = one_hot(concatenate([ends, e.maximum(ends - 1, 0)], axis=1), width)
    found = total(two * last[:, None, 2:], axis=-1)
    single = concatenate([ends < 0, ends == 0], axis=1)
    return e.negative(_summed(where(single, _NEVER, found)))


@public
def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[Any, Any]:
    """Labels (paths, batch, steps) of logits, filled up with -1, and their scores (batch, paths).

    "greedy" takes the likeliest class of each step; its score is minus the sum of their logits.
    "beam_search", on the host, sums over alignments. Source: keras.ops.ctc_decode.
    """
    x, lengths = as_float(inputs), as_dtype(value(sequence_lengths), "int32")
    x = as_dtype(x, promote(dtype_of(x), "float32"))
    blank = mask_index % x.shape[-1]
    if strategy == "beam_search":
        found: tuple[Any, Any] = label_beams(
            x, lengths, beams=beam_width, paths=top_paths, blank=blank
        )
        return found
    if strategy != "greedy":
        raise ConfigError(
            f"ctc_decode: Invalid strategy. Received: {strategy!r}. Use greedy or beam_search."
        )
    steps = x.shape[1]
    outside = arange(steps)[None, :] >= reshape(lengths, (-1, 1))
    labels = where(outside, blank, as_dtype(argmax(x, axis=-1), "int32"))
    scores = total(where(outside, 0.0, largest(x, axis=-1)), axis=1, keepdims=True)
    empty = labels == blank
    if merge_repeated:
        before = pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        empty = e.logical_or(empty, labels == before)
    order = argsort(where(empty, steps, arange(steps)[None, :]), axis=-1)
    labels = take_along_axis(where(empty, -1, labels), as_dtype(order, "int32"), axis=-1)
    return labels[None], e.negative(scores)


__all__ = ["ctc_decode", "ctc_loss"]
