"""Random inputs for every op with a C kernel: all sizes 1, an empty batch, odd sizes, and enough
that the work is cut into pieces. In: an op's name and a kind of sizes. Out: arrays and attributes.

DRAWN maps each op's name to the function that draws for it. Knows nothing of what is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from test_attention_ops import OPTIONS
from test_attention_ops import made as attention_inputs
from test_conv import random_geometry
from test_pool import random_case

from zoo_keras.graph import Spec
from zoo_keras.primitives import table_rows as rows
from zoo_keras.primitives.conv_bf16 import conv_sample as conv_bf16_sample
from zoo_keras.primitives.conv_bf16 import depthwise_sample, kernel_grad_sample
from zoo_keras.primitives.conv_choice import TILES
from zoo_keras.primitives.conv_int8 import conv_sample
from zoo_keras.primitives.op import registry as R
from zoo_keras.primitives.products import DENSE_ACTIVATIONS, FUSED_ACTIVATIONS
from zoo_keras.primitives.update import HOW, update_inputs

KINDS = ("one", "empty", "odd", "odder", "large")
ODD = (1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 23, 31, 33, 47, 64, 65)
Inputs = tuple[list[np.ndarray], dict[str, Any]]


class Draw:
    """Random sizes of one kind, and arrays of them. The same name and kind give the same ones."""

    def __init__(self, name: str, kind: str) -> None:
        self.kind = kind
        self.rng = np.random.default_rng([*name.encode(), *kind.encode()])

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def coin(self) -> bool:
        return bool(self.rng.uniform() < 0.5)

    def size(self, most: int = 65) -> int:
        """1, or any of the usual borders and their neighbours; above the middle in a large draw."""
        sizes = [n for n in ODD if n <= most]
        sizes = sizes[len(sizes) // 2 :] if self.kind == "large" else sizes
        return 1 if self.kind == "one" else self.pick(sizes)

    def batch(self, large: int, most: int = 9) -> int:
        """Rows: none in an empty batch, `large` of them to cut the work into pieces."""
        given = {"empty": 0, "large": large}
        return given[self.kind] if self.kind in given else self.size(most)

    def shape(self, least: int = 1, most: int = 4, elements: int = 150_001) -> tuple[int, ...]:
        """Up to `most` sizes in any order, one of which is that of the batch."""
        rest = [self.size(17 if most < 4 else 9) for _ in range(self.rng.integers(least - 1, most))]
        dims = [self.batch(elements // int(np.prod(rest)) | 1), *rest]
        self.rng.shuffle(dims)
        return tuple(dims)

    def floats(self, *shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        return np.asarray(self.rng.uniform(low, high, shape)).astype("f4")

    def whole(self, shape: Sequence[int], below: int, dtype: str = "int32") -> np.ndarray:
        return self.rng.integers(0, max(below, 1), shape).astype(dtype)

    def bools(self, *shape: int) -> np.ndarray:
        return self.rng.uniform(size=shape) < 0.6


DRAWN: dict[str, Callable[[str, Draw], Iterator[Inputs]]] = {}
EXACT: set[str] = set()  # kernels that equal the float32 reference bit for bit


def drawn_for(*names: str, exact: bool = False) -> Callable[..., Any]:
    """The decorated function draws inputs and attributes for these ops."""

    def note(draw: Callable[[str, Draw], Iterator[Inputs]]) -> Any:
        DRAWN.update(dict.fromkeys(names, draw))
        EXACT.update(names if exact else ())
        return draw

    return note


def shares(d: Draw, *shape: int) -> np.ndarray:
    """Rows of positive numbers with the sum 1."""
    x = d.floats(*shape, low=0.1, high=1.0)
    return x / x.sum(-1, keepdims=True)


# ---- moving, picking and reducing elements -------------------------------------------------------


@drawn_for("reshape", "transpose", "broadcast_to", "pad", "flip", "tile", "repeat", exact=True)
def moved(name: str, d: Draw) -> Iterator[Inputs]:
    shape = d.shape()
    rank = len(shape)
    axis, few = int(d.rng.integers(rank)), tuple(int(n) for n in d.rng.integers(1, 4, rank))
    ones = tuple(n if d.coin() else 1 for n in shape)
    perm = tuple(int(n) for n in d.rng.permutation(rank))
    attrs: dict[str, dict[str, Any]] = {
        "reshape": {"shape": (*[shape[i] for i in perm], 1)},
        "transpose": {"perm": perm},
        "broadcast_to": {"shape": (2, *shape)},
        "pad": {"paddings": tuple((n - 1, (n + i) % 3) for i, n in enumerate(few)), "value": 2.5},
        "flip": {"axes": tuple(i for i in range(rank) if d.coin())},
        "tile": {"repeats": few},
        "repeat": {"repeats": few[0], "axis": axis},
    }
    yield [d.floats(*(ones if name == "broadcast_to" else shape))], attrs[name]


@drawn_for("concatenate", exact=True)
def joined(name: str, d: Draw) -> Iterator[Inputs]:
    shape = list(d.shape())
    axis, arrays = int(d.rng.integers(len(shape))), []
    for _ in range(d.size(5)):
        arrays.append(d.floats(*shape))
        shape[axis] = d.size(9)
    yield arrays, {"axis": axis}


@drawn_for("strided_slice", "strided_slice_grad", exact=True)
def sliced(name: str, d: Draw) -> Iterator[Inputs]:
    shape, begin, end, strides = d.shape(elements=600_001), [], [], []
    for n in shape:
        low = int(d.rng.integers(0, n + 1)) // 2
        high = int(d.rng.integers(low, n + 1))
        back = d.coin() and high > low
        begin.append(high - 1 if back else low)
        end.append(low - 1 if back else high)
        strides.append(d.pick([1, 1, 2, 3]) * (-1 if back else 1))
    attrs = {"begin": tuple(begin), "end": tuple(end), "strides": tuple(strides)}
    x = d.floats(*shape)
    if name == "strided_slice":
        yield [x], attrs
    else:
        yield [d.floats(*R["strided_slice"](x, **attrs).shape)], {"shape": shape, **attrs}


@drawn_for("gather", "one_hot", "sort_ids", exact=True)
def picked(name: str, d: Draw) -> Iterator[Inputs]:
    for dtype in ("int32", "int64"):
        many = d.size(33)
        ids = d.whole(d.shape(most=3), many, dtype)
        if name == "gather":
            yield [d.floats(many, *[d.size(5) for _ in range(d.pick([0, 1, 2]))]), ids], {}
        else:
            yield [ids], {"depth": many} if name == "one_hot" else {}


@drawn_for("sort", "argsort", "top_k", "cumsum", "take_along_axis", exact=True)
def along_an_axis(name: str, d: Draw) -> Iterator[Inputs]:
    for dtype in ("float32", "int32", "bool"):
        shape = d.shape(elements=20_001)
        axis = int(d.rng.integers(len(shape))) - (len(shape) if d.coin() else 0)
        whole = dtype != "float32" or name == "argsort"
        x = d.whole(shape, 9, dtype) if whole else d.floats(*shape)
        if dtype == "float32" and name == "argsort":
            odd = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0], "f4")
            x = np.where(d.bools(*shape), x, d.rng.choice(odd, shape))
        if name == "top_k":
            yield [x], {"k": int(d.rng.integers(shape[-1] + 1))}
        elif name == "take_along_axis":
            many = d.size(9) if shape[axis] else 0
            ids_shape = tuple(many if i == axis % len(shape) else n for i, n in enumerate(shape))
            yield [x, d.whole(ids_shape, shape[axis], d.pick(["int32", "int64"]))], {"axis": axis}
        else:
            yield [x], {"axis": axis, **({"reverse": d.coin()} if name == "cumsum" else {})}


@drawn_for("cast", exact=True)
def cast(name: str, d: Draw) -> Iterator[Inputs]:
    for of in sorted(R["cast"].writes or ()):
        x = d.floats(*d.shape(), low=0.0, high=99.0).astype(of)
        yield [x], {"dtype": d.pick(["int64", "float64", "int16", "uint32"])}


@drawn_for("step_sources", exact=True)
def sources(name: str, d: Draw) -> Iterator[Inputs]:
    yield [d.whole((2,), 99, "int64")], {"length": d.batch(999), "column": 1, "shift": 32}


@drawn_for("gather_grad", "gather_grad_rows")
def picked_back(name: str, d: Draw) -> Iterator[Inputs]:
    for dtype in ("int32", "int64"):
        many, ids_shape = d.size(33), d.shape(most=3, elements=9001)
        many = 90_001 if d.kind == "large" else many
        g = d.floats(*ids_shape, *[d.size(5) for _ in range(d.pick([0, 1, 2]))])
        yield [g, d.whole(ids_shape, many, dtype)], {"rows": many} if name == "gather_grad" else {}


@drawn_for("gather_int8", exact=True)
def picked_int8(name: str, d: Draw) -> Iterator[Inputs]:
    many = d.size(33)
    table = d.whole((many, d.size(33)), 255).astype(np.int16) - 127
    ids = d.whole(d.shape(most=3, elements=9001), many)
    yield [table.astype(np.int8), d.floats(many, low=100, high=900), ids], {}


@drawn_for("reduce_sum", "reduce_mean", "reduce_prod", "reduce_max", "reduce_min", "reduce_any",
           "reduce_all")  # fmt: skip
def reduced(name: str, d: Draw) -> Iterator[Inputs]:
    for every in (True, False, False):
        shape = d.shape()
        needs = name in ("reduce_max", "reduce_min")  # there is no largest of nothing
        axes = tuple(i for i, n in enumerate(shape) if (every or d.coin()) and (n or not needs))
        near_one = {"low": 0.99, "high": 1.01} if name == "reduce_prod" else {}
        x = d.floats(*shape, **near_one)
        x = x > d.pick([-0.99, 0.99]) if name in ("reduce_any", "reduce_all") else x
        yield [x], {"axes": axes, "keepdims": d.coin()}
    if name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
        yield [d.whole(shape, 99) - 50], {"axes": axes, "keepdims": d.coin()}


@drawn_for("argmax", "argmin", exact=True)
def placed(name: str, d: Draw) -> Iterator[Inputs]:
    for _ in range(3):
        shape = (*d.shape(most=3), d.size(33))
        yield [d.floats(*shape)], {"axis": d.pick([i for i, n in enumerate(shape) if n])}


# ---- softmax and norms ---------------------------------------------------------------------------


@drawn_for("softmax", "softmax_grad", "log_softmax", "log_softmax_grad")
def softened(name: str, d: Draw) -> Iterator[Inputs]:
    for classes in (d.size(), d.size()):
        shape = [d.batch(2001), d.size(5), classes]
        d.rng.shuffle(shape)
        axis = d.pick([i for i, n in enumerate(shape) if n])
        g, x = d.floats(*shape), d.floats(*shape, low=-5, high=5)
        y = R[name.removesuffix("_grad")](x, axis=axis)
        yield [g, y] if name.endswith("_grad") else [x], {"axis": axis}


@drawn_for("softmax_cross_entropy", "softmax_cross_entropy_grad", "sparse_softmax_cross_entropy",
           "sparse_softmax_cross_entropy_grad")  # fmt: skip
def entropies(name: str, d: Draw) -> Iterator[Inputs]:
    for classes in (d.size(), d.size()):
        lead = (d.batch(3001),)
        target = d.whole(lead, classes) if name.startswith("sparse") else shares(d, *lead, classes)
        inputs = [target, d.floats(*lead, classes, low=-5, high=5)]
        yield [d.floats(*lead), *inputs] if name.endswith("_grad") else inputs, {}


NORMS = ("batch_norm", "batch_norm_relu", "layer_norm", "rms_norm", "group_norm")


@drawn_for(*NORMS, *[f"{name}_grad" for name in NORMS])
def normed(name: str, d: Draw) -> Iterator[Inputs]:
    forward = name.removesuffix("_grad")
    for residual in (False, True) if "relu" in name else (False,):
        groups = d.size(5) if forward == "group_norm" else 1
        shape = (d.batch(601), d.size(7), d.size(9), groups * d.size(33))
        x, gamma, beta = d.floats(*shape, low=-2), d.floats(shape[-1], low=0.5), d.floats(shape[-1])
        inputs = [x, gamma] if forward == "rms_norm" else [x, gamma, beta]
        inputs += [d.floats(*shape)] if residual else []
        most = {"most": d.pick([np.inf, 1.5])} if "relu" in name else {}
        attrs = {"epsilon": 0.1, **most, **({"groups": groups} if forward == "group_norm" else {})}
        if forward == name:
            yield inputs, attrs
            continue
        y, *moments = R[forward](*inputs, **attrs)
        back = {"epsilon": 0.1} if "batch" in name else {}
        more = {"residual": residual, **most} if "relu" in name else {}
        yield [d.floats(*shape), *[y] * ("relu" in name), x, gamma, *moments], {**back, **more}


# ---- products ------------------------------------------------------------------------------------


@drawn_for("matmul")
def products(name: str, d: Draw) -> Iterator[Inputs]:
    for turn_a, turn_b in ((False, False), (False, True), (True, False), (True, True)):
        lead_a, lead_b = d.pick([((), ()), ((3, 1), (2,)), ((2,), ()), ((), (3,))])
        m, k, n = d.batch(1501, 33), d.size(), d.size()
        a = d.floats(*lead_a, *((k, m) if turn_a else (m, k)))
        b = d.floats(*lead_b, *((n, k) if turn_b else (k, n)))
        yield [a, b], {"transpose_a": turn_a, "transpose_b": turn_b}


@drawn_for("dense", "dense_add", "dense_packed", "dense_packed_add", "dense_int8")
def layer(name: str, d: Draw) -> Iterator[Inputs]:
    int8 = name == "dense_int8"
    for activation in FUSED_ACTIVATIONS if int8 else DENSE_ACTIVATIONS:
        lead, k, n = (*[2] * d.coin(), d.batch(1501, 33)), d.size(), d.size()
        x, w, b = d.floats(*lead, k), d.floats(k, n) / np.float32(np.sqrt(k)), d.floats(n)
        units = {"units": n} if "packed" in name or int8 else {}
        attrs = {"activation": activation, **units}
        if int8:
            w = R["pack_int8"](np.rint(d.floats(k, n) * 127).astype(np.int8))
            yield [x, w, d.floats(n, low=900, high=9000), b], {
                **attrs, "input_scale": d.pick([0.0, 50.0])
            }  # fmt: skip
            continue
        w = R["pack_dense"](w) if "packed" in name else w
        yield [x, w, b, *([d.floats(*lead, n)] if name.endswith("_add") else [])], attrs


@drawn_for("pack_dense", "pack_int8", exact=True)
def packed(name: str, d: Draw) -> Iterator[Inputs]:
    w = d.floats(d.batch(701), d.size() * 3)
    yield [np.rint(w * 127).astype(np.int8) if name == "pack_int8" else w], {}
    if name == "pack_int8":
        yield (
            [d.whole((d.size(9), d.size(130), d.size()), 255).astype(np.int16).astype("i1") // 2],
            {},
        )


@drawn_for("dense_bf16", "dense_bf16_add")
def tile_layer(name: str, d: Draw) -> Iterator[Inputs]:
    for activation in DENSE_ACTIVATIONS:
        m, k, n, turned = d.batch(1501, 65), d.size(), d.size(), d.coin()
        x, w = d.floats(*((k, m) if turned else (m, k))), d.floats(k, n) / np.float32(np.sqrt(k))
        more = [d.floats(m, n)] if name.endswith("_add") else []
        attrs = {"units": n, "activation": activation, "transpose_a": turned}
        yield [x, R["pack_bf16"](w, transpose=False), d.floats(n), *more], attrs


@drawn_for("pack_bf16", exact=True)
def packed_tiles(name: str, d: Draw) -> Iterator[Inputs]:
    for turned in (False, True):
        yield [d.floats(d.batch(701), d.size() * 3)], {"transpose": turned}
        yield [d.floats(d.size(9), d.size(), d.size())], {"transpose": turned}


# ---- windows -------------------------------------------------------------------------------------


def geometry(d: Draw, axes: int) -> tuple[Any, Any, dict[str, Any]]:
    x_shape, w_shape, how = random_geometry(d.rng, axes)
    if d.kind == "one":
        x_shape, w_shape, how["groups"] = (1,) * len(x_shape), (1,) * len(w_shape), 1
        how["padding"], how["strides"] = ((0, 0),) * axes, (1,) * axes
    if d.kind == "large":
        x_shape = (2, *[max(n, m) for n, m in zip(x_shape[1:-1], (3001, 40, 9)[axes - 1 :] * 3)],
                   x_shape[-1])  # fmt: skip
    return (d.batch(x_shape[0], 4), *x_shape[1:]), w_shape, how


def few_channels(d: Draw, axes: int) -> tuple[Any, Any, dict[str, Any]]:
    """The same with several groups of 1 to 8 channels and filters."""
    x_shape, w_shape, how = geometry(d, axes)
    groups, channels, filters = d.size(33), d.size(8), d.size(8)
    x_shape, w_shape = (*x_shape[:-1], groups * channels), (*w_shape[:-2], channels)
    return x_shape, (*w_shape, groups * filters), {**how, "groups": groups}


@drawn_for("conv", "conv_fused", "conv_fused_add", "conv_packed", "conv_packed_add",
           "conv_grad_input", "conv_grad_kernel")  # fmt: skip
def convolved(name: str, d: Draw) -> Iterator[Inputs]:
    activations = (*FUSED_ACTIVATIONS, "relu")
    shapes = (geometry, 1), (geometry, 2), (geometry, 2), (geometry, 3), (few_channels, 1)
    for (shape, axes), activation in zip((*shapes, (few_channels, 2)), activations):
        x_shape, w_shape, how = shape(d, axes)
        scale = np.float32(np.prod(w_shape[:-1]) ** -0.5)
        x, w, b = d.floats(*x_shape), d.floats(*w_shape) * scale, d.floats(w_shape[-1])
        g = d.floats(
            *R["conv"].infer(Spec(x_shape, "float32"), Spec(w_shape, "float32"), **how)[0].shape
        )
        if name == "conv":
            yield [x, w], how
        elif name == "conv_grad_input":
            yield [g, w], {**how, "input_shape": x_shape}
        elif name == "conv_grad_kernel":
            yield [x, g * scale], {**how, "kernel_shape": w_shape}
        else:
            in_panels = "packed" in name
            how = {**how, "activation": activation}
            how.update({"kernel_shape": w_shape} if in_panels else {})
            w = R["pack_conv"](w, groups=how["groups"]) if in_panels else w
            yield [x, w, b, *([g] if name.endswith("_add") else [])], how


def case_of(d: Draw, axes: int) -> tuple[Any, ...]:
    """x, kernel, strides, padding and dilation of a convolution without groups."""
    x_shape, w_shape, how = geometry(d, axes)
    w_shape = (*w_shape[:-2], x_shape[-1], d.size())
    return (x_shape, w_shape, *(how[k] for k in ("strides", "padding", "dilation")))


@drawn_for("conv_bf16", "conv_bf16_add")
def convolved_bf16(name: str, d: Draw) -> Iterator[Inputs]:
    for i, axes in enumerate((1, 2, 2, 1, 2, 2)):
        sample = conv_bf16_sample(i, case_of(d, axes), name.endswith("_add"))
        yield sample.inputs(d.rng), sample.attrs


@drawn_for("conv_grad_kernel_bf16")
def kernel_gradient_in_tiles(name: str, d: Draw) -> Iterator[Inputs]:
    for axes in (1, 2, 2):
        x_shape, w_shape, strides, padding, dilation = case_of(d, axes)
        sample = kernel_grad_sample((x_shape, w_shape, strides, padding, dilation))
        x, g = sample.inputs(d.rng)
        yield [x, g * np.float32(max(np.prod(g.shape[:-1]), 1) ** -0.5)], sample.attrs


@drawn_for("depthwise_bf16")
def depthwise_tiles(name: str, d: Draw) -> Iterator[Inputs]:
    for i, axes in enumerate((1, 2, 2, 2)):
        x_shape, w_shape, strides, padding, dilation = case_of(d, axes)
        channels = 16 + d.size(33)
        columns, at = d.pick([3, 5, 7]), axes - 1
        x_shape = (*x_shape[: at + 1], columns + x_shape[at + 1], channels)
        kernel = (*w_shape[:at], columns, channels, 1)
        strides, dilation = (*strides[:at], d.pick([1, 2])), (*dilation[:at], 1)
        sample = depthwise_sample(i, (x_shape, kernel, strides, padding, dilation))
        yield sample.inputs(d.rng), sample.attrs


@drawn_for("conv_int8", "conv_int8_add", "depthwise_int8", exact=True)
def convolved_int8(name: str, d: Draw) -> Iterator[Inputs]:
    for i, axes in enumerate((1, 2, 2, 1, 2, 2)):
        case = case_of(d, axes)
        sample = conv_sample(i, case, name.endswith("_add"), name == "depthwise_int8")
        yield sample.inputs(d.rng), sample.attrs


@drawn_for("round_int8", exact=True)
def rounded_images(name: str, d: Draw) -> Iterator[Inputs]:
    for scale in (0.0, 77.0):
        x = d.floats(d.batch(5), d.size(), d.size(), 70 if d.kind == "large" else d.size(9), low=-3)
        yield [x], {"scale": scale}


@drawn_for("pack_conv")
def packed_conv(name: str, d: Draw) -> Iterator[Inputs]:
    for axes in (1, 2, 3):
        _, w_shape, how = geometry(d, axes)
        yield [d.floats(*w_shape)], {"groups": how["groups"]}
    for tile in TILES:
        yield [d.floats(3, 3, 16 + d.size(9), 16 + d.size(33))], {"winograd": tile}


@drawn_for("max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad")
def pooled(name: str, d: Draw) -> Iterator[Inputs]:
    for axes in (1, 2, 3):
        x, how = random_case(d.rng, axes)
        shape = (1,) * x.ndim if d.kind == "one" else x.shape
        if d.kind == "one":
            how = {"pool": (1,) * axes, "strides": (1,) * axes, "padding": ((0, 0),) * axes}
        x = d.floats(d.batch(150, 5), *shape[1:])
        y = R[name.removesuffix("_grad")](x, **how)
        if name == "avg_pool_grad":
            yield [d.floats(*y.shape)], {**how, "input_shape": x.shape}
        else:
            yield [d.floats(*y.shape), x, y] if name.endswith("_grad") else [x], how


@drawn_for("max_pool_bf16", "max_pool_grad_bf16", exact=True)
def pooled_bits(name: str, d: Draw) -> Iterator[Inputs]:
    for inputs, how in pooled(name.removesuffix("_bf16"), d):
        wide = [np.rint(a * 8) + 0 for a in inputs]  # exact sums, equal cells, no -0
        bits = [R["to_bfloat16"].reference(a) for a in wide]
        for given in (bits, [wide[0], *bits[1:]])[: len(inputs)]:
            yield given, how


@drawn_for("max_pool_int8", exact=True)
def pooled_bytes(name: str, d: Draw) -> Iterator[Inputs]:
    for (x,), how in pooled("max_pool", d):
        yield [np.clip(np.rint(x * 60), -127, 127).astype(np.int8)], how


# ---- attention and recurrent layers --------------------------------------------------------------


@drawn_for("attention", "attention_grad")
def attended(name: str, d: Draw) -> Iterator[Inputs]:
    for options, mask in OPTIONS:
        heads = d.size(3)
        key_heads = d.pick([h for h in (1, heads) if heads % h == 0])
        batch, queries = d.batch(3, 3), 131 if d.kind == "large" else d.size(33)
        size = (batch, queries, d.size(65), heads, key_heads, d.size(17), d.size(17))
        inputs, attrs = attention_inputs(size, options, mask)
        if name == "attention":
            yield inputs, attrs
        else:
            y, stats = R["attention"](*inputs, **attrs)
            yield [d.floats(*y.shape), y, stats, *inputs], attrs


# ---- random numbers and optimizers ---------------------------------------------------------------


@drawn_for("random_uniform", "random_normal")
def random_numbers(name: str, d: Draw) -> Iterator[Inputs]:
    at = np.array([d.pick([0, 7, 2**33]), d.pick([0, 11])], np.int64)
    yield [at], {"shape": d.shape(), "seed": int(d.rng.integers(2**40))}


@drawn_for("dropout", exact=True)
def dropped(name: str, d: Draw) -> Iterator[Inputs]:
    for rate in (0.0, 0.3, 1.0):
        x = d.floats(*d.shape())
        axes = tuple(i for i in range(x.ndim) if rate and d.coin() and i)
        yield [x, np.array([3, 5], np.int64)], {"rate": rate, "seed": 9, "noise_axes": axes}


@drawn_for("optimizer_update")
def updated(name: str, d: Draw) -> Iterator[Inputs]:
    for kind, how in HOW.items():
        extra = d.pick([{}, {"clip": 0.4, "decay": 0.1}, {"ema": 0.9}])
        arrays = update_inputs(d.rng, kind, d.batch(20_003, 65), "ema" in extra)
        yield arrays, {"kind": kind, "how": how, **extra}


def noted(d: Draw, attrs: dict[str, Any], steps: int) -> np.ndarray:
    """Notes of so many steps, with room for three more."""
    notes = np.zeros((steps + 3, rows.NOTE))
    for i in range(steps):
        rate, step = np.float32(d.rng.uniform(0.01, 0.1)), np.float32(200 + i)
        notes = rows.note_update(notes, np.int32(i), rate, step, decay=0.1, **attrs)
    return notes


def lagging(d: Draw, attrs: dict[str, Any]) -> list[np.ndarray]:
    """w, slots, last, coefficients, notes, n: a table whose rows lag up to n steps behind."""
    kind, many, width, steps = attrs["kind"], d.batch(301), d.size(33), d.size(9)
    w, _, *slots = update_inputs(d.rng, kind, many * width, False)[:-3]
    if kind == "amsgrad":
        slots[2] = np.maximum(slots[1], slots[2])
    notes, n = noted(d, attrs, steps), np.asarray(steps, np.int32)
    made = rows.replay_coefficients(notes, n, **attrs)
    vectors = [v.reshape(many, width) for v in (w, *slots)]
    return [*vectors, d.whole((many,), steps + 1), made, notes, n]


@drawn_for("note_update", "replay_coefficients", "gather_replayed", "rows_update", "settle_rows")
def rows_of_tables(name: str, d: Draw) -> Iterator[Inputs]:
    for sample in {s.attrs["kind"]: s for s in rows.settle_rows.samples}.values():
        attrs = {key: sample.attrs[key] for key in ("kind", "how")}
        table = lagging(d, attrs)
        last, notes, n = table[-4], *table[-2:]
        scalars = [np.asarray(x, np.float32) for x in (0.05, 210, 0.75)]
        ids = d.whole((d.batch(2001, 33),), len(last))
        if name == "note_update":
            yield [notes, n, *scalars[:2]], {**attrs, "decay": 0.1}
        elif name == "replay_coefficients":
            yield [notes, n], attrs
        elif name == "settle_rows":
            yield table, attrs
        elif name == "gather_replayed":
            yield [*table, ids], attrs
        else:
            g = d.floats(ids.size, table[0].shape[1])
            how = {"replayed": True, **d.pick([{}, {"clip": 0.3, "decay": 0.1}])}
            yield [*table, g, R["sort_ids"](ids), *scalars], {**attrs, **how}
