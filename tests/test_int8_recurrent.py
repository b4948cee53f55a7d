"""Recurrent layers on int8 weights: exact sums in every instruction set, the same bits on any
number of threads, alone and in a batch, files, calibration, and the accuracy of classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, instruction_set, run_kernel
from test_int8 import digits
from test_tile_recurrent import GATES, sequences

import zoo_keras as zk
from zoo_keras import layers, native
from zoo_keras.errors import DataError, ShapeError, UnsupportedError
from zoo_keras.graph import Graph, constant, input_tensor, tracing
from zoo_keras.layers import rnn_cell_base
from zoo_keras.models.quantizing import calibrate
from zoo_keras.passes.pipeline import optimise
from zoo_keras.passes.table_products import project_tables
from zoo_keras.primitives.op import Op
from zoo_keras.primitives.op import registry as R
from zoo_keras.primitives.recurrent_int8 import IN_INT8
from zoo_keras.quantizers import Int8QuantizationConfig


@pytest.fixture(autouse=True)
def bytes_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that every instruction set runs int8: the plain one would keep float32."""
    monkeypatch.setattr(rnn_cell_base, "has_byte_products", lambda: True)


FEATURES = 70  # so many that their product is int8, too
INT8 = {of.name: made for of, made in IN_INT8.items()}


def in_int8(name: str, arrays: list[np.ndarray]) -> tuple[Op, list[np.ndarray]]:
    """The int8 op and its inputs, for those of the op on a float32 matrix."""
    xp, u, *rest = arrays
    scale = np.float32(127) / np.abs(u).max(0, initial=1e-7)
    panels = R["pack_int8"](np.rint(u * scale).astype(np.int8), parts=GATES[name])
    return INT8[name], [xp, panels, 1 / scale, *rest]


def drawn(
    name: str, batch: int, steps: int, units: int
) -> tuple[Op, list[np.ndarray], dict[str, Any]]:
    arrays, attrs = sequences(name, batch, steps, units)
    del attrs["rounds"]
    return *in_int8(name, arrays), attrs


# ---- kernels -------------------------------------------------------------------------------------

# Units on both sides of a panel, of two of them, and of the 64 inputs that a tile takes.
UNITS = (1, 16, 17, 33, 64, 100)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("name", INT8)
def test_one_step_is_exact_to_float32(name: str, units: int) -> None:
    for batch in (1, 4, 19, 45):  # with and without tiles, one block of rows and two
        op, arrays, attrs = drawn(name, batch, 1, units)
        check_kernel(op, arrays, attrs, 1e-5, 2e-5)


@pytest.mark.parametrize("name", INT8)
def test_many_steps_stay_near_the_reference(name: str) -> None:
    """A state on the edge between two whole numbers may be rounded the other way."""
    op, arrays, attrs = drawn(name, 21, 12, 70)
    check_kernel(op, arrays, attrs, 0.0, 0.02)


@pytest.mark.parametrize("units", [32, 45, 70])
@pytest.mark.parametrize("name", INT8)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(name: str, units: int) -> None:
    op, arrays, attrs = drawn(name, 67, 5, units)
    rows = [a.ndim in (2, 3) and a.shape[0] == 67 for a in arrays]
    whole = run_kernel(op, arrays, attrs)
    for i in (0, 31, 66):
        one = [a[i : i + 1] if r else a for a, r in zip(arrays, rows, strict=True)]
        for alone, y in zip(run_kernel(op, one, attrs), whole, strict=True):
            assert alone.tobytes() == y[i : i + 1].tobytes()


@pytest.mark.parametrize("name", INT8)
def test_tiles_and_other_byte_products_give_the_same_bits(name: str) -> None:
    op, arrays, attrs = drawn(name, 39, 6, 70)
    found = set()
    for isa in [isa for isa in ("amx", "avx512") if isa in SETS]:
        with instruction_set(isa):
            found.add(b"".join(a.tobytes() for a in run_kernel(op, arrays, attrs)))
    assert len(found) <= 1


