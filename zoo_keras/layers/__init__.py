"""All layers: `zoo_keras.layers` has the names of `keras.layers`.

A layer that Keras has and zoo_keras has not raises UnsupportedError when it is asked for.
"""

from __future__ import annotations

import sys
from typing import Any

from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.layers.activation_layers import (
    ELU,
    Activation,
    LeakyReLU,
    PReLU,
    ReLU,
    Softmax,
    ThresholdedReLU,
)
from zoo_keras.layers.adaptive_pooling import (
    AdaptiveAveragePooling1D,
    AdaptiveAveragePooling2D,
    AdaptiveAveragePooling3D,
    AdaptiveMaxPooling1D,
    AdaptiveMaxPooling2D,
    AdaptiveMaxPooling3D,
)
from zoo_keras.layers.attention import AdditiveAttention, Attention
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.base.op_layer import OpCall as _OpCall  # noqa: F401  (its hook lets ops take KerasTensors)
from zoo_keras.layers.bidirectional import Bidirectional
from zoo_keras.layers.borders import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)
from zoo_keras.layers.conv_lstm import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from zoo_keras.layers.convolution import Conv1D, Conv2D, Conv3D
from zoo_keras.layers.core import Identity, Lambda, Masking, Rescaling
from zoo_keras.layers.dense import Dense
from zoo_keras.layers.depthwise_convolution import (
    DepthwiseConv1D,
    DepthwiseConv2D,
    SeparableConv1D,
    SeparableConv2D,
)
from zoo_keras.layers.einsum_dense import EinsumDense
from zoo_keras.layers.embedding import Embedding, ReversibleEmbedding
from zoo_keras.layers.input_layer import Input, InputLayer
from zoo_keras.layers.keras1 import (
    BatchOnlyNormalization,
    Cosine,
    Highway,
    MaxoutDense,
    ParametricSoftplus,
    SampleNormalization,
    SReLU,
)
from zoo_keras.layers.local import LocallyConnected1D, LocallyConnected2D
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
from zoo_keras.layers.multi_head_attention import GroupedQueryAttention, MultiHeadAttention
from zoo_keras.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from zoo_keras.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from zoo_keras.layers.preprocessing.clahe import (
    ContrastLimitedAdaptiveHistogramEqualization,
)
from zoo_keras.layers.preprocessing.colours import (
    AutoContrast,
    Equalization,
    RandomBrightness,
    RandomColorDegeneration,
    RandomColorJitter,
    RandomContrast,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomHue,
    RandomInvert,
    RandomPosterization,
    RandomSaturation,
    RandomSharpness,
    Solarization,
)
from zoo_keras.layers.preprocessing.discretization import Discretization
from zoo_keras.layers.preprocessing.encoding import CategoryEncoding
from zoo_keras.layers.preprocessing.hashing import HashedCrossing, Hashing
from zoo_keras.layers.preprocessing.images import CenterCrop, DecodeImage, Resizing
from zoo_keras.layers.preprocessing.lookup import IntegerLookup, StringLookup
from zoo_keras.layers.preprocessing.mixtures import (
    AugMix,
    CutMix,
    MaxNumBoundingBoxes,
    MixUp,
    RandAugment,
    RandomErasing,
)
from zoo_keras.layers.preprocessing.motions import (
    RandomCrop,
    RandomElasticTransform,
    RandomFlip,
    RandomPerspective,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)
