"""How many classes integer labels may have, from the losses and the shapes of the outputs."""

from __future__ import annotations

from typing import Any

from zoo_keras.training import steps


def class_counts(model: Any, shapes: steps.Shapes, structure: Any) -> tuple[int | None, ...]:
    """For each array of targets the number of classes under sparse crossentropy, else None."""
    preds = steps.ensure_built(model, shapes, structure)
    targets = steps.target_tensors(shapes)
    placed = steps.targets_for(model._losses, targets)
    found: list[int | None] = [None] * len(targets)
    for target, pred, loss in zip(placed, preds, model._losses.losses, strict=True):
        if target is not None and is_sparse(loss):
            number = next(i for i, t in enumerate(targets) if t is target)
            found[number] = pred.shape[-1]
    return tuple(found)


def is_sparse(loss: Any) -> bool:
    """Whether a loss takes class numbers as targets."""
    return type(loss).__name__ == "SparseCategoricalCrossentropy" or (
        getattr(getattr(loss, "fn", None), "__name__", "") == "sparse_categorical_crossentropy"
    )
