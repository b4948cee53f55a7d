"""Layers that change the colours of images in training: brightness, contrast, hue and their kin.

In: images whose values lie in value_range. Out: the same shape, in floats. No pixel moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import config, ops, random
from zoo_keras.layers.base.arguments import argument_error, number
from zoo_keras.layers.preprocessing.augmentation import (
    ImageAugmentation,
    applies,
    between,
    per_image,
    rescaled,
    value_range,
)
from zoo_keras.ops.pixels import hsv, rgb
from zoo_keras.ops.resampling import blurred, under_curves

_BYTES = (0, 255)


class _Coloured(ImageAugmentation):
    """A layer with a factor from `_bounds` and a range of values."""

    _options = ("factor", "value_range", "seed")
    _bounds: tuple[float, float] = (0, 1)

    def __init__(
        self, factor: Any, value_range: Any = _BYTES, data_format: Any = None,
        seed: int | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.factor = between(self, "factor", factor, *self._bounds)
        self.value_range = self._range(value_range)

    def _range(self, given: Any) -> Any:
        return value_range(self, given)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """A factor for each image."""
        return {"factor": random.uniform(shape[:1], *self.factor, seed=seed)}

    def _cut(self, x: Any) -> Any:
        return ops.clip(x, *self.value_range)


class _AsGiven(_Coloured):
    """Its value_range stays as it was given."""

    def _range(self, given: Any) -> Any:
        value_range(self, given)
        return given


class RandomBrightness(_Coloured):
    """Adds a share of the range of values, drawn from `factor` for each image.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_brightness/

    >>> RandomBrightness((0.2, 0.2))(np.zeros((1, 1, 1, 3)), training=True).ravel()
    array([51., 51., 51.], dtype=float32)
    """

    _bounds = (-1, 1)

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Brighter or darker images."""
        low, high = self.value_range
        return self._cut(x + per_image(drawn["factor"] * (high - low)))


class RandomContrast(_AsGiven):
    """Moves values away from, or to, the mean of each channel by a factor from 1 - f to 1 + f.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_contrast/

    >>> RandomContrast(0.2)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """A factor for each image."""
        low, high = 1 - self.factor[0], 1 + self.factor[1]
        return {"contrast_factor": per_image(random.uniform(shape[:1], low, high, seed=seed))}

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images of more or less contrast."""
        middle = ops.mean(x, axis=(1, 2), keepdims=True)
        return self._cut((x - middle) * drawn["contrast_factor"] + middle)


class RandomHue(_AsGiven):
    """Turns the hue by up to half of `factor`, either way.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_hue/

    >>> RandomHue(0.2)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """A turn for each image."""
        sign = ops.where(random.uniform(shape[:1], seed=seed) > 0.5, -1.0, 1.0)
        return {"factor": random.uniform(shape[:1], *self.factor, seed=seed) * sign * 0.5}

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images in other hues."""
        found = hsv(rescaled(x, self.value_range, (0, 1)))
        hue = found[..., 0] + ops.reshape(drawn["factor"], (-1, 1, 1))
        hue = ops.where(hue > 1, hue - 1, hue)
        hue = ops.where(hue < 0, hue + 1, hue)
        turned = rgb(ops.stack([hue, found[..., 1], found[..., 2]], axis=-1))
        return rescaled(ops.clip(turned, 0, 1), (0, 1), self.value_range)


class RandomSaturation(_Coloured):
    """Multiplies the saturation by f / (1 - f): 0.5 keeps it, 0 makes grey.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_saturation/

    >>> RandomSaturation(0.2)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _bounds = (-1, 1)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """A factor for each image."""
        factor = random.uniform(shape[:1], *self.factor, seed=seed)
        return {"factor": factor / (1 - factor + config.epsilon())}

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Paler or stronger images."""
        found = hsv(x)
        much = self._cut(found[..., 1] * ops.reshape(drawn["factor"], (-1, 1, 1)))
        return rgb(ops.stack([found[..., 0], much, found[..., 2]], axis=-1))


class RandomSharpness(_Coloured):
    """Blurs for factors below 0.5, sharpens above.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_sharpness/

    >>> RandomSharpness(0.2)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Blurred or sharpened images."""
        # A window of ones, and 5 in the middle, over 13.
        ones = np.ones(3, np.float32)
        smooth = under_curves(x, ones / 13, ones) + x * (4 / 13)
        return self._cut(x + (1 - 2 * per_image(drawn["factor"])) * (smooth - x))


