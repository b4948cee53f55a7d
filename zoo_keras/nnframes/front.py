"""A step or chain and a model as one Keras model, whose inputs are columns.

In: what the steps say, the net, and for training the size of the images. Out: a Model with the net
as its last layer, so that training it trains the net. Knows no DataFrame.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from zoo_keras import layers, ops
from zoo_keras.dtypes import TEXT
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.models import Model
from zoo_keras.nnframes.images import (
    ImageBytesToMat,
    ImageFeatureToTensor,
    ImageMatToTensor,
    ImageStep,
    RowToImageFeature,
)
from zoo_keras.nnframes.preprocessing import Preprocessing, SeqToMultipleTensors, SeqToTensor

_CHANNELS = (1, 3, 4)


class ImageInput(NamedTuple):
    """What a net takes: (height, width), channels, and the order of its axes."""

    size: tuple[int | None, int | None]
    channels: int
    order: str


def takes_images(step: Preprocessing) -> bool:
    """Whether a chain begins with images."""
    return any(isinstance(each, ImageStep) for each in step.steps)


def wants_size(step: Preprocessing) -> bool:
    """Whether training needs to know the size of the images: a step that draws comes before all of
    them have one size."""
    for each in step.steps:
        if isinstance(each, ImageStep) and (each.needs_size or each.sizes_images):
            return each.needs_size
    return False


def joined(
    net: Model, step: Preprocessing, training: bool, size: tuple[int, int] | None = None
) -> Model:
    """The net behind the step; the net is its last layer.

    Args:
        training: with what steps do at random.
        size: (height, width) of all images, where `wants_size` says so.

    Raises ConfigError and ShapeError for steps that do not lead to the net's inputs.
    """
    if takes_images(step):
        return _behind_images(net, step, training, size)
    for each in step.steps:
        if isinstance(each, SeqToMultipleTensors):
            return _behind_parts(net, each)
        if isinstance(each, SeqToTensor) and each.size:
            return _behind_size(net, each)
    return _behind_columns(net)


# ---- numbers -------------------------------------------------------------------------------------


def _behind_columns(net: Model) -> Model:
    """The net with Inputs as its own are."""
    if net._function is None:
        raise ConfigError(
            f'Model "{net.name}": the shape of its input is not known. Received: no Input and no '
            "size. Begin the model with Input(...), or pass SeqToTensor([...])."
        )
    names = [net._function.input_name(t) for t in net._function.inputs]
    inputs = [
        layers.Input(t.shape[1:], dtype=t.dtype, name=name)
        for t, name in zip(net._function.inputs, names, strict=True)
    ]
    given = inputs[0] if len(inputs) == 1 else inputs
    return Model(given, net(given))


def _behind_size(net: Model, step: SeqToTensor) -> Model:
    """The net with an Input of the step's size."""
    found = _input_shapes(net)
    if found and (len(found) > 1 or not _fits(step.size, found[0])):
        raise ShapeError(
            f'{step!r} does not fit Model "{net.name}". Received: size {step.size} for inputs of '
            f"shape {found if len(found) > 1 else found[0]}. Pass the shape of the input."
        )
    start = layers.Input(step.size)
    return Model(start, net(start))


def _behind_parts(net: Model, step: SeqToMultipleTensors) -> Model:
    """The net with one Input, of which each of its own takes a part."""
    found = _input_shapes(net)
    fits = len(found) == len(step.parts) and all(map(_fits, step.parts, found))
    if found and not fits:
        raise ShapeError(
            f'{step!r} does not fit Model "{net.name}". Received: sizes {step.parts} for inputs '
            f"of shapes {found}. Pass one size for each input."
        )
    start = layers.Input((sum(step.lengths),))
    ends = [sum(step.lengths[:i]) for i in range(len(step.parts) + 1)]
    parts = [
        ops.reshape(start[:, first:last], (-1, *size))
        for first, last, size in zip(ends, ends[1:], step.parts, strict=False)
    ]
    return Model(start, net(parts))


def _input_shapes(net: Model) -> list[tuple[int | None, ...]]:
    if net._function is None:
        return []
    return [tuple(t.shape[1:]) for t in net._function.inputs]


def _fits(size: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    if None in shape:
        return len(size) == len(shape) and all(n in (None, m) for m, n in zip(size, shape))
    return size == shape


# ---- images --------------------------------------------------------------------------------------


def _behind_images(
    net: Model, step: Preprocessing, training: bool, size: tuple[int, int] | None
) -> Model:
    steps = step.steps
    _check_order(steps)
    wanted = _image_input(net)
    sized = any(isinstance(s, ImageStep) and s.sizes_images for s in steps)
    is_file = isinstance(steps[0], ImageBytesToMat)
    known = size if size is not None or sized else wanted.size
    if known is None or None in known or is_file:
        start = layers.Input((), dtype="string", name="image")
        x = layers.DecodeImage(wanted.channels)(start)
    else:
        start = layers.Input((*known, wanted.channels), dtype="uint8", name="image")
        x = own_colours(start)
    for each in steps:
        made = [each.tensor(wanted.order)] if isinstance(each, ImageMatToTensor) else (
            each.layers(training))  # fmt: skip
        for layer in made:
            x = layer(x)
    return Model(start, net(x))


def own_colours(x: Any) -> Any:
    """Spark's images (blue, green, red) as red, green, blue."""
    channels = x.shape[-1]
    return x if channels == 1 else ops.take(x, [2, 1, 0, *range(3, channels)], axis=-1)


def _check_order(steps: list[Preprocessing]) -> None:
    first, ends = steps[0], (ImageMatToTensor, ImageFeatureToTensor)
    if not isinstance(first, (RowToImageFeature, ImageBytesToMat)):
        raise ConfigError(
            f"A chain of images begins with RowToImageFeature() or ImageBytesToMat(). Received: "
            f"{first!r} first. Put it before."
        )
    tensors = [i for i, s in enumerate(steps) if isinstance(s, ImageMatToTensor)]
    late = [s for s in steps[tensors[0] :] if not isinstance(s, ends)] if tensors else []
    late = [s for s in late if isinstance(s, ImageStep)]
    if len(tensors) != 1 or late:
        raise ConfigError(
            "A chain of images has one ImageMatToTensor(), behind all steps that change images. "
            f"Received: {steps}. Change the order."
        )


def _image_input(net: Model) -> ImageInput:
    """What the net's only input says; a net without Input takes three channels last."""
    shapes = _input_shapes(net)
    if not shapes:
        return ImageInput((None, None), 3, "NHWC")
    shape = shapes[0]
    dtype = net._function.inputs[0].dtype
    if len(shapes) > 1 or len(shape) != 3 or dtype in TEXT:
        raise ShapeError(
            f'Model "{net.name}" must have one input of images, (height, width, channels) or '
            f"(channels, height, width). Received: inputs of shapes {shapes}. Give it such an "
            "Input, or leave ImageMatToTensor out."
        )
    if shape[2] in _CHANNELS:
        return ImageInput((shape[0], shape[1]), int(shape[2] or 0), "NHWC")
    if shape[0] in _CHANNELS:
        return ImageInput((shape[1], shape[2]), int(shape[0] or 0), "NCHW")
    raise ShapeError(
        f'Model "{net.name}": images have 1, 3 or 4 channels. Received: an input of shape {shape}. '
        "Change the Input."
    )
