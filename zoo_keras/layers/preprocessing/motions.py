"""Layers that move the pixels of images in training: flips, turns, shifts, zooms, distortions.

In: images, and masks that move along. Out: the same shape, but for RandomCrop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import ops, random
from zoo_keras.layers.base.arguments import number, one_of, positive
from zoo_keras.layers.preprocessing.augmentation import (
    ImageAugmentation,
    Range,
    applies,
    between,
    per_image,
)
from zoo_keras.layers.preprocessing.bounding_boxes import (
    around,
    enclosing,
    joined,
    pad,
    parts,
    scaled,
)
from zoo_keras.ops.resampling import ORDERS, blurred, displaced, homography
from zoo_keras.primitives.resampling import crop_box

_FILLS = ("reflect", "wrap", "constant", "nearest")
_FILLED = ("fill_mode", "interpolation", "seed", "fill_value")


class RandomFlip(ImageAugmentation):
    """Mirrors half of the images: "horizontal", "vertical" or "horizontal_and_vertical" (at once).

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_flip/

    >>> RandomFlip()(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("seed", "mode")
    _axes = {"horizontal": (2,), "vertical": (1,), "horizontal_and_vertical": (1, 2)}
    moves = True

    def __init__(
        self, mode: str = "horizontal_and_vertical", seed: int | None = None,
        data_format: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.mode = one_of(self, "mode", mode, tuple(self._axes))

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """Which images are mirrored."""
        return {"flips": random.uniform(shape[:1], seed=seed) <= 0.5}

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images, some of them mirrored."""
        return ops.where(per_image(drawn["flips"]), ops.flip(x, axis=self._axes[self.mode]), x)

    def moved_boxes(self, boxes: Any, drawn: Any) -> tuple[Any, tuple[int, int]]:
        """Boxes, some of them mirrored."""
        height, width = self.size_of(drawn)
        x1, y1, x2, y2 = parts(boxes)
        if 2 in self._axes[self.mode]:
            x1, x2 = width - x2, width - x1
        if 1 in self._axes[self.mode]:
            y1, y2 = height - y2, height - y1
        chosen = ops.reshape(drawn["flips"], (-1, 1, 1))
        return ops.where(chosen, joined(x1, y1, x2, y2), boxes), (height, width)


class _Affine(ImageAugmentation):
    """A layer that draws affine transforms."""

    moves = True

    def _fill(self, fill_mode: str, interpolation: str, fill_value: float) -> None:
        self.fill_mode = one_of(self, "fill_mode", fill_mode, _FILLS)
        self.interpolation = one_of(self, "interpolation", interpolation, tuple(ORDERS))
        self.fill_value = fill_value

    def matrix(self, shape: Sequence[int], seed: Any) -> Sequence[Any]:
        """(a0, a1, a2, b0, b1, b2), each (batch,) or a number."""
        raise NotImplementedError

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """A transform for each image."""
        zeros = np.zeros(shape[0], np.float32)
        parts = [*self.matrix(shape, seed), 0.0, 0.0]
        return {"transform": ops.stack([p + zeros for p in parts], axis=1)}

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images whose pixels moved."""
        return ops.image.affine_transform(
            x, drawn["transform"], interpolation, self.fill_mode, self.fill_value, "channels_last"
        )

    def moved_boxes(self, boxes: Any, drawn: Any) -> tuple[Any, tuple[int, int]]:
        """The boxes around what becomes of boxes: the transform says where pixels come from."""
        a0, a1, a2, b0, b1, b2 = (drawn["transform"][:, i] for i in range(6))
        area = a0 * b1 - a1 * b0
        rows = [
            [b1 / area, -a1 / area, (a1 * b2 - a2 * b1) / area],
            [-b0 / area, a0 / area, (a2 * b0 - a0 * b2) / area],
        ]
        return around(boxes, rows), self.size_of(drawn)


class RandomRotation(_Affine):
    """Turns images by a share of 360 degrees, drawn from `factor`; positive is counterclockwise.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_rotation/

    >>> RandomRotation(0.1)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("factor", *_FILLED)

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = between(self, "factor", factor, -1, 1)
        self._fill(fill_mode, interpolation, fill_value)

    def matrix(self, shape: Sequence[int], seed: Any) -> Sequence[Any]:
        """Turns around the middle."""
        angle = random.uniform(shape[:1], *self.factor, seed=seed) * (2 * math.pi)
        x, y = (shape[2] - 1) / 2, (shape[1] - 1) / 2
        c, s = ops.cos(angle), ops.sin(angle)
        return c, -s, x - x * c + y * s, s, c, y - x * s - y * c


class RandomZoom(_Affine):
    """Zooms out (positive factors) or in, by shares of the height and of the width.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_zoom/

    >>> RandomZoom(0.1)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("height_factor", "width_factor", *_FILLED)

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = between(self, "height_factor", height_factor, -1, 1, each=True)
        given = height_factor if width_factor is None else width_factor
        self._width = between(self, "width_factor", given, -1, 1, each=True)
        self._fill(fill_mode, interpolation, fill_value)

    def matrix(self, shape: Sequence[int], seed: Any) -> Sequence[Any]:
        """Zooms around the middle."""
        down = across = random.uniform(shape[:1], *self._height, seed=seed) + 1
        if self.width_factor is not None:
            across = random.uniform(shape[:1], *self._width, seed=seed) + 1
        x, y = (shape[2] - 1) / 2, (shape[1] - 1) / 2
        return across, 0.0, (1 - across) * x, 0.0, down, (1 - down) * y


class RandomTranslation(_Affine):
    """Shifts images down and to the right by shares of their height and width.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_translation/

    >>> RandomTranslation(0.1, 0.1)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("height_factor", "width_factor", *_FILLED)

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = between(self, "height_factor", height_factor, -1, 1, each=True)
        self._width = between(self, "width_factor", width_factor, -1, 1, each=True)
        self._fill(fill_mode, interpolation, fill_value)

    def matrix(self, shape: Sequence[int], seed: Any) -> Sequence[Any]:
        """Shifts."""
        down = random.uniform(shape[:1], *self._height, seed=seed) * shape[1]
        across = random.uniform(shape[:1], *self._width, seed=seed) * shape[2]
        return 1.0, 0.0, -across, 0.0, 1.0, -down


class RandomShear(_Affine):
    """Shears images by factors of x and y, either way.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_shear/

    >>> RandomShear(0.1)(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("x_factor", "y_factor", *_FILLED)

    def __init__(
        self,
        x_factor: Any = 0.0,
        y_factor: Any = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.x_factor = self._both_ways("x_factor", x_factor)
        self.y_factor = self._both_ways("y_factor", y_factor)
        self._fill(fill_mode, interpolation, fill_value)

    def _both_ways(self, name: str, factor: Any) -> Range:
        low, high = between(self, name, factor, 0, 1)
        return (low if isinstance(factor, (list, tuple)) else -high), high

    def matrix(self, shape: Sequence[int], seed: Any) -> Sequence[Any]:
        """Shears."""
        sign = ops.where(random.uniform(shape[:1], seed=seed) > 0.5, -1.0, 1.0)
        y = random.uniform(shape[:1], *self.y_factor, seed=seed) * sign
        x = random.uniform(shape[:1], *self.x_factor, seed=seed) * sign
        return 1.0, x, 0.0, y, 1.0, 0.0


class RandomPerspective(ImageAugmentation):
    """Moves the corners of images by up to half of `scale`, each with a probability from `factor`.

    The matrices are solved by numpy. https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_perspective/

    >>> RandomPerspective()(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("factor", "scale", "interpolation", "fill_value", "seed")
    moves = True

    def __init__(
        self,
        factor: Any = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = between(self, "factor", factor, 0, 1)
        self.scale, self.fill_value = number(self, "scale", scale, 0, 1), fill_value
        self.interpolation = one_of(self, "interpolation", interpolation, tuple(ORDERS))

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """Which images change, and the corners before and after."""
        (batch, height, width), half = shape[:3], 0.5 * self.scale
        chosen = applies(batch, self.factor, seed)
        moved = random.uniform((batch, 4, 2), -half, half, seed=seed)
        corners = [[x, y] for y in (0, height - 1) for x in (0, width - 1)]
        start = np.broadcast_to(np.array(corners, np.float32), (batch, 4, 2))
        return {
            "apply_perspective": chosen, "start_points": start, "end_points": start * moved + start
        }  # fmt: skip

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images seen from elsewhere."""
        made = ops.image.perspective_transform(
            x, drawn["start_points"], drawn["end_points"], interpolation, self.fill_value,
            "channels_last",
        )  # fmt: skip
        return ops.where(per_image(drawn["apply_perspective"]), made, x)

    def moved_boxes(self, boxes: Any, drawn: Any) -> tuple[Any, tuple[int, int]]:
        """The boxes around the corners of boxes, seen from elsewhere."""
        to_end = homography(drawn["end_points"], drawn["start_points"])
        a, b, c, d, e, f, g, h = (ops.reshape(to_end[:, i], (-1, 1, 1)) for i in range(8))
        x1, y1, x2, y2 = parts(boxes)
        x, y = joined(x1, x2, x2, x1), joined(y1, y1, y2, y2)
        far = g * x + h * y + 1
        made = enclosing((a * x + b * y + c) / far, (d * x + e * y + f) / far)
        chosen = ops.reshape(drawn["apply_perspective"], (-1, 1, 1))
        return ops.where(chosen, made, boxes), self.size_of(drawn)


class RandomElasticTransform(ImageAugmentation):
    """Distorts images smoothly, each with a probability from `factor`, as strongly as `scale` says.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_elastic_transform/

    >>> RandomElasticTransform()(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = (
        "factor", "scale", "interpolation", "fill_mode", "fill_value", "value_range", "seed",
    )  # fmt: skip
    moves = True

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = between(self, "factor", factor, 0, 1)
        self.scale = between(self, "scale", scale, 0, 1)
        self.interpolation = one_of(self, "interpolation", interpolation, tuple(ORDERS))
        self.fill_mode = one_of(self, "fill_mode", fill_mode, (*_FILLS, "mirror"))
        self.fill_value, self.value_range = fill_value, value_range

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """Which images change, and how far each pixel goes."""
        if self.scale[1] == 0 or self.factor[1] == 0:
            return None
        chosen = applies(shape[0], self.factor, seed)
        amount = random.uniform((), *self.scale, seed=seed)
        sigma = ops.maximum(amount * (0.05 * min(shape[1:3])), 1e-6)
        size = 6 * int(0.05 * min(shape[1:3]) * self.scale[1]) | 1
        noise = random.normal((*shape[:3], 2), seed=seed) * sigma
        smooth = blurred(noise, (size, size), (sigma, sigma))
        return {"apply_transform": chosen, "offsets": smooth * (amount * (0.1 * max(shape[1:3])))}

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Distorted images."""
        offsets = [drawn["offsets"][..., i] for i in (1, 0)]
        made = displaced(x, offsets, interpolation, self.fill_mode, self.fill_value)
        made = ops.where(per_image(drawn["apply_transform"]), made, x)
        return ops.clip(made, *self.value_range)


class RandomCrop(ImageAugmentation):
    """A part of each image, anywhere in training, else from the middle.

    Images that are too small are cut to the proportions and resized. (Keras leaves images whole
    when it does not train, though its output shape is that of the parts.)
    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_crop/

    >>> RandomCrop(2, 2)(np.ones((1, 4, 4, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("height", "width", "seed")
    moves = True

    def __init__(
        self, height: int, width: int, seed: int | None = None, data_format: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            random.make_default_seed() if seed is None else seed, data_format, **kwargs
        )
        self.height, self.width = positive(self, "height", height), positive(self, "width", width)

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        """Where the part of each image begins; None: in the middle."""
        drawn = super().get_random_transformation(data, training, seed)
        if drawn is not None:
            return drawn
        shape = tuple((data["images"] if isinstance(data, dict) else data).shape)
        return {"input_shape": shape}

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """The first row and column of each part."""
        if shape[1] <= self.height or shape[2] <= self.width:
            return {}
        free = {"top": shape[1] - self.height, "left": shape[2] - self.width}
        return {k: random.randint(shape[:1], 0, n + 1, seed=seed) for k, n in free.items()}

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        """The parts, in floats."""
        return self._through(images, transformation, True, "bilinear")

    def transform_segmentation_masks(
        self, segmentation_masks: Any, transformation: Any, training: bool = True
    ) -> Any:
        """The same parts of masks."""
        return self._through(segmentation_masks, transformation, True, "nearest")

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Parts of the images."""
        batch, height, width, channels = x.shape
        if "top" not in drawn:
            x = self._middle(x)
            if x.shape[1:3] == (self.height, self.width):
                return x
            size = (self.height, self.width)
            return ops.image.resize(x, size, interpolation, data_format="channels_last")
        down = ops.reshape(drawn["top"], (-1, 1, 1)) + np.arange(self.height)[None, :, None]
        across = ops.reshape(drawn["left"], (-1, 1, 1)) + np.arange(self.width)[None, None, :]
        first = np.arange(batch, dtype=np.int32)[:, None, None] * height
        return ops.take(ops.reshape(x, (-1, channels)), (down + first) * width + across, axis=0)

    def transform_bounding_boxes(
        self, bounding_boxes: Any, transformation: Any, training: bool = True
    ) -> Any:
        """Boxes within the parts, in training or not."""
        return super().transform_bounding_boxes(bounding_boxes, transformation, True)

    def moved_boxes(self, boxes: Any, drawn: Any) -> tuple[Any, tuple[int, int]]:
        """Boxes as they lie in the parts."""
        size = (self.height, self.width)
        if "top" in drawn:
            top, left = (ops.cast(drawn[k], "float32") for k in ("top", "left"))
            return pad(boxes, *(-ops.reshape(v, (-1, 1, 1)) for v in (top, left))), size
        top, left, height, width = self._middle_box(*self.size_of(drawn))
        return scaled(boxes, top, left, self.height / height, self.width / width), size

    def _middle_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """First row and column, height and width of the part in the middle, cut to the proportions
        along an axis that is too short."""
        box = crop_box(height, width, (self.height, self.width))
        top, left = box.top, box.left
        if height >= self.height and width >= self.width:
            top, left = (height - self.height) // 2, (width - self.width) // 2
        down, across = min(self.height, height - top), min(self.width, width - left)
        return top, left, down, across

    def _middle(self, x: Any) -> Any:
        top, left, height, width = self._middle_box(*x.shape[1:3])
        return x[:, top : top + height, left : left + width]
