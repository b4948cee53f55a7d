"""Which convolutions become convolutions of bfloat16, that results are those of rounded operands,
and that an image has the same bits in any company. Models of the tiles stand in for AMX elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from kernel_check import SETS, instruction_set, run_kernel
from mixed_training import check_follows_float32
from test_tile_products import interpreted

import zoo_keras as zk
from zoo_keras import config, layers, native
from zoo_keras.graph import Graph, input_tensor
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.conv_bf16 import (
    conv_sample,
    depthwise_sample,
    kernel_grad_sample,
    may_merge,
)
from zoo_keras.primitives.op import registry as R


@pytest.fixture(autouse=True)
def tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(native, "has_tiles", lambda: True)
    yield
    config.set_inference_dtype("float32")


def bits(x: Any) -> Any:
    return R["to_bfloat16"].reference(x)


# ---- the kernel ----------------------------------------------------------------------------------

# x, kernel, strides, padding, dilation: merged taps, a stem, odd channels, strides, dilation
CASES = (
    ((3, 9, 8, 3), (3, 3, 3, 5), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((3, 15, 17, 3), (7, 7, 3, 33), (2, 2), ((3, 3), (3, 3)), (1, 1)),
    ((2, 11, 9, 40), (3, 3, 40, 33), (2, 2), ((0, 1), (1, 0)), (1, 1)),
    ((3, 12, 10, 64), (3, 2, 64, 70), (1, 2), ((2, 2), (0, 3)), (2, 3)),
    ((4, 6, 6, 33), (1, 1, 33, 16), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    ((2, 13, 17), (3, 17, 7), (1,), ((2, 0),), (1,)),
)


def case(i: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    sample = conv_sample(i, CASES[i], residual=True)
    return sample.inputs(np.random.default_rng(i)), {**sample.attrs, "activation": "relu"}


def convolved(arrays: list[np.ndarray], **attrs: Any) -> np.ndarray:
    return run_kernel(R["conv_bf16_add"], arrays, attrs)[0]


@pytest.mark.parametrize("i", range(len(CASES)))
def test_a_convolution_has_the_same_bits_in_every_instruction_set(i: int) -> None:
    arrays, attrs = case(i)
    found = set()
    for isa in SETS:
        with instruction_set(isa):
            found.add(convolved(arrays, **attrs).tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("i", range(len(CASES)))
def test_an_image_has_the_same_bits_alone_and_beside_one_that_is_not_finite(i: int) -> None:
    (x, w, b, r), attrs = case(i)
    whole = convolved([x, w, b, r], **attrs)
    for image in range(len(x)):
        one = slice(image, image + 1)
        assert convolved([x[one], w, b, r[one]], **attrs).tobytes() == whole[one].tobytes()
    spoilt = x.copy()
    spoilt[1] = np.nan
    beside = convolved([spoilt, w, b, r], **attrs)
    assert np.isnan(beside[1]).all(axis=-1).any()
    others = [n for n in range(len(x)) if n != 1]
    assert beside[others].tobytes() == whole[others].tobytes()


@pytest.mark.parametrize("i", range(len(CASES)))
def test_bits_read_and_written_change_no_result(i: int) -> None:
    (x, w, b, r), attrs = case(i)
    wide = convolved([x, w, b, R["round_bfloat16"].reference(r)], **attrs)
    narrow = convolved([bits(x), w, b, bits(r)], **attrs, narrow=True)
    np.testing.assert_array_equal(narrow, bits(wide))


def test_many_large_images_are_computed_some_at_a_time() -> None:
    large = ((9, 40, 40, 96), (3, 3, 96, 40), (1, 1), ((1, 1), (1, 1)), (1, 1))
    sample = conv_sample(0, large, residual=False)
    x, w, b = sample.inputs(np.random.default_rng(0))
    whole = run_kernel(R["conv_bf16"], [x, w, b], sample.attrs)[0]
    for image in (0, 4, 8):
        one = run_kernel(R["conv_bf16"], [x[image : image + 1], w, b], sample.attrs)[0]
        assert one.tobytes() == whole[image : image + 1].tobytes()


@pytest.mark.parametrize(
    ("kernel", "strides", "merged"),
    [
        ((3, 3, 3, 8), (1, 1), True),
        ((7, 7, 3, 64), (2, 2), True),
        ((3, 3, 64, 64), (1, 1), False),
        ((3, 3, 40, 64), (2, 2), False),
    ],
)
def test_taps_are_merged_where_each_would_be_filled_up(
    kernel: tuple[int, ...], strides: tuple[int, ...], merged: bool
) -> None:
    assert may_merge(kernel, strides, (1, 1)) == merged


# ---- which convolutions --------------------------------------------------------------------------


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes() if node.inputs]


def graph_of(kernel: tuple[int, ...], rounds: bool = False, **attrs: Any) -> Graph:
    inputs = [input_tensor("x", (2, 9, 9, 64)), input_tensor("w", kernel)]
    given = R["round_bfloat16"](inputs[0]) if not rounds else inputs[0]
    how = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), **attrs}
    return optimise(Graph(inputs, [R["conv"](given, inputs[1], **how)]), rounds=rounds)


@pytest.mark.parametrize("rounds", [False, True])
def test_windows_become_convolutions_and_single_cells_products(rounds: bool) -> None:
    assert names(graph_of((3, 3, 64, 32), rounds))[-1] == "conv_bf16"
    assert names(graph_of((1, 1, 64, 32), rounds))[-1] == "dense_bf16"
    assert names(graph_of((1, 1, 64, 32), rounds, strides=(2, 2)))[-1] == "conv_bf16"


def test_groups_and_few_filters_stay_in_float32() -> None:
    assert names(graph_of((3, 3, 32, 64), groups=2))[-1].startswith("conv")
    assert "conv_bf16" not in names(graph_of((3, 3, 32, 64), groups=2))
    assert "conv_bf16" not in names(graph_of((3, 3, 64, 4)))


def test_no_convolution_uses_tiles_without_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "has_tiles", lambda: False)
    assert "conv_bf16" not in names(graph_of((3, 3, 64, 32)))


# ---- models --------------------------------------------------------------------------------------


def small_resnet() -> Any:
    zk.utils.set_random_seed(3)
    inputs = zk.Input((20, 20, 3))
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(inputs)
    y = layers.Conv2D(32, 3, padding="same", use_bias=False)(x)
    y = layers.BatchNormalization()(y)
    y = layers.Conv2D(32, 1)(layers.ReLU()(y))
    x = layers.ReLU()(layers.add([x, y]))
    x = layers.Conv2D(64, 1, strides=2)(x)
    return zk.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def test_predictions_of_convolutions_follow_float32_and_images_stay_apart() -> None:
    model = small_resnet()
    x = np.random.default_rng(0).normal(size=(6, 20, 20, 3)).astype("f")
    before = model.predict(x, verbose=0)
    config.set_inference_dtype("bfloat16")
    narrow = model.predict(x, verbose=0)
    assert 0 < np.abs(narrow - before).max() < 0.03 * np.std(before)
    assert model.predict(x[2:3], verbose=0).tobytes() == narrow[2:3].tobytes()
    config.set_inference_dtype("float32")
    assert model.predict(x, verbose=0).tobytes() == before.tobytes()


def test_what_convolutions_and_shortcuts_read_lies_in_memory_as_bfloat16() -> None:
    how = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    shapes = ((2, 9, 9, 64), (3, 3, 64, 64), (64,), (3, 3, 64, 64), (64,))
    x, v, b, w, c = inputs = [input_tensor(f"x{i}", s) for i, s in enumerate(shapes)]
    y = R["relu"](R["add"](R["conv"](x, v, **how), b))
    z = R["relu"](R["add"](R["add"](R["conv"](y, w, **how), c), y))
    graph = optimise(Graph(inputs, [z]), rounds=True)
    first, second = [n for n in graph.nodes() if n.op.name.startswith("conv_bf16")]
    assert (first.specs[0].dtype, second.specs[0].dtype) == ("uint16", "float32")
    assert second.op.name == "conv_bf16_add"
    assert second.inputs[0] is second.inputs[3] is first.outputs[0]


# ---- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("i", range(len(CASES)))
def test_the_gradient_of_weights_has_the_same_bits_in_every_instruction_set(i: int) -> None:
    sample = kernel_grad_sample(CASES[i])
    x, g = sample.inputs(np.random.default_rng(i))
    found = set()
    for isa in SETS:
        with instruction_set(isa):
            for given in ([x, g], [bits(x), bits(g)]):
                dw = run_kernel(R["conv_grad_kernel_bf16"], given, sample.attrs)[0]
                found.add(dw.tobytes())
    assert len(found) == 1


def test_many_large_images_give_the_sum_of_their_gradients() -> None:
    large = ((5, 60, 60, 64), (3, 3, 64, 40), (1, 1), ((1, 1), (1, 1)), (1, 1))
    sample = kernel_grad_sample(large)
    x, g = sample.inputs(np.random.default_rng(0))
    run = partial(run_kernel, R["conv_grad_kernel_bf16"], attrs=sample.attrs)
    parts = sum(run(arrays=[x[i : i + 1], g[i : i + 1]])[0].astype("d") for i in range(5))
    np.testing.assert_allclose(run(arrays=[x, g])[0], parts, atol=1e-4 * np.std(parts))


@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "dilation", "on_tiles"),
    [
        ((3, 3, 64, 96), (1, 1), ((1, 1), (1, 1)), (1, 1), True),
        ((3, 2, 64, 96), (1, 1), ((2, 0), (0, 1)), (1, 2), True),
        ((3, 3, 40, 33), (1, 1), ((0, 0), (2, 1)), (2, 1), True),
        ((3, 3, 64, 32), (2, 2), ((0, 1), (0, 1)), (1, 1), False),
        ((1, 1, 64, 32), (1, 1), ((1, 1), (1, 1)), (1, 1), False),
    ],
)
def test_the_gradient_of_images_is_a_convolution_unless_strides_forbid_it(
    kernel: tuple[int, ...], strides: Any, padding: Any, dilation: Any, on_tiles: bool
) -> None:
    how = {"strides": strides, "padding": padding, "dilation": dilation, "groups": 1}
    x_shape = (2, 9, 8, kernel[-2])
    places = R["conv"](input_tensor("x", x_shape), input_tensor("w", kernel), **how).shape
    inputs = [input_tensor("g", places), input_tensor("w", kernel)]
    w = R["round_bfloat16"](inputs[1])
    made = R["conv_grad_input"](inputs[0], w, input_shape=x_shape, **how)
    graph = optimise(Graph(inputs, [made]))
    assert (names(graph)[-1] == "conv_bf16") == on_tiles
    g, w = (np.random.default_rng(3).normal(size=t.shape).astype("f") for t in inputs)
    rounded = [R["round_bfloat16"].reference(a).astype("d") for a in (g, w)]
    wanted = R["conv_grad_input"].reference(*rounded, input_shape=x_shape, **how)
    (found,) = interpreted(graph, [g, w])
    np.testing.assert_allclose(found, wanted, atol=(1e-4 if on_tiles else 0.02) * np.std(wanted))


def test_gradients_are_slopes_along_random_directions() -> None:
    """Of sum(h conv(x, w)), which is linear in x and in w, up to the rounding of operands."""
    rng = np.random.default_rng(5)
    how = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    x, w, h = (rng.normal(size=s) for s in ((2, 9, 8, 40), (3, 3, 40, 33), (2, 9, 8, 33)))
    x, w, h = (R["round_bfloat16"].reference(a.astype("f")) for a in (x, w, h))
    value = float((R["conv"].reference(x.astype("d"), w.astype("d"), **how) * h).sum())
    dw = run_kernel(R["conv_grad_kernel_bf16"], [x, h], {**how, "kernel_shape": w.shape})[0]
    flat = np.ascontiguousarray(w[::-1, ::-1]).reshape(9, 40, 33)
    packed = run_kernel(R["pack_bf16"], [flat], {"transpose": True})[0]
    attrs = {**how, "kernel_shape": (3, 3, 33, 40), "merged": False}
    dx = run_kernel(R["conv_bf16"], [h, packed, np.zeros(40, "f")], attrs)[0]
    for slope, along in ((dw, w), (dx, x)):
        size = np.sqrt((slope.astype("d") ** 2).sum() * (along.astype("d") ** 2).sum())
        assert abs(float((slope.astype("d") * along).sum()) - value) < 1e-6 * size


def test_a_product_over_many_rows_is_a_gradient_of_weights() -> None:
    shapes = (2304, 64), (2304, 96)
    inputs = [input_tensor(f"x{i}", s) for i, s in enumerate(shapes)]
    g = R["round_bfloat16"](inputs[1])
    graph = optimise(Graph(inputs, [R["matmul"](inputs[0], g, transpose_a=True)]))
    assert "conv_grad_kernel_bf16" in names(graph)
    x, g = (np.random.default_rng(3).normal(size=s).astype("f") for s in shapes)
    wide = [R["round_bfloat16"].reference(a).astype("d") for a in (x, g)]
    (found,) = interpreted(graph, [x, g])
    np.testing.assert_allclose(found, wide[0].T @ wide[1], rtol=1e-5, atol=1e-3)


def test_training_convolutions_in_mixed_precision_follows_float32() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 20, 20, 3)).astype("f"), rng.normal(size=(16, 5)).astype("f")
    check_follows_float32(small_resnet, x, y, rate=0.02, rtol=0.03)


# ---- depthwise -----------------------------------------------------------------------------------


@pytest.mark.parametrize("i", range(3))
def test_depthwise_bits_read_and_written_change_no_result(i: int) -> None:
    shapes = ((2, 9, 8, 16), (3, 17, 16, 33), (2, 6, 23, 40))
    case = (shapes[i], (3, 3, shapes[i][-1], 1), (1, 1 + i % 2), ((1, 1), (0, 1)), (1, 1))
    sample = depthwise_sample(1, case)
    x, w, b = sample.inputs(np.random.default_rng(i))
    run = partial(run_kernel, R["depthwise_bf16"])
    wide = run([x, w, b], sample.attrs)[0]
    narrow = run([bits(x), w, b], {**sample.attrs, "narrow": True})[0]
    np.testing.assert_array_equal(narrow, bits(wide))
    alone = run([x[1:2], w, b], sample.attrs)[0]
    assert alone.tobytes() == wide[1:2].tobytes()


def test_depthwise_convolutions_read_and_write_bits_between_products() -> None:
    how = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    shapes = ((2, 9, 9, 64), (1, 1, 64, 64), (3, 3, 1, 64), (1, 1, 64, 32))
    inputs = [input_tensor(f"x{i}", s) for i, s in enumerate(shapes)]
    x, v, d, w = inputs
    y = R["conv"](R["conv"](x, v, **how), d, groups=64, **how)
    graph = optimise(Graph(inputs, [R["conv"](y, w, **how)]), rounds=True)
    made = [n for n in graph.nodes() if n.op.name in ("dense_bf16", "depthwise_bf16")]
    assert [n.op.name for n in made] == ["dense_bf16", "depthwise_bf16", "dense_bf16"]
    assert [n.specs[0].dtype for n in made] == ["uint16", "uint16", "float32"]
