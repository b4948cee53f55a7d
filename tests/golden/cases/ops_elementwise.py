"""Calls of elementwise ops: of one number, of two, of bits, and of casts. See ops_table.py."""

from __future__ import annotations

import numpy as np

from .ops_table import Table, bools, spread, whole

T = Table()
f32, nan, inf = np.float32, np.nan, np.inf

REAL = spread((3, 4), -3, 3)
POSITIVE = spread((3, 4), 0.1, 4)
UNIT = spread((3, 4), -0.95, 0.95)
INTS = whole((3, 4), -4, 5)
NATURAL = whole((3, 4), 1, 9)
BOOLS = bools((3, 4))
EDGES = f32(
    [-inf, -1e30, -1e4, -90, -2.5, -1, -0.5, -0.0, 0.0, 0.5, 1, 1.5, 90, 1e4, 1e30, inf, nan]
)
SCALAR, EMPTY = np.array(f32(0.7)), np.zeros((0, 3), "float32")

# Of one number. Those that are defined everywhere also get what is at the edges.
EVERYWHERE = (
    "abs absolute arctan arcsinh cbrt ceil cos cosh deg2rad erf erfc exp exp2 expm1 fabs floor "
    "negative rad2deg round sign sin sinc sinh square tanh trunc real conj conjugate nan_to_num"
)
SOMEWHERE = "i0 tan"  # one has no value and one is chaotic at the edges
FROM_ZERO = "sqrt log log10 log1p log2 rsqrt reciprocal arccosh"
INSIDE = "arccos arcsin arctanh erfinv"
NEURAL = (
    "celu elu gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid "
    "relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus sparse_sigmoid "
    "squareplus swish tanh_shrink"
)
TESTS = "isfinite isinf isnan isneginf isposinf isreal signbit logical_not"

for names, values in (
    (f"{EVERYWHERE} {SOMEWHERE} {NEURAL} {TESTS} angle imag", REAL),
    (FROM_ZERO, POSITIVE + f32(0.95)),
    (INSIDE, UNIT),
):
    T.each(names, values)
    T.each(names, values.astype("float64"))
    T.each(names, values.astype("float16"), grad=False)
    T.each(names, np.array(values.ravel()[0]))
    T.each(names, values[:0])
for names, values in (
    (f"{EVERYWHERE} {SOMEWHERE} {NEURAL} {TESTS} angle imag", INTS),
    (FROM_ZERO, NATURAL),
    (INSIDE, np.int32([0, 1])),
):
    T.each(names, values)
    T.each(names, abs(values).astype("uint8"))
    T.each(names, BOOLS)
T.each(f"{EVERYWHERE} {NEURAL} {TESTS} {FROM_ZERO} {INSIDE}", EDGES, grad=False)

T.add("celu", REAL, alpha=0.4)
T.add("elu", REAL, alpha=0.4)
T.add("gelu", REAL, approximate=False)
T.add("gelu", REAL, False)
T.add("hard_shrink", REAL, threshold=1.2)
T.add("soft_shrink", REAL, threshold=1.2)
T.add("leaky_relu", REAL, negative_slope=0.01)
T.add("squareplus", REAL, b=0.5)
T.add("threshold", REAL, 0.5, 7.0)
T.add("threshold", REAL, threshold=-0.5, default_value=-1)
T.add("threshold", INTS, 1, 3)
T.add("round", REAL, decimals=2)
T.add("round", REAL * 100, decimals=-1)
T.add("round", INTS * 37, decimals=-1)
T.add("round", INTS, decimals=2)
T.add("round", f32([0.5, 1.5, 2.5, -0.5, -1.5]), grad=False)
T.add("nan_to_num", EDGES, nan=2.0, posinf=3.0, neginf=-4.0, grad=False)
T.add("nan_to_num", EDGES, 1.0, grad=False)
T.add("nan_to_num", f32([nan, 1, inf, -2]), posinf=5.0)
for x in (REAL, INTS, EDGES, SCALAR, BOOLS, EMPTY, REAL.astype("float16"), POSITIVE):
    T.add("clip", x, -1, 2, grad=x is REAL)
T.add("clip", REAL, -0.5, 0.5)
T.add("clip", INTS, -1.5, 1.5)
T.add("clip", REAL, spread((4,), -2, 0, 1), spread((3, 1), 0, 2, 2), grad=False)
T.add("clip", REAL, x_min=-0.25, x_max=np.array(f32(1)), grad=False)

