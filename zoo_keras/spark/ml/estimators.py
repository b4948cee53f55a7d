"""Estimators around `Model.fit`: KerasEstimator, KerasClassifier, KerasRegressor.

In: a DataFrame with columns of inputs and labels, and a compiled Keras model. Out: a transformer
with a trained copy of it. Fits of several threads (CrossValidator with parallelism) take the
cluster's slots in turn (spark/slots.py). Knows no ranks and no programs.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from pyspark import keyword_only
from pyspark.ml.base import Estimator
from pyspark.ml.param.shared import (
    HasBatchSize,
    HasLabelCol,
    HasLearningRate,
    HasMaxIter,
    HasNumTrainWorkers,
    HasPredictionCol,
    HasProbabilityCol,
    HasRawPredictionCol,
    HasSeed,
    HasThresholds,
    HasValidationIndicatorCol,
    HasWeightCol,
)

from zoo_keras.callbacks import Callback, EarlyStopping, ModelCheckpoint
from zoo_keras.errors import ConfigError
from zoo_keras.models import Model
from zoo_keras.spark.data import arrow
from zoo_keras.spark.ml.folders import Foldered
from zoo_keras.spark.ml.models import (
    KerasClassificationModel,
    KerasModel,
    KerasRegressionModel,
    KerasTransformer,
    gives_logits,
)
from zoo_keras.spark.ml.params import (
    HasErrorCol,
    HasFeaturesCols,
    HasFillValue,
    HasLogits,
    HasOutputs,
    HasTraining,
    at_stage,
    given,
    set_params,
    stage_class,
)

_SEEDS = 1 << 31  # Spark's own may be negative


class KerasTrainer(
    Estimator, HasTraining, HasFeaturesCols, HasLabelCol, HasPredictionCol, HasWeightCol,
    HasValidationIndicatorCol, HasSeed, HasMaxIter, HasBatchSize, HasLearningRate,
    HasNumTrainWorkers, HasFillValue, HasErrorCol, Foldered,
):  # fmt: skip
    """What the three estimators share: Params to arguments of `fit`, and a model of the result."""

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            maxIter=1, batchSize=32, seed=0, numTrainWorkers=0, verbose=0, validationSplit=0.0,
            fitOptions={},
        )  # fmt: skip

    def getModel(self) -> Model:
        """The Keras model that fits copy; ConfigError when none was given."""
        if not self.isSet(self.model):
            raise ConfigError(
                f"Stage {self.uid} has no Keras model. Received: none. Pass model=..., or call "
                "setModel."
            )
        found: Model = self.getOrDefault(self.model)
        return found

    def _fit(self, dataset: Any) -> Any:
        with at_stage(self):
            model = self._own_model(dataset)
            train, validation = self._parts(dataset)
            history = model.fit(train, validation_data=validation, **self._arguments())
            made = self._copyValues(self._transformer(model))
            made._resetUid(self.uid)
            made.history = {k: np.asarray(v).tolist() for k, v in history.history.items()}
            return made

    def _own_model(self, dataset: Any) -> Model:
        """A copy to train: others may fit the same estimator now."""
        del dataset
        model = self.getModel()
        model._require_compiled("fit")
        self._check_output(model)
        model = copy.deepcopy(model)
        if self.isSet(self.learningRate):
            model.optimizer.learning_rate = self.getOrDefault(self.learningRate)
        return model

    def _check_output(self, model: Model) -> None:
        """ConfigError for a model of another kind, before it is trained."""

    def _transformer(self, model: Model) -> KerasTransformer:
        """The empty transformer for a trained model."""
        raise NotImplementedError

    def _parts(self, dataset: Any) -> tuple[Any, Any]:
        """Rows to train on, and rows to validate on or None."""
        name = given(self, self.validationIndicatorCol)
        if not name:
            return dataset, None
        from pyspark.sql.functions import coalesce, lit, raise_error

        found = {f.name: f.dataType for f in dataset.schema.fields}.get(name)
        if found is None or found.typeName() != "boolean":
            raise ConfigError(
                f"validationIndicatorCol: expected a boolean column. Received: {name!r}, "
                f"{found.simpleString() if found else 'which is not there'}. True marks rows that "
                f"validate. The columns are {dataset.columns}."
            )
        refuse = raise_error(lit(
            f"Column {name}: expected true or false for each row. Received: null. Fill or drop "
            "such rows."
        ))  # fmt: skip
        validates = coalesce(dataset[arrow.quoted(name)], refuse.cast("boolean"))
        return dataset.filter(~validates), dataset.filter(validates)

    def _arguments(self) -> dict[str, Any]:
        return {
            **self.getOrDefault(self.fitOptions),
            "batch_size": self.getOrDefault(self.batchSize),
            "epochs": self.getOrDefault(self.maxIter),
            "verbose": self.getOrDefault(self.verbose),
            "callbacks": self._callbacks(),
            "validation_split": self.getOrDefault(self.validationSplit),
            "fill_value": given(self, self.fillValue),
            "feature_cols": self.feature_cols(),
            "label_cols": self._label_cols(),
            "weight_col": given(self, self.weightCol) or None,
            "num_ranks": self.getOrDefault(self.numTrainWorkers) or None,
            "seed": self.getOrDefault(self.seed) % _SEEDS,
        }

    def _label_cols(self) -> Any:
        return given(self, self.labelCols) or self.getOrDefault(self.labelCol)

    def _callbacks(self) -> list[Callback]:
        """Copies of the user's: fits of several threads share none of what callbacks note."""
        found = [copy.copy(each) for each in given(self, self.callbacks) or []]
        validates = self.getOrDefault(self.validationSplit) or given(
            self, self.validationIndicatorCol
        )
        monitor = given(self, self.monitor) or ("val_loss" if validates else "loss")
        if self.isSet(self.patience):
            patience = self.getOrDefault(self.patience)
            found.append(EarlyStopping(monitor, patience=patience, restore_best_weights=True))
        if self.isSet(self.checkpointPath):
            path = self.getOrDefault(self.checkpointPath)
            found.append(ModelCheckpoint(path, monitor, save_best_only=True))
        return found


