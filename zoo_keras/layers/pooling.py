"""Pooling layers: the largest or mean value of each window, or of everything.

In: (batch, *spatial, channels), or channels first. Out: the same with fewer places, or
(batch, channels).
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.arguments import int_tuple, one_of
from zoo_keras.layers.base.channels import from_last, to_last
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer


class BasePooling(Layer):
    """What the window pools share; `rank` is the number of spatial axes."""

    rank = 0
    pool = staticmethod(ops.max_pool)

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.pool_size = int_tuple(self, "pool_size", pool_size, self.rank)
        strides = self.pool_size if strides is None else strides
        self.strides = int_tuple(self, "strides", strides, self.rank)
        self.padding = one_of(self, "padding", padding, ("valid", "same"))
        self.data_format = standard_data_format(self, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """One value for each window and channel."""
        pooled = self.pool(
            to_last(inputs, self.data_format), pool_size=self.pool_size, strides=self.strides,
            padding=self.padding, data_format="channels_last",
        )  # fmt: skip
        return from_last(pooled, self.data_format)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "padding": self.padding,
            "strides": self.strides,
            "data_format": self.data_format,
        }


class MaxPooling1D(BasePooling):
    """The largest value of each window of steps.

    https://keras.io/api/layers/pooling_layers/max_pooling1d/

    >>> MaxPooling1D(2)(np.ones((1, 6, 3))).shape
    (1, 3, 3)
    """

    rank = 1


class MaxPooling2D(BasePooling):
    """The largest value of each window of rows and columns.

    https://keras.io/api/layers/pooling_layers/max_pooling2d/

    >>> MaxPooling2D()(np.ones((1, 6, 4, 3))).shape
    (1, 3, 2, 3)
    """

    rank = 2


class MaxPooling3D(BasePooling):
    """The largest value of each window of a volume.

    https://keras.io/api/layers/pooling_layers/max_pooling3d/

    >>> MaxPooling3D()(np.ones((1, 4, 6, 8, 3))).shape
    (1, 2, 3, 4, 3)
    """

    rank = 3


class AveragePooling1D(BasePooling):
    """The mean of each window of steps; padded steps are not counted.

    https://keras.io/api/layers/pooling_layers/average_pooling1d/

    >>> AveragePooling1D(2)(np.ones((1, 6, 3))).shape
    (1, 3, 3)
    """

    rank = 1
    pool = staticmethod(ops.average_pool)

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


class AveragePooling2D(AveragePooling1D):
    """The mean of each window of rows and columns; padded cells are not counted.

    https://keras.io/api/layers/pooling_layers/average_pooling2d/

    >>> AveragePooling2D(2)(np.ones((1, 6, 4, 3))).shape
    (1, 3, 2, 3)
    """

    rank = 2


class AveragePooling3D(AveragePooling1D):
    """The mean of each window of a volume; padded cells are not counted.

    https://keras.io/api/layers/pooling_layers/average_pooling3d/

    >>> AveragePooling3D(2)(np.ones((1, 4, 6, 8, 3))).shape
    (1, 2, 3, 4, 3)
    """

    rank = 3


class BaseGlobalPooling(Layer):
    """What the global pools share; `rank` is the number of spatial axes."""

    rank = 0
    reduce = staticmethod(ops.max)

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standard_data_format(self, data_format)
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def _spatial(self) -> tuple[int, ...]:
        first = 1 if self.data_format == "channels_last" else 2
        return tuple(range(first, first + self.rank))

    def call(self, inputs: Any) -> Any:
        """One value for each channel."""
        return self.reduce(inputs, axis=self._spatial(), keepdims=self.keepdims)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "data_format": self.data_format,
            "keepdims": self.keepdims,
        }


class GlobalMaxPooling1D(BaseGlobalPooling):
    """The largest value over all steps: (batch, steps, channels) -> (batch, channels).

    https://keras.io/api/layers/pooling_layers/global_max_pooling1d/

    >>> GlobalMaxPooling1D()(np.ones((2, 5, 3))).shape
    (2, 3)
    """

    rank = 1


class GlobalMaxPooling2D(BaseGlobalPooling):
    """The largest value over rows and columns: (batch, *spatial, channels) -> (batch, channels).

    https://keras.io/api/layers/pooling_layers/global_max_pooling2d/

    >>> GlobalMaxPooling2D()(np.ones((2, 5, 4, 3))).shape
    (2, 3)
    """

    rank = 2


class GlobalMaxPooling3D(BaseGlobalPooling):
    """The largest value of a volume: (batch, *spatial, channels) -> (batch, channels).

    https://keras.io/api/layers/pooling_layers/global_max_pooling3d/

    >>> GlobalMaxPooling3D()(np.ones((2, 5, 4, 3, 6))).shape
    (2, 6)
    """

    rank = 3


class GlobalAveragePooling1D(BaseGlobalPooling):
    """The mean over all steps that are not masked: (batch, steps, channels) -> (batch, channels).

    https://keras.io/api/layers/pooling_layers/global_average_pooling1d/

    >>> GlobalAveragePooling1D()(np.ones((2, 5, 3))).shape
    (2, 3)
    """

    rank = 1
    reduce = staticmethod(ops.mean)

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The mean; `mask` (batch, steps) says which steps count."""
        if mask is None:
            return super().call(inputs)
        axis = self._spatial()
        counted = ops.cast(ops.expand_dims(mask, 3 - axis[0]), "bool")
        total = ops.sum(ops.where(counted, inputs, 0.0), axis=axis, keepdims=self.keepdims)
        count = ops.sum(ops.cast(counted, "float32"), axis=axis, keepdims=self.keepdims)
        return total / count

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: the steps are gone."""
        return None


class GlobalAveragePooling2D(BaseGlobalPooling):
    """The mean over rows and columns: (batch, *spatial, channels) -> (batch, channels).

    https://keras.io/api/layers/pooling_layers/global_average_pooling2d/

    >>> GlobalAveragePooling2D()(np.ones((2, 5, 4, 3))).shape
    (2, 3)
    """

    rank = 2
    reduce = staticmethod(ops.mean)


class GlobalAveragePooling3D(BaseGlobalPooling):
    """The mean of a volume: (batch, *spatial, channels) -> (batch, channels).

    https://keras.io/api/layers/pooling_layers/global_average_pooling3d/

    >>> GlobalAveragePooling3D()(np.ones((2, 5, 4, 3, 6))).shape
    (2, 6)
    """

    rank = 3
    reduce = staticmethod(ops.mean)
