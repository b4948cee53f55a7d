"""NNModel and NNClassifierModel: a net behind preprocessing steps, as transformers.

In: a DataFrame with the column of the features. Out: the same with a prediction. Thin over
KerasModel and KerasClassificationModel; the folder of a saved one holds the net as `model.keras`
and the steps as JSON.
"""

from __future__ import annotations

from typing import Any

from pyspark.ml.param import Param, Params, TypeConverters

from zoo_keras.errors import ConfigError
from zoo_keras.models import Model
from zoo_keras.nnframes.front import joined
from zoo_keras.nnframes.preprocessing import (
    FeatureLabelPreprocessing,
    Preprocessing,
    as_step,
    step_of,
)
from zoo_keras.spark.ml.models import KerasClassificationModel, KerasModel
from zoo_keras.spark.ml.outputs import as_column
from zoo_keras.spark.ml.params import stage_class


class ZeroBased(Params):
    """Where labels begin."""

    zeroBasedLabel = Param(
        Params._dummy(),
        "zeroBasedLabel",
        "whether the first class is 0, not 1. A net with one output has classes 0 and 1 always.",
        typeConverter=TypeConverters.toBoolean,
    )


def first_class(stage: Any, net: Model) -> int:
    """The number of the first class."""
    one_unit = net._function is not None and net.output_shape[-1] == 1
    return 0 if one_unit or stage.getOrDefault(stage.zeroBasedLabel) else 1


def nn_stage(cls: Any) -> Any:
    """`stage_class` for stages that users know in zoo_keras.nnframes."""
    cls = stage_class(cls)
    cls.__module__ = "zoo_keras.nnframes"
    return cls


class BehindSteps:
    """A transformer whose net stands behind a preprocessing step."""

    _step: Preprocessing
    _whole: tuple[Any, Any, Model] | None = None

    def _scoring_model(self) -> Model:
        """The net behind the steps as they are when a model scores; made once."""
        net, step = self.model, self._step  # type: ignore[attr-defined]
        if self._whole is None or self._whole[0] is not net or self._whole[1] is not step:
            self._whole = net, step, joined(net, step, training=False)
        return self._whole[2]

    def setSamplePreprocessing(self, value: Any) -> Any:
        """Other steps for the features; of a FeatureLabelPreprocessing the first part."""
        step = as_step(value)
        self._step = step.feature if isinstance(step, FeatureLabelPreprocessing) else step
        return self

    def getSamplePreprocessing(self) -> Preprocessing:
        """The steps."""
        return self._step

    def setBatchSize(self, value: int) -> Any:
        """Rows that one call of the engine takes; results do not depend on it."""
        return self.setScoringBatchSize(value)  # type: ignore[attr-defined]

    def getBatchSize(self) -> int:
        """Rows that one call of the engine takes."""
        found: int = self.getScoringBatchSize()  # type: ignore[attr-defined]
        return found

    def _more_metadata(self) -> dict[str, Any]:
        return {"preprocessing": self._step.get_config()}

    def _take_metadata(self, metadata: dict[str, Any]) -> None:
        self._step = step_of(metadata["preprocessing"])


@nn_stage
class NNModel(BehindSteps, KerasModel):
    """A Keras model as a stage, behind preprocessing steps.

    Outputs are arrays of floats, or doubles where they are one number a row.

    Args:
        model: a Keras model; `.model` gives it back.
        feature_preprocessing: a step, a chain of them, or a list of sizes.

    Raises ConfigError and ShapeError when steps do not lead to the model's input; errors name the
    stage. Source: NNModel of Analytics Zoo.

    >>> chain = ChainedPreprocessing([RowToImageFeature(), ImageResize(224, 224),
    ...     ImageChannelNormalize(123.0, 117.0, 104.0), ImageMatToTensor(), ImageFeatureToTensor()])
    >>> NNModel(net, chain).setFeaturesCol("image").setPredictionCol("embedding").transform(frame)
    """

    def __init__(self, model: Any = None, feature_preprocessing: Any = None) -> None:
        super().__init__()
        self._setDefault(vectors=False)
        self.setSamplePreprocessing(feature_preprocessing)
        if model is not None:
            self.setModel(model)


@nn_stage
class NNClassifierModel(BehindSteps, KerasClassificationModel, ZeroBased):
    """A classifier as a stage, behind preprocessing steps: adds `prediction`, a double.

    Classes count from 1, from 0 with zero_based_label=True; a net with one output has 0 and 1.

    Args:
        model, feature_preprocessing: see NNModel.

    Source: NNClassifierModel of Analytics Zoo.

    >>> NNClassifierModel(net, SeqToTensor([1000])).setFeaturesCol("embedding").transform(frame)
    """

    def __init__(
        self, model: Any = None, feature_preprocessing: Any = None, zero_based_label: bool = False
    ) -> None:
        super().__init__()
        self._setDefault(rawPredictionCol="", probabilityCol="", zeroBasedLabel=False)
        if zero_based_label:
            self._set(zeroBasedLabel=True)
        self.setSamplePreprocessing(feature_preprocessing)
        if model is not None:
            self.setModel(model)

    def setThreshold(self, value: float) -> NNClassifierModel:
        """What the one output of a net must be above for class 1 (0.5)."""
        if not 0 < value < 1:
            raise ConfigError(
                f"setThreshold: a threshold lies between 0 and 1. Received: {value!r}. Pass 0.5."
            )
        return self.setThresholds([1 - value, value])

    def _made(self, scored: Any, hidden: list[str]) -> list[Any]:
        *others, prediction = super()._made(scored, hidden)
        first = first_class(self, self.model)
        name = self.getOrDefault(self.predictionCol)
        return [*others, (prediction + as_column(f"{float(first)}D")).alias(name)]
