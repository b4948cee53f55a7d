"""Zero padding and cropping of 1 to 3 spatial axes.

In: (batch, *spatial, channels), or channels first. Out: the same with wider or narrower axes.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.layers.base.arguments import argument_error, int_tuple, is_whole
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer, shape_error

Sides = tuple[tuple[int, ...], ...]


def _pairs(layer: Layer, argument: str, value: Any, axes: int) -> Sides:
    """n, one number for each axis or a pair for each axis, in the last of these forms."""
    many = (value,) * axes if is_whole(value) else value
    if not isinstance(many, (list, tuple)) or len(many) != axes:
        raise argument_error(
            layer, argument, f"a whole number, {axes} of them, or {axes} pairs", value,
            f"Write {(('before', 'after'),) * axes}, with numbers.",
        )  # fmt: skip
    return tuple(int_tuple(layer, argument, v, 2, least=0) for v in many)


def _all_axes(sides: Sides, data_format: str) -> Sides:
    """Sides of every axis, batch and channels included."""
    none = (0, 0)
    if data_format == "channels_first":
        return (none, none, *sides)
    return (none, *sides, none)


class ZeroPadding1D(Layer):
    """Zeros before and after the steps: (batch, steps, channels) -> (batch, longer, channels).

    https://keras.io/api/layers/reshaping_layers/zero_padding1d/

    >>> ZeroPadding1D((1, 2))(np.ones((2, 4, 3))).shape
    (2, 7, 3)
    """

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standard_data_format(self, data_format)
        self.padding = int_tuple(self, "padding", padding, 2, least=0)
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: Any) -> Any:
        """The padded inputs."""
        return ops.pad(inputs, _all_axes((self.padding,), self.data_format))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        base = super().get_config()
        return {**base, "padding": self.padding, "data_format": self.data_format}


class ZeroPadding2D(Layer):
    """Zeros around images; padding is n, (rows, columns) or ((top, bottom), (left, right)).

    https://keras.io/api/layers/reshaping_layers/zero_padding2d/

    >>> ZeroPadding2D(((1, 0), (2, 2)))(np.ones((1, 4, 4, 3))).shape
    (1, 5, 8, 3)
    """

    def __init__(
        self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standard_data_format(self, data_format)
        self.padding = _pairs(self, "padding", padding, 2)
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Any) -> Any:
        """The padded inputs."""
        return ops.pad(inputs, _all_axes(self.padding, self.data_format))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        base = super().get_config()
        return {**base, "padding": self.padding, "data_format": self.data_format}


class ZeroPadding3D(Layer):
    """Zeros around volumes; padding is n, 3 numbers or 3 pairs (before, after).

    https://keras.io/api/layers/reshaping_layers/zero_padding3d/

    >>> ZeroPadding3D(1)(np.ones((1, 2, 3, 4, 5))).shape
    (1, 4, 5, 6, 5)
    """

    def __init__(
        self, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standard_data_format(self, data_format)
        self.padding = _pairs(self, "padding", padding, 3)
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs: Any) -> Any:
        """The padded inputs."""
        return ops.pad(inputs, _all_axes(self.padding, self.data_format))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        base = super().get_config()
        return {**base, "padding": self.padding, "data_format": self.data_format}


def _cropped(layer: Layer, inputs: Any, sides: Sides) -> Any:
    sizes = inputs.shape
    if any(sum(side) >= size for side, size in zip(sides, sizes, strict=True) if any(side)):
        raise shape_error(
            layer,
            "Values in `cropping` argument should be smaller than the corresponding spatial "
            "dimension of the input",
            f"cropping {sides} of an input of shape {tuple(sizes)}", "Crop less.",
            [sizes, [sum(s) for s in sides]],
        )  # fmt: skip
    kept = zip(sides, sizes, strict=True)
    return inputs[tuple(slice(low, size - high) for (low, high), size in kept)]


class Cropping1D(Layer):
    """Cuts steps off at the start and the end of (batch, steps, channels).

    https://keras.io/api/layers/reshaping_layers/cropping1d/

    >>> Cropping1D((1, 2))(np.ones((2, 7, 3))).shape
    (2, 4, 3)
    """

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cropping = int_tuple(self, "cropping", cropping, 2, least=0)
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: Any) -> Any:
        """The steps in between."""
        return _cropped(self, inputs, _all_axes((self.cropping,), "channels_last"))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "cropping": self.cropping}


class Cropping2D(Layer):
    """Cuts rows and columns off images; cropping is written like ZeroPadding2D's padding.

    https://keras.io/api/layers/reshaping_layers/cropping2d/

    >>> Cropping2D(((1, 0), (2, 2)))(np.ones((1, 5, 8, 3))).shape
    (1, 4, 4, 3)
    """

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standard_data_format(self, data_format)
        self.cropping = _pairs(self, "cropping", cropping, 2)
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Any) -> Any:
        """The middle of the images."""
        return _cropped(self, inputs, _all_axes(self.cropping, self.data_format))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        base = super().get_config()
        return {**base, "cropping": self.cropping, "data_format": self.data_format}


class Cropping3D(Layer):
    """Cuts cells off volumes; cropping is written like ZeroPadding3D's padding.

    https://keras.io/api/layers/reshaping_layers/cropping3d/

    >>> Cropping3D()(np.ones((1, 4, 5, 6, 5))).shape
    (1, 2, 3, 4, 5)
    """

    def __init__(
        self,
        cropping: Any = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standard_data_format(self, data_format)
        self.cropping = _pairs(self, "cropping", cropping, 3)
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs: Any) -> Any:
        """The middle of the volumes."""
        return _cropped(self, inputs, _all_axes(self.cropping, self.data_format))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        base = super().get_config()
        return {**base, "cropping": self.cropping, "data_format": self.data_format}
