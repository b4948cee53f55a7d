"""Which products become products of bfloat16, what then lies in memory, and that results are those
of rounded operands. Models of the tiles stand in where there is no AMX."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mixed_training import check_follows_float32

import zoo_keras as zk
from zoo_keras import config, layers, native
from zoo_keras.engine.program import Place, Program, compile_graph
from zoo_keras.errors import ClusterError, ConfigError
from zoo_keras.graph import Graph, input_tensor
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import registry as R
from zoo_keras.primitives.tile_choice import tiles_pay
from zoo_keras.spark.engine import check_inference, this_engine


@pytest.fixture(autouse=True)
def tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(native, "has_tiles", lambda: True)
    yield
    config.set_inference_dtype("float32")


def rounded(x: Any) -> np.ndarray:
    return R["round_bfloat16"].reference(x).astype(np.float64)


def operands(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape).astype("f") for shape in shapes]


def graph_of(function: Any, *shapes: tuple[int, ...]) -> Graph:
    inputs = [input_tensor(f"x{i}", shape) for i, shape in enumerate(shapes)]
    return optimise(Graph(inputs, [function(*inputs)]))


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes() if node.inputs]


def compiled(graph: Graph) -> Program:
    places = {t: Place(f"x{i}") for i, t in enumerate(graph.inputs)}
    return compile_graph(graph, places, [Place("y")], Place)


def product(x: Any, w: Any) -> Any:
    return R["matmul"](R["round_bfloat16"](x), w)


# ---- which products ------------------------------------------------------------------------------


def test_a_product_of_a_rounded_operand_uses_tiles_and_another_does_not() -> None:
    shapes = (40, 64), (64, 96)
    assert names(graph_of(product, *shapes)) == ["pack_bf16", "dense_bf16"]
    assert "dense_bf16" not in names(graph_of(lambda x, w: R["matmul"](x, w), *shapes))


@pytest.mark.parametrize(("turn_x", "turn_w"), [(False, True), (True, False), (True, True)])
def test_turned_operands_give_the_same_product(turn_x: bool, turn_w: bool) -> None:
    x, w = operands((40, 64), (64, 96))
    given = [np.ascontiguousarray(x.T) if turn_x else x, np.ascontiguousarray(w.T) if turn_w else w]
    turns = {"transpose_a": turn_x, "transpose_b": turn_w}
    graph = graph_of(
        lambda a, b: R["matmul"](R["round_bfloat16"](a), b, **turns), *[a.shape for a in given]
    )
    assert names(graph) == ["pack_bf16", "dense_bf16"]
    (found,) = interpreted(graph, given)
    np.testing.assert_allclose(found, rounded(x) @ rounded(w), rtol=1e-5, atol=1e-4)


def interpreted(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The graph's outputs by the ops' references."""
    known = dict(zip(graph.inputs, arrays, strict=True))
    for node in graph.nodes():
        if node.op.name == "constant":
            known[node.outputs[0]] = node.attrs["value"]
        elif node.inputs:
            outs = node.op.compute([known[t] for t in node.inputs], node.attrs, node.specs)
            known.update(zip(node.outputs, outs, strict=True))
    return [known[t] for t in graph.outputs]


@pytest.mark.parametrize(
    ("steps", "columns", "pays"),
    [(64, 64, True), (16, 512, False), (512, 8, False), (64, 32, False)],
)
def test_small_products_stay_in_float32(steps: int, columns: int, pays: bool) -> None:
    assert tiles_pay(steps, columns) == pays


def test_no_product_uses_tiles_without_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "has_tiles", lambda: False)
    assert "dense_bf16" not in names(graph_of(product, (40, 64), (64, 96)))


# ---- what lies in memory -------------------------------------------------------------------------


