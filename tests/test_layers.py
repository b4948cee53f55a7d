"""What the golden cases of the layers leave out: bad arguments, wrong shapes, masks, training."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError

BAD_ARGUMENTS = [
    ("Dense", {"units": -3}, r"Dense .*units must be a positive integer.*units=-3.*above 0"),
    ("Dense", {"units": 2.5}, "units=2.5"),
    ("Dense", {"units": True}, "units=True"),
    ("Dense", {"units": 3, "activation": "rellu"}, "rellu"),
    ("Dense", {"units": 3, "kernel_initializer": "glorott"}, "glorott"),
    ("Embedding", {"input_dim": 0, "output_dim": 4}, "input_dim=0"),
    ("Embedding", {"input_dim": 4, "output_dim": "x"}, "output_dim='x'"),
    ("Conv2D", {"filters": 0, "kernel_size": 3}, "filters=0"),
    ("Conv2D", {"filters": 4, "kernel_size": (3, 3, 3)}, "kernel_size"),
    ("Conv2D", {"filters": 4, "kernel_size": 0}, "kernel_size=0"),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "strides": -1}, "strides=-1"),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "causal"}, "padding='causal'"),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "data_format": "last"}, "data_format='last'"),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "groups": 3}, "multiple of groups=3"),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "strides": 2, "dilation_rate": 2}, "strides=2"),
    ("MaxPooling2D", {"pool_size": (2,)}, "pool_size"),
    ("AveragePooling1D", {"pool_size": 2, "padding": "full"}, "padding='full'"),
    ("BatchNormalization", {"axis": [1, 2]}, "axis"),
    ("BatchNormalization", {"epsilon": -1}, "epsilon=-1"),
    ("LayerNormalization", {"axis": "last"}, "axis='last'"),
    ("Dropout", {"rate": 1.5}, "rate=1.5"),
    ("Dropout", {"rate": 0.5, "noise_shape": (0, 1)}, "noise_shape"),
    ("GaussianNoise", {"stddev": 2}, "stddev=2"),
    ("ReLU", {"max_value": -1}, "max_value=-1"),
    ("ReLU", {"threshold": None}, "threshold=None"),
    ("LeakyReLU", {"negative_slope": -0.1}, "negative_slope=-0.1"),
    ("PReLU", {"shared_axes": "1"}, "shared_axes='1'"),
    ("Softmax", {"axis": 0.5}, "axis=0.5"),
    ("Reshape", {"target_shape": (-1, -1)}, "target_shape"),
    ("Permute", {"dims": (2, 3)}, "dims"),
    ("RepeatVector", {"n": 0}, "n=0"),
    ("ZeroPadding2D", {"padding": (1, 2, 3)}, "padding"),
    ("Cropping1D", {"cropping": -1}, "cropping=-1"),
    ("UpSampling1D", {"size": 0}, "size=0"),
    ("UpSampling2D", {"interpolation": "area"}, "area"),
    ("Cropping3D", {"cropping": (1, 2)}, "cropping"),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 3, "output_padding": 1}, "output_padding=1"),
    (
        "Conv1DTranspose",
        {"filters": 2, "kernel_size": 3, "strides": 2, "dilation_rate": 2},
        "strides=2",
    ),
    ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 0}, "depth_multiplier=0"),
    ("SeparableConv2D", {"filters": 0, "kernel_size": 3}, "filters=0"),
    ("AdaptiveMaxPooling2D", {"output_size": (2, 2, 2)}, "output_size"),
    ("Dot", {"axes": (1, 2, 3)}, "axes"),
    ("Concatenate", {"axis": None}, "axis=None"),
    ("Rescaling", {"scale": "big"}, "scale='big'"),
    ("Lambda", {"function": 3}, "function=3"),
]


@pytest.mark.parametrize(("name", "kwargs", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_named(name, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        getattr(layers, name)(**kwargs)


UNSUPPORTED = [
    (
        "EinsumDense",
        {"equation": "ab,bc->ac", "output_shape": 2, "gptq_unpacked_column_size": 2},
        "gptq_unpacked_column_size=2",
    ),
    ("Input", {"shape": (3,), "sparse": True}, "sparse=True"),
]


@pytest.mark.parametrize(("name", "kwargs", "message"), UNSUPPORTED)
def test_unsupported_options_are_named(name, kwargs, message):
    with pytest.raises(UnsupportedError, match=message):
        getattr(layers, name)(**kwargs)


@pytest.mark.parametrize("name", ["TFSMLayer", "RandomHeight"])
def test_layers_that_are_missing_say_so(name):
    with pytest.raises(UnsupportedError, match=f"zoo_keras.layers has no '{name}'"):
        getattr(layers, name)
    assert not hasattr(layers, name)


WRONG_SHAPES = [
    (layers.Dense(2), [(3,)], "at least 2 dimensions"),
    (layers.Conv2D(2, 3), [(1, 5, 5)], "4 dimensions"),
    (layers.Conv2D(2, 3, name="c"), [(1, 2, 5, 1)], 'layer "c".*window of 3 cells'),
    (layers.Conv2D(4, 1, groups=2), [(1, 5, 5, 3)], "multiple of groups=2"),
    (layers.MaxPooling1D(4), [(1, 3, 2)], "window of 4 cells"),
    (layers.GlobalMaxPooling2D(), [(1, 3, 2)], "4 dimensions"),
    (layers.Reshape((4, 2), name="r"), [(2, 6)], r'"r".*\(4, 2\).*Received.*\(2, 6\)'),
    (layers.Reshape((-1, 4)), [(2, 6)], "must hold as many numbers"),
    (layers.RepeatVector(2), [(2, 3, 4)], "2 dimensions"),
    (layers.Permute((2, 1)), [(2, 3)], "3 dimensions"),
    (layers.Cropping1D((2, 2)), [(1, 4, 1)], "should be smaller"),
    (layers.Add(name="sum"), [(2, 3), (2, 4)], '"sum".*broadcast'),
    (layers.Add(), [(2, 3)], "list of inputs"),
    (layers.Subtract(), [(2, 3), (2, 3), (2, 3)], "exactly 2 inputs"),
    (layers.Concatenate(axis=1), [(2, 3, 4), (2, 3, 5)], "must agree"),
    (layers.Dot(axes=1), [(2, 3), (2, 4)], "must have one size"),
]


@pytest.mark.parametrize(("layer", "shapes", "message"), WRONG_SHAPES)
def test_wrong_shapes_name_layer_expected_and_received(layer, shapes, message):
    inputs = [np.ones(s, np.float32) for s in shapes]
    with pytest.raises(ShapeError, match=message):
        layer(inputs if len(inputs) > 1 else inputs[0])


def test_a_size_that_weights_depend_on_must_be_known():
    with pytest.raises(ShapeError, match="size of axis -1 must be known"):
        layers.Dense(2)(zk.Input((None,)))


ALIASES = {
    "MaxPool1D": "MaxPooling1D",
    "AvgPool2D": "AveragePooling2D",
    "GlobalAvgPool1D": "GlobalAveragePooling1D",
    "GlobalMaxPool2D": "GlobalMaxPooling2D",
    "Convolution2D": "Conv2D",
}


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases_are_the_same_class(alias, name):
    assert getattr(layers, alias) is getattr(layers, name)


def images(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


CHEAP = [
    (layers.Cropping1D((1, 2)), images(2, 5, 3), lambda x: x[:, 1:-2]),
    (layers.Cropping2D(((1, 0), (0, 2))), images(1, 4, 5, 2), lambda x: x[:, 1:, :-2]),
    (
        layers.Cropping2D(1, data_format="channels_first"),
        images(1, 2, 4, 5),
        lambda x: x[:, :, 1:-1, 1:-1],
    ),
    (layers.UpSampling1D(3), images(1, 2, 2), lambda x: x.repeat(3, 1)),
    (layers.UpSampling2D((2, 3)), images(1, 2, 2, 2), lambda x: x.repeat(2, 1).repeat(3, 2)),
    (
        layers.UpSampling2D(2, data_format="channels_first"),
        images(1, 3, 2, 2),
        lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
    (
        layers.UnitNormalization(),
        np.array([[3.0, 4.0]], np.float32),
        lambda x: x / 5,
    ),
    (layers.Masking(), images(1, 2, 2), lambda x: x),
    (layers.GaussianNoise(0.5), images(1, 3), lambda x: x),
    (layers.SpatialDropout1D(0.5), images(1, 3, 2), lambda x: x),
    (layers.ActivityRegularization(0.1), images(1, 3), lambda x: x),
    (layers.BatchNormalization(center=False), images(2, 3), lambda x: x / np.sqrt(1.001)),
]


@pytest.mark.parametrize(("layer", "x", "expected"), CHEAP)
def test_results_without_training(layer, x, expected):
    np.testing.assert_allclose(layer(x), expected(x), rtol=1e-6)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_dropout_in_training_drops_its_share_and_keeps_the_mean():
    y = layers.Dropout(0.25, seed=1)(np.ones((200, 50), np.float32), training=True)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert 0.2 < (y == 0).mean() < 0.3


@pytest.mark.parametrize(
    ("layer", "shape", "shared"),
    [
        (layers.Dropout(0.5, noise_shape=(None, 1, None)), (4, 6, 5), 1),
        (layers.SpatialDropout1D(0.5), (4, 6, 5), 1),
        (layers.SpatialDropout2D(0.5), (4, 6, 5, 3), (1, 2)),
        (layers.SpatialDropout2D(0.5, data_format="channels_first"), (4, 3, 6, 5), (2, 3)),
    ],
)
def test_shared_noise_is_equal_along_its_axes(layer, shape, shared):
    y = layer(np.ones(shape, np.float32), training=True)
    assert np.ptp(y, axis=shared).max() == 0
    assert np.unique(y).tolist() == [0.0, 2.0]


@pytest.mark.parametrize("layer", [layers.GaussianNoise(0.5), layers.GaussianDropout(0.2)])
def test_gaussian_layers_spread_around_their_inputs_in_training(layer):
    y = layer(np.ones((100, 100), np.float32), training=True)
    assert abs(y.mean() - 1) < 0.02
    assert abs(y.std() - 0.5) < 0.02


def test_batch_normalization_leaves_masked_steps_out_of_the_statistics():
    x = np.array([[[1.0], [3.0], [100.0]]], np.float32)
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x, training=True, mask=np.array([[True, True, False]]))
    np.testing.assert_allclose(layer.moving_mean.numpy(), [2.0], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), [1.0], rtol=1e-6)


def test_a_frozen_batch_normalization_infers_and_keeps_its_statistics():
    layer = layers.BatchNormalization()
    layer.trainable = False
    x = images(4, 2)
    np.testing.assert_allclose(layer(x, training=True), layer(x, training=False))
    assert layer.moving_mean.numpy().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalization_of_any_axis_equals_the_last(training):
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    moved = layers.BatchNormalization(axis=1)(x, training=training)
    last = layers.BatchNormalization()(x.swapaxes(1, 2), training=training)
    np.testing.assert_allclose(moved, last.swapaxes(1, 2), rtol=1e-5, atol=1e-6)


def test_layer_normalization_with_rms_scaling_keeps_the_mean():
    x = np.array([[1.0, 3.0]], np.float32)
    y = layers.LayerNormalization(rms_scaling=True, epsilon=0.0)(x)
    np.testing.assert_allclose(y, x / x.std(), rtol=1e-6)


def test_softmax_gives_masked_entries_no_share():
    mask = np.array([[True, False, True], [False, False, False]])
    y = layers.Softmax()(np.zeros((2, 3), np.float32), mask=mask)
    np.testing.assert_allclose(y, [[0.5, 0, 0.5], [0, 0, 0]])


def test_activity_regularization_adds_to_the_loss_per_sample():
    x = zk.Input((2,))
    model = zk.Model(x, layers.ActivityRegularization(l1=0.1, l2=1.0)(x))
    model.compile(loss="mse")
    batch = np.array([[1.0, 2.0], [3.0, 0.0]], np.float32)
    assert model.test_on_batch(batch, batch) == pytest.approx((0.1 * 6 + 14) / 2)


class AppendMask(layers.Layer):
    def call(self, x, mask=None):
        return zk.ops.concatenate([x, zk.ops.cast(mask, "float32")[..., None]], -1)


@pytest.mark.parametrize("name", ["Add", "Multiply", "Average", "Maximum", "Minimum"])
def test_merged_masks_are_the_union(name):
    inputs = [zk.Input((3, 1)) for _ in range(2)]
    merged = getattr(layers, name)()([layers.Masking()(x) for x in inputs])
    model = zk.Model(inputs, AppendMask()(merged))
    a, b = np.array([[[1.0], [0], [0]]]), np.array([[[2.0], [5], [0]]])
    y = model([a, b])
    assert y[0, :, 1].tolist() == [1, 1, 0]
    if name in ("Multiply", "Maximum", "Minimum"):  # what is masked takes no part
        assert y[0, 1, 0] == 5


def test_concatenated_masks_follow_each_other():
    inputs = [zk.Input((2, 1)) for _ in range(2)]
    merged = layers.Concatenate(axis=1)([layers.Masking()(inputs[0]), inputs[1]])
    model = zk.Model(inputs, AppendMask()(merged))
    y = model([np.array([[[1.0], [0]]]), np.zeros((1, 2, 1))])
    assert y[0, :, 1].tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (layers.add, [[4.0]]),
        (layers.subtract, [[-2.0]]),
        (layers.multiply, [[3.0]]),
        (layers.average, [[2.0]]),
        (layers.maximum, [[3.0]]),
        (layers.minimum, [[1.0]]),
        (layers.concatenate, [[1.0, 3.0]]),
        (layers.dot, [[3.0]]),
    ],
)
def test_merging_functions_equal_their_layers(function, expected):
    inputs = [zk.Input((1,)), zk.Input((1,))]
    y = zk.Model(inputs, function(inputs, name="merged"))([np.array([[1.0]]), np.array([[3.0]])])
    assert y.tolist() == expected


def test_embedding_takes_weights_and_names_an_id_out_of_range():
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    layer = layers.Embedding(3, 2, weights=[table], name="words")
    assert layer(np.array([[2, 0]])).tolist() == [[[4.0, 5.0], [0.0, 1.0]]]
    with pytest.raises(zk.errors.DataError, match="words"):
        layer(np.array([[3]]))


def test_a_named_function_in_a_lambda_travels_by_name():
    layer = layers.Lambda(zk.ops.square, name="squared")
    config = layers.serialize(layer)
    again = layers.deserialize(config, custom_objects={"square": zk.ops.square})
    assert again(np.array([[3.0]])).item() == 9.0


def test_bytecode_in_a_lambda_is_refused_unless_allowed():
    config = layers.Lambda(lambda x: x * 3.0).get_config()
    with pytest.raises(ConfigError, match="safe_mode"):
        layers.Lambda.from_config(config)
    again = layers.Lambda.from_config(config, safe_mode=False)
    assert again(np.array([[2.0]])).item() == 6.0


def test_lambda_passes_arguments_mask_and_training():
    def function(x, factor, training=None):
        return x * factor if training else x

    layer = layers.Lambda(function, arguments={"factor": 2.0})
    assert layer(np.array([[3.0]]), training=True).item() == 6.0
    assert layer(np.array([[3.0]])).item() == 3.0


def test_a_lambda_may_state_its_output_shape():
    x = zk.Input((4,))
    assert layers.Lambda(lambda t: t[:, :2], output_shape=(2,))(x).shape == (None, 2)


def test_masks_that_do_not_fit_are_named():
    x = np.zeros((1, 3), np.float32)
    with pytest.raises(ShapeError, match="broadcastable"):
        layers.Softmax()(x, mask=np.ones((2, 3), bool))
    with pytest.raises(ShapeError, match="`mask` passed"):
        layers.TimeDistributed(layers.Dense(1))(x[..., None], mask=np.ones((1, 2), bool))
    with pytest.raises(ShapeError, match="should have the same length"):
        layers.Add().compute_mask([x, x], [None])
    with pytest.raises(ShapeError, match="mask must be a list"):
        layers.Attention()([x[None], x[None]], mask=x)


def test_an_axis_of_another_type_is_a_type_error_too():
    with pytest.raises(TypeError, match="argument 'axis'"):
        layers.LayerNormalization(axis={"axis": -1})
    with pytest.raises(TypeError, match="n must be a positive integer"):
        layers.RepeatVector("3")


def test_both_directions_keep_use_cudnn():
    both = layers.Bidirectional(layers.LSTM(1, use_cudnn=False))
    assert both.forward_layer.use_cudnn is both.backward_layer.use_cudnn is False
