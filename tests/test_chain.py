"""Chains of elementwise ops: how they are built, how they are encoded, and what C makes of them.

Everything C computes is compared with the chain's numpy reference, which interprets the rows by the
ops' own references.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from kernel_check import SETS, instruction_set, run_kernel

import zoo_keras.engine.program  # noqa: F401  # gives the tile functions their numbers
from zoo_keras import native
from zoo_keras.errors import ProgramError
from zoo_keras.graph import Node, Tensor, constant, input_tensor, topological
from zoo_keras.primitives.chain import broadcast_pattern, chain_of, chainable, single
from zoo_keras.primitives.op import registry

R = registry


def traced(arrays: Sequence[np.ndarray], build: Callable[..., object]) -> tuple[Node, list]:
    """The chain node of what `build` computes from the arrays, and its input arrays in order."""
    tensors = [input_tensor(str(i), a.shape, a.dtype.name) for i, a in enumerate(arrays)]
    outputs = build(*tensors)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    nodes = [n for n in topological([t.node for t in outputs]) if n.inputs]
    node = chain_of(nodes, outputs)[0].node
    of = {id(t): a for t, a in zip(tensors, arrays)}
    return node, [of[id(t)] for t in node.inputs]


def check(
    arrays: Sequence[np.ndarray], build: Callable[..., object], tolerance: float = 3e-6
) -> Node:
    """C equals the reference in every instruction set; threads change no bit."""
    node, ins = traced(arrays, build)
    wanted = node.op.compute(ins, node.attrs, node.specs)
    for name in SETS:
        with instruction_set(name):
            one, *others = (run_kernel(node.op, ins, node.attrs, t) for t in (1, 2, 3))
        for got, want in zip(one, wanted, strict=True):
            np.testing.assert_allclose(got, want, tolerance, tolerance, err_msg=name)
            assert got.dtype == want.dtype
        for other in others:
            assert [a.tobytes() for a in one] == [a.tobytes() for a in other]
    return node


def rows_of(node: Node) -> list[str]:
    """The tile functions of the encoded chain, in order."""
    numbers = node.op.attrs_to_c(node.attrs, [t.spec for t in node.inputs], node.specs)
    literals, _, rows = map(int, numbers[:3])
    names = {n: name for name, n in native.TILES.items()}
    at = 3 + 2 * len(node.inputs) + literals
    return [names[int(numbers[at + 5 * i])] for i in range(rows)]


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-3, 3, shape).astype(np.float32)


PATTERNS = [
    ((4, 5), (4, 5), (1, 20)), ((), (4, 5), (1, 1)), ((1,), (4, 5), (1, 1)),
    ((5,), (4, 5), (1, 5)), ((4, 1), (4, 5), (5, 4)), ((1, 3, 1), (2, 3, 4), (4, 3)),
    ((2, 1, 1), (2, 3, 4), (12, 2)), ((3, 4), (2, 3, 4), (1, 12)), ((2, 3, 1), (2, 3, 4), (4, 6)),
    ((2, 1, 4), (2, 3, 4), None), ((4, 1), (4, 1), (1, 4)), ((1, 1), (1, 1), (1, 1)),
    ((2, 1, 1), (2, 1, 4), (4, 2)), ((1, 4), (1, 4), (1, 4)),
]  # fmt: skip


@pytest.mark.parametrize("operand, shape, pattern", PATTERNS)
def test_broadcast_pattern_says_which_element_is_read(operand, shape, pattern):
    assert broadcast_pattern(operand, shape) == pattern
    if pattern:
        x = np.arange(np.prod(operand)).reshape(operand)
        i = np.arange(np.prod(shape))
        read = x.ravel()[i // pattern[0] % pattern[1]]
        np.testing.assert_array_equal(read, np.broadcast_to(x, shape).ravel())


SHAPES = [
    ((3, 5), (5,)), ((3, 5), (3, 1)), ((3, 5), ()), ((2000, 10), (10,)), ((2000, 10), (2000, 1)),
    ((7, 1500), (1500,)), ((7, 1500), (7, 1)), ((5, 33, 9), (33, 1)), ((5, 33, 9), (1, 33, 9)),
    ((40000,), (40000,)), ((3, 2049), (2049,)), ((1,), (1,)), ((6, 512, 4), (6, 1, 1)),
    ((2, 3, 700), (2, 3, 1)), ((0, 5), (5,)), ((64, 1024), (1024,)),
]  # fmt: skip


@pytest.mark.parametrize("full, other", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "uint8"])
def test_every_broadcast_and_dtype_is_read_right(full, other, dtype):
    y = (np.abs(floats(*other)) * 50).astype(dtype) if dtype != "bool" else floats(*other) > 0
    check([floats(*full), y], lambda a, b: R["add"](a, R["cast"](b, dtype="float32")))
    check([y, floats(*full)], lambda b, a: (R["multiply"](a, a), R["cast"](b, dtype="float32"))
          if b.shape == a.shape else R["subtract"](R["cast"](b, dtype="float32"), a))  # fmt: skip


def test_an_unusual_broadcast_is_spread_first():
    a, b = input_tensor("a", (2, 3, 4)), input_tensor("b", (2, 1, 4))
    node = single(R["add"], a, b).node
    assert [t.node.op.name for t in node.inputs] == ["input", "broadcast_to"]
    assert node.inputs[1].shape == (2, 3, 4)


def test_several_outputs_of_several_dtypes():
    def build(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        total = R["add"](a, b)
        above = R["greater"](total, 0.5)
        return total, above, R["cast"](total, dtype="int32"), R["where"](above, a, R["exp"](b))

    check([floats(300, 17), floats(17, seed=1)], build)


def test_outputs_may_be_read_again_and_repeated():
    def build(a: Tensor) -> tuple[Tensor, ...]:
        s = R["square"](a)
        same = R["stop_gradient"](s)
        return s, R["sqrt"](s), same, R["cast"](a, dtype="float32")

    check([floats(1000)], build)


def test_int32_arithmetic_is_exact():
    x = np.array([2**30, -(2**30), 2**24 + 1, 7, -7, 0, -(2**31)], np.int32)
    y = np.array([1, 3, 2**24, 2, 2, 0, -1], np.int32)
    for name in ("add", "subtract", "multiply", "floor_divide", "mod", "maximum", "less", "equal"):
        node, ins = traced([x, y], R[name])
        with np.errstate(all="ignore"):
            want = R[name].reference(x, y)
        np.testing.assert_array_equal(run_kernel(node.op, ins, node.attrs)[0], want, name)


def test_constants_of_one_element_become_numbers():
    x = input_tensor("x", (3, 4))
    y = R["add"](R["multiply"](x, 2.0), constant(np.full((1, 1), 3, np.float32)))
    nodes = [y.node.inputs[0].node, y.node]
    node = chain_of(nodes, [y])[0].node
    assert node.inputs == (x,)
    a = floats(3, 4)
    np.testing.assert_allclose(run_kernel(node.op, [a], node.attrs)[0], a * 2 + 3, 1e-6)


def test_pairs_of_tiles_become_one_tile_unless_the_middle_is_read():
    a, b = floats(9), floats(9, seed=1)
    fused = check([a, b], lambda x, y: R["relu"](R["add"](x, y)))
    assert rows_of(fused) == ["add_relu"]
    assert rows_of(check([a, b], lambda x, y: R["add"](R["multiply"](x, y), y))) == ["multiply_add"]

    def kept(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        total = R["add"](x, y)
        return total, R["relu"](total)

    assert rows_of(check([a, b], kept)) == ["add", "relu"]


@pytest.mark.parametrize(
    "exponent, tiles",
    [(2.0, ["square"]), (0.5, ["sqrt"]), (3.0, ["square", "multiply"]), (2.5, ["power"])],
)
def test_common_powers_have_tiles_of_their_own(exponent, tiles):
    node = check([np.abs(floats(40)) + 0.1], lambda x: R["power"](x, exponent))
    assert rows_of(node) == tiles


def test_long_chains_need_few_registers():
    def build(x: Tensor) -> Tensor:
        for i in range(39):
            x = R["sin" if i % 2 else "tanh"](x)
        return x

    node = check([floats(5000)], build)
    assert node.op.attrs_to_c(node.attrs, [t.spec for t in node.inputs], node.specs)[1] <= 1


def test_a_chain_too_long_for_c_is_refused():
    node, _ = traced([floats(3)], lambda x: many(x, 250))
    with pytest.raises(ProgramError, match="Gather fewer nodes"):
        node.op.attrs_to_c(node.attrs, [t.spec for t in node.inputs], node.specs)


def many(x: Tensor, count: int) -> Tensor:
    for _ in range(count):
        x = R["tanh"](x)
    return x


def test_only_what_c_has_is_chainable():
    x, i = input_tensor("x", (3,)), input_tensor("i", (3,), "int32")
    wide = input_tensor("w", (3,), "float64")
    yes = [R["exp"](x), R["exp"](i), R["add"](i, i), R["cast"](x, dtype="uint8"), R["less"](i, i)]
    no = [R["bessel_i0"](x), R["power"](i, i), R["exp"](wide), R["cast"](x, dtype="int64"),
          R["reduce_sum"](x, axes=(0,), keepdims=False)]  # fmt: skip
    assert all(chainable(t.node) for t in yes)
    assert not any(chainable(t.node) for t in no)


def in_place(node: Node, ins: Sequence[np.ndarray], where: dict[int, int]) -> list[np.ndarray]:
    """Run a chain whose outputs take the memory of inputs: {output: input}."""
    outs = [ins[where[i]] if i in where else np.empty(s.shape, s.dtype)
            for i, s in enumerate(node.specs)]  # fmt: skip
    arrays = [*outs, *ins]
    args = np.zeros(len(arrays), native.ARG)
    specs = [*node.specs, *(t.spec for t in node.inputs)]
    for i, (a, s) in enumerate(zip(arrays, specs)):
        native.fill_arg(args[i], i + 1, 0, a.shape, s.dtype)
    numbers = np.array(node.op.attrs_to_c(node.attrs, specs[len(outs) :], node.specs))
    row = (native.KERNELS["chain"], len(outs), len(ins), 0, 0, len(numbers), 0)
    instrs = np.array([row], native.INSTR)
    arena = native.aligned(native.scratch_bytes(instrs, args, numbers, 2))
    sizes = [arena.nbytes, *(a.nbytes for a in arrays)]
    table = native.pointer_table(len(arrays) + 1)
    for i, a in enumerate([arena, *arrays]):
        table[i] = native.pointer(a)
    native.Executable(instrs, args, numbers, sizes, 2).run(table, lambda i: None, str)
    return outs


@pytest.mark.parametrize("where", [{0: 0}, {0: 1}, {0: 0, 1: 1}, {1: 0}, {0: 1, 1: 0}])
def test_outputs_may_take_the_memory_of_inputs(where):
    def build(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        total = R["add"](a, b)
        return total, R["multiply"](R["subtract"](a, total), b)

    arrays = [floats(70, 101), floats(70, 101, seed=1)]
    node, ins = traced(arrays, build)
    wanted = node.op.compute(ins, node.attrs, node.specs)
    for got, want in zip(in_place(node, [a.copy() for a in ins], where), wanted, strict=True):
        np.testing.assert_allclose(got, want, 1e-6, 1e-6)


UNARY = ["tanh", "relu", "abs", "negative", "sigmoid", "softplus"]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum", "tanh_grad"]


def random_value(rng: np.random.Generator, values: Sequence[Tensor]) -> Tensor:
    """A random continuous elementwise op on two of the values; the third is a condition."""
    a, b = (R["cast"](values[rng.integers(len(values))], dtype="float32") for _ in range(2))
    kind = rng.integers(5)
    if kind < 2:
        return R[rng.choice(UNARY)](a)
    if kind < 4:
        return R[rng.choice(BINARY)](a, b)
    return R["where"](values[2], a, R["multiply"](b, 0.25))


@pytest.mark.parametrize("seed", range(40))
def test_random_chains_compute_the_reference(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(d) for d in rng.choice([1, 2, 7, 16, 60], size=3))
    arrays = [floats(*shape, seed=seed), (floats(*shape[-1:]) * 9).astype(np.int32),
              floats(*shape[:1], 1, 1) > 0, floats(seed=seed)]  # fmt: skip

    def build(*tensors: Tensor) -> tuple[Tensor, ...]:
        values = [R["multiply"](tensors[0], 0.5), *tensors[1:]]
        for _ in range(rng.integers(2, 16)):
            values.append(random_value(rng, values))
        full = [t for t in values[4:] if t.shape == shape and rng.uniform() < 0.3]
        total = values[0]
        for t in values[4:]:
            total = R["add"](total, R["tanh"](t))
        return tuple(dict.fromkeys([*full, total]))

    check(arrays, build, 1e-4)
