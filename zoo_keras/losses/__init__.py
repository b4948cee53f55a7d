"""Losses by class, function and name, as in `keras.losses`.

In: names, configs, functions. Out: Loss objects and loss functions. Source:
https://keras.io/api/losses.
"""

from __future__ import annotations

from typing import Any

from zoo_keras.configs.serialization import (
    deserialize_keras_object,
    get_by_name,
    serialize_keras_object,
)
from zoo_keras.losses.alignment import CTC, ctc
from zoo_keras.losses.crossentropy import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    poisson,
    sparse_categorical_crossentropy,
)
from zoo_keras.losses.hinge import (
    CategoricalHinge,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    hinge,
    squared_hinge,
)
from zoo_keras.losses.loss import Loss, LossFunctionWrapper
from zoo_keras.losses.overlap import Circle, Dice, Tversky, circle, dice, tversky
from zoo_keras.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from zoo_keras.paths import alias

_CLASSES = (
    Loss, LossFunctionWrapper, KLDivergence, Poisson, BinaryCrossentropy, BinaryFocalCrossentropy,
    CategoricalCrossentropy, CategoricalFocalCrossentropy, SparseCategoricalCrossentropy,
    CategoricalGeneralizedCrossEntropy, MeanSquaredError, MeanAbsoluteError,
    MeanAbsolutePercentageError, MeanSquaredLogarithmicError, CosineSimilarity, LogCosh, Huber,
    Hinge, SquaredHinge, CategoricalHinge, Dice, Tversky, Circle, CTC,
)  # fmt: skip
_FUNCTIONS = (
    kl_divergence, poisson, binary_crossentropy, binary_focal_crossentropy,
    categorical_crossentropy, categorical_focal_crossentropy, sparse_categorical_crossentropy,
    categorical_generalized_cross_entropy, mean_squared_error, mean_absolute_error,
    mean_absolute_percentage_error, mean_squared_logarithmic_error, cosine_similarity, log_cosh,
    huber, hinge, squared_hinge, categorical_hinge, dice, tversky, circle, ctc,
)  # fmt: skip
_ALIASES: dict[str, Any] = {
    "bce": binary_crossentropy, "kld": kl_divergence, "mae": mean_absolute_error,
    "mse": mean_squared_error, "mape": mean_absolute_percentage_error,
    "msle": mean_squared_logarithmic_error,
}  # fmt: skip
KNOWN: dict[str, Any] = {x.__name__: x for x in (*_CLASSES, *_FUNCTIONS)}
OLDER = _ALIASES | {name.upper(): f for name, f in _ALIASES.items()}
OLDER |= {"logcosh": log_cosh, "kullback_leibler_divergence": kl_divergence}
KNOWN |= OLDER
globals().update(OLDER)  # names of Keras 2


class Reduction:
    """How Keras 2 called what a loss does with the values of a batch."""

    NONE, SUM = "none", "sum"
    AUTO = SUM_OVER_BATCH_SIZE = "sum_over_batch_size"


def serialize(loss: Any) -> Any:
    """The config of a loss object or function."""
    return serialize_keras_object(loss)


def deserialize(name: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The loss that a name or config describes."""
    return deserialize_keras_object(name, custom_objects, module_objects=KNOWN)


def get(identifier: Any) -> Any:
    """The loss function or object that a name, config, class or function means; None for None.

    Raises ConfigError, with the known names, for an unknown one.

    >>> get("mse")
    """
    return get_by_name(identifier, KNOWN, "loss")


__all__ = [
    "BinaryCrossentropy", "BinaryFocalCrossentropy", "CTC", "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy", "CategoricalGeneralizedCrossEntropy", "CategoricalHinge",
    "Circle", "CosineSimilarity", "Dice", "Hinge", "Huber", "KLDivergence", "LogCosh", "Loss",
    "LossFunctionWrapper", "MeanAbsoluteError", "MeanAbsolutePercentageError",
    "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson",
    "SparseCategoricalCrossentropy", "SquaredHinge", "Tversky", "binary_crossentropy",
    "binary_focal_crossentropy", "categorical_crossentropy", "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy", "categorical_hinge", "circle", "cosine_similarity",
    "ctc", "deserialize", "dice", "get", "hinge", "huber", "kl_divergence", "log_cosh",
    "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "poisson", "serialize", "sparse_categorical_crossentropy",
    "squared_hinge", "tversky",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return alias("zoo_keras.losses", name)
