"""Gradients within limits: of each one's norm, of the norm of all, or of their entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import ops


def clipped(
    grads: Sequence[Any], norm: float | None, global_norm: float | None, value: float | None
) -> list[Any]:
    """The gradients within the one limit that is given."""
    if norm:
        return [_shrunk(g, ops.sum(ops.square(g)), float(norm)) for g in grads]
    if global_norm:
        whole = ops.sum(ops.stack([ops.sum(ops.square(g)) for g in grads]))
        return [_shrunk(g, whole, float(global_norm)) for g in grads]
    if value:
        return [ops.clip(g, -float(value), float(value)) for g in grads]
    return list(grads)


def _shrunk(gradient: Any, square_sum: Any, limit: float) -> Any:
    """The gradient scaled so that the norm whose square is given becomes at most `limit`."""
    return ops.multiply(gradient, ops.divide(limit, ops.maximum(ops.sqrt(square_sum), limit)))
