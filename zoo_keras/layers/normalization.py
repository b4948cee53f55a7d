"""BatchNormalization, LayerNormalization and their relatives.

In: tensors of any rank. Out: the same shape. In training the engine's batch_norm and layer_norm
compute value and statistics at once; batch inference is a scale and an offset per channel, which
the engine folds into a convolution before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras import config, ops
from zoo_keras.graph import current_trace
from zoo_keras.layers.base.arguments import argument_error, is_whole, number, positive
from zoo_keras.layers.base.arguments import axes as standard_axes
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer, known_size, shape_error
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.primitives.group_norm import group_norm, rms_norm
from zoo_keras.primitives.norm import batch_norm, layer_norm
from zoo_keras.variables import Variable

_AFFINE = (
    "beta_initializer", "gamma_initializer", "beta_regularizer", "gamma_regularizer",
    "beta_constraint", "gamma_constraint",
)  # fmt: skip
_BATCH = (*_AFFINE[:2], "moving_mean_initializer", "moving_variance_initializer", *_AFFINE[2:])


class BatchNormalization(Layer):
    """Normalises each channel over the batch, with moving statistics for inference.

    Training: (x - mean) * gamma / sqrt(variance + epsilon) + beta with the statistics of the batch;
    moving = moving * momentum + batch * (1 - momentum). Inference, or trainable=False: the moving
    statistics. Weights: gamma, beta, moving_mean, moving_variance, each (channels,); with renorm
    (Ioffe 2017) also moving_stddev, renorm_mean and renorm_stddev, towards which training corrects
    the batch, within the limits rmin, rmax and dmax of renorm_clipping. With synchronized=True
    the ranks of a fit on Spark normalise by the statistics of all their rows, which costs each such
    layer two exchanges of a few numbers in every step; elsewhere it changes nothing.
    https://keras.io/api/layers/normalization_layers/batch_normalization/

    >>> BatchNormalization()(np.ones((2, 4))).shape
    (2, 4)
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        if not is_whole(axis):
            raise argument_error(self, "axis", "a whole number", axis, "Name one axis.")
        self.axis = int(axis)
        self.momentum = float(number(self, "momentum", momentum))
        self.epsilon = float(number(self, "epsilon", epsilon, 0))
        self.center, self.scale = center, scale
        self.synchronized, self.renorm = bool(synchronized), bool(renorm)
        self.renorm_clipping = _clipping(self, renorm_clipping) if self.renorm else None
        self.renorm_momentum = float(number(self, "renorm_momentum", renorm_momentum))
        set_options(
            self,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            moving_mean_initializer=moving_mean_initializer,
            moving_variance_initializer=moving_variance_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )
        self.supports_masking = True
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def build(self, input_shape: Any = None) -> None:
        """Make the weights, one number per channel."""
        channels = known_size(self, input_shape, self.axis)
        if self.scale:
            self.gamma = add_weight(self, "gamma", (channels,))
        if self.center:
            self.beta = add_weight(self, "beta", (channels,))
        still: dict[str, Any] = {"trainable": False, "autocast": False}
        self.moving_mean = add_weight(self, "moving_mean", (channels,), **still)
        self.moving_variance = add_weight(self, "moving_variance", (channels,), **still)
        if self.renorm:
            self._add_renorm_weights(channels, still)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def _add_renorm_weights(self, channels: int, still: dict[str, Any]) -> None:
        first, mean = (getattr(self, f"moving_{w}_initializer") for w in ("variance", "mean"))

        def deviation(shape: Any, dtype: Any = None) -> Any:
            return np.sqrt(first(shape, dtype=dtype))

        def add(name: str, initializer: Any) -> Variable:
            return self.add_weight((channels,), initializer, name=name, **still)

        self.moving_stddev = add("moving_stddev", deviation)
        self.renorm_mean = add("renorm_mean", mean)
        self.renorm_stddev = add("renorm_stddev", deviation)

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """The normalised inputs; in training this also updates the moving statistics."""
        last = len(inputs.shape) - 1
        x = ops.moveaxis(inputs, self.axis, last) if self.axis not in (-1, last) else inputs
        if training and self.trainable:
            y = self._train(x, None if mask is None else self._weights(inputs, mask))
        else:
            y = self._scaled(x, self.moving_mean, self.moving_variance)
        return ops.moveaxis(y, last, self.axis) if x is not inputs else y

    def _train(self, x: Any, weights: Any) -> Any:
        if self.renorm:
            return self._renormed(x, weights)
        shared = self._shared_moments(x, weights)
        if shared is not None:
            mean, variance = shared
            y = self._scaled(x, mean, variance)
        elif weights is None:
            ones, zeros = np.ones(x.shape[-1:], np.float32), np.zeros(x.shape[-1:], np.float32)
            gamma = ones if self.gamma is None else self.gamma
            beta = zeros if self.beta is None else self.beta
            y, mean, variance = batch_norm(x, gamma, beta, epsilon=self.epsilon)
        else:
            mean, variance = _weighted_moments(x, weights)
            y = self._scaled(x, mean, variance)
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance)
        return y

    def _renormed(self, x: Any, weights: Any) -> Any:
        """(x - mean) / deviation, corrected by r and d to what the moving statistics would give."""
        over = tuple(range(len(x.shape) - 1))
        shared = self._shared_moments(x, weights)
        if shared is not None:
            mean, variance = shared
        elif weights is None:
            mean, variance = ops.moments(x, axes=over)
        else:
            mean, variance = _weighted_moments(x, weights)
        deviation = ops.sqrt(ops.add(variance, self.epsilon))
        r, d = self._corrections(mean, deviation)
        y = ops.divide(ops.subtract(x, mean), deviation)
        y = ops.add(ops.multiply(y, ops.stop_gradient(r)), ops.stop_gradient(d))
        self._follow(self.renorm_mean, mean, self.renorm_momentum)
        self._follow(self.renorm_stddev, deviation, self.renorm_momentum)
        self._follow(self.moving_mean, mean)
        followed = self._follow(self.moving_stddev, deviation)
        self.moving_variance.assign(ops.relu(ops.subtract(ops.square(followed), self.epsilon)))
        y = y if self.gamma is None else ops.multiply(y, self.gamma)
        return y if self.beta is None else ops.add(y, self.beta)

    def _shared_moments(self, x: Any, weights: Any) -> Any:
        """(mean, variance) over the rows of all ranks, in a step of one of several; else None.
        Squares are of distances from the shared mean, so that a large mean costs no digits."""
        exchange = getattr(current_trace(), "exchange", None)
        if not self.synchronized or exchange is None:
            return None
        over, x = tuple(range(len(x.shape) - 1)), ops.cast(x, "float32")
        if weights is None:
            mean = exchange.mean(ops.mean(x, axis=over))
            return mean, exchange.mean(ops.mean(ops.square(x - mean), axis=over))
        parts = [weights, ops.where(weights, x, 0.0)]
        share, mean = exchange.mean(ops.stack([ops.mean(part, axis=over) for part in parts]))
        share = ops.maximum(share, 1e-30)  # no row counts: 0
        mean = mean / share
        squares = ops.where(weights, ops.square(x - mean), 0.0)
        return mean, exchange.mean(ops.mean(squares, axis=over)) / share

    def _corrections(self, mean: Any, deviation: Any) -> tuple[Any, Any]:
        """r and d, within their limits."""
        limits = self.renorm_clipping or {}
        usual = ops.maximum(self.renorm_stddev, float(np.sqrt(self.epsilon)))
        r, d = deviation / usual, (mean - self.renorm_mean) / usual
        if limits.get("rmin") is not None:
            r = ops.maximum(r, float(limits["rmin"]))
        if limits.get("rmax") is not None:
            r = ops.minimum(r, float(limits["rmax"]))
        if limits.get("dmax") is not None:
            d = ops.clip(d, -float(limits["dmax"]), float(limits["dmax"]))
        return r, d

    def _follow(self, moving: Variable, batch: Any, momentum: float | None = None) -> Any:
        keep = self.momentum if momentum is None else momentum
        share = ops.multiply(ops.stop_gradient(batch), 1.0 - keep)
        return moving.assign(ops.add(ops.multiply(moving, keep), share))

    def _scaled(self, x: Any, mean: Any, variance: Any) -> Any:
        scale = ops.rsqrt(ops.add(variance, self.epsilon))
        if self.gamma is not None:
            scale = ops.multiply(self.gamma, scale)
        offset = ops.negative(ops.multiply(mean, scale))
        if self.beta is not None:
            offset = ops.add(self.beta, offset)
        return ops.add(ops.multiply(x, scale), offset)

    def _weights(self, inputs: Any, mask: Any) -> Any:
        """The mask as a float tensor that looks like the moved inputs."""
        if len(mask.shape) != len(inputs.shape) - 1:
            raise shape_error(
                self, "the mask must have the inputs' shape without the last axis",
                f"mask {tuple(mask.shape)} for inputs {tuple(inputs.shape)}", "Reshape the mask.",
            )  # fmt: skip
        spread = ops.broadcast_to(ops.expand_dims(mask, -1), inputs.shape)
        return ops.moveaxis(ops.cast(spread, "float32"), self.axis, -1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            **options_config(self, *_BATCH),
            "synchronized": self.synchronized,
            "renorm": self.renorm,
            "renorm_clipping": self.renorm_clipping,
            "renorm_momentum": self.renorm_momentum,
        }


