"""Trainer: compile, fit, evaluate and predict of a Model, on arrays here or on a Spark cluster."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo_keras.callbacks.callback import History
from zoo_keras.callbacks.callback_list import CallbackList
from zoo_keras.errors import ConfigError, NotCompiledError, UnsupportedError
from zoo_keras.nest import flatten, map_structure
from zoo_keras.training.arguments import EvaluateArguments, FitArguments, PredictArguments
from zoo_keras.training.compiled import Compiled, plain
from zoo_keras.training.data import (
    ArrayData,
    Batch,
    batch_of,
    check_class_weight,
    make_data,
    unpack_x_y_sample_weight,
)
from zoo_keras.training.default_steps import DefaultSteps, default
from zoo_keras.training.epochs import Epochs, executions
from zoo_keras.training.fed import fed_batch, takes_float64
from zoo_keras.training.label_counts import check_all
from zoo_keras.training.loop import FitLoop
from zoo_keras.training.older_calls import OlderCalls, older_epochs
from zoo_keras.training.own_steps import defined, refuse_on_spark
from zoo_keras.training.programs import ModelPrograms
from zoo_keras.training.ragged_rows import by_shape, in_order, ragged_inputs, ragged_targets

# Methods of Keras' Model that users override and that have no counterpart here.
_KERAS_FUNCTIONS = ("make_train_function", "make_test_function", "make_predict_function")

_BESIDE_TRAINING = 1 << 40  # no training has so many steps, and numbers depend on the step
_making = threading.Lock()  # a lock or the programs of some model


def in_turn(method: Any) -> Any:
    """A method of a Trainer that runs when no other thread trains, measures or compiles."""

    @functools.wraps(method)
    def call(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        with self._in_turn():
            return method(self, *args, **kwargs)

    return call


class Trainer(OlderCalls, DefaultSteps):
    """The training half of Model. https://keras.io/api/models/model_training_apis/"""

    # Class-level defaults: a fresh model is not compiled. They are set through `_note`, past the
    # tracking of attributes, so that compiled metrics do not count as the model's own.
    compiled = False
    stop_training = stop_evaluating = stop_predicting = False
    _compiled: Compiled | None = None
    _runtime: ModelPrograms | None = None
    _trained = _runs_eagerly = False
    _step_logs: dict[str, Any] | None = None  # of the last step, if the model's class defines it
    _draws = 0  # batches evaluated and predicted by programs that draw random numbers
    _first_epoch: int | None = None  # where the fit that runs shall begin
    _turn: threading.RLock | None = None

    if TYPE_CHECKING:  # what Model brings
        _function: Any

    def _note(self, **values: Any) -> None:
        self.__dict__.update(values)

    def _in_turn(self) -> AbstractContextManager[Any]:
        """Inside, no other thread trains, measures or compiles: they share the metrics' state."""
        if self._turn is None:
            with _making:
                self._note(_turn=self._turn or threading.RLock())
        return self._turn  # type: ignore[return-value]

    # ---- compile -------------------------------------------------------------------------------

    @in_turn
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose how to train. Names, objects, functions, and lists or dicts for each output.

        Raises ConfigError for unknown names; they are found here, before any work.
        """
        del jit_compile, auto_scale_loss
        made = Compiled(
            optimizer, loss, loss_weights, metrics, weighted_metrics, steps_per_execution
        )
        made.arguments["run_eagerly"] = bool(run_eagerly)
        if self.output_names:
            made.name_outputs(self.output_names)
        self._note(_compiled=made, _runtime=None, stop_training=False, compiled=True)

    @property
    def optimizer(self) -> Any:
        """What training changes the weights with; None before compile."""
        if self._compiled is not None:
            return self._compiled.optimizer
        return self.__dict__.get("optimizer")

    @optimizer.setter
    def optimizer(self, optimizer: Any) -> None:
        if self._compiled is not None:
            self._compiled.optimizer = optimizer
        else:
            self._note(optimizer=optimizer)

    def _all_metrics(self) -> list[Any]:
        """Loss trackers, compiled metrics, and metrics of layers."""
        if self._compiled is None:
            return []
        own = [m for layer in self._flatten_layers() for m in layer._own_metrics]
        return list({id(m): m for m in [*self._compiled.all_metrics(), *own]}.values())

    @property
    @default
    def metrics(self) -> list[Any]:
        """The metric objects that logs come from."""
        return self._all_metrics()

    @property
    def metrics_variables(self) -> list[Any]:
        """The Variables of all metrics, those of the loss first."""
        held = [v for metric in self._all_metrics() for v in metric.variables]
        return list({id(v): v for v in [*held, *self._measured()]}.values())

    @property
    def metrics_names(self) -> list[str]:
        """The names that evaluate gives values for, the loss first."""
        return list(self._logs())

    @property
    def loss(self) -> Any:
        """The loss or losses that compile was given."""
        return self._compiled.arguments["loss"] if self._compiled is not None else None

    @in_turn
    def reset_metrics(self) -> None:
        """Start all metrics afresh."""
        self._reset()

    def _logs(self) -> dict[str, Any]:
        """Name -> value of everything measured since the last reset, or what a step returned."""
        found = self.get_metrics_result() if self._step_logs is None else self._step_logs
        return {name: plain(value) for name, value in found.items()}

    def _require_compiled(self, method: str) -> Compiled:
        """What the model is compiled for; NotCompiledError when compile was never called."""
        if self._compiled is None:
            raise NotCompiledError(
                f'Model "{self.name}": {method} needs a compiled model. Received: a model on which '
                "compile was never called. Call model.compile(optimizer, loss) first."
            )
        return self._compiled

    def _refuse_int8(self, method: str) -> None:
        names = [layer.name for layer in self._flatten_layers()
                 if getattr(layer, "quantization_mode", None)]  # fmt: skip
        if names:
            raise UnsupportedError(
                f'Model "{self.name}": {method} cannot train quantised layers. Received: layers '
                f"{names} in int8. Train the float model, then quantise it again."
            )

    def forget_programs(self) -> None:
        """Compile anew at the next call: a layer computes otherwise than before."""
        self._note(_runtime=None)

    @in_turn
    def forget_training(self) -> None:
        """Forget programs and the optimizer's state: the weights are others than before."""
        if self._compiled is not None and self.optimizer is not None:
            self.optimizer = self.optimizer.twin()
        self._note(_runtime=None, _trained=False)

    def _refuse_functions(self) -> None:
        """A function that a subclass makes of a step, which nothing would call."""
        found = [name for name in _KERAS_FUNCTIONS if hasattr(self, name)]
        if found:
            raise UnsupportedError(
                f'Model "{self.name}": fit, evaluate and predict make their own functions of '
                f"train_step, test_step and predict_step. Received: {type(self).__name__} defines "
                f"{found}. Override the steps themselves."
            )

    def _local(self) -> ModelPrograms:
        """The model's State and programs in this process."""
        programs = self._runtime
        if programs is None:
            self._refuse_functions()
            with _making:
                programs = self._runtime or ModelPrograms(self)
                self._note(_runtime=programs)
        return programs

    def next_draw(self) -> int:
        """The step that random ops of the next batch of evaluation or prediction see."""
        self._note(_draws=self._draws + 1)
        return _BESIDE_TRAINING + self._draws

    def _has_trained(self) -> bool:
        return self._trained

    def begin_at(self, epoch: int) -> None:
        """Of on_train_begin: this fit begins with that epoch (counted from 0)."""
        self._note(_first_epoch=epoch)

    def begun_at(self, initial: int) -> int:
        """The epoch to begin with, when `on_train_begin` has run."""
        asked = self._first_epoch
        self._note(_first_epoch=None)
        return initial if asked is None else asked

    # ---- fit -----------------------------------------------------------------------------------

    @in_turn
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        fill_value: Any = None,
        pad_value: float | None = None,
        **spark: Any,
    ) -> History:
        """Train. x may be arrays, a generator, a PyDataset, a Spark RDD or a DataFrame.

        On Spark, batch_size is that of the whole cluster, and `feature_cols`, `label_cols`,
        `weight_col` (for DataFrames), `num_ranks`, `max_restarts` and others of
        `zoo_keras.spark.fit.options.FitOptions` are accepted. `fill_value` stands for nulls and NaN
        of inputs: one value, or a dict by column or input. `pad_value` pads rows of different sizes
        (lists of arrays, where the Input says None) to the longest of a batch, and their targets
        with 0; masks leave out what was padded. Returns a History.
        """
        epochs = older_epochs("fit", epochs, spark)
        self._require_compiled("fit")
        self._refuse_int8("fit")
        self._note(_first_epoch=None)
        arguments = FitArguments(
            batch_size=batch_size, verbose=verbose, callbacks=callbacks, fill_value=fill_value,
            y=y, epochs=epochs, validation_split=validation_split, validation_data=validation_data,
            shuffle=shuffle, class_weight=class_weight, sample_weight=sample_weight,
            initial_epoch=initial_epoch, steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps, validation_batch_size=validation_batch_size,
            validation_freq=validation_freq, pad_value=pad_value,
        )  # fmt: skip
        if _is_spark(x):
            refuse_on_spark(self, "train", "fit")
            self._note(_step_logs=None)
            from zoo_keras.spark.fit.driver import fit_on_spark

            return fit_on_spark(self, x, arguments, spark)
        _refuse(spark, "fit")
        data, validation = self._fit_data(x, arguments)
        bars = arguments.bars(self, data.steps, data.rows)
        return FitLoop(self, data, validation, bars, arguments).run()

    def _fit_data(self, x: Any, given: FitArguments) -> tuple[Any, Any]:
        """What to train on, and what to validate on, or None."""
        x, y = ragged_inputs(self, x, given.pad_value), ragged_targets(given.y, given.pad_value)
        weights = None if given.validation_split else given.class_weight
        data = make_data(x, y, given.sample_weight, given.batch_size, weights,
                         bool(given.shuffle), given.fill_value, takes_float64(self))  # fmt: skip
        validation = None
        if given.validation_split:
            if not isinstance(data, ArrayData):
                raise ConfigError("validation_split works for arrays only. Pass validation_data.")
            data, validation = data.split(given.validation_split)
            data.weigh(given.class_weight)  # validation has no class weights
            validation.batch_size = given.validation_batch_size or data.batch_size
        if given.validation_data is not None:
            vx, vy, vw = _validation_parts(given.validation_data)
            vx, vy = ragged_inputs(self, vx, given.pad_value), ragged_targets(vy, given.pad_value)
            size = given.validation_batch_size or given.batch_size
            wide = takes_float64(self)
            validation = make_data(vx, vy, vw, size, fill_value=given.fill_value, wide=wide)
        for part in (data, validation):
            if isinstance(part, ArrayData) and not (self._eagerly() or defined(self, "train")):
                check_all(self, part)
        return data, validation

    @in_turn
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        fill_value: Any = None,
        pad_value: float | None = None,
        **spark: Any,
    ) -> Any:
        """Loss and metrics on data that training has not seen: a number, list, or dict.

        `fill_value` and `pad_value` are as in fit.
        """
        self._require_compiled("evaluate")
        arguments = EvaluateArguments(batch_size, verbose, callbacks, fill_value, y, sample_weight,
                                      steps, pad_value)  # fmt: skip
        if _is_spark(x):
            refuse_on_spark(self, "test", "evaluate")
            self._note(_step_logs=None)
            from zoo_keras.spark.scoring.evaluate import evaluate_on_spark

            logs = evaluate_on_spark(self, x, **arguments.given(), **spark)
            return _given_logs(logs, return_dict)
        _refuse(spark, "evaluate")
        x, y = ragged_inputs(self, x, pad_value), ragged_targets(y, pad_value)
        wide = takes_float64(self)
        data = make_data(x, y, sample_weight, batch_size, fill_value=fill_value, wide=wide)
        bars = arguments.bars(self, data.steps)
        with bars.closed_by_failure():
            logs = self._evaluate(self._epochs(data, steps), bars)
        if not logs:
            raise ConfigError("evaluate: the data held no batch. Received: an empty source.")
        return _given_logs(logs, return_dict)

    def _epochs(self, data: Any, steps: int | None) -> Epochs:
        return Epochs(data, steps, "steps", self.steps_per_execution)

    def _evaluate(self, data: Epochs, bars: CallbackList) -> dict[str, Any]:
        """Logs of the batches; none when there were no batches."""
        self._note(stop_evaluating=False)
        bars.on_test_begin()
        self._reset()
        last = -1
        for first, last, batches in executions(data.rewind().batches(), self.steps_per_execution):
            bars.on_test_batch_begin(first)
            for batch in batches:
                self._test_batch(batch)
            if bars.callbacks:
                bars.on_test_batch_end(last, self._logs())
            if self.stop_evaluating:
                break
        logs = self._logs() if last >= 0 else {}
        bars.on_test_end(logs)
        return logs

    def _reset(self) -> None:
        self._note(_step_logs=None)
        for metric in self.metrics:
            metric.reset_state()

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        fill_value: Any = None,
        **spark: Any,
    ) -> Any:
        """Outputs for the inputs, as arrays nested like the model's outputs.

        An RDD gives an RDD of outputs in the same order; a DataFrame gives the DataFrame with one
        more column. `fill_value` stands for nulls and NaN, as in fit.

        Rows may differ in size where the Input says None: each gives what it gives alone. Outputs
        that differ in size are a list, one array for each row.

        Layers that draw random numbers draw new ones in every batch and call; models made alike
        after set_random_seed draw alike. On Spark the numbers depend on the seed and on a row's
        place in its batch only, so that scoring a partition again gives the same.
        """
        arguments = PredictArguments(batch_size, verbose, callbacks, fill_value, steps)
        if _is_spark(x):
            refuse_on_spark(self, "predict", "predict")
            from zoo_keras.spark.scoring.predict import predict_on_spark

            return predict_on_spark(self, x, **arguments.given(), **spark)
        _refuse(spark, "predict")
        x = ragged_inputs(self, x)
        wide = takes_float64(self)
        data = by_shape(make_data(x, None, None, batch_size, fill_value=fill_value, wide=wide))
        bars = arguments.bars(self, data.steps)
        with bars.closed_by_failure():
            structure, results = self._predict(self._epochs(data, steps), bars)
        if not results:
            raise ConfigError("predict: the data held no batch. Received: an empty source.")
        joined = [in_order(list(parts), data) for parts in zip(*results, strict=True)]
        leaves = iter(joined)
        return map_structure(lambda leaf: next(leaves), structure)

    def _predict(self, data: Epochs, bars: CallbackList) -> tuple[Any, list[list[np.ndarray]]]:
        """How the outputs nest, and those of each batch."""
        self._note(stop_predicting=False)
        bars.on_predict_begin()
        results: list[list[np.ndarray]] = []
        structure: Any = None
        for first, last, batches in executions(data.batches(), self.steps_per_execution):
            bars.on_predict_batch_begin(first)
            for batch in batches:
                structure = self._predict_batch(batch)
                results.append(flatten(structure))
            bars.on_predict_batch_end(last, {"outputs": structure})
            if self.stop_predicting:
                break
        bars.on_predict_end()
        return structure, results

    # ---- single batches ------------------------------------------------------------------------

    @in_turn
    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                       class_weight: Any = None, return_dict: bool = False) -> Any:  # fmt: skip
        """One gradient step on one batch; returns its loss and metrics."""
        self._require_compiled("train_on_batch")
        self._refuse_int8("train_on_batch")
        self._reset()
        self._train_batch(self._batch_of((x, y, sample_weight), check_class_weight(class_weight)))
        return _given_logs(self._logs(), return_dict)

    @in_turn
    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                      return_dict: bool = False) -> Any:  # fmt: skip
        """Loss and metrics of one batch."""
        self._require_compiled("test_on_batch")
        self._reset()
        self._test_batch(self._batch_of((x, y, sample_weight)))
        return _given_logs(self._logs(), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs of one batch, without progress bar or batching."""
        programs = self._local()
        found = None if self._eagerly() else programs.predict_quickly(x)
        return self._predict_batch(self._batch_of(x)) if found is None else found

    def _train_batch(self, batch: Batch) -> None:
        self._note(_trained=True)
        if not self._run_own("train", batch):
            logs = self._local().train(self._arranged(batch))
            if logs is not None:
                self._note(_step_logs=logs)

    def _test_batch(self, batch: Batch) -> None:
        if not self._run_own("test", batch):
            self._local().test(self._arranged(batch))

    def _run_own(self, kind: str, batch: Batch) -> bool:
        """Run a step that is the model's own, or op by op; False when it is neither."""
        own = bool(defined(self, kind))
        if own or self._eagerly():
            programs = self._local()
            run = programs.run_eagerly if self._eagerly() else programs.run_own
            self._note(_step_logs=run(kind, self._arranged(batch)))
        return own or self._eagerly()

    @property
    def steps_per_execution(self) -> int:
        """How many batches are run between two calls of callbacks."""
        return int(self._compiled.arguments["steps_per_execution"]) if self._compiled else 1

    def _eagerly(self) -> bool:
        if self._compiled is None:
            return self._runs_eagerly
        return bool(self._compiled.arguments["run_eagerly"])

    @property
    def run_eagerly(self) -> bool:
        """Whether steps run op by op on arrays, for prints and breakpoints; compiled ones are many
        times as fast."""
        return self._eagerly()

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        if self._compiled is None:
            self._note(_runs_eagerly=bool(value))
        else:
            self._compiled.arguments["run_eagerly"] = bool(value)

    def _predict_batch(self, batch: Batch) -> Any:
        programs, batch = self._local(), self._arranged(batch)
        if self._eagerly():
            return programs.run_eagerly("predict", batch)
        return programs.predict(batch)

    def _batch_of(self, item: Any, class_weight: dict[int, float] | None = None) -> Batch:
        return batch_of(item, class_weight, takes_float64(self))

    def _arranged(self, batch: Batch) -> Batch:
        """Inputs as the model's Programs take them, and targets in its own order."""
        return fed_batch(self, self._by_model_order(batch))

    def _by_model_order(self, batch: Batch) -> Batch:
        x, y = batch.structure[0], batch.structure[1]
        if isinstance(y, dict) and self.output_names and self._function is not None:
            names = [n for n in self.output_names if n in y]
            if names and not isinstance(self._function.outputs_structure, dict):
                order = [y[n] for n in names]
                batch = batch._replace(
                    y=[batch.y[i] for i in order],
                    structure=(x, list(range(len(order))), batch.structure[2]),
                )
        return batch

    # ---- saving of the training state ----------------------------------------------------------

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of compile, serialised; empty before compile."""
        from zoo_keras.configs.serialization import serialize_keras_object

        given = self._compiled.arguments if self._compiled is not None else {}
        return {k: serialize_keras_object(v) for k, v in given.items()}

    @in_turn
    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with serialised arguments; a class with a `compile` of its own does it itself."""
        if type(self).compile is not Trainer.compile:
            warnings.warn(
                "`compile()` was not called as part of model loading because the model's "
                "`compile()` method is custom. Override `get_compile_config()` and "
                "`compile_from_config(config)` too, or call `compile()` after loading.",
                stacklevel=2,
            )
            return
        from zoo_keras.configs.serialization import deserialize_keras_object

        known = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics")
        self.compile(**{k: deserialize_keras_object(config[k]) for k in known if k in config})
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)


def _validation_parts(data: Any) -> tuple[Any, Any, Any]:
    if isinstance(data, (list, tuple)):
        return unpack_x_y_sample_weight(tuple(data))
    return data, None, None


def _is_spark(x: Any) -> bool:
    """Whether x is an RDD or DataFrame of pyspark; pyspark is not imported for that."""
    return any(cls.__module__.startswith("pyspark.") for cls in type(x).__mro__)


def sample_batches(model: Any, sample: Any) -> Iterable[Any]:
    """A sample as `predict` takes it in this process: Spark's rows come over in batches."""
    if not _is_spark(sample):
        return [sample]
    from zoo_keras.spark.scoring.sample import batches_of

    return batches_of(model, sample)


def _refuse(spark: dict[str, Any], method: str) -> None:
    if spark:
        raise ConfigError(
            f"{method}: these arguments are unknown, or work only with an RDD or DataFrame. "
            f"Received: {sorted(spark)}. Check their spelling."
        )


def _given_logs(logs: dict[str, Any], return_dict: bool) -> Any:
    """By name, as Keras orders them, or the values in the order of metrics."""
    if return_dict:
        return dict(sorted(logs.items()))
    values = list(logs.values())
    return values[0] if len(values) == 1 else values
