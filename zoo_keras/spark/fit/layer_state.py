"""Which state of layers can live on a cluster, where no task sees the batches of another.

In: a Model. Out: nothing, or an UnsupportedError that names the layer or Variable. Weights that
training moves by gradients, and metrics, are no state in this sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.errors import UnsupportedError
from zoo_keras.training import steps
from zoo_keras.training.interface import TrainedModel


def refuse_stateful(model: TrainedModel, method: str) -> None:
    """Recurrent layers that go on from the batch before: there is no such batch in a partition."""
    found = [layer.name for layer in model._flatten_layers() if getattr(layer, "stateful", False)]
    if found:
        raise UnsupportedError(
            f'Model "{model.name}": {method} on Spark cannot run stateful layers, since batches of '
            f"different partitions do not follow each other. Received: stateful=True in {found}. "
            "Put whole sequences into the records and build the model with stateful=False; "
            "set_weights moves the weights over."
        )


def refuse_assigned(model: TrainedModel, shapes: steps.Shapes, structure: Any, method: str) -> None:
    """Variables that a call outside of training assigns: each task would change its own copy."""
    assigned = steps.updated_variables(model, shapes, structure, training=False)
    if assigned:
        raise UnsupportedError(
            f'Model "{model.name}": {method} on Spark cannot keep what layers assign, since each '
            f"task has its own copy. Received: {_paths(assigned)}, assigned in `call`. Assign them "
            "only when `training` is true."
        )


def refuse_unshared(model: TrainedModel, updated: Sequence[Any]) -> None:
    """Variables that training calls assign and that ranks cannot average or add up."""
    wrong = [v for v in updated if v.dtype != "float32"]
    if wrong:
        raise UnsupportedError(
            f'Model "{model.name}": fit on Spark averages over the ranks what layers assign, which '
            f"must be float32. Received: {_paths(wrong)} of {wrong[0].dtype}. Make them float32."
        )


def _paths(variables: Sequence[Any]) -> list[str]:
    return [v.path for v in variables]