@pytest.mark.parametrize("isa", SETS)
def test_a_state_is_rounded_by_its_own_largest_number(isa: str) -> None:
    """Far from the range of tanh, too: nothing is cut off."""
    (xp, u, h0), attrs = sequences("simple_rnn", 7, 1, 64)
    del attrs["rounds"]
    h0 *= np.float32([[0.01], [0.1], [1], [3], [10], [100], [1000]])
    op, arrays = in_int8("simple_rnn", [xp, u, h0])
    with instruction_set(isa):
        y = run_kernel(op, arrays, attrs | {"activation": "linear"})[1][:, 0]
    scale = 127 / np.abs(h0).max(1, keepdims=True).astype("f8")
    q = np.rint(u * (127 / np.abs(u).max(0))) * arrays[2]
    wanted = xp[:, 0] + np.rint(h0 * scale) / scale @ q
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_that_is_not_finite_makes_its_row_nan_and_no_other(isa: str, bad: float) -> None:
    op, arrays, attrs = drawn("simple_rnn", 20, 3, 40)
    arrays[3][7, 5] = bad
    with instruction_set(isa):
        y = run_kernel(op, arrays, attrs)[1]
    assert np.isnan(y[7]).all() and np.isfinite(np.delete(y, 7, 0)).all()


def test_what_does_not_fit_is_refused() -> None:
    op, (xp, panels, wstep, h0), attrs = drawn("simple_rnn", 3, 2, 20)
    for arrays, match in (
        ([xp, panels[:1], wstep, h0], "packed by pack_int8 in 1 parts"),
        ([xp, panels, wstep[1:], h0], r"scales of the matrix must have the shape \(20,\)"),
        ([xp, panels, wstep, h0[:, 1:]], "initial states"),
    ):
        with pytest.raises(ShapeError, match=match):
            op(*arrays, **attrs)
    with pytest.raises(ShapeError, match="3 equal parts"):
        R["pack_int8"](np.zeros((2, 5), np.int8), parts=3)
    with pytest.raises(DataError, match="-128"):
        run_kernel(R["pack_int8"], [np.full((2, 6), -128, np.int8)], {"parts": 3})


# ---- models --------------------------------------------------------------------------------------


def gru_before(units: int, **options: Any) -> Any:
    return layers.GRU(units, reset_after=False, **options)


def both_ways(units: int, **options: Any) -> Any:
    return layers.Bidirectional(layers.LSTM(units, **options))


def cells(units: int) -> Any:
    return layers.RNN(layers.LSTMCell(units))


def no_bias(units: int) -> Any:
    return layers.GRU(units, use_bias=False)


def stacked(units: int) -> Any:
    return layers.RNN(layers.StackedRNNCells([layers.LSTMCell(units), layers.GRUCell(9)]))


def by_steps(units: int) -> Any:
    """What no kernel computes."""
    return layers.LSTM(units, activation=zk.ops.sin)


WHOLE = (
    layers.LSTM, layers.GRU, gru_before, layers.SimpleRNN, both_ways, cells, no_bias,
)  # fmt: skip
STEPS = (stacked, by_steps)


def model(kind: Any, units: int = 64) -> Any:
    zk.utils.set_random_seed(1)
    return zk.Sequential([zk.Input((9, FEATURES)), kind(units), layers.Dense(3)])


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 9, FEATURES)).astype("f4")


def force(made: Any, sample: Any = None, config: Any = None) -> Any:
    """All cells of a model in int8, also those that Model.quantize leaves alone."""
    found = [c for c in made._flatten_layers() if hasattr(c, "recurrent_kernel")]
    config = config or Int8QuantizationConfig()
    ranges = {} if sample is None else calibrate(made, found, sample)
    for cell in found:
        seen = ranges.get(id(cell))
        cell.quantize(config=config if seen is None else config.calibrated(seen.low, seen.high))
    made.forget_training()
    return made


def kernels(made: Any) -> set[str]:
    x = input_tensor("x", (4, 9, FEATURES), "float32")
    with tracing():
        y = made(x, training=False)
    return {n.op.name for n in optimise(Graph([x], [y]), freeze=True).nodes()}


@pytest.mark.parametrize("kind", [*WHOLE, *STEPS])
def test_predictions_stay_near_float32_and_do_not_hang_on_the_batch(
    kind: Any, x: np.ndarray
) -> None:
    before = model(kind).predict(x, verbose=0)
    for sample in (None, x):
        made = force(model(kind), sample)
        found = made.predict(x, verbose=0)
        assert 0 < np.abs(found - before).max() < 0.1 * np.std(before)
        assert made.predict(x[:1], verbose=0).tobytes() == found[:1].tobytes()
    weights = force(model(kind), config=Int8QuantizationConfig(activation_quantizer=None))
    assert 0 < np.abs(weights.predict(x, verbose=0) - before).max() < 0.05 * np.std(before)


