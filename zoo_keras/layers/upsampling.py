"""UpSampling1D, UpSampling2D and UpSampling3D: more cells along the spatial axes.

In: (batch, *spatial, channels), or channels first. Out: the same with every axis `size` times as
long; cells are repeated or, in 2-D, interpolated.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.arguments import int_tuple, one_of, positive
from zoo_keras.layers.base.channels import from_last, to_last
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer
from zoo_keras.ops.images import INTERPOLATIONS, resize_axis

_KINDS = tuple(kind for kind in INTERPOLATIONS if kind != "area")


class UpSampling1D(Layer):
    """Each step `size` times: (batch, steps, channels) -> (batch, steps * size, channels).

    https://keras.io/api/layers/reshaping_layers/up_sampling1d/

    >>> UpSampling1D(3)(np.ones((2, 4, 5))).shape
    (2, 12, 5)
    """

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = positive(self, "size", size)
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: Any) -> Any:
        """The repeated steps."""
        return ops.repeat(inputs, self.size, axis=1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "size": self.size}


def _repeated(x: Any, size: tuple[int, ...]) -> Any:
    for axis, count in enumerate(size, start=1):
        x = ops.repeat(x, count, axis=axis) if count > 1 else x
    return x


class UpSampling2D(Layer):
    """size[0] times as many rows and size[1] times as many columns.

    interpolation is "nearest" (cells are repeated), "bilinear", "bicubic", "lanczos3" or
    "lanczos5". https://keras.io/api/layers/reshaping_layers/up_sampling2d/

    >>> UpSampling2D(2)(np.ones((1, 4, 5, 3))).shape
    (1, 8, 10, 3)
    """

    def __init__(
        self,
        size: Any = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standard_data_format(self, data_format)
        self.size = int_tuple(self, "size", size, 2)
        self.interpolation = one_of(self, "interpolation", interpolation, _KINDS)
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Any) -> Any:
        """The larger images."""
        x = to_last(inputs, self.data_format)
        if self.interpolation == "nearest":
            return from_last(_repeated(x, self.size), self.data_format)
        x = ops.cast(x, "float32")
        for axis, count in enumerate(self.size, start=1):
            x = resize_axis(x, axis, x.shape[axis] * count, self.interpolation)
        return from_last(x, self.data_format)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "size": self.size,
            "data_format": self.data_format,
            "interpolation": self.interpolation,
        }


class UpSampling3D(Layer):
    """Each cell of a volume repeated size[i] times along axis i.

    https://keras.io/api/layers/reshaping_layers/up_sampling3d/

    >>> UpSampling3D(2)(np.ones((1, 2, 3, 4, 5))).shape
    (1, 4, 6, 8, 5)
    """

    def __init__(
        self, size: Any = (2, 2, 2), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standard_data_format(self, data_format)
        self.size = int_tuple(self, "size", size, 3)
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs: Any) -> Any:
        """The repeated cells."""
        x = _repeated(to_last(inputs, self.data_format), self.size)
        return from_last(x, self.data_format)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        base = super().get_config()
        return {**base, "size": self.size, "data_format": self.data_format}
