"""Images in and class names out of models trained on ImageNet.

In: pixels from 0 to 255, or predictions of 1000 classes. Out: what a model wants, or (id, name,
score) of the best classes. Source: keras.applications.imagenet_utils.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from zoo_keras import config, ops
from zoo_keras.errors import ConfigError, DataError, ShapeError
from zoo_keras.utils import get_file

__all__ = ["decode_predictions", "preprocess_input"]

# Mean and standard deviation of each channel of ImageNet; "caffe" means BGR and is not scaled.
_BGR_MEAN = (103.939, 116.779, 123.68)
_RGB_MEAN, _RGB_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_CLASS_INDEX = (
    "imagenet_class_index.json",
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
    "c2c37ea517e94d9795004a39431a14cb",
)


def unchanged(x: Any, data_format: str | None = None) -> Any:
    """Pixels from 0 to 255 as they are: the net itself prepares them."""
    return x


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "caffe") -> Any:
    """Pixels (0 to 255, RGB) in the form that models of this mode were trained with.

    Args:
        x: one image or a batch, an array or a tensor; an array is not changed (Keras writes
            into it).
        mode: "tf" (-1 to 1), "torch" (mean 0, deviation 1) or "caffe" (BGR, mean 0).

    Raises ConfigError for another mode or data_format.
    """
    data_format = config.image_data_format() if data_format is None else data_format
    for name, value, known in (
        ("mode", mode, ("caffe", "tf", "torch")),
        ("data_format", data_format, ("channels_first", "channels_last")),
    ):
        if value not in known:
            raise ConfigError(f"preprocess_input: {name} must be one of {known}. Received: "
                              f"{name}={value!r}. Check the spelling.")  # fmt: skip
    x = np.asarray(x, _float_of(x)) if isinstance(x, np.ndarray) else x
    if mode == "tf":
        return x / 127.5 - 1.0
    axis = len(x.shape) - (3 if data_format == "channels_first" else 1)
    if mode == "torch":
        return (x / 255.0 - _along(_RGB_MEAN, axis, x)) / _along(_RGB_STD, axis, x)
    return ops.flip(x, axis=axis) - _along(_BGR_MEAN, axis, x)


def _float_of(x: np.ndarray) -> Any:
    return x.dtype if x.dtype.kind == "f" else np.float32


def _along(values: tuple[float, ...], axis: int, x: Any) -> np.ndarray:
    """One number for each channel, shaped to meet the channel axis of x."""
    shape = [1] * len(x.shape)
    shape[axis] = len(values)
    return np.reshape(np.array(values, np.float32), shape)


def decode_predictions(preds: Any, top: int = 5, class_index: Any = None) -> list[Any]:
    """(class id, class name, score) of the `top` best classes of each row, best first.

    Args:
        preds: (samples, 1000).
        class_index: path of a file like Keras' `imagenet_class_index.json`, which is fetched
            otherwise.

    Raises ShapeError for other shapes, FileError when the file cannot be fetched.
    """
    scores = np.asarray(preds)
    if scores.ndim != 2 or scores.shape[1] != 1000:
        raise ShapeError(
            "decode_predictions: predictions must have the shape (samples, 1000). Received: shape "
            f"{scores.shape}. Pass what a model with 1000 classes predicts."
        )
    names = _class_names(class_index)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(*names[c], row[c]) for c in classes] for row, classes in zip(scores, best, strict=True)
    ]


def _class_names(path: Any) -> list[tuple[str, str]]:
    if path is None:
        name, url, digest = _CLASS_INDEX
        path = get_file(name, url, cache_subdir="models", file_hash=digest)
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    try:
        return [(str(found[str(i)][0]), str(found[str(i)][1])) for i in range(1000)]
    except (KeyError, IndexError, TypeError):
        raise DataError(
            'decode_predictions: class_index must map "0" to "999" to [id, name]. Received: '
            f"{path}. Pass Keras' imagenet_class_index.json."
        ) from None
