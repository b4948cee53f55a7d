"""What layers share that change images in training: draws for each image, layouts, masks, labels.

In: images (height, width, channels) or a batch, in either layout, or a dict with "images" and
perhaps "labels", "segmentation_masks" and "bounding_boxes". Out: the same, images in floats. What
is drawn depends on the layer's seed, the step and the row, so any number of ranks draws the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import ops, random
from zoo_keras.errors import UnsupportedError
from zoo_keras.layers.base.arguments import argument_error, data_format
from zoo_keras.layers.base.layer import Layer, shape_error
from zoo_keras.layers.preprocessing.bounding_boxes import clip_to_image_size, convert_format
from zoo_keras.ops.images import on_batch

Range = tuple[float, float]


def between(
    layer: Layer, argument: str, value: Any, low: float, high: float, both_ways: bool = True,
    each: bool = False,
) -> Range:  # fmt: skip
    """A number or two as the range to draw from: f means -f to f, but nothing below `low`.

    Of two numbers each must lie within the bounds, or, as Keras mostly has it, not both outside.
    """
    if isinstance(value, (list, tuple)) and len(value) == 2:
        first, last = sorted(value)
        if (low <= first and last <= high) if each else (first <= high and last >= low):
            return first, last
    elif isinstance(value, (int, float)) and low <= value <= high:
        return (max(-abs(value), low) if both_ways else 0), abs(value)
    raise argument_error(
        layer, argument, f"a number, or two, from {low} to {high}", value, "Pass such a factor."
    )


def value_range(layer: Layer, value: Any) -> list[float]:
    """The least and the largest value of a pixel."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise argument_error(layer, "value_range", "two numbers", value, "Pass (0, 255) or (0, 1).")
    return sorted(value)


def rescaled(x: Any, old: Sequence[float], new: Sequence[float]) -> Any:
    """Pixels of one range of values in another."""
    if tuple(old) == tuple(new):
        return x
    return (x - old[0]) / (old[1] - old[0]) * (new[1] - new[0]) + new[0]


def per_image(x: Any) -> Any:
    """(batch,) to broadcast over (batch, height, width, channels)."""
    return ops.reshape(x, (-1, 1, 1, 1))


