"""Layers behind steps of images for which Keras has none.

In: images (height, width, channels), red, green, blue, values from 0 to 255. Out: the same, as
tensors in the order of the model, or changed at random in training. OpenCV's units are used: hue
has 180 steps, saturation and contrast are factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import layers, ops, random
from zoo_keras.configs.registration import register_keras_serializable
from zoo_keras.layers import Layer
from zoo_keras.layers.base.layer import shape_error
from zoo_keras.layers.preprocessing.augmentation import ImageAugmentation, per_image
from zoo_keras.ops.pixels import hsv, rgb
from zoo_keras.primitives.fed import OPEN
from zoo_keras.primitives.images import scale_images
from zoo_keras.primitives.resampling import short_side

registered = register_keras_serializable("nnframes")


@registered
class MatToTensor(Layer):
    """Images as floats, blue, green, red unless to_RGB, with the channels last or first."""

    def __init__(self, to_RGB: bool = False, format: str = "NHWC", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.to_RGB, self.format = bool(to_RGB), format

    def call(self, inputs: Any) -> Any:
        """The tensor of a batch of images."""
        x = ops.cast(inputs, self.compute_dtype)
        channels = x.shape[-1]
        if channels > 1 and not self.to_RGB:
            x = ops.take(x, [2, 1, 0, *range(3, channels)], axis=-1)
        return ops.transpose(x, (0, 3, 1, 2)) if self.format == "NCHW" else x

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "to_RGB": self.to_RGB, "format": self.format}


@registered
class AspectScale(Layer):
    """Images whose shorter side gets a size, and whose longer side at most another."""

    on_columns = True

    def __init__(self, min_size: int, multiple: int, max_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_size, self.multiple, self.max_size = min_size, multiple, max_size

    def call(self, inputs: Any) -> Any:
        """The images in their new sizes."""
        how = (self.min_size, self.multiple, self.max_size)
        if OPEN in inputs.shape:
            return scale_images(inputs, how=how)
        height, width = inputs.shape[1:3]
        return layers.Resizing(*short_side(height, width, *how))(inputs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"min_size": self.min_size, "multiple": self.multiple, "max_size": self.max_size}
        return {**super().get_config(), **own}


@registered
class Flip(Layer):
    """Images mirrored along axes of (batch, height, width, channels)."""

    def __init__(self, axes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axes = tuple(axes)

    def call(self, inputs: Any) -> Any:
        """The mirrored images."""
        return ops.flip(inputs, axis=self.axes)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axes": list(self.axes)}


def _part(layer: Layer, x: Any, box: Sequence[float], shares: bool) -> tuple[slice, slice]:
    """The rows and columns of a batch of images that a box (x1, y1, x2, y2) holds."""
    if OPEN in x.shape:
        raise shape_error(layer, "images must be of one size", "several", "Resize them before.")
    height, width = x.shape[1:3]
    x1, y1, x2, y2 = (int(n * s) if shares else int(n) for n, s in zip(box, (width, height) * 2))
    return slice(max(0, y1), min(height, y2)), slice(max(0, x1), min(width, x2))


@registered
class FixedCrop(Layer):
    """The part of images in a box (left, top, right, bottom), in pixels or shares of the sides."""

    def __init__(self, box: Sequence[float], shares: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.box, self.shares = list(box), bool(shares)

    def call(self, inputs: Any) -> Any:
        """The parts."""
        rows, columns = _part(self, inputs, self.box, self.shares)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            raise shape_error(
                self, "the box must lie in the images",
                f"{self.box} for images of {inputs.shape[1]} x {inputs.shape[2]}", "Move it.",
            )  # fmt: skip
        return inputs[:, rows, columns]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "box": self.box, "shares": self.shares}


@registered
class Filler(Layer):
    """Images with a box (left, top, right, bottom; shares of the sides) of one value."""

    def __init__(self, box: Sequence[float], value: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.box, self.value = list(box), value

    def call(self, inputs: Any) -> Any:
        """The filled images."""
        part = _part(self, inputs, self.box, True)
        inside = np.zeros((*inputs.shape[1:3], 1), bool)
        inside[part] = True
        return ops.where(inside, ops.cast(self.value, inputs.dtype), inputs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "box": self.box, "value": self.value}


@registered
class Stretch(Layer):
    """Images whose least value becomes `low` and whose largest `high`, each by itself."""

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = float(low), float(high)

    def call(self, inputs: Any) -> Any:
        """The images as floats; one of a single value becomes `low`."""
        x = ops.cast(inputs, self.compute_dtype)
        least, most = (f(x, axis=(1, 2, 3), keepdims=True) for f in (ops.min, ops.max))
        width = ops.where(most > least, most - least, 1.0)
        return (x - least) * ((self.high - self.low) / width) + self.low

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "low": self.low, "high": self.high}


class _Between(ImageAugmentation):
    """A number between two for each image."""

    _options: tuple[str, ...] = ("low", "high", "seed")

    def __init__(self, low: float, high: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, "channels_last", **kwargs)
        self.low, self.high = low, high

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """The numbers."""
        return random.uniform(shape[:1], self.low, self.high, seed=seed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["data_format"]
        return config


@registered
class Brightness(_Between):
    """Adds the number."""

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Brighter or darker images."""
        return ops.clip(x + per_image(drawn), 0, 255)