def _clipping(layer: Layer, given: Any) -> dict[str, float]:
    """Limits of the corrections of renorm, by the names rmin, rmax and dmax."""
    found = dict(given or {})
    low, high, far = (found.get(k) for k in ("rmin", "rmax", "dmax"))
    crossed = low is not None and high is not None and high < low
    if set(found) - {"rmin", "rmax", "dmax"} or crossed or (far is not None and far < 0):
        raise argument_error(
            layer, "renorm_clipping", "a dict with rmin <= rmax and dmax >= 0", given,
            "Leave out what has no limit.",
        )  # fmt: skip
    return found


def _weighted_moments(x: Any, weights: Any) -> tuple[Any, Any]:
    """Mean and variance of each channel over the rows that count (weight 1, others 0)."""
    over = tuple(range(len(x.shape) - 1))
    count = ops.sum(weights, axis=over) + config.epsilon()
    mean = ops.sum(ops.where(weights, x, 0.0), axis=over) / count
    return mean, ops.sum(ops.where(weights, ops.square(x - mean), 0.0), axis=over) / count


class LayerNormalization(Layer):
    """Normalises each row over one or several axes: (x - mean) / sqrt(variance + epsilon).

    Weights gamma and beta have the shape of those axes. `rms_scaling=True` divides by the standard
    deviation without taking the mean away, as in Keras.
    https://keras.io/api/layers/normalization_layers/layer_normalization/

    >>> LayerNormalization()(np.ones((2, 4))).shape
    (2, 4)
    """

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        self.rms_scaling = bool(kwargs.pop("rms_scaling", False))
        super().__init__(**kwargs)
        self.axis = standard_axes(self, "axis", axis)
        self.epsilon = number(self, "epsilon", epsilon, 0)
        self.center, self.scale = center, scale
        set_options(
            self,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )
        self.supports_masking = True
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def build(self, input_shape: Any = None) -> None:
        """Make gamma and beta, shaped like the normalised axes."""
        self.axis = sorted(self.axis) if isinstance(self.axis, list) else [self.axis]
        shape = tuple(known_size(self, input_shape, a) for a in self.axis)
        if self.scale or self.rms_scaling:
            self.gamma = add_weight(self, "gamma", shape)
        if self.center and not self.rms_scaling:
            self.beta = add_weight(self, "beta", shape)

    def call(self, inputs: Any) -> Any:
        """The normalised inputs."""
        return _over_axes(inputs, self.axis, self._normalised)

    def _normalised(self, x: Any) -> Any:
        """Over the last axis."""
        size = x.shape[-1]
        gamma = _flat(self.gamma, np.ones(size, np.float32))
        if self.rms_scaling:
            variance = ops.var(x, axis=-1, keepdims=True)
            return x * ops.rsqrt(variance + self.epsilon) * gamma
        beta = _flat(self.beta, np.zeros(size, np.float32))
        return layer_norm(x, gamma, beta, epsilon=self.epsilon)[0]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "rms_scaling": self.rms_scaling,
            **options_config(self, *_AFFINE),
        }


