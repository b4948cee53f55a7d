"""CTC: a loss for label sequences that are shorter than the steps of a prediction."""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.losses.loss import NamedLoss
from zoo_keras.ops.symbolic import public


@public
def ctc(y_true: Any, y_pred: Any) -> Any:
    """(batch,) for labels (batch, length), filled up with 0, and logits (batch, steps, classes).

    Class 0 stands between labels. See ops.ctc_loss.
    """
    batch, steps = y_pred.shape[:2]
    lengths = ops.sum(ops.cast(ops.not_equal(y_true, 0), "int32"), axis=-1)
    return ops.ctc_loss(y_true, y_pred, lengths, ops.full((batch,), steps, dtype="int32"))


class CTC(NamedLoss):
    """ctc, reduced over the batch. Graves et al. 2006."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "ctc",
        dtype: Any = None,
    ) -> None:
        super().__init__(ctc, reduction, name, dtype)
