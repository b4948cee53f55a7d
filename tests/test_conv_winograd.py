"""Winograd's algorithm for 3 x 3 convolutions equals the sum of products, in every instruction set
and for any number of threads; it is used where it pays and where exact sums are not asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, instruction_set, run_kernel

from zoo_keras import config
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.primitives import conv_choice
from zoo_keras.primitives.conv import conv, conv_grad_input, conv_grad_kernel
from zoo_keras.primitives.conv_fused import (
    conv_fused,
    conv_fused_add,
    conv_packed,
    conv_packed_add,
    pack_conv,
)

CLOSE = {"rtol": 1e-4, "atol": 2e-4}

# x, filters, padding: maps cut by tiles on all sides, channels and filters that fill no vector.
SHAPES = [
    ((2, 12, 12, 16), 16, ((1, 1), (1, 1))),
    ((1, 7, 9, 19), 33, ((1, 1), (0, 2))),
    ((3, 5, 6, 40), 17, ((0, 0), (0, 0))),
    ((1, 3, 3, 16), 20, ((1, 1), (1, 1))),
    ((1, 5, 3, 300), 20, ((2, 2), (1, 1))),
    ((0, 5, 5, 16), 16, ((0, 0), (0, 0))),
    ((30, 8, 8, 32), 32, ((1, 1), (1, 1))),
    ((2, 9, 9, 33), 48, ((1, 1), (1, 1))),
    ((1, 14, 14, 16), 65, ((1, 1), (1, 1))),
    ((3, 7, 7, 18), 130, ((1, 1), (1, 1))),
]


def how(padding: Any) -> dict[str, Any]:
    return {"strides": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1}


@pytest.fixture(autouse=True)
def sums_of_products_come_back() -> Iterator[None]:
    yield
    config.set_exact(False)


@pytest.fixture(params=conv_choice.TILES)
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Winograd with this tile wherever it can compute the result, however slowly."""
    chosen: int = request.param
    monkeypatch.setattr(conv_choice, "winograd_tile", lambda *a: a[3][0] if a[3:] else chosen)
    return chosen


def arrays(x_shape: Any, filters: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(5)
    shapes = x_shape, (3, 3, x_shape[-1], filters), (filters,)
    return tuple(rng.uniform(-1, 1, s).astype("float32") for s in shapes)


@pytest.mark.parametrize(("x_shape", "filters", "padding"), SHAPES)
def test_forward_equals_numpy(x_shape: Any, filters: int, padding: Any, tile: int) -> None:
    x, w, b = arrays(x_shape, filters)
    packed = pack_conv(w, winograd=tile)
    fused = {**how(padding), "activation": "relu"}
    check_kernel(conv, [x, w], how(padding), **CLOSE)
    check_kernel(conv_fused, [x, w, b], fused, **CLOSE)
    y = conv(x, w, **how(padding))
    check_kernel(conv_fused_add, [x, w, b, y], fused, **CLOSE)
    check_kernel(conv_packed_add, [x, packed, b, y], {**fused, "kernel_shape": w.shape}, **CLOSE)
    check_kernel(pack_conv, [w], {"winograd": tile}, 1e-5, 1e-5)
    check_kernel(conv_packed, [x, packed, b], {**fused, "kernel_shape": w.shape}, **CLOSE)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize(("x_shape", "filters", "padding"), SHAPES)
def test_gradients_equal_numpy(x_shape: Any, filters: int, padding: Any) -> None:
    x, w, _ = arrays(x_shape, filters)
    y = conv(x, w, **how(padding))
    g = np.random.default_rng(6).uniform(-1, 1, y.shape).astype("float32")
    check_kernel(conv_grad_input, [g, w], {**how(padding), "input_shape": x.shape}, **CLOSE)
    check_kernel(conv_grad_kernel, [x, g], {**how(padding), "kernel_shape": w.shape}, **CLOSE)


@pytest.mark.parametrize("name", SETS)
def test_an_image_has_the_same_bits_alone_and_in_a_batch(name: str, tile: int) -> None:
    x, w, b = arrays((11, 7, 9, 40), 70)
    packed = pack_conv(w, winograd=tile)
    fused = {**how(((1, 1), (1, 1))), "activation": "relu", "kernel_shape": w.shape}
    with instruction_set(name):
        (together,) = run_kernel(conv_packed, [x, packed, b], fused)
        for i in range(len(x)):
            for threads in (1, 2):
                (alone,) = run_kernel(conv_packed, [x[i : i + 1], packed, b], fused, threads)
                assert alone.tobytes() == together[i].tobytes()


def test_error_is_what_the_documentation_says() -> None:
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((4, 32, 32, 64)), 0).astype("float32")
    w = (rng.standard_normal((3, 3, 64, 64)) * (2 / 576) ** 0.5).astype("float32")
    same = how(((1, 1), (1, 1)))
    wanted = conv(x.astype("float64"), w.astype("float64"), **same)
    found = {}
    for exact in (False, True):
        config.set_exact(exact)
        error = np.abs(run_kernel(conv, [x, w], same)[0] - wanted) / wanted.std()
        found[exact] = float(np.sqrt(np.mean(error**2)))
        assert error.max() < (4e-6 if exact else 1e-5)
    assert found[True] < found[False] < 1e-6


def numbers(x_shape: Any, filters: int) -> list[float]:
    x, w, _ = arrays(x_shape, filters)
    specs = [conv_spec(x), conv_spec(w)]
    same = how(((1, 1), (1, 1)))
    return list(conv.attrs_to_c(same, specs, conv.infer(*specs, **same)))


def conv_spec(a: np.ndarray) -> Any:
    from zoo_keras.graph import Spec

    return Spec(a.shape, a.dtype.name)


def test_exact_sums_turn_it_off() -> None:
    fast = numbers((2, 16, 16, 32), 32)
    config.set_exact(True)
    assert config.exact()
    exact = numbers((2, 16, 16, 32), 32)
    assert [a - b for a, b in zip(fast, exact, strict=True)] == [0] * 11 + [4]
    assert numbers((2, 16, 16, 8), 32) == exact, "few channels"


def test_exact_takes_only_true_and_false() -> None:
    with pytest.raises(ConfigError, match="set_exact"):
        config.set_exact("yes")  # type: ignore[arg-type]


def test_packing_for_what_winograd_cannot_do_is_refused() -> None:
    for shape, groups in (((5, 5, 16, 16), 1), ((3, 3, 8, 16), 1), ((3, 3, 16, 32), 2)):
        with pytest.raises(ShapeError, match="3 x 3 in one group"):
            pack_conv(np.zeros(shape, "float32"), groups=groups, winograd=4)
    with pytest.raises(ShapeError, match="2 or 4 outputs"):
        pack_conv(np.zeros((3, 3, 16, 16), "float32"), winograd=3)


def test_smaller_tiles_are_for_small_maps_of_many_channels() -> None:
    def chosen(size: int, channels: int) -> int:
        kernel = (3, 3, channels, channels)
        return conv_choice.winograd_packed((1, size, size, channels), kernel, how(((1, 1),) * 2))

    assert [chosen(7, channels) for channels in (512, 64)] == [2, 4]
    assert [chosen(size, 64) for size in (1, 56)] == [0, 4]
