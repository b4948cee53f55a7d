"""int8 inference: exact sums in every instruction set, calibration, what a quantised model can and
cannot do, and the accuracy of trained models."""

from __future__ import annotations

import numpy as np
import pytest
from graph_check import op_names
from kernel_check import SETS, instruction_set, run_kernel

import zoo_keras as zk
from zoo_keras import native
from zoo_keras.errors import ConfigError, DataError, ShapeError, UnsupportedError
from zoo_keras.graph import Graph, Spec, input_tensor, tracing
from zoo_keras.layers.quantized import Quantizable
from zoo_keras.models.quantizing import calibrate, quantize_layer
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.int8 import LONGEST, dense_int8, gather_int8, pack_int8
from zoo_keras.quantizers import AbsMaxQuantizer, Int8QuantizationConfig

layers = zk.layers

# m, n, k on both sides of every border: panels of 16, tiles of 4 and 8 rows, blocks of 32 rows,
# steps of 4, whole vectors of 32 inputs, one task and many.
SHAPES = (
    (1, 1, 1), (1, 17, 3), (1, 600, 257), (2, 16, 4), (3, 15, 5), (4, 33, 31), (5, 1, 32),
    (7, 48, 33), (8, 64, 64), (9, 10, 784), (31, 20, 95), (33, 130, 66), (65, 300, 40),
    (0, 3, 4), (3, 0, 4), (3, 4, 0),
)  # fmt: skip


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def int8(rng, *shape):
    return rng.integers(-127, 128, shape).astype(np.int8)


def sums_in_c(q, w, threads=2):
    """q @ w by the kernel: with these scales inputs are rounded to themselves."""
    n = w.shape[1]
    ones, zeros = np.ones(n, np.float32), np.zeros(n, np.float32)
    attrs = {"units": n, "activation": "linear", "input_scale": 1.0}
    return run_kernel(
        dense_int8, [q.astype(np.float32), pack_int8(w), ones, zeros], attrs, threads
    )[0]


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("low", [0, -127])
def test_sums_are_those_of_whole_numbers(isa, low, rng):
    for m, n, k in SHAPES:
        q, w = rng.integers(low, 128, (m, k)), int8(rng, k, n)
        with instruction_set(isa):
            found = [sums_in_c(q, w, threads) for threads in (1, 2, 3)]
        want = q @ w.astype(np.int64)
        assert np.array_equal(found[0], want.astype(np.float32)), (m, n, k)
        assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("x, w", [(127, 127), (-127, 127), (127, -127), (-127, -127)])
def test_the_largest_products_do_not_saturate(isa, x, w):
    q, weights = np.full((5, 70), x), np.full((70, 20), w, np.int8)
    with instruction_set(isa):
        assert np.array_equal(sums_in_c(q, weights), np.full((5, 20), 70.0 * x * w))


@pytest.mark.parametrize("isa", SETS)
def test_the_longest_sum_fits_and_a_longer_one_is_refused(isa):
    q, w = np.full((1, LONGEST), 127), np.full((LONGEST, 1), 127, np.int8)
    with instruction_set(isa):
        assert sums_in_c(q, w)[0, 0] == np.float32(LONGEST * 127 * 127)
    with pytest.raises(ShapeError, match="int32"):
        sums_in_c(np.zeros((1, LONGEST + 1)), np.zeros((LONGEST + 1, 1), np.int8))


@pytest.mark.parametrize("isa", SETS)
def test_rounding_is_to_even_and_ends_at_127(isa):
    x = np.array([[0.5, 1.5, -0.5, -1.5, -2.5, 126.5, 127.5, 1e9, -1e9, 3e38, -3e38] * 5])
    want = np.clip(np.rint(x), -127, 127)
    with instruction_set(isa):
        found = sums_in_c(x, np.eye(x.shape[1], dtype=np.int8))
    assert np.array_equal(found, want)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("input_scale", [0.0, 50.0])
