"""Transforms of ImageDataGenerator: the fill mode, and the parameters of apply_transform.

The table must not import keras or zoo_keras.
"""

from __future__ import annotations

from typing import Any

_TURNS: list[dict[str, Any]] = [
    {"theta": 90}, {"theta": 20, "tx": 1.5, "ty": -0.7}, {"shear": 15}, {"zx": 0.7, "zy": 1.3},
    {"theta": -33, "shear": 10, "zx": 1.2, "zy": 0.8, "tx": 1}, {"brightness": 0.6},
    {"channel_shift_intensity": 40.0}, {"flip_horizontal": True, "flip_vertical": True},
]  # fmt: skip
CASES = [(mode, turn) for mode in ("nearest", "reflect", "constant") for turn in _TURNS]
