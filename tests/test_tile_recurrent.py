"""Recurrent layers and attention in tile registers: which ones, results of rounded operands, and
the same bits on any number of threads, alone and in a batch, by instructions and by models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, instruction_set, run_kernel
from kernel_draws import Draw
from mixed_training import check_follows_float32
from recurrent_draws import DRAWN
from test_tile_products import compiled, graph_of, names

import zoo_keras as zk
from zoo_keras import config, layers, native
from zoo_keras.graph import Graph, constant, input_tensor
from zoo_keras.passes import split
from zoo_keras.passes.grad import gradients as slopes
from zoo_keras.passes.pipeline import optimise
from zoo_keras.passes.table_products import project_tables
from zoo_keras.primitives.op import registry as R
from zoo_keras.primitives.recurrent import MATRICES

FORWARD = [name for name in MATRICES if not name.endswith("_grad")]
KINDS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}


@pytest.fixture(autouse=True)
def tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(native, "has_tiles", lambda: True)
    yield
    config.set_inference_dtype("float32")


def cases(name: str, kind: str) -> Iterator[tuple[list[np.ndarray], dict[str, Any]]]:
    for arrays, attrs in DRAWN[name](name, Draw(name, kind)):
        yield arrays, {**attrs, "rounds": True}


def bf16(x: np.ndarray) -> np.ndarray:
    return R["round_bfloat16"].reference(x).astype(x.dtype)


# ---- kernels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["one", "odd", "odder"])
@pytest.mark.parametrize("name", MATRICES)
def test_results_are_those_of_rounded_operands(name: str, kind: str) -> None:
    """A state on the edge between two bfloat16 numbers may be rounded the other way."""
    for arrays, attrs in cases(name, kind):
        check_kernel(R[name], arrays, attrs, 0.0, 0.02)


@pytest.mark.parametrize("units", [1, 16, 33, 64, 100])
@pytest.mark.parametrize("name", FORWARD)
def test_one_step_is_exact_to_float32(name: str, units: int) -> None:
    arrays, attrs = sequences(name, 19, 1, units)
    if name == "gru_reset_first":  # its second product reads what the first one made
        attrs["activation"] = "linear"
    check_kernel(R[name], arrays, attrs, 1e-5, 4e-3 if name == "gru_reset_first" else 1e-5)


GATES = {"lstm": 4, "gru": 3, "gru_reset_first": 3, "simple_rnn": 1}


def sequences(
    name: str, batch: int, steps: int, units: int
) -> tuple[list[np.ndarray], dict[str, Any]]:
    rng, gates = np.random.default_rng([batch, steps, units]), GATES[name]
    shapes = [(batch, steps, gates * units), (units, gates * units)]
    shapes += [(gates * units,)] * (name == "gru")
    shapes += [(batch, units)] * (1 + (name == "lstm"))
    arrays = [rng.uniform(-1, 1, shape).astype("f4") for shape in shapes]
    arrays[1] /= np.float32(np.sqrt(units))
    outputs = {"lstm": 6, "simple_rnn": 3}.get(name, 5)
    return arrays, {
        "reverse": False, "kept": (True,) * outputs, "rounds": True, "activation": "tanh",
    }  # fmt: skip


@pytest.mark.parametrize("units", [32, 45, 70])
@pytest.mark.parametrize("name", FORWARD)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(name: str, units: int) -> None:
    arrays, attrs = sequences(name, 67, 5, units)
    rows = [a.ndim > 1 and a.shape[0] == 67 for a in arrays]
    whole = run_kernel(R[name], arrays, attrs)
    for i in (0, 31, 66):
        one = [a[i : i + 1] if r else a for a, r in zip(arrays, rows, strict=True)]
        for alone, y in zip(run_kernel(R[name], one, attrs), whole, strict=True):
            assert alone.tobytes() == y[i : i + 1].tobytes()


@pytest.mark.parametrize("name", MATRICES)
def test_the_models_of_tiles_give_the_bits_of_the_instructions(name: str) -> None:
    wide = [isa for isa in ("amx", "avx512") if isa in SETS]
    for kind in ("odd", "odder"):
        for arrays, attrs in cases(name, kind):
            found = set()
            for isa in wide:
                with instruction_set(isa):
                    made = run_kernel(R[name], arrays, attrs)
                found.add(b"".join(np.nan_to_num(a).tobytes() for a in made))
            assert len(found) <= 1


def test_the_matrix_and_the_state_are_rounded_and_nothing_else() -> None:
    (xp, u, h0), attrs = sequences("simple_rnn", 7, 1, 64)
    attrs |= {"activation": "linear"}
    y = run_kernel(R["simple_rnn"], [xp, u, h0], attrs)[1][:, 0]
    wanted = xp[:, 0] + bf16(h0).astype("f8") @ bf16(u).astype("f8")
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)
    assert np.abs(y - (xp[:, 0] + h0 @ u)).max() > 1e-4


# ---- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["one", "odd", "odder"])
def test_attention_is_that_of_rounded_operands(kind: str) -> None:
    for arrays, attrs in cases("attention", kind):
        check_kernel(R["attention"], arrays, attrs, 0.0, 0.03)


HEADS = ((2, 70, 2, 40, 40, 20), (3, 33, 4, 16, 300, 70), (1, 1, 1, 32, 129, 32))


def heads(
    batch: int, queries: int, count: int, width: int, keys: int, depth: int
) -> list[np.ndarray]:
    rng = np.random.default_rng([queries, keys])
    shapes = (
        (batch, queries, count, width),
        (batch, keys, count, width),
        (batch, keys, count, depth),
    )
    return [rng.normal(size=shape).astype("f4") for shape in shapes]


@pytest.mark.parametrize("shape", HEADS)
@pytest.mark.parametrize("causal", [False, True])
def test_attention_over_several_blocks_of_keys(shape: Any, causal: bool) -> None:
    attrs = {"scale": 0.2, "causal": causal, "rounds": True}
    check_kernel(R["attention"], heads(*shape), attrs, 0.0, 0.02)


def test_rounding_shows_in_attention_and_only_as_much_as_it_should() -> None:
    """One key of each query dominates: the result is its value, rounded."""
    q, k, v = (x.copy() for x in heads(1, 40, 1, 32, 40, 32))
    q[0, :, 0], k[0, :, 0] = np.eye(40, 32) * 40, np.eye(40, 32) * 40
    y = run_kernel(R["attention"], [q, k, v], {"scale": 1.0, "rounds": True})[0]
    np.testing.assert_allclose(y[0, :32, 0], bf16(v)[0, :32, 0], rtol=1e-6)


@pytest.mark.parametrize("shape", HEADS)
def test_a_row_of_attention_has_the_same_bits_alone_and_by_the_models(shape: Any) -> None:
    arrays, attrs = heads(*shape), {"scale": 0.2, "rounds": True}
    found = set()
    for isa in [isa for isa in ("amx", "avx512") if isa in SETS]:
        with instruction_set(isa):
            found.add(run_kernel(R["attention"], arrays, attrs)[0].tobytes())
    assert len(found) <= 1
    whole = run_kernel(R["attention"], arrays, attrs)[0]
    alone = run_kernel(R["attention"], [a[-1:] for a in arrays], attrs)[0]
    assert alone.tobytes() == whole[-1:].tobytes()


def gradients(
    shape: Any, causal: bool = False, key_heads: int = 0
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Inputs of attention_grad for heads of a shape, whose keys may have fewer heads."""
    attrs = {"scale": 0.2, "causal": causal, "rounds": True}
    q, k, v = heads(*shape)
    kept = key_heads or k.shape[2]
    arrays = [q, k[:, :, :kept].copy(), v[:, :, :kept].copy()]
    y, stats = run_kernel(R["attention"], arrays, attrs)
    return [np.random.default_rng(3).normal(size=y.shape).astype("f4"), y, stats, *arrays], attrs


