"""Steps of images, with the names, arguments and units of Analytics Zoo (OpenCV's).

In: an image column (Spark's schema), or one of files. Out: Keras layers. Before ImageMatToTensor
images are red, green, blue; the tensor is blue, green, red unless to_RGB, as there.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import layers
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.layers import Layer
from zoo_keras.nnframes import image_layers as own
from zoo_keras.nnframes.preprocessing import Preprocessing, sizes

_MODES = {0: "nearest", 1: "bilinear", 2: "bicubic", 3: "area"}  # OpenCV's numbers


class ImageStep(Preprocessing):
    """A step of images.

    `sizes_images`: images of any sizes come out in one. `needs_size`: in training it takes images
    of one size alone.
    """

    sizes_images = False
    needs_size = False


class RowToImageFeature(ImageStep):
    """The beginning of a chain: a column of images in Spark's schema, of any sizes."""


class ImageBytesToMat(ImageStep):
    """The beginning of a chain: a binary column of files, as `binaryFile` reads them."""

    def __init__(self, byte_key: str = "bytes", image_codec: int = -1) -> None:
        del byte_key, image_codec


class ImageFeatureToTensor(ImageStep):
    """The end of a chain."""


class ImageSetToSample(ImageFeatureToTensor):
    """The end of a chain."""


class ImageResize(ImageStep):
    """Images in this size. Keras: Resizing.

    Args:
        resize_mode: 0 nearest, 1 bilinear, 2 bicubic, 3 area.
    """

    sizes_images = True

    def __init__(
        self, resize_h: int, resize_w: int, resize_mode: int = 1, use_scale_factor: bool = True
    ) -> None:
        del use_scale_factor
        self.size = sizes(self, (resize_h, resize_w))
        if resize_mode not in _MODES:
            raise UnsupportedError(
                f"ImageResize: resize_mode must be one of {sorted(_MODES)}. Received: "
                f"{resize_mode!r}. Leave it out for bilinear."
            )
        self.mode = _MODES[resize_mode]

    def layers(self, training: bool) -> list[Layer]:
        """Resizing."""
        height, width = self.size
        return [layers.Resizing(height, width, interpolation=self.mode)]


class ImageAspectScale(ImageStep):
    """Images whose shorter side gets `min_size`, and whose longer side at most `max_size`."""

    def __init__(
        self, min_size: int, scale_multiple_of: int = 1, max_size: int = 1000,
        resize_mode: int = 1, use_scale_factor: bool = True, min_scale: float = -1.0,
    ) -> None:  # fmt: skip
        del use_scale_factor
        self.how = sizes(self, (min_size, scale_multiple_of, max_size))
        if resize_mode != 1 or min_scale != -1.0:
            raise UnsupportedError(
                "ImageAspectScale scales bilinearly and without a least scale. Received: "
                f"resize_mode={resize_mode!r}, min_scale={min_scale!r}. Leave them out."
            )

    def layers(self, training: bool) -> list[Layer]:
        """AspectScale."""
        return [own.AspectScale(*self.how)]


class ImageCenterCrop(ImageStep):
    """The middle of images; those that are too small are resized. Keras: CenterCrop."""

    sizes_images = True

    def __init__(self, crop_width: int, crop_height: int, is_clip: bool = True) -> None:
        del is_clip
        self.size = sizes(self, (crop_height, crop_width))

    def layers(self, training: bool) -> list[Layer]:
        """CenterCrop."""
        return [layers.CenterCrop(*self.size)]


class ImageRandomCrop(ImageCenterCrop):
    """A part of images, anywhere in training, in the middle when a model scores. Keras:
    RandomCrop."""

    needs_size = True

    def layers(self, training: bool) -> list[Layer]:
        """RandomCrop, or CenterCrop."""
        return [layers.RandomCrop(*self.size)] if training else super().layers(False)


class ImageFixedCrop(ImageStep):
    """The part of images in a box, which are of one size: put ImageResize before.

    Args:
        x1, y1, x2, y2: left, top, right, bottom, as shares of the sides.
        normalized: False: they are pixels.
    """

    def __init__(
        self, x1: float, y1: float, x2: float, y2: float, normalized: bool = True,
        is_clip: bool = True,
    ) -> None:  # fmt: skip
        self.box, self.shares = _box(self, (x1, y1, x2, y2)), bool(normalized)
        if not is_clip or (self.shares and max(self.box) > 1):
            raise ConfigError(
                "ImageFixedCrop: a box lies within the image, in shares of its sides up to 1 or, "
                f"with normalized=False, in pixels; what is beyond is cut off. Received: "
                f"{self.box}, normalized={normalized}, is_clip={is_clip}. Change them."
            )

    def layers(self, training: bool) -> list[Layer]:
        """FixedCrop."""
        return [own.FixedCrop(self.box, self.shares)]


