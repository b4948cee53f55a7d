"""Calls of Keras 2's preprocessing.image on single pictures; random ones after numpy's seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

LAST = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
AFFINE = {
    "all": {"theta": 20, "tx": 1, "ty": -2, "shear": 5, "zx": 0.9, "zy": 1.2},
    "constant": {"theta": 20, "fill_mode": "constant", "cval": 3.0},
    "reflect": {"tx": 2, "fill_mode": "reflect"},
    "order 0": {"theta": 90, "order": 0},
}
RANDOM: dict[str, tuple[Any, ...]] = {
    "random_rotation": (30,), "random_shift": (0.2, 0.3), "random_shear": (10,),
    "random_zoom": ((0.8, 1.2),),
}  # fmt: skip


def pictures() -> dict[str, np.ndarray]:
    """Of bytes, and of numbers of both signs; channels first."""
    rng = np.random.default_rng(3)
    found = {"bytes": rng.integers(0, 255, (3, 8, 10)), "signed": rng.normal(size=(3, 8, 10))}
    return {name: x.astype(np.float32) for name, x in found.items()}


def calls(image: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Names and results of all calls."""
    for kind, first in pictures().items():
        x = np.moveaxis(first, 0, -1)
        yield f"{kind} first", image.apply_affine_transform(first, theta=20, tx=1, ty=-2)
        for name, given in AFFINE.items():
            yield f"{kind} {name}", image.apply_affine_transform(x, **given, **LAST)
        yield f"{kind} channels", image.apply_channel_shift(x, 0.7, 2)
        for scale in (True, False):
            yield f"{kind} brightness {scale}", image.apply_brightness_shift(x, 1.3, scale)
        for name, arguments in RANDOM.items():
            np.random.seed(7)
            yield f"{kind} {name}", getattr(image, name)(x, *arguments, **LAST)
        np.random.seed(7)
        yield f"{kind} random channels", image.random_channel_shift(x, 0.7, 2)
        np.random.seed(7)
        yield f"{kind} random brightness", image.random_brightness(x, (0.5, 1.5))
