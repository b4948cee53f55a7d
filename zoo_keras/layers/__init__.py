"""All layers: `zoo_keras.layers` has the names of `keras.layers`.

A layer that Keras has and zoo_keras has not raises UnsupportedError when it is asked for.
"""

from __future__ import annotations

from typing import Any

from zoo_keras.layers.activation_layers import (
    ELU,
    Activation,
    LeakyReLU,
    PReLU,
    ReLU,
    Softmax,
)
from zoo_keras.layers.borders import Cropping1D, Cropping2D, ZeroPadding1D, ZeroPadding2D
from zoo_keras.layers.convolution import Conv1D, Conv2D
from zoo_keras.layers.core import Identity, Lambda, Masking, Rescaling
from zoo_keras.layers.dense import Dense
from zoo_keras.layers.embedding import Embedding
from zoo_keras.layers.input_layer import Input, InputLayer
from zoo_keras.layers.input_spec import InputSpec
from zoo_keras.layers.layer import Layer
from zoo_keras.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from zoo_keras.layers.normalization import (
    BatchNormalization,
    LayerNormalization,
    UnitNormalization,
)
from zoo_keras.layers.op_call import OpCall as _OpCall  # noqa: F401  (its hook lets ops take KerasTensors)
from zoo_keras.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    MaxPooling1D,
    MaxPooling2D,
)
from zoo_keras.layers.regularization import (
    ActivityRegularization,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
)
from zoo_keras.layers.reshaping import (
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling1D,
    UpSampling2D,
)
from zoo_keras.missing import missing
from zoo_keras.saving.serialization import deserialize_keras_object, serialize_keras_object

AvgPool1D, AvgPool2D = AveragePooling1D, AveragePooling2D
MaxPool1D, MaxPool2D = MaxPooling1D, MaxPooling2D
GlobalAvgPool1D, GlobalAvgPool2D = GlobalAveragePooling1D, GlobalAveragePooling2D
GlobalMaxPool1D, GlobalMaxPool2D = GlobalMaxPooling1D, GlobalMaxPooling2D
Convolution1D, Convolution2D = Conv1D, Conv2D

__all__ = [
    "Activation", "ActivityRegularization", "Add", "Average", "AveragePooling1D",
    "AveragePooling2D", "AvgPool1D", "AvgPool2D", "BatchNormalization", "Concatenate", "Conv1D",
    "Conv2D", "Convolution1D", "Convolution2D", "Cropping1D", "Cropping2D", "Dense", "Dot",
    "Dropout", "ELU", "Embedding", "Flatten", "GaussianDropout", "GaussianNoise",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAvgPool1D", "GlobalAvgPool2D",
    "GlobalMaxPool1D", "GlobalMaxPool2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "Identity",
    "Input", "InputLayer", "InputSpec", "Lambda", "Layer", "LayerNormalization", "LeakyReLU",
    "Masking", "MaxPool1D", "MaxPool2D", "MaxPooling1D", "MaxPooling2D", "Maximum", "Minimum",
    "Multiply", "PReLU", "Permute", "ReLU", "RepeatVector", "Rescaling", "Reshape", "Softmax",
    "SpatialDropout1D", "SpatialDropout2D", "Subtract", "UnitNormalization", "UpSampling1D",
    "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D", "add", "average", "concatenate",
    "deserialize", "dot", "maximum", "minimum", "multiply", "serialize", "subtract",
]  # fmt: skip


def serialize(layer: Any) -> dict[str, Any]:
    """The configuration of a layer. Source: keras.layers.serialize."""
    made: dict[str, Any] = serialize_keras_object(layer)
    return made


def deserialize(config: dict[str, Any], custom_objects: Any = None) -> Any:
    """The layer of a configuration. Source: keras.layers.deserialize.

    Raises ConfigError when its class is not known, or it is no layer.
    """
    from zoo_keras.errors import ConfigError

    made = deserialize_keras_object(config, custom_objects=custom_objects)
    if not isinstance(made, Layer):
        raise ConfigError(
            f"layers.deserialize: the configuration is not a layer's. Received: {config!r}. "
            "Pass what layers.serialize returned."
        )
    return made


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.layers", name)
