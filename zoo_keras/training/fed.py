"""A model's Feed, made when data show what its columns are, and batches that have gone through it.

In: a Model and a Batch of raw columns. Out: the Batch that Programs take. Models of numbers alone
have no Feed, and their batches pass as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import dtypes
from zoo_keras import variables as weights
from zoo_keras.errors import DataError
from zoo_keras.feed.columns import dtype_of, is_text, narrowed
from zoo_keras.feed.feed import Feed, Source, make_feed
from zoo_keras.feed.ragged import whole
from zoo_keras.training.data import Batch
from zoo_keras.training.interface import TrainedModel

KEPT = 64  # Feeds of a model: one for each shape of its raw columns


def fed_batch(model: TrainedModel, batch: Batch) -> Batch:
    """The batch with its inputs run through the model's Feed, if it has one."""
    if not batch.x or isinstance(batch.structure[0], Feed):
        return batch
    x, y = [whole(a) for a in batch.x], [whole(a) for a in batch.y]
    batch = batch._replace(x=x, y=y)
    feed, text = None, [i for i, a in enumerate(batch.x) if is_text(a)]
    if text and not takes_text(model):
        raise DataError(
            f"x[{text[0]}]: expected numbers. Received: text, for a model that takes none. Convert "
            'the data to a numeric array, or give the model an Input with dtype="string".'
        )
    if text or takes_columns(model):
        sources = [Source(a.shape[1:], dtype_of(a)) for a in batch.x]
        feed = feed_for(model, sources, batch.structure[0])
    if feed is None:
        if any(a.dtype.itemsize > 4 for a in batch.x):
            kept = _takes_wide(model, len(batch.x))
            x = [narrowed(a, wide=k) for a, k in zip(batch.x, kept, strict=True)]
            batch = batch._replace(x=x)
        return batch
    return batch._replace(x=feed.run(batch.x), structure=(feed, *batch.structure[1:]))


def takes_float64(model: TrainedModel) -> bool:
    """Whether the model computes with an input, or all it does, in float64."""
    return any(_takes_wide(model, 1))


def _takes_wide(model: TrainedModel, inputs: int) -> list[bool]:
    """Which inputs stay in float64."""
    graph = getattr(model, "_function", None)
    if graph is None or len(graph.inputs) < inputs:
        return [model.compute_dtype == "float64"] * inputs
    return [t.dtype == "float64" for t in graph.inputs]


def takes_columns(model: TrainedModel) -> bool:
    """Whether a layer of the model may need numbers as they are, before they are narrowed."""
    stamp = weights.structure()
    noted = model.__dict__.get("_column_layers")
    if noted is None or noted[0] != stamp:
        found = any(getattr(layer, "on_columns", False) for layer in model._flatten_layers())
        model._note(_column_layers=(stamp, found))
    return bool(model.__dict__["_column_layers"][1])


def takes_text(model: TrainedModel) -> bool:
    """Whether inputs of the model may be text: by its Inputs, or without such its layers."""
    graph = getattr(model, "_function", None)
    if graph is None:
        return takes_columns(model)
    return any(t.dtype in dtypes.TEXT for t in graph.inputs)


def feed_for(model: TrainedModel, sources: Sequence[Source], nest: Any) -> Feed | None:
    """The model's Feed for such columns; made once as long as the model stays the same."""
    kept = model.__dict__.setdefault("_feeds", {})
    stamp, key = model.last_change(), (tuple(sources), repr(nest))
    if kept.get("stamp") != stamp or len(kept) > KEPT:
        kept.clear()
    if key not in kept:
        kept[key] = make_feed(model, sources, nest)  # may build layers
        kept["stamp"] = model.last_change()
    feed: Feed | None = kept[key]
    return feed