from zoo_keras.layers.preprocessing.normalization import Normalization
from zoo_keras.layers.preprocessing.pipeline import Pipeline
from zoo_keras.layers.preprocessing.spectrograms import MelSpectrogram, STFTSpectrogram
from zoo_keras.layers.preprocessing.text_vectorization import TextVectorization
from zoo_keras.layers.recurrent import GRU, LSTM, SimpleRNN
from zoo_keras.layers.regularization import (
    ActivityRegularization,
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from zoo_keras.layers.reshaping import (
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
)
from zoo_keras.layers.rnn import RNN
from zoo_keras.layers.rnn_cells import GRUCell, LSTMCell, SimpleRNNCell
from zoo_keras.layers.spectral_normalization import SpectralNormalization
from zoo_keras.layers.stacked_cells import StackedRNNCells
from zoo_keras.layers.transposed_convolution import (
    Conv1DTranspose,
    Conv2DTranspose,
    Conv3DTranspose,
)
from zoo_keras.layers.upsampling import UpSampling1D, UpSampling2D, UpSampling3D
from zoo_keras.layers.wrappers import TimeDistributed, Wrapper
from zoo_keras.paths import SHARED, alias, fallback, names_at

AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D = GlobalAveragePooling1D, GlobalAveragePooling2D
GlobalMaxPool1D, GlobalMaxPool2D = GlobalMaxPooling1D, GlobalMaxPooling2D
GlobalAvgPool3D, GlobalMaxPool3D = GlobalAveragePooling3D, GlobalMaxPooling3D
Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
Convolution1DTranspose, Convolution2DTranspose = Conv1DTranspose, Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
GroupQueryAttention = GroupedQueryAttention
Deconv2D = Deconvolution2D = Conv2DTranspose  # of Keras 1
Deconv3D = Deconvolution3D = Conv3DTranspose

__all__ = [
    "AdditiveAttention", "AlphaDropout", "Attention", "EinsumDense", "GroupNormalization",
    "GroupQueryAttention", "MultiHeadAttention", "RMSNormalization", "SpatialDropout3D",
    "Activation", "ActivityRegularization", "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D", "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D", "Add", "Average", "AveragePooling1D", "AveragePooling2D",
    "AveragePooling3D", "AvgPool1D", "AvgPool2D", "AvgPool3D", "BatchNormalization", "Concatenate",
    "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose",
    "Convolution1D", "Convolution1DTranspose", "Convolution2D", "Convolution2DTranspose",
    "Convolution3D", "Convolution3DTranspose", "Cropping1D", "Cropping2D", "Cropping3D", "Dense",
    "DepthwiseConv1D", "DepthwiseConv2D", "Dot", "Dropout", "ELU", "Embedding", "Flatten",
    "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
    "GlobalAveragePooling3D", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D",
    "GlobalMaxPool1D", "GlobalMaxPool2D", "GlobalMaxPool3D", "GlobalMaxPooling1D",
    "GlobalMaxPooling2D", "GlobalMaxPooling3D", "Identity", "Input", "InputLayer", "InputSpec",
    "Lambda", "Layer", "LayerNormalization", "LeakyReLU", "Masking", "MaxPool1D", "MaxPool2D",
    "MaxPool3D", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "Maximum", "Minimum", "Multiply",
    "PReLU", "Permute", "ReLU", "RepeatVector", "Rescaling", "Reshape", "SeparableConv1D",
    "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D", "Softmax",
    "SpatialDropout1D", "SpatialDropout2D", "Subtract", "UnitNormalization", "UpSampling1D",
    "UpSampling2D", "UpSampling3D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "add",
    "average", "concatenate", "deserialize", "dot", "maximum", "minimum", "multiply", "serialize",
    "subtract",
    "Bidirectional", "GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "SimpleRNN", "SimpleRNNCell",
    "StackedRNNCells", "TimeDistributed", "Wrapper",
    "CategoryEncoding", "CenterCrop", "DecodeImage", "Discretization", "Hashing", "IntegerLookup",
    "Normalization", "Resizing",
    "StringLookup", "TextVectorization",
    "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "HashedCrossing", "Pipeline", "ReversibleEmbedding",
    "SpectralNormalization", "MelSpectrogram", "STFTSpectrogram",
    "ThresholdedReLU",
    "AugMix", "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "CutMix",
    "Equalization", "MaxNumBoundingBoxes", "MixUp",
    "BatchOnlyNormalization", "Cosine", "Highway", "LocallyConnected1D", "LocallyConnected2D",
    "MaxoutDense", "ParametricSoftplus",
    "SReLU", "SampleNormalization",
    "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter",
    "RandomContrast", "RandomCrop", "RandomElasticTransform", "RandomErasing", "RandomFlip",
    "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective",
    "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness",
    "RandomShear", "RandomTranslation", "RandomZoom", "Solarization",
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


for _path in SHARED:  # paths of Keras 2 that files of ours have too
    _names = [name for name in names_at(_path) if name in globals()]
    sys.modules[f"zoo_keras.{_path}"].__dict__["__getattr__"] = fallback(
        f"zoo_keras.{_path}", _names, "zoo_keras.layers"
    )


def __getattr__(name: str) -> Any:
    return alias("zoo_keras.layers", name)