def test_a_row_that_is_not_finite_gives_nan_and_the_others_do_not(isa, input_scale, rng):
    x = rng.normal(size=(5, 40)).astype(np.float32)
    x[1, 3], x[3, 39] = np.nan, np.inf
    attrs = {"units": 20, "activation": "relu", "input_scale": input_scale}
    ones = np.ones(20, np.float32)
    with instruction_set(isa):
        y = run_kernel(dense_int8, [x, pack_int8(int8(rng, 40, 20)), ones, ones], attrs)[0]
    assert np.isnan(y[[1, 3]]).all() and np.isfinite(y[[0, 2, 4]]).all()


def test_a_row_is_the_same_alone_and_in_a_batch(rng):
    x, w = rng.normal(size=(50, 300)).astype(np.float32), pack_int8(int8(rng, 300, 100))
    scale, bias = np.full(100, 500, np.float32), np.ones(100, np.float32)
    attrs = {"units": 100, "activation": "tanh", "input_scale": 0.0}
    whole = run_kernel(dense_int8, [x, w, scale, bias], attrs)[0]
    for rows in (1, 2, 5, 13):
        assert np.array_equal(
            run_kernel(dense_int8, [x[:rows], w, scale, bias], attrs)[0], whole[:rows]
        )


def test_a_weight_of_minus_128_and_an_id_out_of_range_are_errors(rng):
    w = np.full((3, 2), -128, np.int8)
    with pytest.raises(DataError, match="-128"):
        run_kernel(pack_int8, [w], {})
    with pytest.raises(DataError, match="-128"):
        pack_int8(w)
    with pytest.raises(DataError, match="id out of range"):
        run_kernel(gather_int8, [w, np.ones(3, np.float32), np.array([1, 3], np.int32)], {})
    with pytest.raises(ShapeError, match="packed by pack_int8"):
        x = Spec((2, 3), "float32")
        dense_int8.infer(x, x, x, x, units=2, activation="linear", input_scale=0.0)


# ---- models --------------------------------------------------------------------------------------


def small():
    zk.utils.set_random_seed(1)
    return zk.Sequential(
        [
            layers.Input((6, 5)),
            layers.TimeDistributed(layers.Dense(8, activation="relu", name="inner")),
            layers.EinsumDense("...a,ab->...b", 7, bias_axes="b", name="einsum"),
            layers.Flatten(),
            layers.Dense(3, name="last"),
        ]
    )


def attending():
    zk.utils.set_random_seed(1)
    x = layers.Input((6, 5))
    y = layers.MultiHeadAttention(2, 4, name="attend")(x, x)
    return zk.Model(x, layers.Dense(3, name="last")(layers.Flatten()(y)))


def relative(got, want):
    return np.abs(got - want).max() / np.abs(want).max()


def test_all_kinds_of_layers_come_close_to_float(rng):
    x = rng.normal(size=(40, 6, 5)).astype(np.float32)
    for build in (small, attending):
        model = build()
        want = model.predict(x, verbose=0)
        model.quantize("int8")
        assert 0 < relative(model.predict(x, verbose=0), want) < 0.03
        calibrated = build()
        calibrated.quantize("int8", sample=x)
        assert 0 < relative(calibrated.predict(x, verbose=0), want) < 0.06
        weights = build()
        weights.quantize(config=Int8QuantizationConfig(activation_quantizer=None))
        assert 0 < relative(weights.predict(x, verbose=0), want) < 0.02


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("build", [small, attending])
def test_calibration_and_inner_layers_survive_a_file(suffix, build, rng, tmp_path):
    x = rng.normal(size=(40, 6, 5)).astype(np.float32)
    for arguments in (
        {"mode": "int8", "sample": x},
        {"config": Int8QuantizationConfig(activation_quantizer=None)},
    ):
        model = build()
        model.quantize(**arguments)
        model.save(tmp_path / f"model{suffix}")
        again = zk.saving.load_model(tmp_path / f"model{suffix}")
        assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_sample_is_taken_as_predict_takes_it(rng):
    a, b = layers.Input((4,), name="a"), layers.Input((3,), name="b")
    left, right = layers.Dense(5, name="left"), layers.Dense(5, name="right")
    model = zk.Model([a, b], layers.Add()([left(a), right(b)]))
    x = {"a": rng.uniform(0, 2, (100, 4)), "b": rng.uniform(-3, 1, (100, 3))}
    model.quantize("int8", sample=x)
    low, high = left.quantization_config.input_range
    assert low == 0 and high == pytest.approx(x["a"].max())
    low, high = right.quantization_config.input_range
    assert (low, high) == pytest.approx((x["b"].min(), x["b"].max()))
    assert left.seen is None


