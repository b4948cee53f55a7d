"""Runs an op's C kernel by itself and compares it with the op's numpy reference, in every
instruction set that this machine has and with one, two and three threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.errors import ProgramError
from zoo_keras.graph import Spec
from zoo_keras.ops.op import Op


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """The instruction set inside the block; the one in use before comes back."""
    before = native.instruction_set()
    native.set_instruction_set(name)
    try:
        yield
    finally:
        native.set_instruction_set(before)


def instruction_sets() -> list[str]:
    """The built instruction sets that this CPU has."""
    found = []
    for name in ("base", "avx2", "avx512"):
        try:
            with instruction_set(name):
                found.append(name)
        except ProgramError:
            continue
    return found


SETS = instruction_sets()


def run_kernel(
    op: Op, arrays: Sequence[np.ndarray], attrs: dict[str, Any], threads: int = 2
) -> list[np.ndarray]:
    """What the op's kernel makes of the arrays."""
    ins = [Spec(a.shape, a.dtype.name) for a in arrays]
    assert op.fits(*ins), f"{op.name} would not use its kernel for {ins}"
    outs = op.infer(*ins, **attrs)
    numbers = [float(n) for n in op.attrs_to_c(attrs, ins, outs)]
    assert op.kernel
    return native.call_kernel(op.kernel, outs, arrays, numbers, threads)


def check_kernel(
    op: Op,
    arrays: Sequence[np.ndarray],
    attrs: dict[str, Any] | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
) -> None:
    """The kernel equals the reference (float64 with a tolerance); threads change no bit."""
    attrs = attrs or {}
    exact = not (rtol or atol)
    wide = arrays if exact else [a.astype("f8") if a.dtype == np.float32 else a for a in arrays]
    expected = op(*wide, **attrs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for name in SETS:
        with instruction_set(name):
            one, *others = (run_kernel(op, arrays, attrs, threads) for threads in (1, 2, 3))
        for got, want in zip(one, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol, atol, err_msg=f"{op.name} {name} {attrs}")
        for other in others:
            for a, b in zip(one, other, strict=True):
                assert a.tobytes() == b.tobytes(), f"{op.name}, {name}: threads change the result"


def check_samples(ops: Sequence[Op], rtol: float = 0.0, atol: float = 0.0) -> None:
    """check_kernel on all samples of the ops."""
    for op in ops:
        for sample in op.samples:
            check_kernel(op, sample.inputs(np.random.default_rng(1)), sample.attrs, rtol, atol)
