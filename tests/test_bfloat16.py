"""Arrays, Variables, layers and files in bfloat16 are what they are in Keras: rounded numbers whose
dtype says so. Expected dtypes and files are those of real Keras 3.15."""

from __future__ import annotations

import copy
import pickle

import h5py
import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import ops
from zoo_keras.backend import result_type, standardize_dtype

BF = "bfloat16"


def exact(x):
    """x cut to the nearest number of 8 significant bits, in float64."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    return np.ldexp(np.round(mantissa * 256), exponent - 8).astype(np.float32)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


@pytest.mark.parametrize(
    "other,found",
    [("bool", BF), ("int8", BF), ("uint32", BF), ("int32", BF), (BF, BF), ("float16", "float32"),
     ("float32", "float32"), (int, BF), (float, BF)],
)  # fmt: skip
def test_dtypes_promote_as_in_keras(other, found):
    if isinstance(other, str):
        assert result_type(BF, other) == found
    value = other(2) if isinstance(other, type) else ops.ones((2,), other)
    for made in (ops.ones((2,), BF) + value, value + ops.ones((2,), BF)):
        assert standardize_dtype(made.dtype) == found


@pytest.mark.parametrize(
    "make",
    [lambda: ops.zeros((2,), BF), lambda: ops.ones_like(ops.zeros((2,), BF)),
     lambda: ops.full((2,), 1.001, BF), lambda: ops.arange(3, dtype=BF),
     lambda: ops.eye(2, dtype=BF),
     lambda: ops.linspace(0, 1, 7, dtype=BF), lambda: ops.convert_to_tensor([1.001], BF),
     lambda: ops.cast(1.001, BF), lambda: ops.tri(3, dtype=BF),
     lambda: zk.random.normal((3,), dtype=BF), lambda: zk.random.uniform((3,), dtype=BF),
     lambda: zk.random.gamma((3,), 2.0, dtype=BF),
     lambda: zk.initializers.GlorotUniform()((3, 4), BF),
     lambda: zk.initializers.Orthogonal()((3, 4), BF),
     lambda: zk.initializers.Constant(0.1)((3,), BF)],
)  # fmt: skip
def test_what_makes_arrays_makes_them_in_bfloat16(make):
    made = make()
    assert made.dtype == BF
    np.testing.assert_array_equal(np.asarray(made), exact(made))


@pytest.mark.parametrize(
    "function",
    [ops.exp, ops.softmax, ops.mean, ops.sum, ops.sort, ops.transpose, ops.relu, ops.cumsum,
     ops.var, ops.abs, ops.logsumexp, lambda v: ops.matmul(v, ops.transpose(v)), lambda v: v[1],
     lambda v: ops.concatenate([v, v]), lambda v: ops.where(v > 0, v, 0.5), lambda v: v * 3.3,
     lambda v: ops.pad(v, 1), lambda v: ops.einsum("ij,kj->ik", v, v), ops.gelu, ops.flip],
)  # fmt: skip
def test_ops_round_what_float32_gives(function, x):
    given = ops.cast(x, BF)
    found, wanted = function(given), function(ops.cast(given, "float32"))
    assert found.dtype == BF and found.shape == wanted.shape
    np.testing.assert_allclose(np.asarray(found), exact(wanted), rtol=0.02, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(found), exact(found))
    symbol = function(zk.KerasTensor(x.shape, BF))
    assert symbol.dtype == BF and symbol.shape == found.shape


def test_values_stay_rounded_whatever_is_done_with_them(x):
    given = ops.cast(x, BF)
    given[0, 0] = 1.001
    assert given[0, 0] == 1 and given[0, 0].dtype == BF
    for again in (copy.deepcopy(given), pickle.loads(pickle.dumps(given)), given.copy(), given[1:]):
        assert again.dtype == BF
    assert given.astype("float64").dtype == np.float64 and given.astype(BF).dtype == BF
    assert given.numpy().dtype == np.exp(given).dtype == np.float32
    given += 0.001
    assert given.dtype == BF
    np.testing.assert_array_equal(np.asarray(given), exact(given))


def test_a_variable_keeps_rounded_numbers():
    v = zk.Variable([1.001, 3.3333], dtype=BF)
    assert v.dtype == BF and (v * 2).dtype == BF and v.value.dtype == BF
    v.assign_add([0.001, 0.1])
    np.testing.assert_array_equal(v.numpy().astype("float32"), exact(v.numpy()))
    assert pickle.loads(pickle.dumps(v)).dtype == BF


LAYERS = [
    (zk.layers.Dense(3, dtype=BF), (4,)), (zk.layers.Conv2D(3, 2, dtype=BF), (5, 5, 2)),
    (zk.layers.LSTM(3, dtype=BF), (4, 2)), (zk.layers.GRU(3, dtype=BF), (4, 2)),
    (zk.layers.BatchNormalization(dtype=BF), (4,)), (zk.layers.LayerNormalization(dtype=BF), (4,)),
    (zk.layers.MaxPooling1D(dtype=BF), (4, 2)), (zk.layers.Rescaling(0.3, 0.1, dtype=BF), (4,)),
    (zk.layers.Normalization(mean=1.0, variance=2.0, dtype=BF), (4,)),
    (zk.layers.ConvLSTM1D(2, 2, dtype=BF), (3, 4, 2)), (zk.layers.Softmax(dtype=BF), (4,)),
]  # fmt: skip


@pytest.mark.parametrize("layer,shape", LAYERS, ids=lambda v: getattr(v, "name", ""))
def test_a_layer_takes_gives_and_keeps_bfloat16(layer, shape):
    given = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
    made = layer(given)
    assert made.dtype == layer.compute_dtype == layer.variable_dtype == BF
    assert layer(zk.Input(shape)).dtype == BF and {w.dtype for w in layer.weights} <= {BF}
    wide = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    wide(given)
    wide.set_weights([np.asarray(w) for w in layer.get_weights()])
    found = wide(made) if not shape else wide(given)
    np.testing.assert_allclose(np.asarray(made), found, rtol=0.05, atol=0.02)
    assert found.dtype == np.float32


def test_a_float32_layer_widens_what_it_is_given():
    assert zk.layers.Softmax()(ops.ones((2, 3), BF)).dtype == np.float32


def model():
    inputs = zk.Input((4,))
    hidden = zk.layers.Dense(5, activation="relu", dtype=BF)(inputs)
    return zk.Model(inputs, zk.layers.Dense(1, dtype=BF)(hidden))


def test_a_model_trains_and_its_weights_stay_bfloat16():
    rng = np.random.default_rng(2)
    given = rng.normal(size=(64, 4)).astype("float32")
    net = model()
    net.compile(zk.optimizers.Adam(0.02), "mse")
    losses = net.fit(given, given[:, :1], epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    for weight in net.get_weights():
        np.testing.assert_array_equal(np.asarray(weight), exact(weight))


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
def test_files_bring_the_weights_back(ending, tmp_path):
    net, again, file = model(), model(), str(tmp_path / f"m{ending}")
    if ending == ".weights.h5":
        net.save_weights(file)
        with h5py.File(file) as h5:
            kept = h5["layers/dense/vars/0"]
            assert kept.dtype == "V2" and kept.attrs["dtype"] == BF
        again.load_weights(file)
    else:
        net.save(file)
        again = zk.models.load_model(file)
    assert {w.dtype for w in again.weights} == {BF}
    for ours, theirs in zip(net.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_ranks_refuse_to_train_it():
    from zoo_keras.training.own_steps import refuse_beside_float32

    with pytest.raises(NotImplementedError, match="bfloat16"):
        refuse_beside_float32(model())


def test_the_loss_is_in_its_dtype():
    for loss in (zk.losses.MeanSquaredError(dtype=BF), zk.losses.BinaryCrossentropy(dtype=BF)):
        assert loss(np.ones((2, 3)), np.full((2, 3), 0.5)).dtype == BF