def test_what_only_products_read_is_written_as_bfloat16() -> None:
    def two(x: Any, v: Any, w: Any) -> Any:
        zeros = np.zeros(128, np.float32)
        before = R["dense"](R["round_bfloat16"](x), v, zeros, activation="linear")
        return product(R["relu"](before), w)

    graph = graph_of(two, (40, 64), (64, 128), (128, 64))
    assert names(graph) == ["pack_bf16", "dense_bf16", "pack_bf16", "dense_bf16"]
    first, second = [n for n in graph.nodes() if n.op.name.startswith("dense_bf16")]
    assert first.attrs["activation"] == "relu"
    assert (first.specs[0].dtype, second.specs[0].dtype) == ("uint16", "float32")
    x, v, w = operands((40, 64), (64, 128), (128, 64))
    between = rounded(np.maximum(rounded(x) @ rounded(v), 0).astype("f"))
    (found,) = interpreted(graph, [x, v, w])
    np.testing.assert_allclose(found, between @ rounded(w), rtol=1e-2, atol=0.5)


def test_a_residual_is_not_rounded() -> None:
    def with_residual(x: Any, v: Any, w: Any) -> Any:
        y = product(x, v)
        return R["add"](y, product(y, w))

    graph = graph_of(with_residual, (40, 64), (64, 128), (128, 128))
    first = next(n for n in graph.nodes() if n.op.name == "dense_bf16")
    assert first.specs[0].dtype == "float32"


# ---- models --------------------------------------------------------------------------------------


def model() -> Any:
    zk.utils.set_random_seed(1)
    return zk.Sequential(
        [zk.Input((96,)), layers.Dense(128, activation="relu"), layers.Dense(64), layers.Dense(3)]
    )


def by_hand(made: Any, x: np.ndarray) -> np.ndarray:
    """The model with the operands of its large layers rounded."""
    w1, b1, w2, b2, w3, b3 = map(np.asarray, made.get_weights())
    y = np.maximum(rounded(x) @ rounded(w1) + b1, 0).astype("f")
    y = (rounded(y) @ rounded(w2) + b2).astype("f")
    return y.astype(np.float64) @ w3 + b3


def test_predictions_round_the_operands_of_products_only() -> None:
    made, (x,) = model(), operands((70, 96))
    weights = [w.tobytes() for w in made.get_weights()]
    before = made.predict(x, verbose=0)
    config.set_inference_dtype("bfloat16")
    narrow = made.predict(x, verbose=0)
    size = np.std(before)
    np.testing.assert_allclose(narrow, by_hand(made, x), atol=2e-3 * size)
    assert 0 < np.abs(narrow - before).max() < 0.05 * size
    assert made.predict(x[:1], verbose=0).tobytes() == narrow[:1].tobytes()
    config.set_inference_dtype("float32")
    assert made.predict(x, verbose=0).tobytes() == before.tobytes()
    assert [w.tobytes() for w in made.get_weights()] == weights
    assert made.dtype_policy.name == "float32"


def test_training_in_mixed_precision_follows_float32() -> None:
    x, y = operands((64, 96), (64, 3))
    check_follows_float32(model, x, y, rate=0.05, rtol=0.02)


# ---- machines ------------------------------------------------------------------------------------


def test_a_program_for_tiles_is_refused_by_name_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = compiled(graph_of(product, (40, 64), (64, 96)))
    assert program.wants_tiles()
    elsewhere = replace(program, isa="of another machine")
    elsewhere.fitted()
    monkeypatch.setattr(native, "has_tiles", lambda: False)
    with pytest.raises(ConfigError, match=r"tile registers of AMX.*ZOO_KERAS_ISA=avx512"):
        elsewhere.fitted()


def test_an_executor_without_tiles_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    config.set_inference_dtype("bfloat16")
    driver = this_engine()._replace(isa="amx")
    assert driver.inference == "bfloat16"
    check_inference(driver)
    monkeypatch.setattr(native, "has_tiles", lambda: False)
    with pytest.raises(ClusterError, match=r"predicts in bfloat16 .* this executor lacks"):
        check_inference(driver)
    check_inference(driver._replace(inference="float32"))


def test_the_choice_is_warned_of_where_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "has_tiles", lambda: False)
    with pytest.warns(UserWarning, match="computes in float32, since it has no AMX"):
        config.set_inference_dtype("bfloat16")
    with pytest.raises(ConfigError, match=r"set_inference_dtype: unknown value. Received: 'half'"):
        config.set_inference_dtype("half")
