"""Golden events of cases/logs.py by real Keras; numbers that JSON lacks are kept as words."""

from __future__ import annotations

import keras

from .asked import Asked
from .cases.logs import CASES
from .store import Writer


def make() -> None:
    writer = Writer("logs")
    for name, function in CASES.items():
        asked = Asked(keras)
        events = [
            [hook, number, {k: v if v == v else "nan" for k, v in logs.items()}]
            for hook, number, logs in function(asked)
        ]
        writer.add(name, {"names": sorted(asked.names), "events": events}, {})
    writer.write()
