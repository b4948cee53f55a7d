"""The means of the losses of probabilities. Source:
https://keras.io/api/metrics/probabilistic_metrics.

In: y_true and y_pred as for the loss of the same name. Out: one number.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import losses
from zoo_keras.metrics.means import NamedMean


class KLDivergence(NamedMean):
    """The mean Kullback-Leibler divergence."""

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(losses.kl_divergence, name, dtype)


class Poisson(NamedMean):
    """The mean of y_pred - y_true * log(y_pred)."""

    def __init__(self, name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(losses.poisson, name, dtype)


class BinaryCrossentropy(NamedMean):
    """The mean binary cross-entropy."""

    own = ("from_logits", "label_smoothing")

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        how = {"from_logits": from_logits, "label_smoothing": label_smoothing}
        super().__init__(losses.binary_crossentropy, name, dtype, **how)


class CategoricalCrossentropy(NamedMean):
    """The mean categorical cross-entropy."""

    own = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        how = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(losses.categorical_crossentropy, name, dtype, **how)


class SparseCategoricalCrossentropy(NamedMean):
    """The mean cross-entropy for class numbers."""

    own = ("from_logits", "ignore_class", "axis")

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        how = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(losses.sparse_categorical_crossentropy, name, dtype, **how)