class ImageFiller(ImageStep):
    """One value in a box (shares of the sides) of images of one size: put ImageResize before."""

    def __init__(
        self, start_x: float, start_y: float, end_x: float, end_y: float, value: int = 255
    ) -> None:
        self.box, self.value = _box(self, (start_x, start_y, end_x, end_y)), value
        if max(self.box) > 1 or not 0 <= value <= 255:
            raise ConfigError(
                "ImageFiller: the box is of shares of the sides, up to 1, and the value from 0 to "
                f"255. Received: {self.box}, {value!r}. Change them."
            )

    def layers(self, training: bool) -> list[Layer]:
        """Filler."""
        return [own.Filler(self.box, self.value)]


def _box(step: Any, box: tuple[float, float, float, float]) -> tuple[float, ...]:
    left, top, right, bottom = box
    if not (0 <= left < right and 0 <= top < bottom):
        raise ConfigError(
            f"{type(step).__name__}: a box is left, top, right, bottom, each at least 0, the "
            "left below the right and the top below the bottom. Received: "
            f"{box}. Pass e.g. 0.1, 0.1, 0.9, 0.9."
        )
    return box


class PerImageNormalize(ImageStep):
    """Each image stretched from its own least and largest value to `min` and `max`."""

    def __init__(self, min: float, max: float, norm_type: int = 32) -> None:
        if norm_type != 32:
            raise UnsupportedError(
                "PerImageNormalize: norm_type must be 32, by least and largest value. Received: "
                f"{norm_type!r}. Leave it out."
            )
        self.ends = min, max

    def layers(self, training: bool) -> list[Layer]:
        """Stretch."""
        return [own.Stretch(*self.ends)]


class ImageHFlip(ImageStep):
    """Mirrored images. Half of them, in training: ImageRandomPreprocessing(ImageHFlip(), 0.5)."""

    def layers(self, training: bool) -> list[Layer]:
        """Flip."""
        return [own.Flip((2,))]


class ImageMirror(ImageStep):
    """Images turned by half a turn."""

    def layers(self, training: bool) -> list[Layer]:
        """Flip."""
        return [own.Flip((1, 2))]


class RandomImageStep(ImageStep):
    """A step that draws a number for each image in training, and rests when a model scores."""

    needs_size = True

    def layers(self, training: bool) -> list[Layer]:
        """The layer, in training."""
        return [self.layer()] if training else []

    def layer(self) -> Layer:
        """The layer that draws."""
        raise NotImplementedError


class _Between(RandomImageStep):
    _layer: Any = None
    _least = float("-inf")

    def __init__(self, delta_low: float, delta_high: float) -> None:
        if not self._least <= delta_low <= delta_high:
            raise ConfigError(
                f"{type(self).__name__}: the lower bound must not be above the upper one"
                f"{'' if self._least else ', nor below 0'}. Received: {delta_low!r}, "
                f"{delta_high!r}. Change them."
            )
        self.bounds = float(delta_low), float(delta_high)

    def layer(self) -> Layer:
        """The layer of these bounds."""
        made: Layer = self._layer(*self.bounds)
        return made


class ImageBrightness(_Between):
    """Adds a number between two to all values. Keras: RandomBrightness, in shares of 255."""

    _layer = own.Brightness


class ImageHue(_Between):
    """Turns the hue by a number between two, in steps of 2 degrees. Keras: RandomHue."""

    _layer = own.Hue


class ImageSaturation(_Between):
    """Multiplies the saturation by a number between two. Keras: RandomSaturation."""

    _layer, _least = own.Saturation, 0.0


class ImageContrast(_Between):
    """Multiplies all values by a number between two."""

    _layer, _least = own.Contrast, 0.0


class ImageChannelOrder(RandomImageStep):
    """The three channels in any order."""

    def layer(self) -> Layer:
        """ChannelOrder."""
        return own.ChannelOrder()


