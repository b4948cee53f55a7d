"""Golden results of cases/programs.py by real Keras."""

from __future__ import annotations

import keras
import numpy as np

from .arrays import generator
from .cases.programs import PROGRAMS
from .store import Writer


def make() -> None:
    writer = Writer("programs")
    for name, function in PROGRAMS.items():
        found = function(keras, generator(name))
        writer.add(name, {}, {f"output{i}": np.asarray(v) for i, v in enumerate(found)})
    writer.write()