def _flat(weight: Variable | None, default: np.ndarray) -> Any:
    return default if weight is None else ops.reshape(weight, (default.size,))


def _over_axes(inputs: Any, axes: list[int], normalise: Callable[[Any], Any]) -> Any:
    """normalise(x) over the last axis of x, which holds the given axes of the inputs."""
    rank = len(inputs.shape)
    over = sorted(a % rank for a in axes)
    order = [a for a in range(rank) if a not in over] + over
    moved = ops.transpose(inputs, order) if order != list(range(rank)) else inputs
    rows = moved.shape[: rank - len(over)]
    flat = ops.reshape(moved, (*rows, _product(moved.shape[rank - len(over) :])))
    y = ops.reshape(normalise(flat), moved.shape)
    return ops.transpose(y, np.argsort(order).tolist()) if moved is not inputs else y


def _product(sizes: Any) -> int:
    return int(np.prod(sizes, dtype=np.int64))


class RMSNormalization(Layer):
    """x divided by the root of its mean square over one or several axes, times a trained scale.

    The weight scale has the shape of those axes.
    https://keras.io/api/layers/normalization_layers/rms_normalization/

    >>> RMSNormalization()(np.array([[3.0, 4.0]])).shape
    (1, 2)
    """

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = standard_axes(self, "axis", axis)
        self.epsilon = number(self, "epsilon", epsilon, 0)

    def build(self, input_shape: Any = None) -> None:
        """Make the scale, shaped like the normalised axes."""
        self.axis = sorted(self.axis) if isinstance(self.axis, list) else [self.axis]
        shape = tuple(known_size(self, input_shape, a) for a in self.axis)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")

    def call(self, inputs: Any) -> Any:
        """The normalised inputs."""
        scale = ops.reshape(self.scale, (_product(self.scale.shape),))
        epsilon = float(self.epsilon)
        return _over_axes(inputs, self.axis, lambda x: rms_norm(x, scale, epsilon=epsilon)[0])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