# Of two numbers, which broadcast.
OTHER = spread((3, 4), -3, 3, seed=5)
ROW, COLUMN = spread((4,), 0.3, 2, seed=6), spread((3, 1), 0.3, 2, seed=7)
ARITHMETIC = "add subtract multiply divide true_divide maximum minimum fmax fmin"
ANGLES = "arctan2 hypot logaddexp logaddexp2"
DIVISION = "floor_divide mod fmod"
COMPARE = "equal not_equal less less_equal greater greater_equal"
LOGIC = "logical_and logical_or logical_xor"
NUMBERS = f"{ARITHMETIC} {ANGLES} {DIVISION} {COMPARE} {LOGIC} divide_no_nan heaviside nextafter"
T.each(NUMBERS, REAL, OTHER)
T.each(NUMBERS, REAL, ROW)
T.each(NUMBERS, COLUMN, REAL)
T.each(NUMBERS, REAL, SCALAR)
T.each(NUMBERS, REAL.astype("float64"), OTHER.astype("float64"))
T.each(NUMBERS, REAL.astype("float16"), OTHER.astype("float16"), grad=False)
T.each(f"{ARITHMETIC} {ANGLES} {DIVISION} {COMPARE} {LOGIC} divide_no_nan", REAL, 2)
T.each(f"{ARITHMETIC} {ANGLES} {COMPARE} {LOGIC} divide_no_nan", -1.5, REAL)
T.each(f"{NUMBERS}", EMPTY, ROW[:3])
T.each(NUMBERS, INTS, NATURAL)
T.each(NUMBERS, INTS, ROW)
T.each(f"{ARITHMETIC} {ANGLES} {COMPARE} {LOGIC} {DIVISION}", INTS, 3)
T.each(f"{ARITHMETIC} {ANGLES} {COMPARE} {LOGIC}", INTS, 2.5)
T.each(f"{ARITHMETIC} {ANGLES} {COMPARE} {LOGIC}", NATURAL.astype("uint8"), INTS.astype("int8"))
T.each(f"add multiply divide maximum minimum {COMPARE} {LOGIC}", BOOLS, bools((3, 4), 3))
T.each(f"add subtract multiply divide maximum {COMPARE}", INTS, BOOLS)
FIRST = np.repeat(EDGES, len(EDGES))
SECOND = np.tile(EDGES, len(EDGES))
T.each(f"{ARITHMETIC} {ANGLES} {COMPARE} {LOGIC} divide_no_nan heaviside isclose",
       FIRST, SECOND, grad=False)  # fmt: skip
SIGNED = f32([-7.5, -4, -0.5, 0.5, 4, 7.5])
T.each(DIVISION, np.repeat(SIGNED, 4), np.tile(f32([-2, -1.5, 1.5, 2]), 6), grad=False)
T.each(
    DIVISION, np.repeat(np.arange(-5, 6, dtype="int32"), 4), np.tile(np.int32([-3, -2, 2, 3]), 11)
)
T.each(DIVISION, f32([1, -1, 0, inf, -inf, nan]), f32([0, 0, 0, 2, 2, 2]), grad=False)