LONG = (1, 260, 4, 33, 200, 50)


@pytest.mark.parametrize("kind", ["one", "odd", "odder"])
def test_the_gradient_of_attention_is_that_of_rounded_operands(kind: str) -> None:
    """Probabilities and their gradients on the edge between two bfloat16 numbers may be rounded the
    other way."""
    for arrays, attrs in cases("attention_grad", kind):
        check_kernel(R["attention_grad"], arrays, attrs, 0.0, 0.06)


@pytest.mark.parametrize("shape", (*HEADS, LONG))
@pytest.mark.parametrize("causal", [False, True])
def test_the_gradient_over_several_blocks_of_queries_and_keys(shape: Any, causal: bool) -> None:
    check_kernel(R["attention_grad"], *gradients(shape, causal), 0.0, 0.06)


def test_the_gradient_of_heads_that_share_keys() -> None:
    check_kernel(R["attention_grad"], *gradients(LONG, key_heads=2), 0.0, 0.06)


@pytest.mark.parametrize("shape", (*HEADS, LONG))
def test_a_row_of_the_gradient_has_the_same_bits_alone_and_by_the_models(shape: Any) -> None:
    arrays, attrs = gradients(shape)
    found = set()
    for isa in [isa for isa in ("amx", "avx512") if isa in SETS]:
        with instruction_set(isa):
            made = run_kernel(R["attention_grad"], arrays, attrs)
            found.add(b"".join(y.tobytes() for y in made))
    assert len(found) <= 1
    whole = run_kernel(R["attention_grad"], arrays, attrs)
    alone = run_kernel(R["attention_grad"], [a[-1:] for a in arrays], attrs)
    for one, all_rows in zip(alone, whole, strict=True):
        assert one.tobytes() == all_rows[-1:].tobytes()


