"""Golden dtypes of cases/promotion.py by real Keras."""

from __future__ import annotations

import json

import keras

from .cases.promotion import calls, dtype_of
from .store import DATA


def make() -> None:
    found = {name: dtype_of(keras, call) for name, call in calls(keras)}
    table: dict[str, list[str]] = {}
    for name, dtype in found.items():
        if dtype is not None:
            table.setdefault(dtype, []).append(name)
    (DATA / "promotion.json").write_text(json.dumps(table, indent=0))