T.each("power", POSITIVE, OTHER)
T.each("power", POSITIVE, ROW)
T.each("power", REAL, 2)
T.each("power", REAL, 3.0)
T.each("power", 2, REAL)
T.each("power", POSITIVE, -0.5)
T.each("power", INTS, 2)
T.each("power", INTS, NATURAL // 3)
T.each("power", INTS, 0.5 * 4)
T.each("power", FIRST, SECOND, grad=False)
T.each("power", EMPTY, 2)
T.add("divide_no_nan", REAL, f32([0, 1, 0, 2]))
T.add("divide_no_nan", INTS, np.int32([0, 1, 0, 2]))
T.add("heaviside", f32([-2, -0.0, 0.0, 3, nan]), np.array(f32(0.25)), grad=False)
T.add("heaviside", INTS, 0.5)
T.add("nextafter", f32([0, 1, -1, 1e30, inf]), f32([1, 0, 0, inf, 0]), grad=False)
for exponents in (INTS, np.array(np.int32(3)), NATURAL.astype("int8")):
    T.add("ldexp", REAL, exponents)
T.add("ldexp", f32([1, inf, nan, 0]), np.int32([-130, 2, 2, 5]), grad=False)
for dtype in ("int32", "int64", "uint8", "int16"):
    left = whole((3, 4), 0 if dtype == "uint8" else -20, 40, dtype)
    T.each("gcd lcm", left, whole((3, 4), 0, 30, dtype, 4))
    T.each("gcd lcm", left, whole((4,), 1, 30, dtype, 4))
    T.each("bitwise_and bitwise_or bitwise_xor", left, whole((3, 4), 0, 30, dtype, 4))
    T.each("bitwise_and bitwise_or bitwise_xor", left, 5)
    T.each("bitwise_invert bitwise_not", left)
    for shifts in (whole((3, 4), 0, 6, dtype, 4), whole((4,), 0, 6, dtype, 4)):
        T.each("bitwise_left_shift bitwise_right_shift left_shift right_shift", left, shifts)
T.each("gcd lcm", np.int32([0, 0, 7, -7]), np.int32([0, 4, 0, 0]))
T.each("bitwise_and bitwise_or bitwise_xor", BOOLS, bools((3, 4), 3))
T.each("bitwise_invert bitwise_not", BOOLS)
T.each("bitwise_and bitwise_or bitwise_xor", INTS, NATURAL.astype("int8"))

NEAR = f32([1, 1.000001, 1.1, inf, nan, -inf, 0, 1e-9])
CLOSE = f32([1, 1, 1, inf, nan, inf, 1e-9, 0])
for kwargs in ({}, {"equal_nan": True}, {"rtol": 0.2}, {"atol": 0.0, "rtol": 0.0}, {"atol": 1e-7}):
    T.add("isclose", NEAR, CLOSE, grad=False, **kwargs)
    T.add("allclose", NEAR, CLOSE, grad=False, **kwargs)
    T.add("allclose", NEAR[:2], CLOSE[:2], grad=False, **kwargs)
T.each("isclose allclose", INTS, INTS)
T.each("isclose allclose", INTS, 2)
T.each("isclose allclose", REAL, ROW, grad=False)
T.add("allclose", EMPTY, EMPTY, grad=False)

# Casts, copies, and complex numbers.
LONG = f32([-1e10, -300, -129, -1.5, -0.5, 0, 0.5, 1.5, 130, 300, 70000, 1e10])
for dtype in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
              "uint32", "bool"):  # fmt: skip
    T.add("cast", REAL * 20 if dtype[0] != "u" else POSITIVE * 20, dtype)
    T.add("cast", INTS if dtype[0] != "u" else NATURAL, dtype)
    T.add("cast", BOOLS, dtype)
    T.add("saturate_cast", REAL * 20, dtype, grad=False)
    T.add("saturate_cast", INTS * 100, dtype)
    if dtype not in ("int32", "int64", "uint32"):
        T.add("saturate_cast", LONG, dtype, grad=False)
T.each("copy stop_gradient", REAL)
T.each("copy stop_gradient", INTS)
T.each(
    "real imag conj conjugate angle view_as_real isreal abs absolute",
    (REAL + 1j * OTHER).astype("complex64"),
)
T.add("isreal", np.complex64([1, 1j, 0]))
T.add("view_as_complex", spread((3, 2)), grad=False)
T.add("view_as_complex", spread((2, 3, 2), seed=2).astype("float64"), grad=False)
T.add("polar", POSITIVE, OTHER, grad=False)
T.add("polar", POSITIVE, ROW, grad=False)
T.add("view", REAL, "int32", grad=False)
T.add("view", REAL, dtype="uint8", grad=False)
T.add("view", INTS, "float32", grad=False)
T.add("view", whole((3, 4), 0, 250, "uint8"), "uint16")
T.add("view", INTS)

# Gradients at kinks and between equals
KINKS = f32([-3, -1, -0.5, 0, 0.5, 1, 3, 6])
T.each(
    "abs relu relu6 hard_sigmoid hard_silu hard_tanh hard_shrink soft_shrink leaky_relu elu "
    "sign floor round trunc square sparse_plus sparse_sigmoid",
    KINKS,
)
T.add("clip", KINKS, -1, 3)
T.each("maximum minimum fmax fmin", KINKS, KINKS * f32(1))
T.each("maximum minimum", KINKS, 0.5)
T.each("power", KINKS, 2.0)
T.each("power", f32([0, 0, 2, 2]), f32([1, 2, 0, 3]))
T.each("divide_no_nan", KINKS, KINKS)
T.each("mod fmod floor_divide", KINKS, f32([2, 2, 2, 2, -2, -2, 2, 4]))
T.add("where", KINKS, call=lambda ops, x: ops.where(x > 0, x, ops.exp(x)))
