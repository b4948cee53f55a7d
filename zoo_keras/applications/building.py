"""What all image models share: checks of arguments, the input, the top, and reading weights.

In: the arguments of an application. Out: the input tensor at one end and the Model at the other.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from zoo_keras import activations, config, layers
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.models import Model
from zoo_keras.ops.symbolic import KerasTensor
from zoo_keras.utils import get_file, get_source_inputs
from zoo_keras.variables import awaited_weights

STORE = "https://storage.googleapis.com/tensorflow/keras-applications/"


class File(NamedTuple):
    """A file of Keras: its address, its hash if Keras checks one, and its name in the cache when
    that is another than in the address."""

    url: str
    hash: str | None = None
    name: str | None = None


class Trained(NamedTuple):
    """The files of a net trained on ImageNet: with its top, and without."""

    whole: File
    bare: File


@dataclass
class Options:
    """The arguments that every application takes, as Keras names them.

    Attributes:
        application: the name of the function.
        trained: what weights="imagenet" means.
    """

    application: str
    name: str | None
    include_top: bool
    weights: Any
    input_tensor: Any
    input_shape: Any
    pooling: str | None
    classes: int
    classifier_activation: Any
    trained: Trained | None = None

    def __post_init__(self) -> None:
        self.of_imagenet = isinstance(self.weights, str) and self.weights == "imagenet"

    def fetch(self) -> None:
        """Have the weights of ImageNet here, if they are wanted, before the net is built."""
        if not self.of_imagenet:
            return
        if self.trained is None:
            raise ConfigError(
                f"{self.application}: Keras has no weights for these arguments. Received: "
                "weights='imagenet'. Pass weights=None, or the path of a file."
            )
        file = self.trained.whole if self.include_top else self.trained.bare
        name = file.name or file.url.rpartition("/")[2]
        self.weights = get_file(name, file.url, cache_subdir="models", file_hash=file.hash)


def variant(
    build: Callable[[Options], Model], application: str, name: str, trained: Trained, about: str
) -> Callable[..., Model]:
    """The public function of a net that takes Keras' usual arguments in their usual order."""
    default_name = name

    def make(
        include_top: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        input_shape: Any = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str = default_name,
    ) -> Model:
        options = Options(
            application, name, include_top, weights, input_tensor, input_shape, pooling, classes,
            classifier_activation, trained,
        )  # fmt: skip
        with initial_weights(options):
            return build(options)

    return named(make, application, build, about)


ARGUMENTS = """
    Args:
        include_top: with the layers that tell classes apart.
        weights: "imagenet" (fetched once from Keras' store, its hash checked), None for random
            ones, or the path of a .h5, .weights.h5 or .keras file.
        input_tensor, input_shape: where images come from, or their shape.
        pooling: without a top: None, "avg" or "max".
        classes, classifier_activation: of the top.

    Raises ConfigError or ShapeError for arguments that don't go together, FileError when weights
    cannot be fetched.
    """


def named(make: Any, application: str, build: Any, about: str) -> Any:
    """A function made by another one, with the name, module and docstring of its own."""
    while hasattr(build, "func"):  # functools.partial
        build = build.func
    make.__name__ = make.__qualname__ = application
    make.__module__ = build.__module__
    make.__doc__ = f"{about}\n{ARGUMENTS}"
    return make


def initial_weights(options: Options) -> AbstractContextManager[Any]:
    """Inside, weights are not drawn when others are about to be read."""
    return nullcontext() if options.weights is None else awaited_weights(sys.maxsize)


# ---- the beginning -------------------------------------------------------------------------------


def channel_axis() -> int:
    """The axis of the channels, which BatchNormalization needs: 3 or 1."""
    return 3 if config.image_data_format() == "channels_last" else 1


def last_axis() -> int:
    """The same axis, where Keras counts it from the end: -1 or 1."""
    return -1 if channel_axis() == 3 else 1


def refuse_channels_first(options: Options) -> None:
    """For the nets that Keras has with channels last only."""
    if channel_axis() == 1:
        raise UnsupportedError(
            f"{options.application}: this net has its channels last. Received: "
            "image_data_format() == 'channels_first'. Call "
            "config.set_image_data_format('channels_last')."
        )


def image_input(
    options: Options, size: int | None = 224, least: int = 32, sizes: tuple[int, ...] = ()
) -> Any:
    """The tensor that the model starts from.

    Args:
        size: rows and columns where a top needs to know them; None: it needs not.
        least: what the net can work on.
        sizes: others that it was trained with; the caller knows then which file to fetch.
    """
    _check_weights(options)
    if options.pooling not in (None, "avg", "max"):
        raise ConfigError(
            f"{options.application}: pooling must be None, 'avg' or 'max'. Received: "
            f"pooling={options.pooling!r}. Check the spelling."
        )
    shape = _input_shape(options, size, least)
    _check_trained_shape(options, size, sizes)
    if not sizes:
        options.fetch()
    if options.input_tensor is None:
        return layers.Input(shape=shape)
    if not isinstance(options.input_tensor, KerasTensor):
        return layers.Input(tensor=options.input_tensor, shape=shape)
    return options.input_tensor


