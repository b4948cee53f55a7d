"""Which convolutions become convolutions of bfloat16, that results are those of rounded operands,
and that an image has the same bits in any company. Models of the tiles stand in for AMX elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kernel_check import SETS, instruction_set, run_kernel

import zoo_keras as zk
from zoo_keras import config, layers, native
from zoo_keras.graph import Graph, input_tensor
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.conv_bf16 import conv_sample, may_merge
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
