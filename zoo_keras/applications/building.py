"""What all image models share: checks of arguments, the input, the top, and reading weights.

In: the arguments of an application. Out: the input tensor at one end and the Model at the other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from zoo_keras import activations, config, layers
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.models import Model
from zoo_keras.utils import get_source_inputs

_LEAST_SIZE, _USUAL_SIZE = 32, 224


@dataclass
class Options:
    """The arguments that every application takes, as Keras names them."""

    include_top: bool
    weights: Any
    input_tensor: Any
    input_shape: Any
    pooling: str | None
    classes: int
    classifier_activation: Any


def channel_axis() -> int:
    """The axis of the channels, which BatchNormalization needs: 3 or 1."""
    return 3 if config.image_data_format() == "channels_last" else 1


def image_input(options: Options, application: str) -> Any:
    """The tensor that the model starts from. Raises UnsupportedError for weights="imagenet"."""
    _check_weights(options.weights, application)
    if options.pooling not in (None, "avg", "max"):
        raise ConfigError(
            f"{application}: pooling must be None, 'avg' or 'max'. Received: "
            f"pooling={options.pooling!r}. Check the spelling."
        )
    if options.input_tensor is not None:
        return options.input_tensor
    return layers.Input(shape=_input_shape(options, application))


def _check_weights(weights: Any, application: str) -> None:
    if weights is None:
        return
    if isinstance(weights, str) and weights == "imagenet":
        raise UnsupportedError(
            f"{application}: zoo_keras downloads no weights. Received: weights='imagenet'. Pass "
            "weights=None, or the path of a .h5, .weights.h5 or .keras file (Keras keeps those "
            "it has downloaded in ~/.keras/models)."
        )
    if isinstance(weights, (str, os.PathLike)) and (
        "://" in str(weights) or os.path.exists(os.fspath(weights))
    ):
        return
    raise ConfigError(
        f"{application}: weights must be None or the path of a file. Received: "
        f"weights={weights!r}. Check the path."
    )


def _input_shape(options: Options, application: str) -> tuple[int | None, ...]:
    """The shape of one image: what was asked for, or 224 x 224 x 3 where a top needs a size."""
    size = _USUAL_SIZE if options.include_top else None
    shape = options.input_shape
    last = channel_axis() == 3
    if shape is None:
        return (size, size, 3) if last else (3, size, size)
    if len(shape) != 3:
        raise ShapeError(
            f"{application}: input_shape must have 3 sizes. Received: input_shape={shape}. Leave "
            "the batch size out."
        )
    sides = shape[:2] if last else shape[1:]
    if any(s is not None and s < _LEAST_SIZE for s in sides) or (
        options.include_top and None in shape
    ):
        raise ShapeError(
            f"{application}: images must have at least {_LEAST_SIZE} rows and columns, and a known "
            f"size with include_top=True. Received: input_shape={tuple(shape)}. Change it."
        )
    return tuple(shape)


def pooled(x: Any, options: Options, name: bool = True) -> Any:
    """The end of a model without top; `name`: the layers are called avg_pool and max_pool."""
    if options.pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool" if name else None)(x)
    if options.pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool" if name else None)(x)
    return x


def classified(x: Any, options: Options, application: str) -> Any:
    """The last layer, called predictions."""
    known = (activations.get("softmax"), activations.get(None))
    if options.weights is not None and activations.get(options.classifier_activation) not in known:
        raise ConfigError(
            f"{application}: classifier_activation must be None or 'softmax' with weights of a "
            f"file. Received: classifier_activation={options.classifier_activation!r}. Leave it "
            "out."
        )
    activation = options.classifier_activation
    return layers.Dense(options.classes, activation=activation, name="predictions")(x)


def finished(start: Any, end: Any, options: Options, name: str) -> Model:
    """The model, with the weights of the file."""
    inputs = start
    if options.input_tensor is not None:
        inputs = get_source_inputs(options.input_tensor)
        inputs = inputs[0] if len(inputs) == 1 else inputs
    model = Model(inputs, end, name=name)
    if options.weights is not None:
        model.load_weights(options.weights)
    return model