def test_a_sample_counts_after_predictions_of_this_or_an_equal_model(rng):
    x = rng.normal(size=(40, 6, 5)).astype(np.float32)
    for before in (True, False):
        model = small()
        (model if before else small()).predict(x, verbose=0)
        model.quantize("int8", sample=x)
        for layer in model._flatten_layers():
            assert not layer.quantization_mode or layer.quantization_config.input_range


def test_the_kernel_is_packed_once_and_again_when_it_changes(rng):
    model = zk.Sequential([layers.Input((4,)), layers.Dense(3, use_bias=False)])
    x = rng.normal(size=(2, 4)).astype(np.float32)
    model.quantize("int8")
    before = model.predict_on_batch(x)
    model.layers[-1].kernel.assign(-model.layers[-1].kernel.numpy())
    np.testing.assert_allclose(model.predict_on_batch(x), -before)


def test_a_quantised_model_evaluates_but_does_not_train(rng):
    model = small()
    model.compile("adam", "mse", metrics=["mae"])
    x, y = rng.normal(size=(32, 6, 5)), rng.normal(size=(32, 3))
    model.fit(x, y, verbose=0)
    before = model.evaluate(x, y, verbose=0)
    model.quantize("int8")
    assert model.evaluate(x, y, verbose=0) == pytest.approx(before, rel=0.05)
    for train in (model.fit, model.train_on_batch):
        with pytest.raises(UnsupportedError, match=r"'inner', 'einsum', 'last'"):
            train(x, y)


def test_weights_take_a_quarter_of_the_memory():
    model = zk.Sequential([layers.Input((64,)), layers.Dense(512, use_bias=False)])
    before = sum(w.nbytes for w in model.get_weights())
    model.quantize("int8")
    assert sum(w.nbytes for w in model.get_weights()) == before / 4 + 4 * 512


def test_filters_choose_layers():
    for filters, want in (("ein", ["einsum"]), (["last", "inn"], ["inner", "last"]),
                          (lambda layer: layer.name == "last", ["last"])):  # fmt: skip
        model = small()
        model.quantize("int8", filters=filters)
        assert [x.name for x in model._flatten_layers() if x.quantization_mode] == want


def test_a_layer_without_int8_form_stays_and_is_named():
    model = zk.Sequential([layers.Input((8, 8, 4)), layers.Conv2D(8, 3, groups=2, name="conv"),
                           layers.Flatten(), layers.Dense(2)])  # fmt: skip
    with pytest.warns(UserWarning, match='Conv2D "conv": has no int8 form for groups'):
        model.quantize("int8")
    assert model.layers[0].kernel.dtype == "float32" and model.layers[-1].kernel.dtype == "int8"
    with pytest.raises(UnsupportedError, match='Conv2D "conv": has no int8 form'):
        model.layers[0].quantize("int8")
    model = zk.Sequential([layers.Input((8,)), layers.LayerNormalization(name="norm"),
                           layers.Dense(2)])  # fmt: skip
    with pytest.warns(UserWarning, match='LayerNormalization "norm": has no int8 form'):
        model.quantize("int8")
    assert model.layers[-1].kernel.dtype == "int8"


def test_a_convolution_that_would_be_slower_stays_float32_and_is_named():
    model = zk.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(2, 3, name="conv"),
                           layers.Flatten(), layers.Dense(2)])  # fmt: skip
    with pytest.warns(UserWarning, match='Conv2D "conv": stays float32'):
        model.quantize("int8")
    assert model.layers[0].kernel.dtype == "float32" and model.layers[-1].kernel.dtype == "int8"


