"""Golden logs of evaluate for masked sequences with sample weights."""

from __future__ import annotations

import keras

from .cases import masked as table
from .store import Writer


def make() -> None:
    writer, given = Writer("masked"), table.arrays()
    for case in table.CASES:
        writer.add(" ".join(case), {}, table.logs(keras, case, given))
    writer.write()
