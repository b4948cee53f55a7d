"""The passes in the order in which they run."""

from __future__ import annotations

import os
from collections.abc import Callable

from zoo_keras.graph import Graph
from zoo_keras.passes.chains import gather_chains
from zoo_keras.passes.fuse import fold_scales, fuse_bias, fuse_epilogues, pack_weights
from zoo_keras.passes.fuse_norm import fuse_norms
from zoo_keras.passes.layout import arrange
from zoo_keras.passes.narrow import narrow_between
from zoo_keras.passes.recompute import recompute
from zoo_keras.passes.round_int8 import round_where_made
from zoo_keras.passes.simplify import simplify
from zoo_keras.passes.store_bfloat16 import narrow_storage, sink_rounding
from zoo_keras.passes.table_products import project_tables
from zoo_keras.passes.tile_convolutions import tile_convolutions
from zoo_keras.passes.tile_products import tile_products
from zoo_keras.passes.tile_recurrent import tile_recurrent
from zoo_keras.passes.unread import drop_unread
from zoo_keras.passes.verify import verify

Pass = Callable[[Graph], Graph]

# What runs in training and inference alike. Layout comes first, because moving transposes and
# padding makes equal nodes that simplifying merges, and windows that biases can be fused into.
ALWAYS: tuple[Pass, ...] = (arrange, simplify, drop_unread, sink_rounding, fuse_bias)
# With frozen weights, scales fold into products only once biases are part of them.
FROZEN: tuple[Pass, ...] = (project_tables, fold_scales)
# Activations are taken into products before normalization looks for its ReLU: first come, first
# fused. What no product or normalization took is left for chains.
EPILOGUES: tuple[Pass, ...] = (fuse_epilogues, fuse_norms)
# Packing makes constants of weights, which simplifying folds. A result is rounded where it is made
# once its activation is part of that.
PACKED: tuple[Pass, ...] = (round_where_made, pack_weights, simplify, narrow_between)
# What waits for backward is stored narrow before the rest is weighed against computing it again.
TRAINED: tuple[Pass, ...] = (narrow_between, narrow_storage, recompute)


def optimise(graph: Graph, freeze: bool = False, rounds: bool = False) -> Graph:
    """A graph that computes the same with fewer and larger nodes.

    Args:
        freeze: weights change rarely (inference), so work on them alone may move out of the run.
        rounds: products may round their operands to bfloat16 where this machine has tiles.
    """
    last = PACKED if freeze else TRAINED
    frozen = FROZEN if freeze else ()
    tiled = (tile_recurrent(rounds), tile_convolutions(rounds), tile_products(rounds))
    passes = [*ALWAYS, *frozen, *EPILOGUES, *tiled, *last]
    debug = os.environ.get("ZK_DEBUG") == "1"
    for step in passes:
        graph = step(graph)
        if debug:
            verify(graph, getattr(step, "__name__", repr(step)))
    graph = gather_chains(graph, freeze)
    if debug:
        verify(graph, "gather_chains")
    return graph
