"""The policy mixed_bfloat16: layers round what they read and give; what waits is narrow."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from graph_check import assert_close, evaluate, op_names, run

import zoo_keras as keras
from zoo_keras import layers, native
from zoo_keras.graph import Graph, input_tensor
from zoo_keras.passes.store_bfloat16 import _say_once, narrow_storage, sink_rounding
from zoo_keras.primitives.rounding import from_bfloat16, round_bfloat16, to_bfloat16
from zoo_keras.spark.fit.options import default_wire

RNG = np.random.default_rng(2)


@pytest.fixture
def mixed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def rounded(x):
    return np.asarray(round_bfloat16(np.asarray(x, np.float32)))


def test_numbers_go_to_the_nearest_bfloat16_ties_to_even():
    values = [1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -3e38, np.inf]
    got = rounded(values)
    want = [1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -3.0e38, np.inf]
    np.testing.assert_allclose(got, np.float32(want), rtol=3e-3)
    assert got[:4].tolist() == want[:4]
    assert np.isnan(rounded([np.nan, -np.nan])).all()


def test_c_rounds_as_numpy():
    x = np.concatenate([RNG.standard_normal(4000) * 10.0 ** RNG.integers(-38, 38, 4000),
                        [np.nan, np.inf, -np.inf, 0.0, -0.0]]).astype(np.float32)  # fmt: skip
    t = input_tensor("x", x.shape)
    outputs = [round_bfloat16(t), from_bfloat16(to_bfloat16(t)), to_bfloat16(t)]
    got, want = run(Graph([t], outputs), {"x": x}), evaluate(outputs, {"x": x})
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def deep(width=40):
    """A graph whose first rounded tensor is read again at its end."""
    x = input_tensor("x", (200, 100))
    first = y = round_bfloat16(x)
    for _ in range(width):
        y = keras.ops.sin(y)
    return Graph([x], [keras.ops.add(y, first)])


def test_what_is_read_much_later_waits_narrow(monkeypatch):
    monkeypatch.setattr(native, "has_tiles", lambda: True)
    graph = deep()
    after = narrow_storage(graph)
    assert op_names(after).count("to_bfloat16") == op_names(after).count("from_bfloat16") == 1
    feeds = {"x": RNG.standard_normal((200, 100)).astype(np.float32)}
    assert_close(evaluate(after.outputs, feeds), evaluate(graph.outputs, feeds))
    assert narrow_storage(deep(width=3)).outputs[0].node.op.name == "add"


def test_without_amx_float32_waits_and_it_is_said_once(monkeypatch):
    monkeypatch.setattr(native, "has_tiles", lambda: False)
    _say_once.cache_clear()
    graph = deep()
    with pytest.warns(UserWarning, match=r"mixed_bfloat16: this process rounds .* no AMX"):
        assert narrow_storage(graph) is graph
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert narrow_storage(graph) is graph


def test_relu_goes_before_rounding():
    x = input_tensor("x", (3, 4))
    graph = Graph([x], [keras.ops.relu(round_bfloat16(x))])
    assert op_names(sink_rounding(graph)) == ["relu", "round_bfloat16"]


def test_a_layer_reads_and_gives_rounded_numbers(mixed):
    layer = layers.Dense(3, activation="tanh")
    x = RNG.standard_normal((5, 7)).astype(np.float32)
    y = np.asarray(layer(x))
    want = rounded(np.tanh(rounded(x) @ rounded(layer.kernel) + rounded(layer.bias)))
    np.testing.assert_allclose(y, want, rtol=8e-3)
    np.testing.assert_array_equal(y, rounded(y))
    assert layer.kernel.dtype == layer.variable_dtype == "float32"
    assert layer.dtype_policy.compute_dtype == "bfloat16"


def test_a_float32_layer_in_a_mixed_model_does_not_round(mixed):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6), layers.Dense(2, dtype="float32")])
    y = model.predict(RNG.standard_normal((9, 4)).astype(np.float32), verbose=0)
    assert not np.array_equal(y, rounded(y))


def network():
    keras.utils.set_random_seed(4)
    blocks = []
    for _ in range(5):
        blocks += [layers.Conv2D(32, 3, padding="same"), layers.BatchNormalization(),
                   layers.ReLU()]  # fmt: skip
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), *blocks, layers.MaxPooling2D(), layers.Flatten(),
         layers.Dense(5, dtype="float32")]
    )  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.005, momentum=0.9), loss)
    return model


def trained():
    """The losses of some steps, and the bytes that a step needs for intermediates."""
    x = np.random.default_rng(5).random((32, 16, 16, 3), np.float32)
    model, y = network(), (x.mean((1, 2)).argmax(1)).astype(np.int32)
    losses = [float(model.train_on_batch(x, y)) for _ in range(8)]
    found = next(v for k, v in model._runtime._programs.items() if k[0] == "train")
    return losses, found.crew.first.program.bytes_of("arena")


def test_mixed_training_follows_float32_and_needs_less_memory(monkeypatch):
    monkeypatch.setattr(native, "has_tiles", lambda: True)
    wide, wide_bytes = trained()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        narrow, narrow_bytes = trained()
    finally:
        keras.config.set_dtype_policy("float32")
    assert narrow_bytes < 0.9 * wide_bytes
    np.testing.assert_allclose(narrow, wide, rtol=0.03, atol=1e-3)
    assert narrow != wide and wide[-1] < wide[0]


def test_the_policy_is_saved_as_in_keras(mixed):
    config = layers.Dense(2, name="d").get_config()["dtype"]
    assert config["class_name"] == "DTypePolicy"
    assert config["config"] == {"name": "mixed_bfloat16"}
    again = layers.Dense.from_config(layers.Dense(2).get_config())
    assert again.dtype_policy.name == keras.config.dtype_policy().name == "mixed_bfloat16"


def test_gradients_of_a_mixed_model_travel_narrow(mixed):
    narrow = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    wide = keras.Sequential([keras.Input((4,)), layers.Dense(2, dtype="float32")])
    assert default_wire(narrow) == "bfloat16"
    assert default_wire(wide) == "float32"
