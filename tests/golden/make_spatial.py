"""Golden layers of cases/spatial.py, made like those of make_layers, and files of their models."""

from __future__ import annotations

from . import make_files
from .cases import spatial
from .cases.spatial_models import MODELS
from .make_layers import golden
from .store import Writer


def make() -> None:
    writer = Writer("spatial")
    for case in spatial.CASES:
        writer.add(case.name, *golden(case))
    writer.write()
    writer = Writer("spatial_files")
    for name, spec in MODELS.items():
        writer.add(name, *make_files.golden(name, spec))
    writer.write()
