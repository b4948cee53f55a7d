"""Transformers around Keras models: KerasModel, KerasClassificationModel, KerasRegressionModel.

In: a DataFrame with the columns of the inputs. Out: the same with the columns of the outputs,
lazily, by way of `predict`. Knows no training; estimators make these, and so may a user.
"""

from __future__ import annotations

from typing import Any

from pyspark import keyword_only
from pyspark.ml.base import Model as Transformer
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasPredictionCol,
    HasProbabilityCol,
    HasRawPredictionCol,
    HasThresholds,
)

from zoo_keras.errors import ConfigError
from zoo_keras.losses import Loss
from zoo_keras.models import Model
from zoo_keras.nest import flatten
from zoo_keras.spark.ml import outputs
from zoo_keras.spark.ml.folders import Foldered
from zoo_keras.spark.ml.params import (
    HasErrorCol,
    HasFeaturesCols,
    HasFillValue,
    HasLogits,
    HasOutputs,
    at_stage,
    given,
    keras_model,
    set_params,
    stage_class,
)
from zoo_keras.spark.scoring.columns import HIDDEN
from zoo_keras.spark.scoring.predict import predict_on_spark


class KerasTransformer(
    Transformer, HasFeaturesCols, HasPredictionCol, HasFillValue, HasErrorCol, Foldered
):
    """What the three kinds of models share.

    Attributes:
        model: the Keras model. It is no Param, so that a grid over an estimator's `model` leaves
            what was trained alone.
        history: metric -> its value after each epoch, when an estimator has made this.
    """

    scoringBatchSize = Param(
        Params._dummy(),
        "scoringBatchSize",
        "rows that one call of the engine takes; results do not depend on it.",
        typeConverter=TypeConverters.toInt,
    )

    def __init__(self) -> None:
        super().__init__()
        self._model: Model | None = None
        self.history: dict[str, list[Any]] = {}
        self._setDefault(scoringBatchSize=128)

    @property
    def model(self) -> Model:
        """The Keras model; ConfigError when none was given."""
        if self._model is None:
            raise ConfigError(
                f"Stage {self.uid} has no Keras model. Received: none. Pass model=..., or call "
                "setModel."
            )
        return self._model

    def getModel(self) -> Model:
        """The Keras model."""
        return self.model

    def setModel(self, value: Any) -> Any:
        """Take another Keras model."""
        self._model = keras_model(value)
        return self

    def _set_all(self, params: dict[str, Any]) -> Any:
        if (model := params.pop("model", None)) is not None:
            self.setModel(model)
        return set_params(self, params)

    def _transform(self, dataset: Any) -> Any:
        with at_stage(self):
            names, wrong = self._named(), given(self, self.errorCol)
            self._refuse_taken(dataset, [*names, *self._more_names(), *filter(None, [wrong])])
            hidden = [f"{HIDDEN}output{i}" for i in range(len(names))]
            scored = predict_on_spark(
                self._scoring_model(), dataset,
                batch_size=self.getOrDefault(self.scoringBatchSize),
                feature_cols=self.feature_cols(), output_col=hidden,
                fill_value=given(self, self.fillValue), error_col=wrong, stage=self.uid,
            )  # fmt: skip
            return scored.select("*", *self._made(scored, hidden)).drop(*hidden)

    def _scoring_model(self) -> Model:
        """The model from columns to outputs."""
        return self.model

    def _named(self) -> list[str]:
        """The user's name of a column for each output."""
        return [self.getOrDefault(self.predictionCol)]

    def _more_names(self) -> list[str]:
        """Other columns that this adds."""
        return []

    def _made(self, scored: Any, hidden: list[str]) -> list[Any]:
        """Columns, with names, of the columns that hold the outputs."""
        raise NotImplementedError

    def _refuse_taken(self, dataset: Any, names: list[str]) -> None:
        if taken := [n for n in names if n in dataset.columns or names.count(n) > 1]:
            raise ConfigError(
                f"The DataFrame would have columns {taken} twice. Received: {type(self).__name__}, "
                f"which adds {names}. Set predictionCol and its kin to other names, or drop them."
            )