@stage_class
class KerasEstimator(KerasTrainer, HasOutputs):
    """Trains a Keras model of any kind on a DataFrame. `fit` gives a KerasModel.

    Args:
        model: compiled. Each fit trains a copy, from the weights that it has now.
        featuresCol, labelCol, weightCol: columns ("features", "label", none).
        featuresCols, labelCols: columns of several inputs or outputs, as `fit` takes them.
        predictionCol, predictionCols, vectors: see KerasModel.
        maxIter: epochs (1). batchSize: rows behind one update, on all ranks together (32).
        learningRate: in place of the optimizer's. seed: of the order of rows (0).
        numTrainWorkers: ranks; 0: as many as partitions, at most the slots.
        validationIndicatorCol, validationSplit: which rows validate.
        patience, monitor, checkpointPath, callbacks: see explainParams.
        fillValue, verbose, fitOptions: see explainParams. errorCol: of the model that fit gives.

    Raises ConfigError for Params, columns and models that don't fit, before training; errors name
    the stage. Source: pyspark.ml.Estimator, NNEstimator of Analytics Zoo.

    >>> model.compile("adam", "mse")
    >>> KerasEstimator(model=model, featuresCols=["a", "b"], maxIter=5).fit(frame).transform(frame)
    """

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(vectors=True)
        set_params(self, params)

    @keyword_only
    def setParams(self, **params: Any) -> KerasEstimator:
        """Set several Params at once."""
        return set_params(self, params)

    def _transformer(self, model: Model) -> KerasModel:
        return KerasModel(model=model)


@stage_class
class KerasRegressor(KerasTrainer):
    """Trains a Keras model that gives one number a row. `fit` gives a KerasRegressionModel, whose
    `prediction` is a double. Args and errors are those of KerasEstimator.

    >>> KerasRegressor(model=model, labelCol="price", maxIter=20, patience=3).fit(frame)
    """

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        set_params(self, params)

    @keyword_only
    def setParams(self, **params: Any) -> KerasRegressor:
        """Set several Params at once."""
        return set_params(self, params)

    def _transformer(self, model: Model) -> KerasRegressionModel:
        return KerasRegressionModel(model=model)

    def _check_output(self, model: Model) -> None:
        shape = _output_shape(model)
        if shape and any(d != 1 for d in shape[1:]):
            raise ConfigError(
                "KerasRegressor needs a model with one number a row as its output. Received: "
                f"output shape {shape}. Give the last layer one unit, or use KerasEstimator."
            )


@stage_class
class KerasClassifier(
    KerasTrainer, HasProbabilityCol, HasRawPredictionCol, HasThresholds, HasLogits
):
    """Trains a Keras model that gives a number for each class, or one unit for the second of two.
    `fit` gives a KerasClassificationModel. Labels count from 0, or are vectors, as the loss wants.

    Args and errors are those of KerasEstimator, and rawPredictionCol, probabilityCol, thresholds,
    fromLogits of KerasClassificationModel.

    >>> classifier = KerasClassifier(model=model, labelCol="kind", maxIter=10, weightCol="weight")
    >>> MulticlassClassificationEvaluator(labelCol="kind").evaluate(classifier.fit(a).transform(b))
    """

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        set_params(self, params)

    @keyword_only
    def setParams(self, **params: Any) -> KerasClassifier:
        """Set several Params at once."""
        return set_params(self, params)

    def _transformer(self, model: Model) -> KerasClassificationModel:
        return KerasClassificationModel(model=model, fromLogits=gives_logits(model))

    def _check_output(self, model: Model) -> None:
        shape = _output_shape(model)
        if shape and len(shape) != 2:
            raise ConfigError(
                "KerasClassifier needs a model with a number a row for each class as its output. "
                f"Received: output shape {shape}. Flatten or pool it first, or use KerasEstimator."
            )


def _output_shape(model: Model) -> Any:
    """The shape of the only output; None while it is not known. ConfigError for several."""
    if len(model.output_names) > 1:
        raise ConfigError(
            "Classifiers and regressors need a model with one output. Received: outputs "
            f"{model.output_names}. Use KerasEstimator with predictionCols."
        )
    return tuple(model.output_shape) if model._function is not None else None
