"""How the loss of a batch counts that is one part of a global batch, the rest being elsewhere.

In: the sum and the denominator that a Loss gives for this part. Out: what the part adds to the loss
of the global batch: the parts' values add up to exactly what one rank would get for all rows.
Knows losses and graphs, no ranks and no wires.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from zoo_keras import ops
from zoo_keras.graph import Tensor
from zoo_keras.losses.loss import masked_weights, same_rank
from zoo_keras.ops.convert import as_dtype, value


class Part(NamedTuple):
    """What a program is told of the global batch.

    Attributes:
        share: rows of this part / rows of the global batch, shape ().
        counts: for each output, what its loss is divided by over the global batch; only read where
            the data decide that (sample weights, masks). Shape (outputs,). None: nobody has
            counted, and each part is divided by its own count.
    """

    share: Tensor
    counts: Tensor | None


def added(loss: Any, total: Any, count: Any, part: Part, output: int) -> Any:
    """What this part adds to the loss of the global batch; total and count are Loss.parts'."""
    if loss.reduction == "sum":
        return total
    if count is None:
        return total * part.share
    if isinstance(count, Tensor) and part.counts is not None:
        return total / part.counts[output]
    return total / count * part.share


def counted(loss: Any, target: Any, pred: Any, weights: Any, mask: Any) -> Any:
    """This part's share of the denominator (it may be 0), or None when rows alone decide it."""
    _, count = loss.compiled_parts(target, pred, weights, mask)
    if loss.reduction == "sum" or not isinstance(count, Tensor):
        return None
    dtype = loss.dtype
    pred = as_dtype(pred, dtype)
    target = as_dtype(target, dtype) if loss.casts_target else value(target)
    values, own = loss.call_with_mask(target, pred)
    if own is not None:
        mask = own if mask is None else ops.logical_and(mask, own)
    if loss.reduction == "mean_with_sample_weight":
        return ops.sum(same_rank(values, masked_weights(weights, mask, dtype))[1])
    valid = ops.sum(as_dtype(as_dtype(mask, "bool"), dtype))
    return valid * (math.prod(values.shape) / math.prod(mask.shape))
