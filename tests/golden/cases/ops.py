"""All golden calls of public ops, by name: the tables of the families joined."""

from __future__ import annotations

from . import (
    ops_core,
    ops_elementwise,
    ops_images,
    ops_linalg,
    ops_neural,
    ops_reductions,
    ops_shapes,
)
from .ops_table import Case

FAMILIES = (
    ops_elementwise, ops_reductions, ops_shapes, ops_linalg, ops_neural, ops_images, ops_core,
)  # fmt: skip
CASES: dict[str, Case] = {name: case for family in FAMILIES for name, case in family.T.items()}
