"""Layer cases: class, configuration and input shapes, with no numbers in them.

Each row becomes one entry of data/layers.json and its arrays in data/layers.npz. Arguments are
plain JSON values (strings, numbers, lists, serialized objects), so the same row builds the layer
in real Keras and in zoo_keras. The table must not import either of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Ints(NamedTuple):
    """An int32 input of this shape with values 0..high-1."""

    shape: tuple[int, ...]
    high: int


class Case(NamedTuple):
    layer: str
    label: str
    inputs: list[Any]
    kwargs: dict[str, Any]
    call: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.layer}-{self.label}"


CASES: list[Case] = []


def add(layer: str, label: str, *inputs: Any, call: dict | None = None, **kwargs: Any) -> None:
    CASES.append(Case(layer, label, list(inputs), kwargs, call or {}))


def keras_object(kind: str, name: str, **config: Any) -> dict[str, Any]:
    """The serialized form Keras 3 writes for an initializer, regularizer or constraint."""
    return {
        "module": f"keras.{kind}",
        "class_name": name,
        "config": config,
        "registered_name": None,
    }


def init(name: str, **config: Any) -> dict[str, Any]:
    return keras_object("initializers", name, **config)


def l1l2(l1: float, l2: float) -> dict[str, Any]:
    return keras_object("regularizers", "L1L2", l1=l1, l2=l2)


TRAIN = {"training": True}
EVAL = {"training": False}

# Dense
add("Dense", "plain", (3, 4), units=5)
add("Dense", "relu_odd", (7, 13), units=19, activation="relu")
add("Dense", "no_bias", (2, 3), units=1, use_bias=False)
add("Dense", "softmax_3d", (2, 3, 5), units=4, activation="softmax")
add("Dense", "one_row", (1, 33), units=17, activation="tanh")
add("Dense", "wide_4d", (2, 1, 3, 4), units=35, activation="gelu")
add("Dense", "regularized", (4, 6), units=3, kernel_regularizer="l2", bias_regularizer="l1")
add("Dense", "activity", (4, 6), units=3, activity_regularizer=l1l2(0.01, 0.02))
add("Dense", "constrained", (4, 6), units=3, kernel_constraint="max_norm",
    bias_constraint="non_neg", activation="sigmoid")
add("Dense", "orthogonal_penalty", (2, 5), units=4,
    kernel_regularizer=keras_object("regularizers", "OrthogonalRegularizer",
                                    factor=0.05, mode="columns"))
for _name in ("zeros", "ones", "random_normal", "random_uniform", "truncated_normal",
              "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal",
              "lecun_uniform", "orthogonal", "variance_scaling", "identity"):
    add("Dense", f"init_{_name}", (2, 4), units=4, kernel_initializer=_name)
add("Dense", "init_options", (2, 4), units=3,
    kernel_initializer=init("VarianceScaling", scale=0.5, mode="fan_avg",
                            distribution="untruncated_normal", seed=7),
    bias_initializer=init("Constant", value=0.25))

# Activation and the activation layers
for _name in ("relu", "sigmoid", "tanh", "elu", "selu", "gelu", "softplus", "softsign", "silu",
              "hard_sigmoid", "hard_silu", "mish", "exponential", "linear", "relu6", "log_softmax",
              "softmax", "leaky_relu", "log_sigmoid"):
    add("Activation", _name, (3, 7), activation=_name)
add("Activation", "softmax_4d", (2, 3, 2, 5), activation="softmax")
add("ReLU", "plain", (3, 5))
add("ReLU", "max_value", (3, 5), max_value=0.5)
add("ReLU", "all_options", (2, 3, 5), max_value=1.0, negative_slope=0.1, threshold=0.25)
add("LeakyReLU", "plain", (3, 5))
add("LeakyReLU", "steep", (2, 4, 3), negative_slope=0.75)
add("LeakyReLU", "zero", (3, 1), negative_slope=0.0)
add("ELU", "plain", (3, 5))
add("ELU", "alpha", (2, 3, 4), alpha=0.3)
add("ELU", "alpha_large", (1, 9), alpha=2.5)
add("PReLU", "plain", (3, 5))
add("PReLU", "shared_space", (2, 3, 4, 5), shared_axes=[1, 2])
add("PReLU", "shared_one", (2, 3, 5), shared_axes=[2], alpha_regularizer="l1",
    alpha_constraint="non_neg")
add("PReLU", "initializer", (2, 3, 2), alpha_initializer=init("Constant", value=0.25))
add("Softmax", "plain", (3, 5))
add("Softmax", "axis_1", (2, 4, 3), axis=1)
add("Softmax", "two_axes", (2, 3, 4), axis=[1, 2])

# Dropout: the deterministic cases
add("Dropout", "inference", (3, 5), rate=0.5, call=EVAL)
add("Dropout", "seeded", (2, 3, 4), rate=0.25, seed=1337, call=EVAL)
add("Dropout", "noise_shape", (2, 3, 4), rate=0.1, noise_shape=[2, 1, 4], call=EVAL)
add("Dropout", "rate_zero_training", (3, 5), rate=0.0, call=TRAIN)

# Shape layers
add("Flatten", "plain", (2, 3, 4))
add("Flatten", "rank_1", (5,))
add("Flatten", "image", (2, 3, 4, 2))
add("Flatten", "channels_first", (2, 3, 4, 2), data_format="channels_first")
add("Reshape", "plain", (2, 6), target_shape=[3, 2])
add("Reshape", "infer", (2, 3, 4), target_shape=[-1, 2])
add("Reshape", "to_vector", (2, 3, 4), target_shape=[12])
add("Reshape", "infer_all", (3, 2, 2), target_shape=[-1])
add("Permute", "swap", (2, 3, 4), dims=[2, 1])
add("Permute", "rotate", (2, 3, 4, 5), dims=[3, 1, 2])
add("Permute", "same", (2, 3), dims=[1])
add("RepeatVector", "three", (2, 4), n=3)
add("RepeatVector", "once", (3, 1), n=1)
add("RepeatVector", "odd", (1, 7), n=5)

# Embedding
add("Embedding", "plain", Ints((2, 3), 7), input_dim=7, output_dim=4)
add("Embedding", "vector_ids", Ints((5,), 3), input_dim=3, output_dim=1)
add("Embedding", "mask_zero", Ints((3, 4), 6), input_dim=6, output_dim=5, mask_zero=True)
add("Embedding", "regularized", Ints((2, 2, 3), 5), input_dim=5, output_dim=3,
    embeddings_initializer="glorot_uniform", embeddings_regularizer="l2",
    embeddings_constraint="unit_norm")

# Conv1D
add("Conv1D", "plain", (2, 7, 3), filters=4, kernel_size=3)
add("Conv1D", "same_even", (2, 8, 2), filters=3, kernel_size=4, padding="same")
add("Conv1D", "strided_same", (2, 9, 3), filters=5, kernel_size=3, strides=2, padding="same",
    activation="relu")
add("Conv1D", "strided_valid", (1, 11, 1), filters=2, kernel_size=5, strides=3)
add("Conv1D", "causal", (2, 6, 2), filters=3, kernel_size=3, padding="causal")
add("Conv1D", "causal_dilated", (2, 9, 2), filters=3, kernel_size=2, padding="causal",
    dilation_rate=3)
add("Conv1D", "dilated", (2, 10, 3), filters=4, kernel_size=3, dilation_rate=2)
add("Conv1D", "dilated_same", (2, 7, 3), filters=4, kernel_size=3, dilation_rate=2,
    padding="same")
add("Conv1D", "groups", (2, 6, 4), filters=6, kernel_size=3, groups=2)
add("Conv1D", "pointwise", (3, 5, 7), filters=2, kernel_size=1, use_bias=False)
add("Conv1D", "regularized", (2, 6, 2), filters=3, kernel_size=2,
    kernel_regularizer=l1l2(0.01, 0.01), bias_regularizer="l2", activity_regularizer="l1",
    kernel_constraint="non_neg", kernel_initializer="he_normal", bias_initializer="ones",
    activation="tanh")
add("Conv1D", "channels_first", (2, 3, 8), filters=4, kernel_size=3,
    data_format="channels_first")

# Conv2D
add("Conv2D", "plain", (2, 5, 6, 3), filters=4, kernel_size=3)
add("Conv2D", "one_channel", (2, 6, 5, 1), filters=3, kernel_size=[3, 2], activation="relu")
add("Conv2D", "two_channels_same", (2, 5, 5, 2), filters=3, kernel_size=3, padding="same")
add("Conv2D", "same_even", (1, 6, 7, 3), filters=2, kernel_size=[2, 4], padding="same")
add("Conv2D", "strided_same", (2, 7, 6, 3), filters=4, kernel_size=3, strides=2, padding="same")
add("Conv2D", "strided_valid", (2, 8, 7, 2), filters=3, kernel_size=[3, 2], strides=[2, 3])
add("Conv2D", "stride_above_kernel", (1, 7, 7, 2), filters=3, kernel_size=2, strides=3)
add("Conv2D", "dilated", (2, 8, 9, 2), filters=3, kernel_size=3, dilation_rate=2)
add("Conv2D", "dilated_same", (1, 7, 6, 3), filters=2, kernel_size=3, dilation_rate=[2, 1],
    padding="same")
add("Conv2D", "groups", (2, 5, 4, 4), filters=6, kernel_size=3, groups=2, padding="same")
add("Conv2D", "groups_depthwise", (2, 5, 5, 3), filters=3, kernel_size=3, groups=3)
add("Conv2D", "pointwise", (2, 3, 4, 5), filters=7, kernel_size=1, use_bias=False,
    activation="elu")
add("Conv2D", "many_channels", (1, 4, 4, 17), filters=33, kernel_size=3, padding="same")
add("Conv2D", "whole_image", (3, 4, 3, 2), filters=5, kernel_size=[4, 3])
add("Conv2D", "large_kernel_same", (1, 4, 5, 2), filters=2, kernel_size=[7, 5], padding="same")
add("Conv2D", "regularized", (2, 4, 4, 2), filters=3, kernel_size=2, kernel_regularizer="l2",
    activity_regularizer=l1l2(0.0, 0.01), kernel_initializer="orthogonal",
    kernel_constraint=keras_object("constraints", "MaxNorm", max_value=1.5, axis=[0, 1, 2]))
add("Conv2D", "channels_first", (2, 3, 6, 5), filters=4, kernel_size=3,
    data_format="channels_first")
# On TensorFlow real Keras adds the bias to the wrong axis when the last one is `filters` wide.
add("Conv2D", "channels_first_strided", (1, 2, 7, 6), filters=5, kernel_size=3, strides=2,
    padding="same", data_format="channels_first")

# Pooling
for _kind in ("Max", "Average"):
    add(f"{_kind}Pooling1D", "plain", (2, 7, 3), pool_size=2)
    add(f"{_kind}Pooling1D", "same_overlap", (2, 7, 3), pool_size=3, strides=2, padding="same")
    add(f"{_kind}Pooling1D", "gaps", (1, 10, 2), pool_size=2, strides=3)
    add(f"{_kind}Pooling1D", "channels_first", (2, 3, 8), pool_size=2,
        data_format="channels_first")
    add(f"{_kind}Pooling2D", "plain", (2, 5, 6, 3), pool_size=2)
    add(f"{_kind}Pooling2D", "same_overlap", (2, 5, 6, 2), pool_size=3, strides=2,
        padding="same")
    add(f"{_kind}Pooling2D", "uneven", (1, 7, 5, 17), pool_size=[3, 2], strides=[1, 2])
    add(f"{_kind}Pooling2D", "same_stride_1", (2, 4, 3, 1), pool_size=[2, 3], strides=1,
        padding="same")
    add(f"{_kind}Pooling2D", "channels_first", (2, 3, 6, 4), pool_size=2,
        data_format="channels_first")
    add(f"Global{_kind}Pooling1D", "plain", (2, 5, 3))
    add(f"Global{_kind}Pooling1D", "keepdims", (3, 4, 1), keepdims=True)
    add(f"Global{_kind}Pooling1D", "channels_first", (2, 3, 5), data_format="channels_first")
    add(f"Global{_kind}Pooling2D", "plain", (2, 3, 5, 4))
    add(f"Global{_kind}Pooling2D", "keepdims", (1, 4, 3, 2), keepdims=True)
    add(f"Global{_kind}Pooling2D", "channels_first", (2, 3, 4, 5),
        data_format="channels_first")
add("MaxPooling2D", "defaults", (2, 4, 4, 2))
add("MaxPooling1D", "defaults", (2, 5, 2))

# Padding
add("ZeroPadding1D", "plain", (2, 3, 4))
add("ZeroPadding1D", "uneven", (1, 5, 2), padding=[0, 3])
add("ZeroPadding1D", "channels_first", (2, 3, 4), padding=2, data_format="channels_first")
add("ZeroPadding2D", "plain", (2, 3, 4, 2))
add("ZeroPadding2D", "per_axis", (1, 3, 2, 3), padding=[2, 0])
add("ZeroPadding2D", "per_side", (2, 2, 3, 1), padding=[[0, 1], [2, 3]])
add("ZeroPadding2D", "channels_first", (1, 2, 3, 3), padding=1, data_format="channels_first")

# BatchNormalization
for _label, _call in (("training", TRAIN), ("inference", EVAL)):
    add("BatchNormalization", f"plain_{_label}", (6, 5), call=_call)
    add("BatchNormalization", f"image_{_label}", (3, 2, 3, 4), call=_call, momentum=0.9,
        epsilon=1e-5)
    add("BatchNormalization", f"no_scale_{_label}", (5, 3), call=_call, scale=False)
    add("BatchNormalization", f"no_center_{_label}", (5, 2, 3), call=_call, center=False,
        gamma_regularizer="l2")
    add("BatchNormalization", f"bare_{_label}", (4, 3), call=_call, center=False, scale=False)
    add("BatchNormalization", f"axis_1_{_label}", (3, 4, 2, 3), call=_call, axis=1)
add("BatchNormalization", "options_training", (4, 7), call=TRAIN, momentum=0.5,
    beta_initializer="ones", gamma_initializer=init("RandomNormal", mean=1.0, stddev=0.1,
                                                    seed=3),
    moving_mean_initializer="ones", moving_variance_initializer="ones",
    beta_regularizer="l1", beta_constraint="non_neg", gamma_constraint="non_neg")
add("BatchNormalization", "not_trainable_training", (4, 3), call=TRAIN, trainable=False)

# LayerNormalization
add("LayerNormalization", "plain", (3, 5))
add("LayerNormalization", "sequence", (2, 3, 17))
add("LayerNormalization", "axis_1", (2, 4, 3), axis=1)
add("LayerNormalization", "two_axes", (2, 3, 4), axis=[1, 2])
add("LayerNormalization", "two_axes_image", (2, 3, 2, 4), axis=[-2, -1], epsilon=1e-6)
add("LayerNormalization", "no_scale", (3, 4), scale=False, beta_regularizer="l2")
add("LayerNormalization", "no_center", (3, 4), center=False, gamma_constraint="non_neg",
    gamma_initializer="ones")
add("LayerNormalization", "bare", (4, 7), center=False, scale=False)

# Merging
for _layer in ("Add", "Multiply", "Average", "Maximum", "Minimum"):
    add(_layer, "two", (3, 4), (3, 4))
    add(_layer, "three", (2, 3, 2), (2, 3, 2), (2, 3, 2))
    add(_layer, "broadcast", (2, 3, 4), (2, 1, 4))
    add(_layer, "ranks", (2, 4), (2, 3, 4))
add("Subtract", "two", (3, 4), (3, 4))
add("Subtract", "image", (2, 3, 2, 1), (2, 3, 2, 1))
add("Subtract", "broadcast", (2, 3, 4), (2, 3, 1))
add("Concatenate", "last", (2, 3), (2, 5))
add("Concatenate", "axis_1", (2, 3, 4), (2, 1, 4), (2, 2, 4), axis=1)
add("Concatenate", "image", (1, 3, 2, 1), (1, 3, 2, 4), axis=3)
add("Concatenate", "batch_axis", (1, 3), (2, 3), axis=0)
add("Dot", "vectors", (3, 5), (3, 5), axes=1)
add("Dot", "matrix_vector", (2, 3, 4), (2, 4), axes=[2, 1])
add("Dot", "matrices", (2, 3, 4), (2, 5, 4), axes=2)
add("Dot", "normalized", (3, 6), (3, 6), axes=-1, normalize=True)
add("Dot", "mixed_axes", (2, 3, 4), (2, 4, 5), axes=[2, 1], normalize=True)

# The rest
add("Rescaling", "bytes", (2, 3, 2), scale=0.00392156862745098)
add("Rescaling", "offset", (2, 5), scale=2.0, offset=-1.0)
add("Rescaling", "per_channel", (2, 3, 2, 3), scale=[0.5, 1.0, 2.0], offset=[0.0, 0.1, 0.2])
add("Identity", "plain", (2, 3))
add("Identity", "image", (1, 2, 3, 2))
add("Identity", "one", (1, 1))
# `function` names an entry of functions.table(ops).
add("Lambda", "square", (2, 3), function="square")
add("Lambda", "arguments", (2, 5), function="scaled", arguments={"factor": 3.0})
add("Lambda", "row_sum", (2, 3, 4), function="row_sum")
add("Lambda", "two_inputs", (2, 3), (2, 3), function="difference")
add("InputLayer", "shape", (2, 5), shape=[5])
add("InputLayer", "batch", (2, 3, 4), batch_shape=[2, 3, 4], dtype="float32")
add("InputLayer", "sequence", Ints((2, 6), 9), shape=[6], dtype="int32")
