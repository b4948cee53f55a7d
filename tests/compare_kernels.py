"""Compares two outputs of kernels_here.c: `python tests/compare_kernels.py ONE OTHER`.

Fused multiply-adds round once where others round twice, so results differ in their last bits; the
largest distance of each kernel, in units of the last place, must stay below its bound.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

import numpy as np

# Functions: twice the bound that vmath.h states. Sums: their terms cancel, so the distance counts
# in units of the largest result.
BOUNDS = {"exp": 3, "expm1": 5, "log": 3, "log1p": 4, "sin": 4, "cos": 4, "erf": 4, "tanh": 6}
BOUNDS |= {"sigmoid": 6, "softplus": 6, "power": 2, "silu": 8, "rsqrt": 3}
SUMS = {"softmax", "log_softmax", "cross_entropy", "layer_norm", "rms_norm", "matmul"}
SUMS |= {"matmul turned", "dense", "gelu"}
SUM_BOUND = 16


def read(path: str) -> dict[str, np.ndarray]:
    """The results of each kernel in the file."""
    lines = [line.rsplit(" ", 1) for line in Path(path).read_text().splitlines()]
    groups = groupby(lines, key=lambda words: words[0])
    return {name: np.array([float(w[1]) for w in words], np.float32) for name, words in groups}


def distance(name: str, a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance in units of the last place."""
    unit = np.spacing(np.maximum(np.abs(a), np.abs(b)))
    if name in SUMS:
        unit = np.max(unit)
    return float(np.max(np.abs(a.astype(np.float64) - b) / unit))


def main(one: str, other: str) -> None:
    """Prints each kernel's distance; ends with 1 when one is above its bound."""
    a, b = read(one), read(other)
    if not a or a.keys() != b.keys():
        sys.exit(f"The files hold different kernels: {sorted(a.keys() ^ b.keys())}.")
    far = []
    for name in a:
        bound = SUM_BOUND if name in SUMS else BOUNDS.get(name, 0)
        found = distance(name, a[name], b[name])
        print(f"{name:16}{found:8.2f} of {bound}")
        far += [name] if not found <= bound else []
    if far:
        sys.exit(f"Further apart than their bounds: {', '.join(far)}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
