"""Loss cases: class, arguments, shapes and what kind of targets and predictions it reads.

Kinds of arrays (made in make_math.py): "real" any sign, "positive" 0.05 and up, "prob" in (0, 1),
"dist" rows that sum to 1, "logits" wide range, "binary" 0/1, "signed" -1/1, "onehot" rows,
"classes" integer ids (their number is `classes`), "hard" probabilities exactly 0 and 1 among
others, "unit" rows of length 1, "labels:N" up to N ids from 1 with zeros behind. Every row is
computed without weights, with a weight per sample and, for outputs of rank 3, with a weight per
step; and with each reduction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

REDUCTIONS = ("sum_over_batch_size", "sum", "none", "mean", "mean_with_sample_weight")


class Case(NamedTuple):
    loss: str
    label: str
    true: str
    pred: str
    shape: tuple[int, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.loss}-{self.label}"


CASES: list[Case] = []


def add(loss: str, label: str, true: str, pred: str, shape: tuple, **kwargs: Any) -> None:
    CASES.append(Case(loss, label, true, pred, shape, kwargs))


for _loss in ("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError",
              "LogCosh", "Huber", "Poisson"):
    _true = "positive" if _loss == "Poisson" else "real"
    _pred = "positive" if _loss == "Poisson" else "real"
    add(_loss, "matrix", _true, _pred, (5, 3))
    add(_loss, "column", _true, _pred, (7, 1))
    add(_loss, "sequence", _true, _pred, (3, 4, 2))
add("MeanSquaredLogarithmicError", "matrix", "positive", "positive", (5, 3))
add("MeanSquaredLogarithmicError", "negative", "real", "real", (5, 3))
add("MeanSquaredLogarithmicError", "sequence", "positive", "positive", (2, 3, 4))
add("Huber", "small_delta", "real", "real", (5, 3), delta=0.3)
add("LogCosh", "large", "logits", "logits", (4, 3))

add("BinaryCrossentropy", "prob", "binary", "prob", (5, 3))
add("BinaryCrossentropy", "logits", "binary", "logits", (5, 3), from_logits=True)
add("BinaryCrossentropy", "smooth", "binary", "prob", (6, 1), label_smoothing=0.2)
add("BinaryCrossentropy", "smooth_logits", "binary", "logits", (3, 4, 2), from_logits=True,
    label_smoothing=0.1)
add("BinaryCrossentropy", "axis_1", "binary", "prob", (2, 4, 3), axis=1)
add("BinaryCrossentropy", "hard", "binary", "hard", (5, 3))
add("BinaryCrossentropy", "soft_targets", "prob", "prob", (5, 3))

add("CategoricalCrossentropy", "prob", "onehot", "dist", (5, 4))
add("CategoricalCrossentropy", "logits", "onehot", "logits", (5, 4), from_logits=True)
add("CategoricalCrossentropy", "smooth", "onehot", "dist", (4, 3), label_smoothing=0.1)
add("CategoricalCrossentropy", "smooth_logits", "onehot", "logits", (3, 2, 5), from_logits=True,
    label_smoothing=0.3)
add("CategoricalCrossentropy", "unnormalized", "onehot", "positive", (4, 3))
add("CategoricalCrossentropy", "axis_1", "dist", "positive", (2, 3, 4), axis=1)
add("CategoricalCrossentropy", "hard", "onehot", "hard", (5, 3))

add("SparseCategoricalCrossentropy", "prob", "classes", "dist", (6, 4))
add("SparseCategoricalCrossentropy", "logits", "classes", "logits", (6, 4), from_logits=True)
add("SparseCategoricalCrossentropy", "sequence", "classes", "dist", (2, 3, 4))
add("SparseCategoricalCrossentropy", "sequence_logits", "classes", "logits", (2, 3, 5),
    from_logits=True)
add("SparseCategoricalCrossentropy", "column_ids", "classes_column", "dist", (5, 3))
add("SparseCategoricalCrossentropy", "ignore_class", "classes", "dist", (8, 3), ignore_class=1)
add("SparseCategoricalCrossentropy", "unnormalized", "classes", "positive", (4, 3))

for _loss in ("Hinge", "SquaredHinge"):
    add(_loss, "signed", "signed", "real", (5, 3))
    add(_loss, "binary", "binary", "real", (6, 1))
    add(_loss, "sequence", "signed", "real", (2, 3, 4))
add("CategoricalHinge", "plain", "onehot", "real", (5, 4))
add("CategoricalHinge", "probabilities", "onehot", "dist", (5, 3))
add("CategoricalHinge", "sequence", "onehot", "real", (2, 3, 4))
add("KLDivergence", "plain", "dist", "dist", (5, 4))
add("KLDivergence", "sequence", "dist", "dist", (2, 3, 4))
add("KLDivergence", "hard", "onehot", "hard", (5, 3))
add("CosineSimilarity", "plain", "real", "real", (5, 4))
add("CosineSimilarity", "axis_1", "real", "real", (2, 4, 3), axis=1)
add("CosineSimilarity", "zero_row", "real_zero_row", "real", (4, 3))

add("BinaryFocalCrossentropy", "prob", "binary", "prob", (5, 3))
add("BinaryFocalCrossentropy", "balanced_logits", "binary", "logits", (4, 2), from_logits=True,
    apply_class_balancing=True, alpha=0.4, gamma=1.5)
add("CategoricalFocalCrossentropy", "prob", "onehot", "dist", (5, 4))
add("CategoricalFocalCrossentropy", "logits", "onehot", "logits", (4, 3), from_logits=True,
    alpha=0.5, gamma=3.0, label_smoothing=0.1)
add("CategoricalGeneralizedCrossEntropy", "plain", "classes", "dist", (5, 4))
add("CategoricalGeneralizedCrossEntropy", "q", "classes", "dist", (5, 3), q=0.9)
add("Dice", "plain", "binary", "prob", (4, 5))
add("Dice", "axes", "binary", "prob", (2, 3, 4, 1), axis=[1, 2, 3])
add("Tversky", "plain", "binary", "prob", (4, 5))
add("Tversky", "axes", "binary", "prob", (2, 3, 4, 1), axis=[1, 2, 3], alpha=0.3, beta=0.8)

add("Circle", "plain", "classes", "unit", (8, 4))
add("Circle", "options", "classes", "unit", (6, 3), gamma=20.0, margin=0.25, remove_diagonal=False)
add("Circle", "column_ids", "classes_column", "unit", (7, 3), gamma=5.0)
add("CTC", "plain", "labels:4", "logits", (4, 9, 5))
add("CTC", "short", "labels:2", "real", (3, 5, 4))
