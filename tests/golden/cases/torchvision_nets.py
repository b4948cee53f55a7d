"""Nets of torchvision, and the weights that makers and tests give them: the same by name."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np


class Net(NamedTuple):
    rows: int  # and columns of the image
    seed: int = 0


NETS = {
    "resnet18": Net(40), "resnet50": Net(40), "mobilenet_v2": Net(48), "densenet121": Net(40),
    "vgg11": Net(64), "vgg16": Net(64),
}  # fmt: skip
CLASSES = 5


def image(name: str) -> np.ndarray:
    """(2, rows, columns, 3)"""
    rows = NETS[name].rows
    return np.random.default_rng(7).normal(size=(2, rows, rows, 3)).astype(np.float32)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that keep a signal's size: kernels by what they sum over, others near 1 or 0."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = np.resize(rng.normal(size=4099), shape).astype(np.float32)
    if len(shape) > 1:
        return values * np.float32((2 / np.prod(shape[1:])) ** 0.5)
    if name.endswith(("running_var", "norm.weight")) or "weight" in name:
        return np.abs(values) * 0.2 + 0.6
    return values * 0.1
