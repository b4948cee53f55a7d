"""Arrays for golden cases by kind, always the same for the same case name.

In: a kind ("real", "prob", "classes:3", ...; see cases/losses.py), a shape, a generator.
Out: float32 or int32 numpy arrays. It knows nothing of keras.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def array(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """One array of the kind; "ids:N" and "classes:N" are integers below N."""
    name, _, count = kind.partition(":")
    if name in ("ids", "classes"):
        return rng.integers(0, int(count), shape).astype(np.int32)
    return KINDS[name](shape, rng).astype(np.float32)


def _real_zero_row(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values = rng.normal(size=shape)
    values[0] = 0
    return values


def _dist(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values = rng.uniform(0.05, 1, shape)
    return values / values.sum(-1, keepdims=True)


def _onehot(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]


def _hard(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values = rng.uniform(0.05, 0.95, shape)
    return np.where(values < 0.3, 0.0, np.where(values > 0.7, 1.0, values))


def _unit(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values = rng.normal(size=shape)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def _labels(longest: int, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    ids = rng.integers(1, shape[-1], (shape[0], longest))
    lengths = rng.integers(1, longest + 1, (shape[0], 1))
    return np.where(np.arange(longest) < lengths, ids, 0).astype(np.int32)


KINDS = {
    "real": lambda shape, rng: rng.normal(size=shape),
    "real_zero_row": _real_zero_row,
    "positive": lambda shape, rng: rng.uniform(0.05, 2, shape),
    "prob": lambda shape, rng: rng.uniform(0.02, 0.98, shape),
    "dist": _dist,
    "logits": lambda shape, rng: rng.normal(size=shape) * 6,
    "binary": lambda shape, rng: rng.integers(0, 2, shape),
    "signed": lambda shape, rng: rng.integers(0, 2, shape) * 2 - 1,
    "onehot": _onehot,
    "hard": _hard,
    "unit": _unit,
}


def targets(kind: str, pred_shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Targets for predictions of this shape; integer kinds drop the last axis, "labels:N" all
    but the first."""
    if kind == "classes":
        return array(f"classes:{pred_shape[-1]}", pred_shape[:-1], rng)
    if kind == "classes_column":
        return array(f"classes:{pred_shape[-1]}", (*pred_shape[:-1], 1), rng)
    if kind.startswith("labels:"):
        return _labels(int(kind[7:]), pred_shape, rng)
    return array(kind, pred_shape, rng)
