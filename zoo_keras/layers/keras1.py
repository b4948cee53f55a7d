"""Layers that Keras 1 had and later ones dropped; its files need them.

In and out: as in Keras 1.2. Real Keras 3 does not know them: a model that holds one opens there
only when a class of the same name is registered.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.layers.base.arguments import number, positive
from zoo_keras.layers.base.layer import Layer, known_size
from zoo_keras.layers.base.weight_options import add_weight, options_config, set_options
from zoo_keras.layers.merging import Dot

_DENSE = ("kernel_initializer", "kernel_regularizer", "bias_regularizer", "kernel_constraint",
          "bias_constraint")  # fmt: skip


class _Dense(Layer):
    """Options that MaxoutDense and Highway share."""

    kernel_initializer: Any
    bias_regularizer: Any
    bias_constraint: Any
    activation: Any

    def __init__(
        self,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.use_bias = use_bias
        set_options(
            self,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )

    def _bias(self, name: str, shape: tuple[int, ...], initializer: str, **more: Any) -> Any:
        if not self.use_bias:
            return None
        return self.add_weight(name=name, shape=shape, initializer=initializer, **more)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(), "use_bias": self.use_bias, **options_config(self, *_DENSE),
        }  # fmt: skip


class MaxoutDense(_Dense):
    """The largest of nb_feature dense layers, unit by unit: (batch, features) -> (batch, units).

    Weights: kernel (nb_feature, features, units), bias (nb_feature, units). Source: Keras 1.2.

    >>> MaxoutDense(3)(np.ones((2, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        units: int,
        nb_feature: int = 4,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            use_bias, kernel_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )  # fmt: skip
        self.units = positive(self, "units", units)
        self.nb_feature = positive(self, "nb_feature", nb_feature)

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of this shape."""
        features = known_size(self, input_shape, -1)
        self.kernel = add_weight(self, "kernel", (self.nb_feature, features, self.units))
        self.bias = self._bias(
            "bias", (self.nb_feature, self.units), "zeros",
            regularizer=self.bias_regularizer, constraint=self.bias_constraint,
        )  # fmt: skip

    def call(self, inputs: Any) -> Any:
        """The units' maxima."""
        features = inputs.shape[-1]
        flat = ops.reshape(ops.moveaxis(self.kernel, 0, 1), (features, -1))
        outputs = ops.matmul(inputs, flat)
        if self.bias is not None:
            outputs = ops.add(outputs, ops.reshape(self.bias, (-1,)))
        return ops.max(ops.reshape(outputs, (-1, self.nb_feature, self.units)), axis=1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units, "nb_feature": self.nb_feature}


class Highway(_Dense):
    """gate * activation(x @ kernel + bias) + (1 - gate) * x, the gate a sigmoid of x.

    Weights: kernel and carry_kernel (features, features), bias and carry_bias (features,).
    Source: Keras 1.2, and arXiv:1505.00387.

    >>> Highway()(np.ones((2, 4))).shape
    (2, 4)
    """

    def __init__(
        self,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            use_bias, kernel_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )  # fmt: skip
        set_options(self, activation=activation)

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of this shape."""
        size = known_size(self, input_shape, -1)
        self.kernel = add_weight(self, "kernel", (size, size))
        self.carry_kernel = self.add_weight(
            name="carry_kernel", shape=(size, size), initializer=self.kernel_initializer
        )
        self.bias = self._bias(
            "bias", (size,), "zeros",
            regularizer=self.bias_regularizer, constraint=self.bias_constraint,
        )  # fmt: skip
        self.carry_bias = self._bias("carry_bias", (size,), "ones")

    def call(self, inputs: Any) -> Any:
        """The gated mixture of the inputs and what became of them."""
        gate = ops.sigmoid(self._product(inputs, self.carry_kernel, self.carry_bias))
        made = self.activation(self._product(inputs, self.kernel, self.bias))
        return ops.add(ops.multiply(gate, made), ops.multiply(ops.subtract(1.0, gate), inputs))

    def _product(self, inputs: Any, kernel: Any, bias: Any) -> Any:
        product = ops.matmul(inputs, kernel)
        return product if bias is None else ops.add(product, bias)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **options_config(self, "activation")}


class _Parametric(Layer):
    """An activation with weights shaped like one row of the inputs."""

    def __init__(self, shared_axes: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.shared_axes = shared_axes

    def _add(self, name: str, input_shape: Any, initializer: Any) -> Any:
        shared = {a % len(input_shape) for a in self.shared_axes or []}
        rest = range(1, len(input_shape))
        shape = tuple(1 if a in shared else known_size(self, input_shape, a) for a in rest)
        return self.add_weight(name=name, shape=shape, initializer=initializer)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "shared_axes": self.shared_axes}


class ParametricSoftplus(_Parametric):
    """alpha * log(1 + exp(beta * x)) with learned alpha and beta; the arguments are where they
    begin. Source: Keras 1.2.

    >>> ParametricSoftplus()(np.zeros((1, 2))).shape
    (1, 2)
    """

    def __init__(
        self, alpha: float = 0.2, beta: float = 5.0, shared_axes: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(shared_axes, **kwargs)
        self.alpha, self.beta = (float(number(self, "alpha", v)) for v in (alpha, beta))

    def build(self, input_shape: Any = None) -> None:
        """Make alphas and betas."""
        from zoo_keras.initializers import Constant

        self.alphas = self._add("alphas", input_shape, Constant(self.alpha))
        self.betas = self._add("betas", input_shape, Constant(self.beta))

    def call(self, inputs: Any) -> Any:
        """The activation."""
        return ops.multiply(ops.softplus(ops.multiply(inputs, self.betas)), self.alphas)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


_ENDS = ("t_left", "a_left", "t_right", "a_right")
_END_OPTIONS = tuple(f"{name}_initializer" for name in _ENDS)


class SReLU(_Parametric):
    """S-shaped: x between two thresholds, lines with learned slopes outside of them.

    The right threshold is t_left + |t_right|. Source: Keras 1.2, and arXiv:1512.07030.

    >>> SReLU()(np.zeros((1, 2))).shape
    (1, 2)
    """

    def __init__(
        self,
        t_left_initializer: Any = "zeros",
        a_left_initializer: Any = "glorot_uniform",
        t_right_initializer: Any = "glorot_uniform",
        a_right_initializer: Any = "ones",
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(shared_axes, **kwargs)
        set_options(
            self,
            t_left_initializer=t_left_initializer,
            a_left_initializer=a_left_initializer,
            t_right_initializer=t_right_initializer,
            a_right_initializer=a_right_initializer,
        )

    def build(self, input_shape: Any = None) -> None:
        """Make thresholds and slopes."""
        made = [self._add(n, input_shape, getattr(self, f"{n}_initializer")) for n in _ENDS]
        self.t_left, self.a_left, self.t_right, self.a_right = made

    def call(self, inputs: Any) -> Any:
        """The activation."""
        width = ops.absolute(self.t_right)
        above = ops.subtract(inputs, self.t_left)
        left = ops.multiply(self.a_left, ops.relu(ops.negative(above)))
        middle = ops.minimum(ops.relu(above), width)
        right = ops.multiply(self.a_right, ops.relu(ops.subtract(above, width)))
        return ops.add(ops.subtract(ops.add(self.t_left, middle), left), right)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **options_config(self, *_END_OPTIONS)}


class _Norm(Layer):
    """The weights of Keras 1's BatchNormalization, whose running ones its modes 1 and 2 ignore."""

    def __init__(
        self, epsilon: float = 1e-3, axis: int = -1, momentum: float = 0.99,
        gamma_initializer: Any = "ones", beta_initializer: Any = "zeros",
        gamma_regularizer: Any = None, beta_regularizer: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.supports_masking = True
        self.epsilon = float(number(self, "epsilon", epsilon, 0))
        self.axis, self.momentum = axis, momentum
        set_options(
            self,
            gamma_initializer=gamma_initializer,
            beta_initializer=beta_initializer,
            gamma_regularizer=gamma_regularizer,
            beta_regularizer=beta_regularizer,
        )

    def build(self, input_shape: Any = None) -> None:
        """Make the weights, one number per channel."""
        shape = (known_size(self, input_shape, self.axis),)
        self.gamma = add_weight(self, "gamma", shape)
        self.beta = add_weight(self, "beta", shape)
        still: dict[str, Any] = {"shape": shape, "trainable": False}
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **still)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **still)

    def _affine(self, x: Any, axis: int) -> Any:
        """gamma * x + beta along an axis."""
        shape = [1] * len(x.shape)
        shape[axis] = x.shape[axis]
        gamma, beta = ops.reshape(self.gamma, shape), ops.reshape(self.beta, shape)
        return ops.add(ops.multiply(gamma, x), beta)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("gamma_initializer", "beta_initializer", "gamma_regularizer", "beta_regularizer")
        return {
            **super().get_config(), "epsilon": self.epsilon, "axis": self.axis,
            "momentum": self.momentum, **options_config(self, *names),
        }  # fmt: skip


class SampleNormalization(_Norm):
    """BatchNormalization(mode=1) of Keras 1: each row over its last axis. Source: Keras 1.2.

    >>> SampleNormalization()(np.ones((2, 4))).shape
    (2, 4)
    """

    def call(self, inputs: Any) -> Any:
        """The normalised rows."""
        mean = ops.mean(inputs, axis=-1, keepdims=True)
        variance = ops.var(inputs, axis=-1, keepdims=True)
        deviation = ops.add(ops.sqrt(ops.add(variance, self.epsilon)), self.epsilon)
        return self._affine(ops.divide(ops.subtract(inputs, mean), deviation), -1)


class BatchOnlyNormalization(_Norm):
    """BatchNormalization(mode=2) of Keras 1: by the batch's statistics, in inference too.

    Source: Keras 1.2.

    >>> BatchOnlyNormalization()(np.ones((2, 4))).shape
    (2, 4)
    """

    def call(self, inputs: Any) -> Any:
        """The normalised batch."""
        over = [a for a in range(len(inputs.shape)) if a != self.axis % len(inputs.shape)]
        mean, variance = ops.moments(inputs, axes=over, keepdims=True)
        scale = ops.rsqrt(ops.add(variance, self.epsilon))
        return self._affine(ops.multiply(ops.subtract(inputs, mean), scale), self.axis)


class Cosine(Dot):
    """merge(mode="cos") of Keras 1: the cosine of two inputs, with an axis of size 1 behind the
    batch. Source: Keras 1.2.

    >>> Cosine(1)([np.ones((2, 5)), np.ones((2, 5))]).shape
    (2, 1, 1)
    """

    def call(self, inputs: Any) -> Any:
        """The cosines."""
        first, second = inputs
        dot = super().call
        lengths = ops.sqrt(ops.multiply(dot([first, first]), dot([second, second])))
        return ops.expand_dims(ops.divide(dot(inputs), ops.maximum(lengths, 1e-7)), 1)