def test_a_subclass_is_left_alone_unless_asked():
    class Mine(layers.Dense):
        pass

    model = zk.Sequential([layers.Input((4,)), Mine(2, name="mine")])
    with pytest.warns(UserWarning, match='Mine "mine": a subclass'):
        model.quantize("int8")
    assert model.layers[-1].quantization_mode is None
    model.quantize("int8", type_check=False)
    assert model.layers[-1].quantization_mode == "int8"


def test_a_layer_made_with_the_policy_has_int8_weights():
    layer = layers.Dense(3, dtype="int8_from_float32")
    layer.build((None, 4))
    assert [(w.name, w.dtype) for w in layer.weights] == [
        ("bias", "float32"), ("kernel", "int8"), ("kernel_scale", "float32")
    ]  # fmt: skip
    policy = zk.dtype_policies.get("int8_from_float32")
    assert policy == layer.dtype_policy == zk.dtype_policies.QuantizedDTypePolicy("int8")
    assert (policy.variable_dtype, policy.quantization_mode) == ("float32", "int8")


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({}, ConfigError, "either `mode` or `config`"),
        ({"mode": "int9"}, ConfigError, "Invalid quantization mode"),
        ({"mode": "int4"}, UnsupportedError, "int4"),
        ({"mode": "int8", "config": 3}, ConfigError, "Int8QuantizationConfig"),
        ({"mode": "int8", "filters": 3}, ConfigError, "filters"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, match):
    model = small()
    with pytest.raises(error, match=match):
        model.quantize(**arguments)
    assert not any(layer.quantization_mode for layer in model._flatten_layers())


def test_a_model_is_quantised_as_a_whole_or_not_at_all():
    model = small()
    model.quantize("int8", filters="last")
    with pytest.raises(ConfigError, match="already"):
        model.quantize("int8")
    assert [x.name for x in model._flatten_layers() if x.quantization_mode] == ["last"]


def test_a_layer_is_quantised_once_and_after_it_is_built():
    layer = layers.Dense(3, name="late")
    with pytest.raises(ConfigError, match='"late": cannot be quantised before it is built'):
        layer.quantize("int8")
    layer.build((None, 4))
    layer.quantize("int8")
    with pytest.raises(ConfigError, match="already"):
        layer.quantize("int8")
    with pytest.raises(NotImplementedError, match="no int8 form"):
        layers.Flatten().quantize("int8")


def test_a_quantizer_of_another_range_is_used_for_weights_and_refused_for_inputs():
    narrow = AbsMaxQuantizer(value_range=(-7, 7))
    layer = layers.Dense(30)
    layer.build((None, 40))
    layer.quantize(config=Int8QuantizationConfig(weight_quantizer=narrow))
    assert np.abs(layer.kernel.numpy()).max() == 7
    with pytest.raises(UnsupportedError, match="inputs are rounded"):
        Int8QuantizationConfig(activation_quantizer=narrow)
    with pytest.raises(UnsupportedError, match="symmetric range"):
        AbsMaxQuantizer(value_range=(-128, 127))


# ---- convolutions --------------------------------------------------------------------------------


def force(model, sample=None):
    """Every convolution and dense layer in int8, also those that Model.quantize leaves out."""
    able = [x for x in model.layers if isinstance(x, Quantizable)]
    ranges = {} if sample is None else calibrate(model, able, sample)
    for layer in able:
        quantize_layer(layer, Int8QuantizationConfig(), ranges.get(id(layer)))
    model.forget_programs()
    return [x.name for x in able]