def test_rounding_shows_in_the_gradient_and_only_as_much_as_it_should() -> None:
    arrays, attrs = gradients(HEADS[0])
    rounded = run_kernel(R["attention_grad"], arrays, attrs)
    plain = run_kernel(R["attention_grad"], arrays, {**attrs, "rounds": False})
    for a, b in zip(rounded, plain, strict=True):
        assert 1e-4 < np.abs(a - b).max() / np.std(b) < 0.1


def attend(q: Any, k: Any, v: Any) -> Any:
    return R["attention"](R["round_bfloat16"](q), k, v, scale=0.5)[0]


@pytest.mark.parametrize(
    ("keys", "width", "pays"), [(40, 32, True), (40, 8, False), (9, 32, False)]
)
def test_long_and_wide_attention_pays(keys: int, width: int, pays: bool) -> None:
    shape = (2, keys, 4, width)
    graph = graph_of(attend, shape, shape, shape)
    made = [bool(n.attrs.get("rounds")) for n in graph.nodes() if n.op.name == "attention"]
    assert made == [pays] and compiled(graph).wants_tiles() == pays
    plain = graph_of(lambda q, k, v: R["attention"](q, k, v, scale=0.5)[0], shape, shape, shape)
    assert not compiled(plain).wants_tiles()


@pytest.mark.parametrize(("width", "pays"), [(32, True), (8, False)])
def test_attention_trains_in_tiles_both_ways_or_not_at_all(width: int, pays: bool) -> None:
    inputs = [input_tensor(name, (2, 40, 4, width)) for name in "qkv"]
    y = R["reduce_sum"](R["square"](attend(*inputs)), axes=(0, 1, 2, 3), keepdims=False)
    graph = optimise(Graph(inputs, slopes(y, inputs)))
    made = {
        n.op.name: bool(n.attrs.get("rounds")) for n in graph.nodes() if "attention" in n.op.name
    }
    assert made == {"attention": pays, "attention_grad": pays}


def test_a_transformer_in_mixed_precision_follows_float32() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 40, 64)).astype("f4"), rng.normal(size=(8, 3)).astype("f4")

    def made() -> Any:
        zk.utils.set_random_seed(1)
        tokens = layers.Input((40, 64))
        seen = layers.LayerNormalization()(
            tokens + layers.MultiHeadAttention(2, 32)(tokens, tokens)
        )
        return zk.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(seen)))

    check_follows_float32(made, x, y, rate=0.05, rtol=0.02)


# ---- which layers --------------------------------------------------------------------------------