@registered
class Contrast(_Between):
    """Multiplies by the number."""

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images of more or less contrast."""
        return ops.clip(x * per_image(drawn), 0, 255)


@registered
class Hue(_Between):
    """Turns the hue by the number, of 180 steps for all hues."""

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images in other hues."""
        found = hsv(x / 255.0)
        hue = found[..., 0] + ops.reshape(drawn, (-1, 1, 1)) / 180.0
        hue = hue - ops.floor(hue)
        return rgb(ops.stack([hue, found[..., 1], found[..., 2]], axis=-1)) * 255.0


@registered
class Saturation(_Between):
    """Multiplies the saturation by the number."""

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Paler or stronger images."""
        found = hsv(x / 255.0)
        much = ops.clip(found[..., 1] * ops.reshape(drawn, (-1, 1, 1)), 0, 1)
        return rgb(ops.stack([found[..., 0], much, found[..., 2]], axis=-1)) * 255.0


@registered
class ChannelOrder(_Between):
    """Puts the three channels into one of their orders."""

    _options = ("seed",)
    _orders = np.array([(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)], np.int32)

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(0, len(self._orders), seed, **kwargs)

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images of other colours."""
        which = ops.minimum(ops.cast(drawn, "int32"), len(self._orders) - 1)
        share = ops.one_hot(ops.take(self._orders, which, axis=0), 3, dtype=x.dtype)
        return ops.einsum("bhwc,bdc->bhwd", x, share)


@registered
class Expand(_Between):
    """Images made smaller, by a number of at least 1, somewhere in a field of one colour.

    A larger image would have another size for each number, so this one keeps its size: what
    follows, a resize to one size, gives the same.
    """

    _options = ("low", "high", "colour", "seed")
    moves = True

    def __init__(
        self, low: float, high: float, colour: Sequence[float], seed: int | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(low, high, seed, **kwargs)
        self.colour = list(colour)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """(ratio, top, left): how much smaller, and where, as shares of what is free."""
        ratio = super().draw(shape, seed)
        return [ratio, *[random.uniform(shape[:1], seed=seed) for _ in "yx"]]

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Smaller images in the field."""
        ratio, top, left = drawn
        shift_y = -(ratio - 1) * top * x.shape[1]
        shift_x = -(ratio - 1) * left * x.shape[2]
        half = (ratio - 1) / 2  # the middle of the first pixel, not its corner, is at 0
        none = ops.zeros_like(ratio)
        moves = ops.stack(
            [ratio, none, shift_x + half, none, ratio, shift_y + half, none, none], axis=1
        )
        colour = np.asarray(self.colour, np.float32)
        return colour + ops.image.affine_transform(
            x - colour, moves, "bilinear", "constant", 0.0, "channels_last"
        )


@registered
class Sometimes(ImageAugmentation):
    """Does a layer to an image with a probability; the others stay as they are."""

    _options = ("probability", "seed")

    def __init__(
        self, layer: Any, probability: float, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, "channels_last", **kwargs)
        self.layer, self.probability = layer, probability

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """Which images are changed."""
        return random.uniform(shape[:1], seed=seed) < self.probability

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images, some of them changed."""
        return ops.where(per_image(drawn), self.layer(x, **_in_training(self.layer)), x)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "layer": layers.serialize(self.layer)}
        del config["data_format"]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Sometimes:
        """A layer with this configuration."""
        inner = layers.deserialize(config["layer"], custom_objects=custom_objects)
        return cls(**{**config, "layer": inner})


def _in_training(layer: Layer) -> dict[str, bool]:
    return {"training": True} if isinstance(layer, (ImageAugmentation, layers.Pipeline)) else {}


@registered
class EitherOrder(ImageAugmentation):
    """Layers one after the other, the first of them first or last, by a draw for each image."""

    _options = ("seed",)

    def __init__(self, parts: Sequence[Any], seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, "channels_last", **kwargs)
        self.parts = list(parts)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """For which images the first layer comes last."""
        return random.uniform(shape[:1], seed=seed) < 0.5

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images changed by all layers."""
        moved, *others = self.parts
        last = per_image(drawn)
        x = ops.where(last, x, moved(x, training=True))
        for layer in others:
            x = layer(x, training=True)
        return ops.where(last, moved(x, training=True), x)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "parts": [layers.serialize(p) for p in self.parts]}
        del config["data_format"]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> EitherOrder:
        """A layer with this configuration."""
        parts = [layers.deserialize(p, custom_objects=custom_objects) for p in config["parts"]]
        return cls(**{**config, "parts": parts})
