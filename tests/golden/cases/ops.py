"""All golden calls of public ops, by name: the tables of the families joined."""

from __future__ import annotations

from . import ops_elementwise, ops_reductions, ops_shapes
from .ops_table import Case

FAMILIES = (ops_elementwise, ops_reductions, ops_shapes)
CASES: dict[str, Case] = {name: case for family in FAMILIES for name, case in family.T.items()}