class ImageAugmentation(Layer):
    """The base. Subclasses draw parameters in `draw` and use them in `transformed`.

    `_options` names the arguments for the configuration, `moves` says whether pixels change their
    places, and so those of segmentation masks; `draws`, whether there is anything to draw.
    """

    _options: tuple[str, ...] = ("seed",)
    moves = False
    draws = True
    interpolation = "nearest"

    def __init__(
        self, seed: int | None = None, data_format_: Any = None, bounding_box_format: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        data_format_ = kwargs.pop("data_format", data_format_)
        super().__init__(**kwargs)
        self.seed, self.bounding_box_format = seed, bounding_box_format
        self.generator = random.SeedGenerator(seed) if self.draws else None
        self.data_format = data_format(self, data_format_)

    # ---- what subclasses say -------------------------------------------------------------------

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """Parameters for images of this shape (batch, height, width, channels)."""
        del shape, seed
        return {}

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images (batch, height, width, channels) in floats, changed as drawn."""
        raise NotImplementedError

    # ---- the names of Keras --------------------------------------------------------------------

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        """The parameters for one batch; None where nothing is to change."""
        if not training:
            return None
        images = data["images"] if isinstance(data, dict) else data
        shape = tuple(images.shape)
        if len(shape) not in (3, 4):
            raise shape_error(
                self, "expected images (height, width, channels), or a batch of them",
                f"shape {shape}", "Add or drop axes.",
            )  # fmt: skip
        shape = (1, *shape) if len(shape) == 3 else shape
        if self.data_format == "channels_first":
            shape = (shape[0], *shape[2:], shape[1])
        drawn = self.draw(shape, self.generator if seed is None else seed)
        if self.moves and isinstance(drawn, dict):
            drawn = {**drawn, "input_shape": tuple(images.shape)}
        return drawn

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        """The images in floats, changed by the transformation."""
        return self._through(images, transformation, training, self.interpolation)

    def transform_segmentation_masks(
        self, segmentation_masks: Any, transformation: Any, training: bool = True
    ) -> Any:
        """Masks, which take part where pixels move."""
        if not self.moves:
            return segmentation_masks
        return self._through(segmentation_masks, transformation, training, "nearest")

    def transform_labels(self, labels: Any, transformation: Any, training: bool = True) -> Any:
        """Labels, as they are but where images are mixed."""
        del transformation, training
        return labels

    def transform_bounding_boxes(
        self, bounding_boxes: Any, transformation: Any, training: bool = True
    ) -> Any:
        """Boxes that move with the pixels, cut at the image's borders; labels of those that are
        left without an area are -1."""
        if not self.moves or not training or transformation is None:
            return bounding_boxes
        return moved_along(
            self, bounding_boxes, self.size_of(transformation),
            lambda boxes: self.moved_boxes(boxes, transformation),
        )  # fmt: skip

    def size_of(self, drawn: Any) -> tuple[int, int]:
        """(height, width) of the images for which a transformation was drawn."""
        shape = drawn["input_shape"]
        height, width = shape[-2:] if self.data_format == "channels_first" else shape[-3:-1]
        return int(height), int(width)

    def moved_boxes(self, boxes: Any, drawn: Any) -> tuple[Any, tuple[int, int]]:
        """Boxes (batch, boxes, 4), left, top, right and bottom in pixels, moved as drawn, and the
        size of the images afterwards."""
        raise UnsupportedError(
            f'{type(self).__name__} "{self.name}": bounding boxes do not move along. Received: '
            '"bounding_boxes" in training. Leave them out, or use a layer of colours.'
        )

    def _through(self, images: Any, drawn: Any, training: bool, interpolation: str) -> Any:
        images = ops.cast(images, self.compute_dtype)
        if not training or drawn is None:
            return images
        return on_batch(
            type(self).__name__, images, self.data_format,
            lambda x: self.transformed(x, drawn, interpolation),
        )  # fmt: skip

    def call(self, inputs: Any, training: Any = True) -> Any:
        """The images, changed in training; or all parts of a dict."""
        drawn = self.get_random_transformation(inputs, training=training)
        if not isinstance(inputs, dict):
            return self.transform_images(inputs, drawn, training)
        return {
            key: getattr(self, f"transform_{key}")(value, drawn, training)
            if hasattr(self, f"transform_{key}")
            else value
            for key, value in inputs.items()
        }

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "data_format": self.data_format}
        if self.bounding_box_format is not None:
            config["bounding_box_format"] = self.bounding_box_format
        return config | {name: getattr(self, name) for name in self._options}


def moved_along(layer: Any, given: Any, size: tuple[int, int], move: Any) -> dict[str, Any]:
    """The boxes of a dict by `move`, which knows batches of them in pixels; in the layer's format.

    Args:
        size: (height, width) of the images before.
    """
    kind = layer.bounding_box_format
    if kind is None:
        raise argument_error(
            layer, "bounding_box_format", "given, where bounding boxes move", None,
            "Pass for example 'xyxy' to the layer.",
        )  # fmt: skip
    found = {k: ops.convert_to_tensor(v) for k, v in given.items()}
    single = len(found["boxes"].shape) == 2
    if single:
        found = {k: ops.expand_dims(v, 0) for k, v in found.items()}
    boxes, (height, width) = move(convert_format(found["boxes"], kind, "xyxy", *size))
    made = clip_to_image_size({**found, "boxes": boxes}, height, width)
    made["boxes"] = convert_format(made["boxes"], "xyxy", kind, height, width)
    return {k: ops.squeeze(v, 0) for k, v in made.items()} if single else made


def applies(batch: int, probability: Range, seed: Any) -> Any:
    """(batch,) whether each image is changed, with a probability drawn from a range."""
    likely = random.uniform((batch,), *probability, seed=seed)
    return random.uniform((batch,), seed=seed) < likely
