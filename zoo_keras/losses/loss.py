"""Base of losses: from values of each sample to one number, with weights, masks and reductions.

In: y_true, y_pred, and optionally sample weights and a mask, as tensors or arrays. Out: the reduced
loss, or its sum and denominator apart, so that ranks can add the sums first and divide once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from zoo_keras import config, dtypes, ops
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.configs.by_value import carries_lambdas
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError
from zoo_keras.naming import auto_name
from zoo_keras.ops.convert import as_dtype, dtype_of, value
from zoo_keras.ops.masks import mask_of

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


def same_rank(x1: Any, x2: Any, expand_rank_1: bool = True) -> tuple[Any, Any]:
    """Both with as many axes: a last axis of size 1 is dropped, or added to a vector.

    Ranks that differ otherwise stay as they are.
    """
    rank1, rank2 = len(x1.shape), len(x2.shape)
    if rank1 == rank2 + 1 and x1.shape[-1] == 1:
        if rank2 == 1 and expand_rank_1:
            return x1, ops.expand_dims(x2, -1)
        return ops.squeeze(x1, -1), x2
    if rank2 == rank1 + 1 and x2.shape[-1] == 1:
        if rank1 == 1 and expand_rank_1:
            return ops.expand_dims(x1, -1), x2
        return x1, ops.squeeze(x2, -1)
    return x1, x2


def like_prediction(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """y_true and y_pred as floats of one dtype and, if a column tells them apart, one rank."""
    y_pred = ops.convert_to_tensor(y_pred)
    if not dtypes.is_float(dtype_of(y_pred)):
        y_pred = as_dtype(y_pred, "float32")
    return same_rank(as_dtype(y_true, dtype_of(y_pred)), y_pred)


def masked_weights(sample_weight: Any, mask: Any, dtype: str) -> Any:
    """Sample weights that are 0 where the mask is; None when there is neither."""
    if mask is None:
        return None if sample_weight is None else as_dtype(sample_weight, dtype)
    mask = as_dtype(as_dtype(mask, "bool"), dtype)  # through bool: any number but 0 counts as 1
    if sample_weight is None:
        return mask
    mask, sample_weight = same_rank(mask, as_dtype(sample_weight, dtype))
    return ops.multiply(sample_weight, mask)


def _both(first: Any, second: Any) -> Any:
    masks = [as_dtype(mask, "bool") for mask in (first, second) if mask is not None]
    return ops.logical_and(*masks) if len(masks) == 2 else masks[0] if masks else None


@carries_lambdas
class Loss:
    """Base of losses: override `call(y_true, y_pred)`, which gives one value a sample.

    Args:
        reduction: "sum_over_batch_size" or "mean" divide the sum by the number of values,
            "mean_with_sample_weight" by the sum of the weights; "sum" and "none" do not divide.
        dtype: what y_true and y_pred are converted to; keras.config.floatx() by default.

    Source: https://keras.io/api/losses.
    """

    keras_module = "keras.losses"

    # A sparse loss reads class numbers, which need not become floats first.
    casts_target = True

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ConfigError(
                f"{type(self).__name__}: Invalid value for argument `reduction`. Received: "
                f"reduction={reduction!r}. "
                f"Use one of {', '.join(map(str, REDUCTIONS))}."
            )
        self.name = name or auto_name(type(self).__name__)
        self.reduction = reduction
        self._dtype = dtypes.standardize(getattr(dtype, "compute_dtype", dtype) or config.floatx())

    @property
    def dtype(self) -> str:
        """The dtype in which the loss is computed."""
        return self._dtype

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The reduced loss: a scalar, or one value a sample with reduction "none". What the mask of
        y_pred leaves out does not count."""
        return self.weighted(y_true, y_pred, sample_weight, mask_of(y_pred))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One value a sample (and step, for sequences)."""
        raise NotImplementedError(f"{type(self).__name__} must define call(self, y_true, y_pred).")

    def call_with_mask(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """The values of `call`, and which of them count (None: all)."""
        values = self.call(y_true, y_pred)
        return values, mask_of(values)

    def weighted(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None
    ) -> Any:
        """The reduced loss; values where the mask is false do not count."""
        total, denominator = self.parts(y_true, y_pred, sample_weight, mask)
        return total if denominator is None else ops.divide_no_nan(total, denominator)

    def parts(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None
    ) -> tuple[Any, Any]:
        """(weighted sum, denominator): the loss is their quotient.

        The denominator is None when the reduction does not divide; it is never 0.
        """
        y_pred = as_dtype(y_pred, self._dtype)
        y_true = as_dtype(y_true, self._dtype) if self.casts_target else value(y_true)
        values, own_mask = self.call_with_mask(y_true, y_pred)
        values = as_dtype(values, self._dtype)
        mask = _both(mask, own_mask)
        weights = masked_weights(sample_weight, mask, self._dtype)
        if weights is not None:
            values, weights = same_rank(values, weights)
            values = ops.multiply(values, weights)
        if self.reduction in (None, "none") or tuple(values.shape) in ((), (0,)):
            return values, None
        total = ops.sum(values)
        if self.reduction == "sum":
            return total, None
        return total, self._denominator(values, weights, mask)

    def compiled_parts(self, y_true: Any, y_pred: Any, sample_weight: Any, mask: Any) -> Any:
        """`parts`, for what a model is compiled with: a class that overrides `__call__` decides all
        by itself, and gives the whole loss."""
        if type(self).__call__ is Loss.__call__:
            return self.parts(y_true, y_pred, sample_weight, mask)
        weights = masked_weights(sample_weight, mask, self._dtype)
        given = () if weights is None else (weights,)
        return self(value(y_true), value(y_pred), *given), None

    def _denominator(self, values: Any, weights: Any, mask: Any) -> Any:
        count = math.prod(values.shape)
        if self.reduction == "mean_with_sample_weight" and weights is not None:
            return _at_least_something(ops.sum(weights))
        if mask is None or self.reduction == "mean_with_sample_weight":
            return in_dtype(max(count, 1), self._dtype)
        valid = ops.sum(as_dtype(mask, self._dtype))
        return _at_least_something(ops.multiply(valid, count / math.prod(mask.shape)))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """Makes one of what get_config gave."""
        return cls(**_of_keras_3(config))


def _of_keras_3(config: dict[str, Any]) -> dict[str, Any]:
    """Keras 2 wrote the reduction "auto", which meant the mean over the batch."""
    auto = config.get("reduction") == "auto"
    return {**config, "reduction": "sum_over_batch_size"} if auto else config


def _at_least_something(denominator: Any) -> Any:
    """1 instead of 0: with all weights 0 the sum is 0, and so is the loss."""
    return ops.where(ops.equal(denominator, 0.0), 1.0, denominator)


class LossFunctionWrapper(Loss):
    """A loss made of a function of (y_true, y_pred, **kwargs)."""

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(*same_rank(y_true, y_pred), **self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        own = {"fn": serialize_keras_object(self.fn)}
        return {**super().get_config(), **own, **serialize_keras_object(self._fn_kwargs)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        config = _of_keras_3(config)
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.fn}, kwargs={self._fn_kwargs})>"


class NamedLoss(LossFunctionWrapper):
    """A built-in loss: its class fixes the function; its config holds the arguments `own`."""

    own: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        return {**Loss.get_config(self), **{key: self._fn_kwargs[key] for key in self.own}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        known = {key: value for key, value in config.items() if key != "fn"}  # Keras 2 wrote it
        return cls(**_of_keras_3(known))

    def __getattr__(self, name: str) -> Any:
        kwargs = self.__dict__.get("_fn_kwargs", {})
        if name in kwargs:
            return kwargs[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
