"""A row has the same bits alone, in any batch, with any number of threads, and whatever ran before
it: kernel by kernel, layer by layer on arrays, and through whole models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from kernel_check import run_kernel

from zoo_keras import Model, Sequential, gemm, layers, native
from zoo_keras.primitives import conv_choice
from zoo_keras.primitives.op import registry

ROWS = 33


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


# ---- kernels: op, input arrays whose first axis are the rows, the other inputs, attributes -------

TURNED = {"transpose_a": False, "transpose_b": True}
PLAIN = {"transpose_a": False, "transpose_b": False}
KERNELS: dict[str, tuple[str, list[np.ndarray], list[np.ndarray], dict[str, Any]]] = {
    "matmul": ("matmul", [normal(ROWS, 300)], [normal(300, 100)], PLAIN),
    "matmul, long sums": ("matmul", [normal(ROWS, 3000)], [normal(3000, 20)], PLAIN),
    "matmul, turned": ("matmul", [normal(ROWS, 300)], [normal(100, 300)], TURNED),
    "matmul, turned, long sums": ("matmul", [normal(ROWS, 3000)], [normal(20, 3000)], TURNED),
    "matmul, one column": ("matmul", [normal(ROWS, 700)], [normal(700, 1)], PLAIN),
    "matmul, row by matrix": ("matmul", [normal(ROWS, 1, 90)], [normal(90, 40)], PLAIN),
    "matmul of each row": ("matmul", [normal(ROWS, 5, 2100), normal(ROWS, 2100, 9)], [], PLAIN),
    "matmul of each row, turned": (
        "matmul", [normal(ROWS, 1, 70), normal(ROWS, 30, 70)], [], TURNED,
    ),
    "matmul of each row, left turned": (
        "matmul", [normal(ROWS, 2100, 5), normal(ROWS, 2100, 9)], [],
        {"transpose_a": True, "transpose_b": False},
    ),
    "dense": (
        "dense", [normal(ROWS, 300)], [normal(300, 100), normal(100)], {"activation": "tanh"},
    ),
}  # fmt: skip


def sizes() -> Iterator[int]:
    yield from (1, 2, 5, 12, 13, ROWS)


@pytest.mark.parametrize("name", KERNELS)
def test_a_row_of_a_kernel_is_the_same_alone_and_in_a_batch(name: str) -> None:
    op, by_row, others, attrs = KERNELS[name]
    whole = run_kernel(registry[op], [*by_row, *others], attrs, 2)[0]
    for rows in sizes():
        for threads in (1, 2, 3):
            some = [*[a[:rows] for a in by_row], *others]
            found = run_kernel(registry[op], some, attrs, threads)[0]
            assert np.array_equal(found, whole[:rows]), (rows, threads)


# ---- models ---------------------------------------------------------------------------------


def mlp() -> Model:
    return Sequential(
        [layers.Input((60,)), layers.Dense(70, "gelu"), layers.Dense(30, "relu"), layers.Dense(1)]
    )


def cnn() -> Model:
    """Direct, Winograd's (large and small maps), depthwise and grouped convolutions."""
    return Sequential(
        [
            layers.Input((14, 14, 3)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", groups=2),
            layers.Conv2D(48, 3, padding="same", activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(40, 3, padding="same"),
            layers.Conv2D(20, 1, strides=2),
            layers.Flatten(),
            layers.Dense(7, "softmax"),
        ]
    )


def lstm() -> Model:
    return Sequential(
        [
            layers.Input((9,), dtype="int32"),
            layers.Embedding(50, 12, mask_zero=True),
            layers.LSTM(33, return_sequences=True),
            layers.GRU(20, return_sequences=True),
            layers.SimpleRNN(17),
            layers.LayerNormalization(),
            layers.Dense(4),
        ]
    )


def attention() -> Model:
    x = layers.Input((19, 24))
    y = layers.MultiHeadAttention(3, 8)(x, x)
    y = layers.LayerNormalization()(layers.Add()([x, y]))
    y = layers.EinsumDense("abc,cd->abd", (None, 40), bias_axes="d", activation="gelu")(y)
    y = layers.GlobalAveragePooling1D()(y)
    return Model(x, layers.Dense(5)(layers.Dot(1)([y, y])))


MODELS = {f.__name__: f for f in (mlp, cnn, lstm, attention)}


def rows_for(model: Model) -> np.ndarray:
    shape = model.input_shape[1:]
    if model.inputs[0].dtype == "int32":
        return np.random.default_rng(0).integers(0, 50, (ROWS, *shape)).astype(np.int32)
    return normal(ROWS, *shape)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_row_of_a_model_is_the_same_alone_and_in_a_batch(make: Callable[[], Model]) -> None:
    model = make()
    x = rows_for(model)
    whole = model.predict_on_batch(x)
    for rows in sizes():
        assert np.array_equal(model.predict_on_batch(x[:rows]), whole[:rows]), rows
    for batch_size in (1, 4, 32):
        assert np.array_equal(model.predict(x, batch_size=batch_size, verbose=0), whole)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_model_gives_the_same_bits_with_any_number_of_threads(
    make: Callable[[], Model],
) -> None:
    model, found = make(), []
    x = rows_for(model)
    for count in (1, 2, 3):
        with native.using_threads(count):
            model.compile()  # its programs are made anew
            found.append(model.predict_on_batch(x))
    assert all(np.array_equal(found[0], y) for y in found[1:])


EAGER = {
    "Dense": (lambda: layers.Dense(100), (60,)),
    "Conv2D": (lambda: layers.Conv2D(32, 3), (9, 9, 16)),
    "LSTM": (lambda: layers.LSTM(20), (5, 12)),
}


@pytest.mark.parametrize("name", EAGER)
def test_a_layer_on_arrays_gives_the_same_bits_before_and_after_another_model(name: str) -> None:
    make, shape = EAGER[name]
    layer, x = make(), normal(ROWS, *shape)
    before = np.asarray(layer(x))
    other = mlp()
    other.compile("sgd", "mse")
    other.fit(normal(ROWS, 60), normal(ROWS, 1), verbose=0)
    assert np.array_equal(np.asarray(layer(x)), before)
    for rows in sizes():
        assert np.array_equal(np.asarray(layer(x[:rows])), before[:rows])


def test_a_library_that_is_merely_loaded_changes_no_bit() -> None:
    model = mlp()
    x = rows_for(model)
    before = model.predict_on_batch(x)
    if not gemm.load_mkl():
        pytest.skip("MKL is not installed")
    model.compile()
    assert np.array_equal(model.predict_on_batch(x), before)


@pytest.mark.parametrize("choose", [conv_choice.winograd_packed, conv_choice.winograd_raw])
@pytest.mark.parametrize("cells", [3, 4, 7, 10, 14, 56])
@pytest.mark.parametrize("channels", [16, 64, 512])
def test_the_number_of_images_does_not_choose_a_convolution(
    choose: Callable[..., int], cells: int, channels: int
) -> None:
    attrs, kernel = {"strides": (1, 1), "dilation": (1, 1)}, (3, 3, channels, channels)
    chosen = {choose((n, cells, cells, channels), kernel, attrs) for n in (1, 2, 8, 64)}
    assert len(chosen) == 1