def steps():
    """1-D: causal, dilated, strided."""
    zk.utils.set_random_seed(2)
    return zk.Sequential(
        [
            layers.Input((20, 6)),
            layers.Conv1D(16, 3, padding="causal", dilation_rate=2, activation="relu"),
            layers.Conv1D(17, 4, strides=2, padding="same", use_bias=False),
            layers.DepthwiseConv1D(3, padding="same", activation="tanh"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def first_channels():
    zk.utils.set_random_seed(2)
    how = {"data_format": "channels_first", "padding": "same"}
    return zk.Sequential(
        [
            layers.Input((5, 9, 10)),
            layers.Conv2D(16, 3, activation="relu", **how),
            layers.DepthwiseConv2D(3, strides=2, **how),
            layers.Conv2D(8, 1, **how),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def padded():
    """Pads before strided windows, as in MobileNetV2, and a shortcut."""
    zk.utils.set_random_seed(2)
    x = inputs = layers.Input((12, 12, 8))
    y = layers.ZeroPadding2D(((0, 1), (0, 1)))(layers.Conv2D(24, 1, activation="relu")(x))
    y = layers.DepthwiseConv2D(3, strides=2, activation="relu6")(y)
    x = layers.Conv2D(16, 1)(y)
    x = layers.Add()([x, layers.Conv2D(16, 3, padding="same")(x)])
    x = layers.Conv2D(8, 2, dilation_rate=2)(layers.ReLU()(x))
    return zk.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


CONVOLUTIONS = (steps, first_channels, padded)


@pytest.mark.parametrize("build", CONVOLUTIONS)
def test_convolutions_come_close_to_float_and_survive_a_file(build, rng, tmp_path):
    model = build()
    x = rng.normal(size=(16, *model.input_shape[1:])).astype(np.float32)
    want = model.predict(x, verbose=0)
    for i, sample in enumerate((None, x)):
        model = build()
        force(model, sample)
        got = model.predict(x, verbose=0)
        assert 0 < relative(got, want) < 0.06
        for suffix in (".keras", ".h5"):
            model.save(tmp_path / f"{i}{suffix}")
            again = zk.saving.load_model(tmp_path / f"{i}{suffix}")
            assert np.array_equal(again.predict(x, verbose=0), got)
        model.save_weights(tmp_path / f"{i}.weights.h5")
        again.load_weights(tmp_path / f"{i}.weights.h5")
        assert np.array_equal(again.predict(x, verbose=0), got)


@pytest.mark.parametrize("build", CONVOLUTIONS)
def test_an_image_is_the_same_alone_in_a_batch_and_with_any_threads(build, rng):
    model = build()
    x = rng.normal(size=(9, *model.input_shape[1:])).astype(np.float32)
    force(model, x)
    whole = model.predict_on_batch(x)
    for threads in (1, 3):
        with native.using_threads(threads):
            assert np.array_equal(build_again(model).predict_on_batch(x), whole)
    assert np.array_equal(model.predict_on_batch(x[3:5]), whole[3:5])


def build_again(model):
    """An equal model without programs."""
    again = type(model).from_config(model.get_config())
    again.set_weights(model.get_weights())
    return again


@pytest.mark.parametrize("calibrated", [True, False])
def test_an_image_that_is_not_finite_gives_nan_and_the_others_do_not(calibrated, rng):
    model = padded()
    x = rng.normal(size=(4, 12, 12, 8)).astype(np.float32)
    force(model, x if calibrated else None)
    x[1, 2, 3, 4], x[2, 0, 0, 0] = np.nan, np.inf
    y = model.predict_on_batch(x)
    assert np.isnan(y[[1, 2]]).all() and np.isfinite(y[[0, 3]]).all()


def test_calibrated_convolutions_pass_int8_on_and_take_in_what_follows(rng):
    """Bias, normalization, shortcut, activation and border: one instruction for each layer."""
    model = padded()
    force(model, rng.normal(size=(4, 12, 12, 8)).astype(np.float32))
    x = input_tensor("x", (2, 12, 12, 8), "float32")
    with tracing():
        y = model(x, training=False)
    names = op_names(optimise(Graph([x], [y]), freeze=True))
    kept = [n for n in names if "int8" in n and "pack" not in n]
    assert kept == ["round_int8", "conv_int8", "depthwise_int8", "conv_int8", "conv_int8_add",
                    "conv_int8", "dense_int8"]  # fmt: skip
    assert "pad" not in names and "add" not in names


# ---- accuracy ------------------------------------------------------------------------------------


def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int32)
    return x[:1000], y[:1000], x[1000:], y[1000:]


def clusters():
    """Points around 3 centres for each of 20 classes, in 64 dimensions, signed and overlapping."""
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(20, 3, 64))
    y = rng.integers(0, 20, 10000)
    x = centres[y, rng.integers(0, 3, len(y))] + 1.3 * rng.normal(size=(len(y), 64))
    x, y = x.astype(np.float32), y.astype(np.int32)
    return x[:6000], y[:6000], x[6000:], y[6000:]


def mlp(width, inputs, classes):
    return zk.Sequential(
        [
            layers.Input((inputs,)),
            layers.Dense(width, activation="relu"),
            layers.Dense(width, activation="relu"),
            layers.Dense(classes),
        ]
    )


def cnn(width, inputs, classes):
    return zk.Sequential(
        [
            layers.Input((inputs,)),
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(width // 8, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(2),
            layers.Conv2D(width // 4, 3, activation="relu", padding="same"),
            layers.Flatten(),
            layers.Dense(width, activation="relu"),
            layers.Dense(classes),
        ]
    )


def deep_cnn(width, inputs, classes):
    """Blocks as in ResNet and MobileNetV2: normalization, a shortcut, depthwise, strides."""

    def norm():
        return layers.BatchNormalization(momentum=0.8)

    x = inputs = layers.Input((inputs,))
    x = layers.Reshape((8, 8, 1))(x)
    x = layers.Conv2D(width, 3, padding="same", name="stem")(x)
    x = layers.ReLU()(norm()(x))
    for i, strides in enumerate((1, 2)):
        y = layers.Conv2D(2 * width, 1, use_bias=False, name=f"expand{i}")(x)
        y = layers.ReLU(6.0)(norm()(y))
        y = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False, name=f"each{i}")(y)
        y = layers.ReLU(6.0)(norm()(y))
        y = norm()(layers.Conv2D(width, 1, name=f"project{i}")(y))
        x = layers.Add()([x, y]) if strides == 1 else y
    x = layers.Conv2D(2 * width, 3, activation="relu", name="last")(x)
    return zk.Model(inputs, layers.Dense(classes)(zk.ops.mean(x, axis=(1, 2))))


def transformer(width, inputs, classes):
    """Rows of an image as words; two blocks of attention and a feed-forward network."""
    x = inputs = layers.Input((inputs,))
    x = layers.Dense(width)(layers.Reshape((8, 8))(x))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, width // 2)(y, y)])
        y = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    return zk.Model(inputs, layers.Dense(classes)(layers.Flatten()(x)))


@pytest.mark.filterwarnings("ignore:.*stays float32", "ignore:.*has no int8 form")
@pytest.mark.parametrize("build, data, width, epochs, at_least", [
    (mlp, digits, 128, 15, 0.94), (cnn, digits, 64, 8, 0.94), (mlp, clusters, 256, 6, 0.6),
    (deep_cnn, digits, 32, 6, 0.94), (transformer, digits, 32, 12, 0.9),
])  # fmt: skip
def test_a_trained_model_loses_less_than_half_a_percent(build, data, width, epochs, at_least):
    x, y, x_test, y_test = data()
    zk.utils.set_random_seed(0)
    model = build(width, x.shape[1], int(y.max()) + 1)
    loss = zk.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(zk.optimizers.Adam(2e-3), loss)
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    config, weights = model.get_config(), model.get_weights()
    losses = []

    def accuracy(m):
        return np.mean(m.predict(x_test, verbose=0, batch_size=500).argmax(-1) == y_test)

    before = accuracy(model)
    assert before > at_least
    for sample in (None, x[:200]):
        quantised = type(model).from_config(config)
        quantised.set_weights(weights)
        quantised.quantize("int8", sample=sample)
        losses.append(before - accuracy(quantised))
    assert max(losses) < 0.005, (before, losses)
    print(f"{build.__name__} {100 * before:.2f} %", [f"{100 * (before - n):.2f} %" for n in losses])