class RandomColorDegeneration(_Coloured):
    """Mixes images with their grey selves.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_color_degeneration/

    >>> RandomColorDegeneration(0.2)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _bounds = (-1, 1)

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Paler images."""
        return self._cut(
            x + per_image(drawn["factor"]) * (ops.image.rgb_to_grayscale(x, "channels_last") - x)
        )


class RandomPosterization(_Coloured):
    """Keeps the upper `factor` of 8 bits.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_posterization/

    >>> RandomPosterization((2, 2))(np.full((1, 1, 1, 1), 100), training=True).ravel()
    array([64.], dtype=float32)
    """

    _bounds = (1, 8)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """How many bits of each image are dropped."""
        low, high = self.factor
        bits = random.uniform(shape[:1], low, max(high, low + 1e-3), seed=seed)
        return {"shift_factor": 8 - ops.floor(bits)}

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images of fewer levels."""
        whole = ops.floor(rescaled(x, self.value_range, _BYTES))
        step = per_image(ops.power(2.0, drawn["shift_factor"]))
        return rescaled(ops.floor(whole / step) * step, _BYTES, self.value_range)


class RandomInvert(_AsGiven):
    """Inverts images, each with a probability from `factor`.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_invert/

    >>> RandomInvert(1.0)(np.zeros((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    def __init__(self, factor: Any = 1.0, *args: Any, **kwargs: Any) -> None:
        super().__init__(factor, *args, **kwargs)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """Which images are inverted."""
        return {"apply_inversion": applies(shape[0], self.factor, seed)}

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Inverted images."""
        return ops.where(per_image(drawn["apply_inversion"]), self.value_range[1] - x, x)


class RandomGrayscale(ImageAugmentation):
    """Makes images grey, each with the probability `factor`; they keep their channels.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_grayscale/

    >>> RandomGrayscale()(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("factor",)

    def __init__(
        self, factor: float = 0.5, data_format: Any = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = number(self, "factor", factor, 0, 1)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """Which images become grey."""
        return random.uniform(shape[:1], seed=seed) < self.factor

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Grey images."""
        return ops.where(per_image(drawn), ops.image.rgb_to_grayscale(x, "channels_last"), x)


class RandomColorJitter(ImageAugmentation):
    """RandomBrightness, RandomContrast, RandomSaturation and RandomHue, those with a factor.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_color_jitter/

    >>> RandomColorJitter(brightness_factor=0.2)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _parts = {
        "brightness_factor": RandomBrightness, "contrast_factor": RandomContrast,
        "saturation_factor": RandomSaturation, "hue_factor": RandomHue,
    }  # fmt: skip
    _options = ("value_range", *_parts, "seed")

    def __init__(
        self,
        value_range: Any = _BYTES,
        brightness_factor: Any = None,
        contrast_factor: Any = None,
        saturation_factor: Any = None,
        hue_factor: Any = None,
        seed: int | None = None,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.value_range = value_range
        self.brightness_factor, self.contrast_factor = brightness_factor, contrast_factor
        self.saturation_factor, self.hue_factor = saturation_factor, hue_factor
        factors = {name: getattr(self, name) for name in self._parts}
        self._changes = [
            self._parts[name](factor, value_range, seed=seed)
            for name, factor in factors.items()
            if factor is not None
        ]

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """What each part draws."""
        return [layer.draw(shape, seed) for layer in self._changes]

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images changed by all parts."""
        for layer, own in zip(self._changes, drawn, strict=True):
            x = layer.transformed(x, own, interpolation)
        return x


class Solarization(ImageAugmentation):
    """Adds up to addition_factor of 255, then inverts what is not below the threshold.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/solarization/

    >>> Solarization(0.2)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("value_range", "addition_factor", "threshold_factor", "seed")

    def __init__(
        self,
        addition_factor: Any = 0.0,
        threshold_factor: Any = 0.0,
        value_range: Any = _BYTES,
        seed: int | None = None,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.addition_factor = between(self, "addition_factor", addition_factor, 0, 1, False)
        self.threshold_factor = between(self, "threshold_factor", threshold_factor, 0, 1, False)
        self.value_range = _range(self, value_range)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """What is added to each image, and its threshold."""
        (low, high), (least, most) = self.addition_factor, self.threshold_factor
        return {
            "additions": random.uniform(shape[:1], low, high * 255, seed=seed),
            "thresholds": random.uniform(shape[:1], least, most * 255, seed=seed),
        }

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images with their bright parts inverted."""
        x = rescaled(x, self.value_range, _BYTES) + per_image(drawn["additions"])
        x = ops.clip(x, 0, 255)
        x = ops.where(x < per_image(drawn["thresholds"]), x, 255 - x)
        return rescaled(x, _BYTES, self.value_range)


_range = value_range  # the function, where an argument has its name


class AutoContrast(ImageAugmentation):
    """Spreads the values of each channel over the whole range, in training or not.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/auto_contrast/

    >>> AutoContrast()(np.array([10, 20]).reshape(1, 1, 2, 1)).ravel()
    array([  0., 255.], dtype=float32)
    """

    _options = ("value_range",)

    def __init__(self, value_range: Any = _BYTES, data_format: Any = None, **kwargs: Any) -> None:
        super().__init__(None, data_format, **kwargs)
        self.value_range = _range(self, value_range)

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        """Nothing is drawn."""
        return {}

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        """The images in floats, of full contrast."""
        return super().transform_images(images, {}, True)

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images of full contrast; a channel of one value stays."""
        wide = rescaled(x, self.value_range, _BYTES)
        low = ops.min(wide, axis=(1, 2), keepdims=True)
        spread = ops.max(wide, axis=(1, 2), keepdims=True) - low
        scale = 255 / ops.where(spread == 0, 1.0, spread)
        made = ops.clip(wide * scale - low * scale, 0, 255)
        return ops.where(spread == 0, x, rescaled(made, _BYTES, self.value_range))


class Equalization(ImageAugmentation):
    """Spreads the values of each channel evenly, by its histogram over the batch.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/equalization/

    >>> Equalization()(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("bins", "value_range")

    def __init__(
        self, value_range: Any = _BYTES, bins: int = 256, data_format: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(None, data_format, **kwargs)
        self.bins, self.value_range = bins, _range(self, value_range)

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images of even histograms."""
        last, channels = self.bins - 1, x.shape[-1]
        wide = ops.moveaxis(rescaled(x, self.value_range, _BYTES), -1, 0)
        at = ops.cast(ops.clip(ops.reshape(wide, (channels, -1)) * (last / 255), 0, last), "int32")
        counts = ops.cast(ops.bincount(at, minlength=self.bins), "float32")
        whole = ops.cumsum(counts, axis=-1)
        first = ops.min(ops.where(whole > 0, whole, np.inf), axis=-1, keepdims=True)
        spread = whole[:, -1:] - first
        table = (whole - first) * 255 / ops.where(spread == 0, 1.0, spread)
        table = ops.clip(ops.round(table), 0, 255)
        made = ops.reshape(ops.take_along_axis(table, at, axis=-1), wide.shape)
        several = ops.sum(ops.cast(counts > 0, "int32"), axis=-1) > 1
        made = ops.where(ops.reshape(several, (-1, 1, 1, 1)), made, wide)
        return rescaled(ops.moveaxis(made, 0, -1), _BYTES, self.value_range)


class RandomGaussianBlur(ImageAugmentation):
    """Blurs images, each with a probability from `factor`, by sigmas drawn once for a batch.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_gaussian_blur/

    >>> RandomGaussianBlur()(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("factor", "kernel_size", "sigma", "value_range", "seed")

    def __init__(
        self,
        factor: Any = 1.0,
        kernel_size: Any = 3,
        sigma: Any = 1.0,
        value_range: Any = _BYTES,
        data_format: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = between(self, "factor", factor, 0, 1)
        sizes = tuple(kernel_size) if isinstance(kernel_size, (list, tuple)) else (kernel_size,) * 2
        if len(sizes) != 2 or any(size % 2 == 0 for size in sizes):
            raise argument_error(
                self, "kernel_size", "an odd number, or two", kernel_size, "Pass 3, for instance."
            )
        self.kernel_size, self.value_range = sizes, value_range
        self.sigma = between(self, "sigma", sigma, 0, 1)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """Which images are blurred, and by how much."""
        return {
            "should_apply_blur": applies(shape[0], self.factor, seed),
            "blur_factor": random.uniform((2,), *self.sigma, seed=seed) + 1e-6,
        }

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Blurred images."""
        made = blurred(x, self.kernel_size, drawn["blur_factor"])
        made = ops.where(per_image(drawn["should_apply_blur"]), made, x)
        return ops.clip(made, *self.value_range)