class GroupNormalization(Layer):
    """Normalises each sample over groups of neighbouring channels and all other axes.

    groups=-1 makes every channel a group (instance normalization). Weights gamma and beta are
    (channels,). Wu and He 2018.
    https://keras.io/api/layers/normalization_layers/group_normalization/

    >>> GroupNormalization(2)(np.ones((2, 3, 4))).shape
    (2, 3, 4)
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.groups = groups if groups == -1 else positive(self, "groups", groups)
        if not is_whole(axis):
            raise argument_error(self, "axis", "a whole number", axis, "Name one axis.")
        self.axis = int(axis)
        self.epsilon = number(self, "epsilon", epsilon, 0)
        self.center, self.scale = center, scale
        set_options(
            self,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )
        self.supports_masking = True
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def build(self, input_shape: Any = None) -> None:
        """Make gamma and beta, one number per channel."""
        channels = known_size(self, input_shape, self.axis)
        self.groups = channels if self.groups == -1 else self.groups
        if channels % self.groups:
            raise argument_error(
                self, "groups", f"a divisor of the {channels} channels", self.groups,
                "Choose another number of groups.",
            )  # fmt: skip
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})
        if self.scale:
            self.gamma = add_weight(self, "gamma", (channels,))
        if self.center:
            self.beta = add_weight(self, "beta", (channels,))

    def call(self, inputs: Any) -> Any:
        """The normalised inputs."""
        x = ops.moveaxis(inputs, self.axis, -1)
        gamma = _flat(self.gamma, np.ones(x.shape[-1], np.float32))
        beta = _flat(self.beta, np.zeros(x.shape[-1], np.float32))
        epsilon = float(self.epsilon)
        y = group_norm(x, gamma, beta, groups=self.groups, epsilon=epsilon)[0]
        return ops.moveaxis(y, -1, self.axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "groups": self.groups,
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            **options_config(self, *_AFFINE),
        }


class UnitNormalization(Layer):
    """x divided by its length (L2 norm) along an axis, or several.

    https://keras.io/api/layers/normalization_layers/unit_normalization/

    >>> UnitNormalization()(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]], dtype=float32)
    """

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = standard_axes(self, "axis", axis)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The same direction, length 1."""
        axis = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        return ops.normalize(inputs, axis=axis, order=2, epsilon=1e-12)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}
