"""Activations as layers: Activation, ReLU, LeakyReLU, ELU, PReLU, Softmax.

In: tensors of any rank. Out: the same shape.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import activations, ops
from zoo_keras.dtypes import is_float
from zoo_keras.layers.base.arguments import axes as standard_axes
from zoo_keras.layers.base.arguments import number
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer, known_size, shape_error
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.ops.convert import dtype_of

_FAR_BELOW = -1e9


class Activation(Layer):
    """An activation by name, or any function of one tensor.

    https://keras.io/api/layers/core_layers/activation/

    >>> Activation("relu")(np.array([-1.0, 2.0]))
    array([0., 2.], dtype=float32)
    """

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.activation: Any = None
        set_options(self, activation=activation)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """activation(inputs)."""
        return activations.get(self.activation)(inputs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **options_config(self, "activation")}


class ReLU(Layer):
    """max(x, 0), or with options: max_value above it, x from threshold on, and below
    negative_slope * (x - threshold).

    https://keras.io/api/layers/activation_layers/relu/

    >>> ReLU(max_value=1.0)(np.array([-1.0, 0.5, 2.0]))
    array([0. , 0.5, 1. ], dtype=float32)
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else number(self, "max_value", max_value, 0)
        self.negative_slope = number(self, "negative_slope", negative_slope, 0)
        self.threshold = number(self, "threshold", threshold, 0)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The rectified inputs."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }


class ThresholdedReLU(Layer):
    """x above theta, else 0; Keras 3 dropped it for ReLU(threshold=theta).

    >>> ThresholdedReLU(1.0)(np.array([0.5, 1.0, 2.0]))
    array([0., 0., 2.], dtype=float32)
    """

    def __init__(self, theta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.theta = number(self, "theta", theta, 0)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The inputs, small ones as 0."""
        return ops.where(ops.greater(inputs, self.theta), inputs, 0.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "theta": self.theta}


class LeakyReLU(Layer):
    """x above 0, negative_slope * x below.

    https://keras.io/api/layers/activation_layers/leaky_relu/

    >>> LeakyReLU(0.5)(np.array([-1.0, 2.0]))
    array([-0.5,  2. ], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        negative_slope = kwargs.pop("alpha", negative_slope)  # the name of Keras 2
        super().__init__(**kwargs)
        self.negative_slope = number(self, "negative_slope", negative_slope, 0)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The rectified inputs."""
        return activations.leaky_relu(inputs, negative_slope=self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "negative_slope": self.negative_slope}


class ELU(Layer):
    """x above 0, alpha * (exp(x) - 1) below.

    https://keras.io/api/layers/activation_layers/elu/

    >>> ELU()(np.array([0.0, 2.0]))
    array([0., 2.], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = number(self, "alpha", alpha)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The activated inputs."""
        return activations.elu(inputs, alpha=self.alpha)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha}


class PReLU(Layer):
    """x above 0, alpha * x below, with a learned alpha shaped like one row of the inputs.

    Axes in shared_axes share one alpha. https://keras.io/api/layers/activation_layers/prelu/

    >>> PReLU()(np.array([[-1.0, 2.0]]))
    array([[0., 2.]], dtype=float32)
    """

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        set_options(
            self,
            alpha_initializer=alpha_initializer,
            alpha_regularizer=alpha_regularizer,
            alpha_constraint=alpha_constraint,
        )
        self.shared_axes: list[int] | None = None
        if shared_axes is not None:
            found = standard_axes(self, "shared_axes", shared_axes)
            self.shared_axes = found if isinstance(found, list) else [found]

    def build(self, input_shape: Any = None) -> None:
        """Make alpha."""
        shared = {a % len(input_shape) for a in self.shared_axes or []}
        rest = range(1, len(input_shape))
        shape = [1 if a in shared else known_size(self, input_shape, a) for a in rest]
        self.alpha = add_weight(self, "alpha", shape)
        axes = {a: input_shape[a] for a in rest if shared and a not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=axes)

    def call(self, inputs: Any) -> Any:
        """The rectified inputs."""
        below = ops.multiply(self.alpha, ops.relu(ops.negative(inputs)))
        return ops.subtract(ops.relu(inputs), below)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            **options_config(self, "alpha_initializer", "alpha_regularizer", "alpha_constraint"),
            "shared_axes": self.shared_axes,
        }


class Softmax(Layer):
    """exp(x) divided by its sum along an axis, or several; a mask takes entries out.

    https://keras.io/api/layers/activation_layers/softmax/

    >>> Softmax()(np.zeros((1, 2)))
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = standard_axes(self, "axis", axis)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Probabilities; `mask` broadcasts to the inputs, True where an entry counts."""
        if mask is not None:
            self._check_mask(inputs, mask)
            floating = is_float(dtype_of(mask))
            mask = ops.greater(mask, 0.5) if floating else ops.cast(mask, "bool")
            inputs = ops.where(mask, inputs, _FAR_BELOW)
        if isinstance(self.axis, list) and len(self.axis) > 1:
            total = ops.logsumexp(inputs, axis=tuple(self.axis), keepdims=True)
            outputs = ops.exp(inputs - total)
        else:
            axis = self.axis[0] if isinstance(self.axis, list) else self.axis
            outputs = activations.softmax(inputs, axis=axis)
        return outputs if mask is None else ops.where(mask, outputs, 0.0)

    def _check_mask(self, inputs: Any, mask: Any) -> None:
        pairs = zip(mask.shape[::-1], inputs.shape[::-1], strict=False)
        if len(mask.shape) > len(inputs.shape) or any(m not in (1, i) for m, i in pairs):
            raise shape_error(
                self, "the mask must be broadcastable to the inputs",
                f"mask {tuple(mask.shape)}, inputs {tuple(inputs.shape)}",
                "Give it their sizes, or 1.",
            )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}
