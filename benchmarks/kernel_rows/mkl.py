"""MKL as a peer: matrix products (cblas_sgemm, cblas_sgemv) and vector functions (VML).

In: the path of libmkl_rt, arrays. Out: calls on MKL's own threads. VML runs in its mode LA (at most
4 units in the last place off), the nearest to our polynomials. The library is our own handle: the
engine's kernels, which these are compared with, never use it here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from kernel_rows.row import Make

LP64, INTEL_THREADS, LOW_ACCURACY = 0, 0, 1
ROW_MAJOR, AS_IS, TURNED = 101, 111, 112

_library: Any = None


def load(path: str | None) -> str:
    """Load MKL; what there is to say about it, for the table's head."""
    global _library
    if path is None:
        return "MKL: not installed for this interpreter, no column (pip install mkl, or --mkl PATH)"
    os.environ.setdefault("KMP_BLOCKTIME", "1")  # its threads spin no longer than 1 ms afterwards
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        return f"MKL: {error}; no column"
    library.MKL_Set_Interface_Layer(LP64)
    library.MKL_Set_Threading_Layer(INTEL_THREADS)
    library.vmlSetMode(ctypes.c_uint(LOW_ACCURACY))
    text = ctypes.create_string_buffer(200)
    library.MKL_Get_Version_String(text, 200)
    _library = library
    return f"MKL: {text.value.decode().strip()}"


def loaded() -> bool:
    """Whether there is a column."""
    return _library is not None


def _peer(name: str, prepare: Callable[[], tuple[list[Any], Any]]) -> dict[str, Make]:
    """The column "MKL": function `name` on prepared arguments. Empty when MKL is not loaded."""
    if _library is None:
        return {}

    def make(threads: int) -> Callable[[], object]:
        _library.MKL_Set_Num_Threads(threads)
        function = getattr(_library, name)
        arguments, kept = prepare()
        return lambda arrays=kept: function(*arguments)

    return {"MKL": make}


def _at(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def sgemm(a: np.ndarray, b: np.ndarray, turn_a: bool = False, turn_b: bool = False) -> Any:
    """a @ b of matrices, either of them turned."""

    def prepare() -> tuple[list[Any], Any]:
        m, k = a.shape[::-1] if turn_a else a.shape
        n = b.shape[0] if turn_b else b.shape[1]
        c = np.zeros((m, n), "f4")
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        turns = [TURNED if t else AS_IS for t in (turn_a, turn_b)]
        return [ROW_MAJOR, *turns, m, n, k, one, _at(a), a.shape[1], _at(b), b.shape[1], zero,
                _at(c), n], (a, b, c)  # fmt: skip

    return _peer("cblas_sgemm", prepare)


def sgemv(a: np.ndarray, x: np.ndarray, turned: bool = False) -> Any:
    """a @ x of a matrix, turned or not, and a vector."""

    def prepare() -> tuple[list[Any], Any]:
        y = np.zeros(a.shape[1 if turned else 0], "f4")
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        turn = TURNED if turned else AS_IS
        return [ROW_MAJOR, turn, *a.shape, one, _at(a), a.shape[1], _at(x), 1, zero, _at(y),
                1], (a, x, y)  # fmt: skip

    return _peer("cblas_sgemv", prepare)


def vml(name: str, *arrays: np.ndarray) -> Any:
    """A vector function of arrays of one shape, such as vsExp(x) or vsAdd(a, b)."""

    def prepare() -> tuple[list[Any], Any]:
        y = np.zeros(arrays[0].shape, "f4")
        return [y.size, *map(_at, arrays), _at(y)], (arrays, y)

    return _peer(name, prepare)


def saxpy(n: int) -> Any:
    """y = y - 0.01 * x over n numbers, in place."""

    def prepare() -> tuple[list[Any], Any]:
        x, y = np.ones(n, "f4"), np.ones(n, "f4")
        return [n, ctypes.c_float(-0.01), _at(x), 1, _at(y), 1], (x, y)

    return _peer("cblas_saxpy", prepare)
