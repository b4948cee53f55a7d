"""Adaptive pooling: windows that lie so that a wanted number of places comes out.

In: (batch, *spatial, channels), or channels first, of known size. Out: (batch, *output_size,
channels).
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.arguments import int_tuple
from zoo_keras.layers.base.channels import from_last, to_last
from zoo_keras.layers.base.layer import Layer


class BaseAdaptivePooling(Layer):
    """What the adaptive pools share; `rank` is the number of spatial axes."""

    rank = 0
    pool = staticmethod(ops.adaptive_average_pool)

    def __init__(self, output_size: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_size = int_tuple(self, "output_size", output_size, self.rank)
        self.data_format = standard_data_format(self, data_format)

    def call(self, inputs: Any) -> Any:
        """One value for each window and channel."""
        x = to_last(inputs, self.data_format)
        return from_last(self.pool(x, self.output_size, "channels_last"), self.data_format)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        base = super().get_config()
        return {**base, "output_size": self.output_size, "data_format": self.data_format}


class AdaptiveAveragePooling1D(BaseAdaptivePooling):
    """The mean of each of output_size windows along the steps.

    https://keras.io/api/layers/pooling_layers/adaptive_average_pooling1d/

    >>> AdaptiveAveragePooling1D(4)(np.ones((2, 7, 3))).shape
    (2, 4, 3)
    """

    rank = 1


class AdaptiveAveragePooling2D(BaseAdaptivePooling):
    """The mean of each of output_size windows along rows and columns.

    https://keras.io/api/layers/pooling_layers/adaptive_average_pooling2d/

    >>> AdaptiveAveragePooling2D(4)(np.ones((2, 7, 8, 3))).shape
    (2, 4, 4, 3)
    """

    rank = 2


class AdaptiveAveragePooling3D(BaseAdaptivePooling):
    """The mean of each of output_size windows along 3 axes.

    https://keras.io/api/layers/pooling_layers/adaptive_average_pooling3d/

    >>> AdaptiveAveragePooling3D(4)(np.ones((2, 7, 8, 9, 3))).shape
    (2, 4, 4, 4, 3)
    """

    rank = 3


class AdaptiveMaxPooling1D(BaseAdaptivePooling):
    """The largest value of each of output_size windows along the steps.

    https://keras.io/api/layers/pooling_layers/adaptive_max_pooling1d/

    >>> AdaptiveMaxPooling1D(4)(np.ones((2, 7, 3))).shape
    (2, 4, 3)
    """

    rank = 1
    pool = staticmethod(ops.adaptive_max_pool)


class AdaptiveMaxPooling2D(BaseAdaptivePooling):
    """The largest value of each of output_size windows along rows and columns.

    https://keras.io/api/layers/pooling_layers/adaptive_max_pooling2d/

    >>> AdaptiveMaxPooling2D(4)(np.ones((2, 7, 8, 3))).shape
    (2, 4, 4, 3)
    """

    rank = 2
    pool = staticmethod(ops.adaptive_max_pool)


class AdaptiveMaxPooling3D(BaseAdaptivePooling):
    """The largest value of each of output_size windows along 3 axes.

    https://keras.io/api/layers/pooling_layers/adaptive_max_pooling3d/

    >>> AdaptiveMaxPooling3D(4)(np.ones((2, 7, 8, 9, 3))).shape
    (2, 4, 4, 4, 3)
    """

    rank = 3
    pool = staticmethod(ops.adaptive_max_pool)