def _check_weights(options: Options) -> None:
    weights, application = options.weights, options.application
    if weights is None:
        return
    if options.of_imagenet:
        if options.include_top and options.classes != 1000:
            raise ConfigError(
                f"{application}: there are 1000 classes in ImageNet. Received: classes="
                f"{options.classes} with weights='imagenet'. Pass include_top=False, and put a "
                "Dense layer behind."
            )
        return
    if isinstance(weights, (str, os.PathLike)) and (
        "://" in str(weights) or os.path.exists(os.fspath(weights))
    ):
        return
    raise ConfigError(
        f"{application}: weights must be 'imagenet', None or the path of a file. Received: "
        f"weights={weights!r}. Check the path."
    )


def _input_shape(options: Options, size: int | None, least: int) -> tuple[int | None, ...]:
    """The shape of one image: what was asked for, or the usual one where a top needs a size."""
    size = size if options.include_top else None
    shape, last = options.input_shape, channel_axis() == 3
    if shape is None:
        return (size, size, 3) if last else (3, size, size)
    if len(shape) != 3:
        raise ShapeError(
            f"{options.application}: input_shape must have 3 sizes. Received: input_shape={shape}. "
            "Leave the batch size out."
        )
    sides = shape[:2] if last else shape[1:]
    if any(s is not None and s < least for s in sides) or (size is not None and None in shape):
        raise ShapeError(
            f"{options.application}: images must have at least {least} rows and columns, and a "
            f"known size with include_top=True. Received: input_shape={tuple(shape)}. Change it."
        )
    return tuple(shape)


def _check_trained_shape(options: Options, size: int | None, sizes: tuple[int, ...]) -> None:
    """Weights of ImageNet are for colour images, with a top of one size."""
    shape = options.input_shape
    if shape is None or not options.of_imagenet:
        return
    last = channel_axis() == 3
    sides, channels = (shape[:2], shape[2]) if last else (shape[1:], shape[0])
    fits = size is None or any(tuple(sides) == (s, s) for s in (size, *sizes))
    if channels != 3 or (options.include_top and not fits):
        raise ShapeError(
            f"{options.application}: with weights='imagenet' images have 3 channels, and with "
            f"include_top=True {size} x {size} pixels. Received: input_shape={tuple(shape)}. Pass "
            "weights=None, or another shape."
        )


def trained_rows(image: Any, options: Options, sizes: tuple[int, ...]) -> int | None:
    """Rows of the images, or those of the images that the weights to fetch were trained with."""
    first = 1 if channel_axis() == 3 else 2
    rows, columns = image.shape[first : first + 2]
    if options.of_imagenet and (rows != columns or rows not in sizes):
        warnings.warn(
            f"{options.application}: there are weights for images of {sizes} rows and columns. "
            f"Received: {rows} x {columns}. Those for 224 x 224 are taken.",
            stacklevel=3,
        )
        return 224
    return rows


def down_padding(x: Any, kernel: int) -> tuple[tuple[int, int], ...]:
    """Zeros around an image in front of a convolution of stride 2, as TensorFlow's nets had it."""
    first = 1 if channel_axis() == 3 else 2
    half = kernel // 2
    return tuple((half - 1 + (s or 0) % 2, half) for s in x.shape[first : first + 2])


def eights(number: float, shrinks: bool = False) -> int:
    """The nearest multiple of 8; not more than 10 % below the number unless it `shrinks`."""
    near = max(8, int(number + 4) // 8 * 8)
    return near + 8 if near < 0.9 * number and not shrinks else near


# ---- the end -------------------------------------------------------------------------------------


def pooled(x: Any, options: Options, name: bool = True) -> Any:
    """The end of a model without top; `name`: the layers are called avg_pool and max_pool."""
    if options.pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool" if name else None)(x)
    if options.pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool" if name else None)(x)
    return x


def check_activation(options: Options) -> None:
    """Weights of a file were trained with softmax."""
    activation = activations.get(options.classifier_activation)
    if options.weights is not None and activation not in (
        activations.get("softmax"),
        activations.get(None),
    ):
        raise ConfigError(
            f"{options.application}: classifier_activation must be None or 'softmax' with weights "
            f"of a file. Received: classifier_activation={options.classifier_activation!r}. Leave "
            "it out."
        )


def classified(x: Any, options: Options, name: str = "predictions", **kwargs: Any) -> Any:
    """The last layer, called predictions."""
    check_activation(options)
    activation = options.classifier_activation
    return layers.Dense(options.classes, activation=activation, name=name, **kwargs)(x)


def topped(x: Any, options: Options, name: bool = True) -> Any:
    """Mean and classes, or the pooling of a model without top; `name` is that of `pooled`."""
    if not options.include_top:
        return pooled(x, options, name)
    return classified(layers.GlobalAveragePooling2D(name="avg_pool")(x), options)


def finished(start: Any, end: Any, options: Options) -> Model:
    """The model, with its weights."""
    inputs = start
    if options.input_tensor is not None:
        inputs = get_source_inputs(start)
        inputs = inputs[0] if len(inputs) == 1 else inputs
    model = Model(inputs, end, name=options.name)
    if options.weights is not None:
        model.load_weights(options.weights)
    return model
