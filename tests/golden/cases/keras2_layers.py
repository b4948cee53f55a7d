"""Every layer that Keras 2 and zoo_keras share, with arguments that change what it computes.

name -> (arguments, kinds of the inputs). A layer among the arguments is (class, arguments).
Kinds: `real:5,4` are numbers of a row's shape, `ids:7:5` five ids below 7, `text`, `words` strings.
"""

from __future__ import annotations

from typing import Any

_GATES = {"units": 3, "activation": "softsign", "recurrent_activation": "hard_sigmoid"}
_KEPT = {"return_sequences": True, "go_backwards": True, "unroll": True}
_HE = {"kernel_initializer": "he_normal", "bias_initializer": "ones"}
_CONV = {"filters": 3, "kernel_size": 2, "kernel_initializer": "lecun_uniform", "activation": "elu"}
_BOUND = {"kernel_regularizer": "l2", "bias_constraint": "non_neg", "activity_regularizer": "l1"}
ROW, SEQUENCE, IMAGE, VOLUME = "real:6", "real:6,4", "real:6,5,4", "real:4,5,3,2"

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "Activation": ({"activation": "hard_sigmoid"}, [ROW]),
    "ActivityRegularization": ({"l1": 0.1, "l2": 0.2}, [ROW]),
    "Add": ({}, [ROW, ROW]),
    "AdditiveAttention": ({"use_scale": True}, [SEQUENCE, SEQUENCE]),
    "AlphaDropout": ({"rate": 0.2}, [ROW]),
    "Attention": ({"use_scale": True, "score_mode": "concat"}, [SEQUENCE, SEQUENCE]),
    "Average": ({}, [ROW, ROW]),
    "AveragePooling1D": ({"pool_size": 3, "strides": 2, "padding": "same"}, [SEQUENCE]),
    "AveragePooling2D": ({"pool_size": (2, 3), "strides": (1, 2)}, [IMAGE]),
    "AveragePooling3D": ({"pool_size": 2, "padding": "same"}, [VOLUME]),
    "BatchNormalization": (
        {"axis": 2, "epsilon": 0.01, "scale": False, "beta_regularizer": "l2"},
        [IMAGE],
    ),
    "Bidirectional": (
        {
            "layer": ("GRU", {**_GATES, "return_sequences": True, "reset_after": False}),
            "merge_mode": "mul",
        },
        [SEQUENCE],
    ),
    "CategoryEncoding": ({"num_tokens": 7, "output_mode": "count"}, ["ids:7:5"]),
    "CenterCrop": ({"height": 3, "width": 4}, [IMAGE]),
    "Concatenate": ({"axis": 1}, [SEQUENCE, SEQUENCE]),
    "Conv1D": ({**_CONV, "padding": "causal", "dilation_rate": 2}, [SEQUENCE]),
    "Conv1DTranspose": ({**_CONV, "strides": 2}, [SEQUENCE]),
    "Conv2D": ({**_CONV, "filters": 4, "strides": (2, 1), "groups": 2, **_BOUND}, [IMAGE]),
    "Conv2DTranspose": ({**_CONV, "strides": 3, "output_padding": 1, "padding": "same"}, [IMAGE]),
    "Conv3D": ({**_CONV, "padding": "same", "use_bias": False}, [VOLUME]),
    "Conv3DTranspose": ({**_CONV, "strides": 2}, [VOLUME]),
    "Cropping1D": ({"cropping": (1, 2)}, [SEQUENCE]),
    "Cropping2D": ({"cropping": ((1, 0), (2, 1))}, [IMAGE]),
    "Cropping3D": ({"cropping": 1}, [VOLUME]),
    "Dense": ({"units": 3, "activation": "selu", **_HE, **_BOUND}, [ROW]),
    "DepthwiseConv1D": ({"kernel_size": 2, "depth_multiplier": 2}, [SEQUENCE]),
    "DepthwiseConv2D": (
        {"kernel_size": 3, "depth_multiplier": 2, "depthwise_initializer": "he_uniform"},
        [IMAGE],
    ),
    "Discretization": ({"bin_boundaries": [-0.5, 0.0, 0.75]}, [ROW]),
    "Dot": ({"axes": (2, 2), "normalize": True}, [SEQUENCE, SEQUENCE]),
    "Dropout": ({"rate": 0.3, "noise_shape": (None, 1), "seed": 3}, [ROW]),
    "ELU": ({"alpha": 0.7}, [ROW]),
    "EinsumDense": (
        {"equation": "abc,cd->abd", "output_shape": (None, 3), "bias_axes": "d"},
        [SEQUENCE],
    ),
    "Embedding": (
        {
            "input_dim": 7,
            "output_dim": 3,
            "input_length": 5,
            "embeddings_initializer": "random_normal",
        },
        ["ids:7:5"],
    ),
    "Flatten": ({"data_format": "channels_first"}, [IMAGE]),
    "GRU": (
        {**_GATES, **_KEPT, "reset_after": False, "dropout": 0.1, "recurrent_dropout": 0.2},
        [SEQUENCE],
    ),
    "GaussianDropout": ({"rate": 0.4}, [ROW]),
    "GaussianNoise": ({"stddev": 0.5}, [ROW]),
    "GlobalAveragePooling1D": ({"keepdims": True}, [SEQUENCE]),
    "GlobalAveragePooling2D": ({}, [IMAGE]),
    "GlobalAveragePooling3D": ({}, [VOLUME]),
    "GlobalMaxPooling1D": ({}, [SEQUENCE]),
    "GlobalMaxPooling2D": ({"keepdims": True}, [IMAGE]),
    "GlobalMaxPooling3D": ({}, [VOLUME]),
    "GroupNormalization": ({"groups": 2, "epsilon": 0.01}, [IMAGE]),
    "Hashing": ({"num_bins": 5}, ["words"]),
    "Identity": ({}, [ROW]),
    "IntegerLookup": ({"vocabulary": [2, 5, 3], "num_oov_indices": 2}, ["ids:7:5"]),
    "LSTM": (
        {**_GATES, **_KEPT, "unit_forget_bias": False, "dropout": 0.1, "implementation": 1},
        [SEQUENCE],
    ),
    "LayerNormalization": ({"axis": [1, 2], "epsilon": 0.01, "center": False}, [SEQUENCE]),
    "LeakyReLU": ({"alpha": 0.2}, [ROW]),
    "Masking": ({"mask_value": 0.5}, [SEQUENCE]),
    "MaxPooling1D": ({"pool_size": 2, "strides": 1}, [SEQUENCE]),
    "LocallyConnected1D": (
        {"filters": 3, "kernel_size": 2, "strides": 2, "activation": "tanh"},
        [SEQUENCE],
    ),
    "LocallyConnected2D": ({"filters": 3, "kernel_size": (2, 1), "strides": (1, 2)}, [IMAGE]),
    "MaxPooling2D": ({"pool_size": 2, "padding": "same"}, [IMAGE]),
    "MaxPooling3D": ({"pool_size": (1, 2, 2)}, [VOLUME]),
    "Maximum": ({}, [ROW, ROW]),
    "Minimum": ({}, [ROW, ROW]),
    "MultiHeadAttention": (
        {"num_heads": 2, "key_dim": 3, "value_dim": 2, "output_shape": 5, "use_bias": True},
        [SEQUENCE, SEQUENCE],
    ),
    "Multiply": ({}, [ROW, ROW]),
    "Normalization": (
        {
            "axis": -1,
            "mean": [0.5, 0.0, 1.0, 2.0, 0.25, 0.0],
            "variance": [1.0, 2.0, 4.0, 1.0, 0.5, 9.0],
        },
        [ROW],
    ),
    "PReLU": ({"shared_axes": [1], "alpha_initializer": "ones"}, [SEQUENCE]),
    "Permute": ({"dims": (2, 1)}, [SEQUENCE]),
    "RNN": (
        {
            "cell": (
                "StackedRNNCells",
                {"cells": [("GRUCell", {**_GATES, "reset_after": True}), ("LSTMCell", _GATES)]},
            ),
            "return_sequences": True,
        },
        [SEQUENCE],
    ),
    "ReLU": ({"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}, [ROW]),
    "RepeatVector": ({"n": 3}, [ROW]),
    "Rescaling": ({"scale": 0.5, "offset": -1.0}, [ROW]),
    "Reshape": ({"target_shape": (-1, 3)}, [SEQUENCE]),
    "Resizing": ({"height": 3, "width": 7, "interpolation": "nearest"}, [IMAGE]),
    "SeparableConv1D": (
        {**{k: _CONV[k] for k in ("filters", "kernel_size", "activation")}, "depth_multiplier": 2},
        [SEQUENCE],
    ),
    "SeparableConv2D": (
        {
            "filters": 3,
            "kernel_size": 2,
            "pointwise_initializer": "he_normal",
            "pointwise_regularizer": "l1",
        },
        [IMAGE],
    ),
    "SimpleRNN": (
        {
            "units": 3,
            "activation": "relu",
            "use_bias": False,
            "recurrent_initializer": "identity",
            "stateful": False,
        },
        [SEQUENCE],
    ),
    "Softmax": ({"axis": 1}, [SEQUENCE]),
    "SpatialDropout1D": ({"rate": 0.5}, [SEQUENCE]),
    "SpatialDropout2D": ({"rate": 0.5}, [IMAGE]),
    "SpatialDropout3D": ({"rate": 0.5}, [VOLUME]),
    "StringLookup": ({"vocabulary": ["bee", "ant"], "num_oov_indices": 1}, ["words"]),
    "Subtract": ({}, [ROW, ROW]),
    "TextVectorization": ({"vocabulary": ["bee", "ant"], "output_sequence_length": 4}, ["text"]),
    "ThresholdedReLU": ({"theta": 0.4}, [ROW]),
    "TimeDistributed": ({"layer": ("Dense", {"units": 2, **_HE})}, [SEQUENCE]),
    "UnitNormalization": ({"axis": 1}, [SEQUENCE]),
    "UpSampling1D": ({"size": 3}, [SEQUENCE]),
    "UpSampling2D": ({"size": (2, 1), "interpolation": "bilinear"}, [IMAGE]),
    "UpSampling3D": ({"size": 2}, [VOLUME]),
    "ZeroPadding1D": ({"padding": (1, 2)}, [SEQUENCE]),
    "ZeroPadding2D": ({"padding": ((1, 0), (2, 1))}, [IMAGE]),
    "ZeroPadding3D": ({"padding": 1}, [VOLUME]),
}
# Those that are no layers of a model by themselves: base classes, cells (in "RNN"), user code.
NOT_ALONE = {
    "Layer",
    "Wrapper",
    "InputLayer",
    "Lambda",
    "GRUCell",
    "LSTMCell",
    "SimpleRNNCell",
    "StackedRNNCells",
}
# What zoo_keras does not have; it says so by name.
NOT_HERE = {
    "AbstractRNNCell", "DenseFeatures", "RandomHeight", "RandomWidth",
}  # fmt: skip

BY_KERAS_3 = {  # the cases of cases/more_layers.py and cases/preprocessing.py
    "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "HashedCrossing", "RandomBrightness",
    "RandomContrast", "RandomCrop", "RandomFlip", "RandomRotation", "RandomTranslation",
    "RandomZoom", "SpectralNormalization",
}  # fmt: skip


def inputs(kinds: list[str], rng: Any) -> list[Any]:
    """Three rows of each input."""
    import numpy as np

    return [_rows(kind, rng, np) for kind in kinds]


def _rows(kind: str, rng: Any, np: Any) -> Any:
    if kind == "text":
        return np.array([["An ant, a bee"], ["bee BEE bee bee ant"], [""]])
    if kind == "words":
        return np.array([["ant"], ["bee"], ["cat"]])
    what, _, shape = kind.partition(":")
    if what == "ids":
        top, count = map(int, shape.split(":"))
        return rng.integers(0, top, (3, count)).astype("int32")
    return rng.normal(size=(3, *map(int, shape.split(",")))).astype("float32")
