"""Golden layers of cases/more_layers.py, made like those of cases/layers.py."""

from __future__ import annotations

from .cases import more_layers as table
from .make_layers import golden
from .store import Writer


def make() -> None:
    writer = Writer("more_layers")
    for case in table.CASES:
        writer.add(case.name, *golden(case))
    writer.write()
