"""Complex numbers, which live on arrays only: no Program has them.

In: arrays of floats or complex numbers. Out: the same kinds. Tensors of a model being traced are
refused by name; stft and istft keep real and imaginary parts as two tensors, which models can have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError, UnsupportedError
from zoo_keras.graph import Tensor
from zoo_keras.ops.convert import as_float, is_complex, value
from zoo_keras.ops.symbolic import public


def _on_arrays(name: str, x: Any) -> np.ndarray:
    found = value(x)
    if isinstance(found, Tensor):
        raise UnsupportedError(
            f"ops.{name}: complex numbers are made of arrays only. Received: {found}, a tensor of "
            "a model. Keep real and imaginary parts as two tensors."
        )
    return np.asarray(found)


@public
def view_as_complex(x: Any) -> Any:
    """Complex numbers of pairs (..., 2): complex64, or complex128 of float64.

    Source: keras.ops.view_as_complex.

    >>> view_as_complex(np.array([[1.0, 2.0]], "float32"))
    array([1.+2.j], dtype=complex64)
    """
    pairs = _on_arrays("view_as_complex", as_float(x))
    if pairs.shape[-1:] != (2,):
        raise ShapeError(
            "view_as_complex: Last dimension of input must be size 2 (real and imaginary). "
            f"Received: shape {pairs.shape}. Put them last."
        )
    return _joined(pairs[..., 0], pairs[..., 1])


@public
def view_as_real(x: Any) -> Any:
    """(..., 2): real and imaginary parts. Source: keras.ops.view_as_real."""
    numbers = _on_arrays("view_as_real", x)
    return np.stack([numbers.real, np.broadcast_to(numbers.imag, numbers.shape)], axis=-1)


@public
def polar(abs_: Any, angle: Any) -> Any:
    """Complex numbers of their absolute values and angles. Source: keras.ops.polar."""
    size, turn = (_on_arrays("polar", as_float(v)) for v in (abs_, angle))
    return _joined(size * np.cos(turn), size * np.sin(turn))


@public
def eig(x: Any) -> tuple[Any, Any]:
    """(eigenvalues (..., n), eigenvectors (..., n, n) in columns) of square matrices, complex.

    Their order and the vectors' signs are LAPACK's. Source: keras.ops.eig.
    """
    matrix = _on_arrays("eig", as_float(x))
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ShapeError(
            f"eig: the last two axes must be a square matrix. Received: shape {matrix.shape}. Pass "
            "square matrices."
        )
    values, vectors = np.linalg.eig(matrix)
    kind = matrix.dtype if is_complex(matrix) else _kind(matrix)
    return values.astype(kind), vectors.astype(kind)


def _joined(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    made: np.ndarray = (real + 1j * imaginary).astype(_kind(real))
    return made


def _kind(part: np.ndarray) -> str:
    return "complex128" if part.dtype == np.float64 else "complex64"


__all__ = ["eig", "polar", "view_as_complex", "view_as_real"]
