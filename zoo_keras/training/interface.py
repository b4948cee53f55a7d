"""What other modules may ask of a Model: training, Spark, scoring, and whoever comes next.

Types only: nothing here runs. A Model is all of it; so is a subclass of a user's. Names with an
underscore are for this package, out of the way of the attributes of a user's subclass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from zoo_keras.callbacks.callback_list import CallbackList
    from zoo_keras.training.compiled import Compiled
    from zoo_keras.training.data import Batch
    from zoo_keras.training.epochs import Epochs
    from zoo_keras.training.programs import ModelPrograms
    from zoo_keras.variables import Variable


class TracedModel(Protocol):
    """What it takes to trace a model and to lay out its Variables."""

    name: str
    built: bool
    compiled: bool
    _function: Any  # the graph of a functional model, or None

    @property
    def optimizer(self) -> Any:
        """An Optimizer; None before compile."""

    @property
    def weights(self) -> list[Variable]: ...

    @property
    def carried(self) -> list[Variable]:
        """Variables that are no weights, but that a call assigns."""

    @property
    def trainable_variables(self) -> list[Variable]: ...

    @property
    def output_names(self) -> list[str]:
        """Names by which losses are given; empty when they are not known before a call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def get_config(self) -> dict[str, Any]: ...

    def regularization_losses(self) -> list[Any]: ...

    def edits(self) -> tuple[int, ...]:
        """Another value whenever an attribute below the model was set."""

    def last_change(self) -> int:
        """Another number whenever a layer below the model came or went."""

    def next_draw(self) -> int:
        """The step that random ops of the next batch of evaluation or prediction see."""

    def _note(self, **values: Any) -> None:
        """Set attributes past the tracking of layers."""

    def _eagerly(self) -> bool:
        """Whether it is compiled to run op by op."""

    def train_step(self, data: Any) -> Any: ...

    def test_step(self, data: Any) -> Any: ...

    def predict_step(self, data: Any) -> Any: ...

    def _flatten_layers(self) -> Iterator[Any]:
        """The model and all layers below."""

    def _require_compiled(self, method: str) -> Compiled:
        """What it is compiled for; NotCompiledError names the method."""

    def _own_loss(self) -> Any:
        """A `compute_loss` of the user's own, or None."""

    def _all_metrics(self) -> list[Any]:
        """Trackers of losses, compiled metrics, and metrics of layers."""

    def _has_trained(self) -> bool:
        """Whether its State has an optimizer's part."""


class TrainedModel(TracedModel, Protocol):
    """What it takes to train, evaluate and predict."""

    stop_training: bool

    @property
    def compute_dtype(self) -> str:
        """The dtype of the numbers in `call`."""

    @property
    def steps_per_execution(self) -> int:
        """How many batches are run between two calls of callbacks."""

    def begun_at(self, initial: int) -> int:
        """The epoch to begin with, when `on_train_begin` has run."""

    def _local(self) -> ModelPrograms:
        """Its State and programs in this process."""

    def _arranged(self, batch: Batch) -> Batch:
        """A batch as its Programs take it: through the Feed, targets in its own order."""

    def _train_batch(self, batch: Batch) -> None:
        """One step."""

    def _evaluate(self, data: Epochs, bars: CallbackList) -> dict[str, Any]:
        """Logs of the batches; none when there were no batches."""

    def _reset(self) -> None:
        """Start all metrics afresh."""

    def _logs(self) -> dict[str, Any]:
        """Name -> value of all that was measured since the last reset."""
