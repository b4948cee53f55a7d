"""Layers that act in training only: Dropout and its relatives, noise, activity penalties.

In: tensors of any rank. Out: the same shape. Random numbers depend on the layer's seed, the step
and the row alone, so any number of ranks and threads draws the same ones.
"""

from __future__ import annotations

import math
from typing import Any

from zoo_keras import ops, random, regularizers
from zoo_keras.layers.base.arguments import argument_error, is_whole, number
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer


class _Random(Layer):
    """A layer that passes its inputs on unless it is training, and may draw random numbers."""

    def __init__(self, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.supports_masking = True
        self.built = True

    def _draw_if(self, amount: float) -> None:
        if amount > 0:
            self.seed_generator = random.SeedGenerator(self.seed)


class Dropout(_Random):
    """In training, sets a fraction `rate` of the inputs to 0 and divides the rest by 1 - rate.

    noise_shape shares one decision along the axes where it is 1; None there means the input's size.
    https://keras.io/api/layers/regularization_layers/dropout/

    >>> Dropout(0.5)(np.ones((1, 3)))
    array([[1., 1., 1.]], dtype=float32)
    """

    def __init__(
        self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate = number(self, "rate", rate, 0, 1)
        self.noise_shape = _noise_shape(self, noise_shape)
        self._draw_if(self.rate)

    def call(self, inputs: Any, training: Any = False) -> Any:
        """The inputs, thinned out in training."""
        if not training or not self.rate:
            return inputs
        shape = self._noise_shape_for(inputs)
        return random.dropout(inputs, self.rate, noise_shape=shape, seed=self.seed_generator)

    def _noise_shape_for(self, inputs: Any) -> Any:
        return self.noise_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "seed": self.seed,
            "noise_shape": self.noise_shape,
        }


def _noise_shape(layer: Layer, value: Any) -> tuple[int | None, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(
        d is None or (is_whole(d) and d > 0) for d in value
    ):
        raise argument_error(
            layer, "noise_shape", "a tuple of positive integers or None", value,
            "Write 1 for an axis that shares one decision.",
        )  # fmt: skip
    return tuple(value)


class _SpatialDropout(Dropout):
    def __init__(
        self, rate: float, seed: int | None = None, name: str | None = None, dtype: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"rate": self.rate, "seed": self.seed, "name": self.name, "dtype": self.dtype}


class SpatialDropout1D(_SpatialDropout):
    """Dropout of whole channels of (batch, steps, channels).

    https://keras.io/api/layers/regularization_layers/spatial_dropout1d/

    >>> SpatialDropout1D(0.5)(np.ones((1, 4, 3))).shape
    (1, 4, 3)
    """

    def __init__(
        self, rate: float, seed: int | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(rate, seed, name, dtype)
        self.input_spec = InputSpec(ndim=3)

    def _noise_shape_for(self, inputs: Any) -> Any:
        return (inputs.shape[0], 1, inputs.shape[2])


class _SpatialDropoutND(_SpatialDropout):
    """The base for several spatial axes, with channels last or first."""

    spatial: int

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(rate, seed, name, dtype)
        self.data_format = standard_data_format(self, data_format)
        self.input_spec = InputSpec(ndim=2 + self.spatial)

    def _noise_shape_for(self, inputs: Any) -> Any:
        once = (1,) * self.spatial
        if self.data_format == "channels_first":
            return (*inputs.shape[:2], *once)
        return (inputs.shape[0], *once, inputs.shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "data_format": self.data_format}


class SpatialDropout2D(_SpatialDropoutND):
    """Dropout of whole channels of (batch, rows, columns, channels).

    https://keras.io/api/layers/regularization_layers/spatial_dropout2d/

    >>> SpatialDropout2D(0.5)(np.ones((1, 4, 4, 3))).shape
    (1, 4, 4, 3)
    """

    spatial = 2


class SpatialDropout3D(_SpatialDropoutND):
    """Dropout of whole channels of (batch, depth, rows, columns, channels).

    https://keras.io/api/layers/regularization_layers/spatial_dropout3d/

    >>> SpatialDropout3D(0.5)(np.ones((1, 2, 4, 4, 3))).shape
    (1, 2, 4, 4, 3)
    """

    spatial = 3


class GaussianNoise(_Random):
    """In training, adds normal numbers with this standard deviation.

    https://keras.io/api/layers/regularization_layers/gaussian_noise/

    >>> GaussianNoise(0.1)(np.ones((1, 2)))
    array([[1., 1.]], dtype=float32)
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.stddev = number(self, "stddev", stddev, 0, 1)
        self._draw_if(self.stddev)

    def call(self, inputs: Any, training: Any = False) -> Any:
        """The inputs, noisy in training."""
        if not training or not self.stddev:
            return inputs
        return inputs + random.normal(
            inputs.shape, stddev=self.stddev, dtype=self.compute_dtype, seed=self.seed_generator
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}


class GaussianDropout(_Random):
    """In training, multiplies by normal numbers around 1 with stddev sqrt(rate / (1 - rate)).

    https://keras.io/api/layers/regularization_layers/gaussian_dropout/

    >>> GaussianDropout(0.1)(np.ones((1, 2)))
    array([[1., 1.]], dtype=float32)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.rate = number(self, "rate", rate, 0, 1)
        if self.rate == 1:
            raise argument_error(self, "rate", "below 1", rate, "Pass a smaller number.")
        self._draw_if(self.rate)

    def call(self, inputs: Any, training: Any = False) -> Any:
        """The inputs, noisy in training."""
        if not training or not self.rate:
            return inputs
        stddev = math.sqrt(self.rate / (1.0 - self.rate))
        return inputs * random.normal(
            inputs.shape, mean=1.0, stddev=stddev, dtype=self.compute_dtype,
            seed=self.seed_generator,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


class AlphaDropout(Dropout):
    """Dropout for SELU networks: dropped inputs become SELU's lower limit, and the result is scaled
    and shifted so that mean and variance stay.

    Klambauer et al. 2017. https://keras.io/api/layers/regularization_layers/alpha_dropout/

    >>> AlphaDropout(0.5)(np.ones((1, 3)))
    array([[1., 1., 1.]], dtype=float32)
    """

    def call(self, inputs: Any, training: Any = False) -> Any:
        """The inputs, thinned out in training."""
        if not training or not self.rate:
            return inputs
        shape = self.noise_shape or inputs.shape
        drawn = [d if n is None else n for d, n in zip(inputs.shape, shape, strict=True)]
        limit = -1.6732632423543772 * 1.0507009873554805
        kept = random.uniform(drawn, seed=self.seed_generator) >= self.rate
        scale = ((1 - self.rate) * (1 + self.rate * limit**2)) ** -0.5
        return ops.where(kept, inputs, limit) * scale - scale * limit * self.rate


class ActivityRegularization(Layer):
    """Adds (l1 * sum |x| + l2 * sum x * x) / batch size to the loss, and passes x on.

    https://keras.io/api/layers/regularization_layers/activity_regularization/

    >>> ActivityRegularization(l2=0.1)(np.ones((1, 2)))
    array([[1., 1.]], dtype=float32)
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.supports_masking = True
        self.l1, self.l2 = number(self, "l1", l1, 0), number(self, "l2", l2, 0)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The inputs."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        base = super().get_config()
        base.pop("activity_regularizer", None)
        return {**base, "l1": self.l1, "l2": self.l2}
