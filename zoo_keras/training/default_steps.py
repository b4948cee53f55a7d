"""The steps of Keras' Model that subclasses override or call: what fit, evaluate and predict do.

In: a batch, nested as the user gave it, of tensors (in a step that is traced) or arrays. Out: logs.
A model that overrides none of them never comes here: its programs are traced by `training.steps`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zoo_keras.graph import current_trace
from zoo_keras.nest import flatten
from zoo_keras.training.compiled import Compiled, free_name, result_of
from zoo_keras.training.data import unpack_x_y_sample_weight
from zoo_keras.training.gradient_tape import GradientTape
from zoo_keras.training.own_steps import defined
from zoo_keras.training.steps import compiled_loss

if TYPE_CHECKING:  # always mixed into a Layer
    from zoo_keras.layers.base.layer import Layer as _Layer
else:
    _Layer = object


def default(method: Any) -> Any:
    """Mark what a subclass may put its own method in place of."""
    method.is_default = True
    return method


class DefaultSteps(_Layer):
    """train_step, test_step, predict_step and what they are made of, as in keras.Model.

    Source: https://keras.io/guides/custom_train_step_in_tensorflow.
    """

    if TYPE_CHECKING:  # what Trainer brings

        @property
        def optimizer(self) -> Any: ...

        @property
        def output_names(self) -> list[str]: ...

        def _require_compiled(self, method: str) -> Compiled: ...
        def _flatten_layers(self) -> Iterator[Any]: ...

    @default
    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the weights by a batch x, (x, y) or (x, y, sample_weight); returns logs."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        with GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        self._note_loss(loss, x)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled, variables), variables)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    @default
    def test_step(self, data: Any) -> dict[str, Any]:
        """Add a batch to loss and metrics; returns logs."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        self._note_loss(self.compute_loss(x, y, y_pred, sample_weight, training=False), x)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    @default
    def predict_step(self, data: Any) -> Any:
        """Outputs for a batch."""
        return self(unpack_x_y_sample_weight(data)[0], training=False)

    @default
    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None,
                     sample_weight: Any = None, training: bool = True) -> Any:  # fmt: skip
        """The loss of a batch: what compile was given, add_loss and regularizers. A subclass may
        have another one, any tensor of shape () made of these; it is traced, like `call`.

        Everything comes as in fit: one tensor, or nested as the data are. On Spark each rank is
        given its own rows, and the loss of the global batch is the mean over all rows.
        """
        del x, training
        targets = [] if y is None else flatten(y)
        compiled = self._require_compiled("compute_loss")
        compiled.resolve(self.output_names, targets, flatten(y_pred))
        model: Any = self
        return compiled_loss(model, y, y_pred, sample_weight)

    def _own_loss(self) -> Any:
        """A `compute_loss` that is not the one above, or None."""
        return None if getattr(self.compute_loss, "is_default", False) else self.compute_loss

    def _note_loss(self, loss: Any, x: Any) -> None:
        rows = float(flatten(x)[0].shape[0])
        self._require_compiled("a step").loss_tracker.update_state(loss, sample_weight=rows)

    @default
    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Add a batch to the compiled metrics; returns the results of all metrics."""
        del x
        compiled = self._require_compiled("compute_metrics")
        targets, preds = [] if y is None else flatten(y), flatten(y_pred)
        compiled.resolve(self.output_names, targets, preds)
        losses = compiled.losses
        weights = losses.sample_weights([] if sample_weight is None else flatten(sample_weight))
        compiled.update_metrics(losses.targets(targets), preds, weights)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """Name -> result of every metric since the last reset: of those in `metrics`, where the
        class says which."""
        compiled = self._require_compiled("metrics")
        tracker, idle = compiled.loss_tracker, self._keeps_its_loss()
        if not getattr(getattr(type(self).metrics, "fget", None), "is_default", False):
            counted = [m for m in self.metrics if not (idle and m is tracker)]
            return {k: v for m in counted for k, v in result_of(m.name, m).items()}
        found = compiled.results()
        if idle:
            del found[tracker.name]
        for layer in self._flatten_layers():
            for metric in layer._own_metrics:
                found.update(result_of(free_name(metric.name, set(found)), metric))
        return found

    def _keeps_its_loss(self) -> bool:
        """A step of the class's own counts the loss in a metric of its own, or nowhere."""
        if current_trace() or not defined(self, "train"):
            return False
        return not float(self._require_compiled("metrics").loss_tracker.count)

    @property
    def losses(self) -> list[Any]:
        """Regularization losses of all weights, and losses that layers have added in the last call;
        in a step that is being traced, those that this step has added."""
        trace = current_trace()
        return [*self.regularization_losses(), *trace.losses] if trace else super().losses
