"""Public functions beside classes: losses, metrics and the merging functions of layers.

In: nothing. Out: CASES, with the kinds of arrays of cases/losses.py; a loss or metric gets (true,
pred), a merging function one list. The table imports no Keras.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Shape = tuple[int, ...]


class Case(NamedTuple):
    module: str
    function: str
    label: str
    kinds: tuple[str, ...]
    shapes: tuple[Shape, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.module}-{self.function}-{self.label}"


CASES: list[Case] = []


def pair(name: str, label: str, true: str, pred: str, shape: Shape, **kwargs: Any) -> None:
    """A loss; the label begins with "metric" for what only metrics have."""
    module = "metrics" if label.startswith("metric") else "losses"
    CASES.append(Case(module, name, label, (true, pred), (shape,), kwargs))


def merge(name: str, label: str, *shapes: Shape, **kwargs: Any) -> None:
    CASES.append(Case("layers", name, label, ("real",) * len(shapes), shapes, kwargs))


for _name in ("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error",
              "log_cosh", "huber"):
    pair(_name, "matrix", "real", "real", (5, 3))
    pair(_name, "sequence", "real", "real", (2, 4, 3))
pair("huber", "delta", "real", "real", (5, 3), delta=0.4)
for _name in ("mean_squared_logarithmic_error", "poisson"):
    pair(_name, "matrix", "positive", "positive", (5, 3))
    pair(_name, "sequence", "positive", "positive", (2, 4, 3))
pair("binary_crossentropy", "plain", "binary", "prob", (5, 3))
pair("binary_crossentropy", "axis", "binary", "prob", (5, 3), axis=0)
pair("binary_crossentropy", "logits", "binary", "logits", (2, 3, 4), from_logits=True,
     label_smoothing=0.2)
pair("binary_focal_crossentropy", "plain", "binary", "prob", (5, 3))
pair("binary_focal_crossentropy", "options", "binary", "logits", (5, 3), from_logits=True,
     apply_class_balancing=True, alpha=0.4, gamma=1.5, label_smoothing=0.1, axis=0)
pair("categorical_crossentropy", "plain", "onehot", "dist", (5, 4))
pair("categorical_crossentropy", "logits", "onehot", "logits", (2, 3, 4), from_logits=True,
     label_smoothing=0.1)
pair("categorical_crossentropy", "axis", "dist", "dist", (5, 4), axis=0)
pair("categorical_focal_crossentropy", "plain", "onehot", "dist", (5, 4))
pair("categorical_focal_crossentropy", "options", "onehot", "logits", (5, 4), from_logits=True,
     alpha=0.5, gamma=3.0, label_smoothing=0.1)
pair("sparse_categorical_crossentropy", "plain", "classes", "dist", (5, 4))
pair("sparse_categorical_crossentropy", "column", "classes_column", "dist", (5, 4))
pair("sparse_categorical_crossentropy", "ignore_class", "classes", "logits", (2, 5, 4),
     from_logits=True, ignore_class=2)
pair("categorical_generalized_cross_entropy", "plain", "classes", "dist", (5, 4), q=0.5)
pair("kl_divergence", "plain", "dist", "dist", (5, 4))
pair("kl_divergence", "sequence", "dist", "dist", (2, 3, 4))
for _name in ("hinge", "squared_hinge"):
    pair(_name, "signed", "signed", "real", (5, 3))
    pair(_name, "binary", "binary", "real", (2, 4, 3))
pair("categorical_hinge", "plain", "onehot", "real", (5, 4))
pair("cosine_similarity", "plain", "real", "real", (5, 4))
pair("cosine_similarity", "axis", "real", "real", (2, 4, 3), axis=1)
pair("dice", "plain", "binary", "prob", (4, 5))
pair("dice", "axis", "binary", "prob", (2, 3, 4, 1), axis=[1, 2, 3])
pair("tversky", "plain", "binary", "prob", (4, 5))
pair("tversky", "options", "binary", "prob", (2, 3, 4), axis=[1, 2], alpha=0.3, beta=0.8)
pair("circle", "plain", "classes", "unit", (8, 4))
pair("circle", "options", "classes", "unit", (6, 3), gamma=9.0, margin=0.2, remove_diagonal=False)
pair("ctc", "plain", "labels:4", "logits", (4, 9, 5))

pair("binary_accuracy", "metric", "binary", "prob", (5, 3))
pair("binary_accuracy", "metric_threshold", "binary", "prob", (2, 4, 3), threshold=0.7)
pair("categorical_accuracy", "metric", "onehot", "dist", (5, 4))
pair("categorical_accuracy", "metric_sequence", "onehot", "dist", (2, 3, 4))
pair("sparse_categorical_accuracy", "metric", "classes", "dist", (5, 4))
pair("sparse_categorical_accuracy", "metric_column", "classes_column", "dist", (5, 4))
pair("sparse_categorical_accuracy", "metric_sequence", "classes", "dist", (2, 3, 4))
pair("top_k_categorical_accuracy", "metric", "onehot", "dist", (7, 6))
pair("top_k_categorical_accuracy", "metric_k", "onehot", "dist", (2, 5, 4), k=2)
pair("sparse_top_k_categorical_accuracy", "metric", "classes", "dist", (7, 6))
pair("sparse_top_k_categorical_accuracy", "metric_k", "classes", "dist", (2, 5, 4), k=2)
pair("sparse_top_k_categorical_accuracy", "metric_column", "classes_column", "dist", (7, 4), k=1)
for _name in ("pearson_correlation", "concordance_correlation"):
    pair(_name, "metric", "real", "real", (3, 6))
    pair(_name, "metric_axis", "real", "real", (2, 5, 3), axis=1)

for _name in ("add", "multiply", "average", "maximum", "minimum"):
    merge(_name, "two", (3, 4), (3, 4))
    merge(_name, "three", (2, 3, 4), (2, 1, 4), (2, 3, 1))
    merge(_name, "ranks", (2, 4), (2, 3, 4))
merge("subtract", "two", (3, 4), (3, 4))
merge("subtract", "broadcast", (2, 3, 4), (2, 1, 4))
merge("concatenate", "last", (2, 3), (2, 5), (2, 1))
merge("concatenate", "axis", (2, 3, 4), (2, 1, 4), axis=1)
merge("dot", "vectors", (3, 5), (3, 5), axes=1)
merge("dot", "axes", (2, 3, 4), (2, 4, 5), axes=[2, 1])
merge("dot", "normalized", (3, 6), (3, 6), axes=-1, normalize=True)
