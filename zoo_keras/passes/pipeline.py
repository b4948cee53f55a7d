"""The passes in the order in which they run."""

from __future__ import annotations

from zoo_keras.graph import Graph
from zoo_keras.passes.chains import gather_chains
from zoo_keras.passes.fuse import fold_scales, fuse_bias, fuse_epilogues, pack_weights
from zoo_keras.passes.fuse_norm import fuse_norms
from zoo_keras.passes.layout import arrange
from zoo_keras.passes.narrow import narrow_storage, sink_rounding
from zoo_keras.passes.recompute import recompute
from zoo_keras.passes.simplify import simplify
from zoo_keras.passes.tables import project_tables
from zoo_keras.passes.unread import drop_unread


def optimise(graph: Graph, freeze: bool = False) -> Graph:
    """A graph that computes the same with fewer and larger nodes.

    Args:
        freeze: weights change rarely (inference), so work on them alone may move out of the run.
    """
    graph = drop_unread(simplify(arrange(graph)))
    graph = fuse_bias(sink_rounding(graph))
    if freeze:
        graph = fold_scales(project_tables(graph))
    graph = fuse_norms(fuse_epilogues(graph))
    graph = simplify(pack_weights(graph)) if freeze else recompute(narrow_storage(graph))
    return gather_chains(graph, freeze)