def layer(xp: Any, u: Any, h0: Any, rounded: bool = True) -> Any:
    u = R["round_bfloat16"](u) if rounded else u
    kept = (True,) * 3
    return R["simple_rnn"](xp, u, h0, reverse=False, kept=kept, activation="tanh")[1]


def rounding(graph: Any) -> list[bool]:
    return [bool(n.attrs.get("rounds")) for n in graph.nodes() if n.op.name in MATRICES]


@pytest.mark.parametrize(
    ("units", "rounded", "pays"), [(64, True, True), (64, False, False), (48, True, False)]
)
def test_a_large_rounded_matrix_pays(units: int, rounded: bool, pays: bool) -> None:
    shapes = (3, 5, units), (units, units), (3, units)
    graph = graph_of(lambda *x: layer(*x, rounded=rounded), *shapes)
    assert rounding(graph) == [pays]
    assert ("round_bfloat16" in names(graph) or "chain" in names(graph)) == (rounded and not pays)
    assert compiled(graph).wants_tiles() == pays


def test_no_layer_rounds_without_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "has_tiles", lambda: False)
    graph = graph_of(layer, (3, 5, 64), (64, 64), (3, 64))
    assert rounding(graph) == [False]


# ---- models --------------------------------------------------------------------------------------


def model(kind: Any) -> Any:
    zk.utils.set_random_seed(1)
    return zk.Sequential([zk.Input((9, 40)), kind(64), layers.Dense(3)])


@pytest.mark.parametrize("name", KINDS)
def test_predictions_stay_near_float32_and_do_not_hang_on_the_batch(name: str) -> None:
    made, x = model(KINDS[name]), np.random.default_rng(0).normal(size=(40, 9, 40)).astype("f4")
    before = made.predict(x, verbose=0)
    config.set_inference_dtype("bfloat16")
    narrow = made.predict(x, verbose=0)
    assert 0 < np.abs(narrow - before).max() < 0.05 * np.std(before)
    assert made.predict(x[:1], verbose=0).tobytes() == narrow[:1].tobytes()


@pytest.mark.parametrize("name", KINDS)
def test_training_in_mixed_precision_follows_float32(name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 9, 40)).astype("f4"), rng.normal(size=(32, 3)).astype("f4")
    check_follows_float32(lambda: model(KINDS[name]), x, y, rate=0.05, rtol=0.02)


def text(words: int = 50) -> Any:
    zk.utils.set_random_seed(2)
    return zk.Sequential(
        [zk.Input((30,), dtype="int32"), layers.Embedding(words, 40), layers.LSTM(64)]
    )


def test_an_int8_table_is_multiplied_once_before_the_layer() -> None:
    """As a float32 one: what quantizing saves in memory costs no product in every run."""
    ids = np.random.default_rng(0).integers(0, 50, (8, 30)).astype("i4")
    made = text()
    whole = made.predict(ids, verbose=0)
    made.layers[0].quantize("int8")
    quantized = made.predict(ids, verbose=0)
    assert 0 < np.abs(quantized - whole).max() < 0.02

    def run(table: Any, scale: Any, w: Any, b: Any, ids: Any) -> Any:
        rows = R["gather_int8"](table, scale, ids)
        return R["dense"](rows, w, b, activation="linear")

    arrays = [
        np.zeros((50, 40), "i1"),
        np.ones(50, "f4"),
        np.ones((40, 96), "f4"),
        np.ones(96, "f4"),
    ]
    x = input_tensor("x", (8, 30), "int32")
    graph = project_tables(Graph([x], [run(*map(constant, arrays), x)]))
    last = graph.outputs[0].node
    assert last.op.name == "gather" and last.inputs[0].node.op.name == "dense"
    assert last.inputs[0].shape == (50, 96)


def test_a_matrix_read_in_every_step_counts_as_often() -> None:
    xp, u, h0 = (input_tensor(n, s) for n, s in (("a", (64, 200, 512)), ("b", (512, 512)),
                                                 ("c", (64, 512))))  # fmt: skip
    made = layer(xp, u, h0, rounded=False)
    assert split._read_by_steps(made.node) == 200 * 4 * 512 * 512
    assert split._read_by_steps(R["add"](xp, xp).node) == 0
