"""Golden results of cases/programs.py by real Keras."""

from __future__ import annotations

import keras
import numpy as np

from .arrays import generator
from .asked import Asked
from .cases.more_programs import PROGRAMS
from .store import Writer


def make() -> None:
    writer = Writer("programs")
    for name, function in PROGRAMS.items():
        asked = Asked(keras)
        found = function(asked, generator(name))
        names = {"names": sorted(asked.names)}
        writer.add(name, names, {f"output{i}": np.asarray(v) for i, v in enumerate(found)})
    writer.write()