class ImageColorJitter(RandomImageStep):
    """Brightness, contrast, saturation, hue and the order of channels, each with a probability;
    contrast comes second, or after the hue. Keras: RandomColorJitter."""

    def __init__(
        self, brightness_prob: float = 0.5, brightness_delta: float = 32.0,
        contrast_prob: float = 0.5, contrast_lower: float = 0.5, contrast_upper: float = 1.5,
        hue_prob: float = 0.5, hue_delta: float = 18.0, saturation_prob: float = 0.5,
        saturation_lower: float = 0.5, saturation_upper: float = 1.5,
        random_order_prob: float = 0.0, shuffle: bool = False,
    ) -> None:  # fmt: skip
        if shuffle:
            raise UnsupportedError(
                "ImageColorJitter changes images in one of two orders. Received: shuffle=True. "
                "Leave it out."
            )
        self.brightness = own.Brightness(-brightness_delta, brightness_delta), brightness_prob
        self.contrast = own.Contrast(contrast_lower, contrast_upper), contrast_prob
        self.saturation = own.Saturation(saturation_lower, saturation_upper), saturation_prob
        self.hue = own.Hue(-hue_delta, hue_delta), hue_prob
        self.order = random_order_prob

    def layer(self) -> Layer:
        """The layers, one after the other."""
        first, moved, *others = (
            own.Sometimes(_anew(layer), probability)
            for layer, probability in (self.brightness, self.contrast, self.saturation, self.hue)
        )
        made = [first, own.EitherOrder([moved, *others])]
        if self.order:
            made.append(own.Sometimes(own.ChannelOrder(), self.order))
        return layers.Pipeline(made)


def _anew(layer: Layer) -> Layer:
    """Another layer of the same configuration."""
    config = layer.get_config()
    del config["name"]
    made: Layer = type(layer).from_config(config)
    return made


class ImageExpand(RandomImageStep):
    """Images made smaller, somewhere in a field of one colour, in the size that they had."""

    def __init__(
        self, means_r: float = 123, means_g: float = 117, means_b: float = 104,
        min_expand_ratio: float = 1.0, max_expand_ratio: float = 4.0,
    ) -> None:  # fmt: skip
        self.colour = [means_r, means_g, means_b]
        self.ratios = float(min_expand_ratio), float(max_expand_ratio)
        if not 1 <= self.ratios[0] <= self.ratios[1]:
            raise ConfigError(
                "ImageExpand: ratios must be at least 1, the lower one first. Received: "
                f"{self.ratios}. Change them."
            )

    def layer(self) -> Layer:
        """Expand."""
        return own.Expand(*self.ratios, self.colour)


class ImageRandomPreprocessing(RandomImageStep):
    """Does a step to an image with a probability, in training."""

    def __init__(self, preprocessing: Preprocessing, prob: float) -> None:
        self.step, self.probability = preprocessing, float(prob)
        if not isinstance(preprocessing, ImageStep) or preprocessing.sizes_images:
            raise ConfigError(
                "ImageRandomPreprocessing takes a step that leaves the size of images as it is. "
                f"Received: {preprocessing!r}. Put it into the chain as it is."
            )

    def get_config(self) -> dict[str, Any]:
        """The step as JSON."""
        arguments = {"preprocessing": self.step.get_config(), "prob": self.probability}
        return {"name": type(self).__name__, "arguments": arguments}

    def layer(self) -> Layer:
        """Sometimes."""
        made = self.step.layers(True)
        whole = made[0] if len(made) == 1 else layers.Pipeline(made)
        return own.Sometimes(whole, self.probability)


class ImageChannelNormalize(ImageStep):
    """Less a mean, divided by a deviation, for red, green and blue. Keras: Rescaling."""

    def __init__(
        self, mean_r: float, mean_g: float, mean_b: float, std_r: float = 1.0, std_g: float = 1.0,
        std_b: float = 1.0,
    ) -> None:  # fmt: skip
        self.means, self.deviations = (mean_r, mean_g, mean_b), (std_r, std_g, std_b)
        if 0 in self.deviations:
            raise ConfigError(
                f"ImageChannelNormalize: deviations must not be 0. Received: {self.deviations}. "
                "Leave them out for 1."
            )

    def layers(self, training: bool) -> list[Layer]:
        """Rescaling."""
        scale = [1 / deviation for deviation in self.deviations]
        return [layers.Rescaling(scale, [-m * s for m, s in zip(self.means, scale, strict=True)])]


class ImageMatToTensor(ImageStep):
    """Images as the model's input.

    Args:
        to_RGB: red, green, blue; else blue, green, red, as OpenCV and Analytics Zoo have it.
        format: "NHWC" or "NCHW"; None: as the shape of the model's input says.
    """

    def __init__(
        self, to_RGB: bool = False, tensor_key: str = "imageTensor", share_buffer: bool = True,
        format: str | None = None,
    ) -> None:  # fmt: skip
        del tensor_key, share_buffer
        self.to_RGB, self.format = to_RGB, format
        if format not in (None, "NHWC", "NCHW"):
            raise ConfigError(
                f'ImageMatToTensor: format must be "NHWC" or "NCHW". Received: {format!r}. Leave '
                "it out for what the model's input wants."
            )

    def tensor(self, wanted: str) -> Layer:
        """The layer, for a model that wants its images so."""
        return own.MatToTensor(self.to_RGB, self.format or wanted)

    def layers(self, training: bool) -> list[Layer]:
        """MatToTensor, with the channels last unless `format` says otherwise."""
        return [self.tensor("NHWC")]