@pytest.mark.parametrize("kind", WHOLE)
def test_both_products_of_a_whole_sequence_are_int8(kind: Any) -> None:
    found = kernels(force(model(kind)))
    assert "dense_int8" in found and found & {op.name for op in INT8.values()}
    assert not found & set(INT8)


@pytest.mark.parametrize("kind", STEPS)
def test_step_by_step_the_weights_are_int8_and_products_float32(kind: Any) -> None:
    assert "scan" in kernels(force(model(kind)))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_bit(threads: int, x: np.ndarray) -> None:
    made = force(model(layers.LSTM), x)
    whole = made.predict_on_batch(x)
    again = zk.models.clone_model(made)
    again.set_weights(made.get_weights())
    with native.using_threads(threads):
        assert again.predict_on_batch(x).tobytes() == whole.tobytes()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", [*WHOLE, stacked])
def test_a_quantised_model_survives_a_file(
    kind: Any, suffix: str, x: np.ndarray, tmp_path: Any
) -> None:
    made = force(model(kind), x)
    wanted = made.predict(x, verbose=0)
    made.save(tmp_path / f"model{suffix}")
    again = zk.saving.load_model(tmp_path / f"model{suffix}")
    assert np.array_equal(again.predict(x, verbose=0), wanted)
    made.save_weights(tmp_path / "model.weights.h5")
    again.load_weights(tmp_path / "model.weights.h5")
    assert np.array_equal(again.predict(x, verbose=0), wanted)
    assert [w.name for w in again.weights] == [w.name for w in made.weights]


def test_masks_and_initial_states_are_as_in_float32(x: np.ndarray) -> None:
    inputs, state = layers.Input((9, FEATURES)), layers.Input((64,))
    mask = layers.Input((9,), dtype="bool")
    y = layers.GRU(64, return_sequences=True)(inputs, initial_state=state, mask=mask)
    made = zk.Model([inputs, mask, state], y)
    given = [
        x,
        np.tile(np.arange(9) < 6, (40, 1)),
        3 * np.random.default_rng(1).normal(size=(40, 64)).astype("f4"),
    ]
    before = made.predict(given, verbose=0)
    after = force(made).predict(given, verbose=0)
    assert 0 < np.abs(after - before).max() < 0.1 * np.std(before)
    np.testing.assert_array_equal(after[:, 5], after[:, 8])


def test_model_quantize_takes_large_cells_and_says_why_it_leaves_others(x: np.ndarray) -> None:
    made = model(layers.LSTM)
    made.quantize("int8", sample=x)
    cell = made.layers[0].cell
    assert cell.kernel.dtype == cell.recurrent_kernel.dtype == "int8"
    assert cell.quantization_config.input_range == pytest.approx((x.min(), x.max()))
    assert [v.name for v in cell.stored_variables()] == [
        "recurrent_kernel", "kernel", "bias", "recurrent_kernel_scale", "kernel_scale",
    ]  # fmt: skip
    with pytest.raises(UnsupportedError, match="int8"):
        made.compile("sgd", "mse")
        made.fit(x, np.zeros((40, 3)), verbose=0)
    for kind, units, why in ((layers.LSTM, 8, "few units"), (by_steps, 64, "step by step")):
        small = model(kind, units)
        with pytest.warns(UserWarning, match=f'LSTMCell "lstm_cell": stays float32.*{why}'):
            small.quantize("int8")
        assert small.layers[0].cell.kernel.dtype == "float32"


def test_a_subclass_of_a_cell_is_left_alone() -> None:
    class Mine(layers.LSTMCell):
        pass

    made = zk.Sequential([zk.Input((9, FEATURES)), layers.RNN(Mine(64, name="mine"))])
    with pytest.warns(UserWarning, match='Mine "mine": a subclass'):
        made.quantize("int8")
    assert made.layers[0].cell.quantization_mode is None


