"""Which integer labels a model's sparse losses can take.

In: the losses and the shapes of the outputs. Out: a Classes for each array of targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.feed.ragged import whole
from zoo_keras.graph import Tensor
from zoo_keras.training import steps
from zoo_keras.training.compiled import CompiledLosses
from zoo_keras.training.interface import TrainedModel
from zoo_keras.training.labels import Classes, check_labels
from zoo_keras.training.own_steps import defined


def class_counts(
    model: TrainedModel, shapes: steps.Shapes, structure: Any
) -> tuple[Classes | None, ...]:
    """For each array of targets the labels that sparse crossentropy takes; None for other losses.

    Shapes without targets are allowed: then there is nothing to check.
    """
    if defined(model, "train"):
        return (None,) * len(shapes.y)
    preds = steps.ensure_built(model, shapes, structure)
    return _classes(model._require_compiled("fit").losses, shapes, preds)


def _classes(
    losses: CompiledLosses, shapes: steps.Shapes, preds: Sequence[Tensor]
) -> tuple[Classes | None, ...]:
    targets = steps.target_tensors(shapes)
    placed = losses.targets(targets)
    found: list[Classes | None] = [None] * len(targets)
    for target, pred, loss in zip(placed, preds, losses.losses, strict=True):
        if target is not None and is_sparse(loss):
            number = next(i for i, t in enumerate(targets) if t is target)
            found[number] = Classes(
                pred.shape[getattr(loss, "axis", -1)], getattr(loss, "ignore_class", None)
            )
    return tuple(found)


def is_sparse(loss: Any) -> bool:
    """Whether a loss takes class numbers as targets."""
    return type(loss).__name__ == "SparseCategoricalCrossentropy" or (
        getattr(getattr(loss, "fn", None), "__name__", "") == "sparse_categorical_crossentropy"
    )


def check_all(model: TrainedModel, data: Any) -> None:
    """Check the labels of ArrayData before the first step. DataError names the first bad row."""
    sample = next(data.batches(), None)
    if sample is None or not data.y:
        return
    batch = model._arranged(sample)
    programs = model._local()
    programs.resolve(batch)
    losses = model._require_compiled("fit").losses
    counts = _classes(losses, steps.shapes_of(batch), programs.outputs(batch))
    order = model._arranged(sample._replace(y=list(range(len(data.y))))).y
    for number, classes in zip(order, counts, strict=True):
        if classes is not None:
            check_labels(whole(data.y[number]), classes, "y, ")