@stage_class
class KerasModel(KerasTransformer, HasOutputs):
    """A Keras model as a stage of a pipeline: a backbone, or what a KerasEstimator has trained.

    An output of one number a row becomes a double, a list of numbers a vector (an array of floats
    with vectors=False), higher ranks nested arrays of floats.

    Args:
        model: a Keras model; it need not be compiled.
        featuresCol, featuresCols: columns of the inputs ("features"; see `fit`'s feature_cols).
        predictionCol, predictionCols: of the output ("prediction"), or of several ones.
        fillValue, errorCol, vectors, scoringBatchSize: see explainParams.

    Raises ConfigError for columns and Params that don't fit; errors name the stage. Source:
    pyspark.ml.Model, NNModel of Analytics Zoo.

    >>> stage = KerasModel(model=backbone, featuresCol="image", predictionCol="embedding")
    >>> Pipeline(stages=[stage, LogisticRegression(featuresCol="embedding")]).fit(frame)
    """

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._setDefault(vectors=True)
        self._set_all(params)

    @keyword_only
    def setParams(self, **params: Any) -> KerasModel:
        """Set several Params, or the model, at once."""
        return self._set_all(params)

    def _named(self) -> list[str]:
        if self.isSet(self.predictionCols):
            names = list(self.getOrDefault(self.predictionCols))
        else:
            names = super()._named()
        wanted = len(self.model.output_names) or len(names)
        if len(names) != wanted:
            raise ConfigError(
                f"The model has {wanted} outputs ({', '.join(self.model.output_names)}). Received: "
                f"columns {names}. Set predictionCols to one name for each."
            )
        return names

    def _made(self, scored: Any, hidden: list[str]) -> list[Any]:
        as_vectors = self.getOrDefault(self.vectors)
        return [
            outputs.plain(scored, each, as_vectors).alias(name)
            for each, name in zip(hidden, self._named(), strict=True)
        ]


@stage_class
class KerasRegressionModel(KerasTransformer):
    """A Keras model that gives one number a row: `prediction` is a double, as RegressionEvaluator
    wants it. Args and errors are those of KerasModel, without those of several outputs."""

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._set_all(params)

    @keyword_only
    def setParams(self, **params: Any) -> KerasRegressionModel:
        """Set several Params, or the model, at once."""
        return self._set_all(params)

    def _made(self, scored: Any, hidden: list[str]) -> list[Any]:
        return [outputs.number(scored, hidden[0]).alias(self._named()[0])]


@stage_class
class KerasClassificationModel(
    KerasTransformer, HasProbabilityCol, HasRawPredictionCol, HasThresholds, HasLogits
):
    """A Keras model that gives a number for each class, or one unit for the second of two.

    Adds `rawPrediction` (the outputs: logits or probabilities) and `probability` as vectors, and
    `prediction`, the class from 0 on, as a double, as Spark's evaluators want them. A column whose
    Param is "" is left out.

    Args:
        model, featuresCol(s), predictionCol, fillValue, errorCol, scoringBatchSize: see KerasModel.
        probabilityCol, rawPredictionCol: names of the vectors.
        thresholds: see explainParams.
        fromLogits: whether the model gives logits; unset, the loss that it is compiled with says.
    """

    @keyword_only
    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._set_all(params)

    @keyword_only
    def setParams(self, **params: Any) -> KerasClassificationModel:
        """Set several Params, or the model, at once."""
        return self._set_all(params)

    @property
    def numClasses(self) -> int:
        """How many classes there are."""
        return classes_of(self.model)

    def _more_names(self) -> list[str]:
        names = (self.getOrDefault(self.rawPredictionCol), self.getOrDefault(self.probabilityCol))
        return [name for name in names if name]

    def _made(self, scored: Any, hidden: list[str]) -> list[Any]:
        found = outputs.scores(scored, hidden[0], self._gives_logits(), self._thresholds())
        columns = [
            (self.rawPredictionCol, outputs.vector(scored, found.raw)),
            (self.probabilityCol, outputs.vector(scored, found.probability)),
            (self.predictionCol, outputs.as_column(found.prediction)),
        ]
        named = [(self.getOrDefault(param), column) for param, column in columns]
        return [column.alias(name) for name, column in named if name]

    def _gives_logits(self) -> bool:
        if self.isSet(self.fromLogits):
            return bool(self.getOrDefault(self.fromLogits))
        return gives_logits(self.model)

    def _thresholds(self) -> list[float] | None:
        if not self.isSet(self.thresholds):
            return None
        found: list[float] = self.getOrDefault(self.thresholds)
        if len(found) != self.numClasses or min(found) < 0 or found.count(0.0) > 1:
            raise ConfigError(
                f"thresholds must be {self.numClasses} numbers above 0, one for each class; one of "
                f"them may be 0. Received: {found}. Change them."
            )
        return found


def classes_of(model: Model) -> int:
    """The number of classes that a model's output stands for."""
    units = model.output_shape[-1]
    return 2 if units == 1 else int(units)


def gives_logits(model: Model) -> bool:
    """Whether the loss that a model is compiled with takes logits; an uncompiled one gives none."""
    losses = [loss for loss in flatten(model.loss) if isinstance(loss, Loss)]
    return bool(losses and losses[0].get_config().get("from_logits", False))