def test_a_layer_made_with_the_policy_has_int8_kernels() -> None:
    made = layers.GRU(5, dtype="int8_from_float32")
    made.build((None, 3, FEATURES))
    dtypes = {w.name: w.dtype for w in made.weights}
    assert dtypes["kernel"] == dtypes["recurrent_kernel"] == "int8"
    assert dtypes["bias"] == dtypes["kernel_scale"] == "float32"


def test_a_table_is_multiplied_once_before_the_layer() -> None:
    """By int8 products, as its rows would be in every run."""
    rng = np.random.default_rng(0)
    w = R["pack_int8"](rng.integers(-127, 128, (40, 96)).astype("i1"))
    arrays = [rng.normal(size=(50, 40)).astype("f4"), w, np.full(96, 99, "f4"), np.ones(96, "f4")]
    how = {"units": 96, "activation": "linear", "input_scale": 0.0}

    def run(table: Any, w: Any, scale: Any, b: Any, ids: Any) -> Any:
        return R["dense_int8"](R["gather"](table, ids), w, scale, b, **how)

    ids = input_tensor("x", (8, 30), "int32")
    last = project_tables(Graph([ids], [run(*map(constant, arrays), ids)])).outputs[0].node
    assert last.op.name == "gather" and last.inputs[0].node.op.name == "dense_int8"
    assert last.inputs[0].shape == (50, 96)
    numbers = rng.integers(0, 50, (8, 30)).astype("i4")
    rows = R["dense_int8"](arrays[0], *arrays[1:], **how)
    assert np.array_equal(rows[numbers], run(*arrays, numbers))


# ---- accuracy ------------------------------------------------------------------------------------


def rows_of_digits() -> tuple[np.ndarray, ...]:
    """An image as 8 steps of 8 pixels."""
    x, y, x_test, y_test = digits()
    return x.reshape(-1, 8, 8), y, x_test.reshape(-1, 8, 8), y_test


def languages() -> tuple[np.ndarray, ...]:
    """Texts of 30 words in 6 languages: chains of the same 20 words that differ."""
    rng = np.random.default_rng(7)
    chains = np.exp(rng.normal(size=(20, 20)) + 1.2 * rng.normal(size=(6, 20, 20)))
    chains = (chains / chains.sum(-1, keepdims=True)).cumsum(-1)
    y = rng.integers(0, 6, 5000).astype(np.int32)
    x = np.zeros((5000, 30), np.int32)
    for t in range(1, 30):
        x[:, t] = (chains[y, x[:, t - 1]] < rng.uniform(size=(5000, 1))).sum(-1).clip(max=19)
    return x[:3000], y[:3000], x[3000:], y[3000:]


CLASSIFIERS = (
    (layers.LSTM, rows_of_digits, 15, 0.9), (layers.GRU, rows_of_digits, 15, 0.9),
    (layers.SimpleRNN, rows_of_digits, 15, 0.9), (layers.LSTM, languages, 7, 0.9),
    (both_ways, languages, 5, 0.9),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "data", "epochs", "at_least"), CLASSIFIERS)
def test_a_trained_classifier_loses_less_than_half_a_percent(
    kind: Any, data: Any, epochs: int, at_least: float
) -> None:
    x, y, x_test, y_test = data()
    zk.utils.set_random_seed(0)
    first = [layers.Embedding(20, 64)] if x.ndim == 2 else []
    units = kind(112 if kind is layers.SimpleRNN else 64)
    made = zk.Sequential([zk.Input(x.shape[1:], dtype=x.dtype.name), *first, units,
                          layers.Dense(int(y.max()) + 1)])  # fmt: skip
    loss = zk.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(zk.optimizers.Adam(0.01 if first else 4e-3), loss)
    made.fit(x, y, batch_size=32, epochs=epochs, verbose=0)

    def accuracy(of: Any) -> float:
        return float(np.mean(of.predict(x_test, verbose=0, batch_size=500).argmax(-1) == y_test))

    before, lost = accuracy(made), []
    assert before > at_least
    for sample in (None, x[:200]):
        quantised = zk.models.clone_model(made)
        quantised.set_weights(made.get_weights())
        quantised.quantize("int8", sample=sample)
        assert any(w.dtype == "int8" and "recurrent" in w.name for w in quantised.weights)
        lost.append(before - accuracy(quantised))
    print(f"{kind.__name__} {data.__name__} {100 * before:.2f} %", [f"{100 * n:.2f}" for n in lost])
    assert max(lost) < 0.005, (before, lost)
