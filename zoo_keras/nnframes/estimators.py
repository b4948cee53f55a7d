"""NNEstimator and NNClassifier: nets behind preprocessing steps, trained on DataFrames.

In: a net, a criterion, steps, and the setters of Analytics Zoo. Out: an NNModel or
NNClassifierModel. Thin over KerasTrainer, so over `Model.fit`; Params have Spark's names.
"""

from __future__ import annotations

import copy
import math
import os
from typing import Any

from zoo_keras import losses, optimizers
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.losses import Loss
from zoo_keras.models import Model
from zoo_keras.nest import flatten
from zoo_keras.nnframes.front import joined, wants_size
from zoo_keras.nnframes.models import (
    NNClassifierModel,
    NNModel,
    ZeroBased,
    first_class,
    nn_stage,
)
from zoo_keras.nnframes.preprocessing import (
    FeatureLabelPreprocessing,
    Preprocessing,
    SeqToTensor,
    as_step,
    step_of,
)
from zoo_keras.nnframes.torch_names import (
    SGD,
    ClassNLLCriterion,
    CrossEntropyCriterion,
    ValidationMethod,
    decayed,
)
from zoo_keras.nnframes.triggers import (
    EndWhen,
    EveryEpoch,
    MaxEpoch,
    SaveWhen,
    Trigger,
    trigger_of,
)
from zoo_keras.spark.data import arrow
from zoo_keras.spark.ml.estimators import KerasTrainer
from zoo_keras.spark.scoring.columns import HIDDEN

_FOREVER = 1 << 20  # epochs, where a trigger alone ends training
_LABEL = f"{HIDDEN}label"


class _NNTrainer(KerasTrainer):
    """What both estimators share: the setters, and arguments of `fit` from them."""

    def __init__(self, model: Any, criterion: Any, features: Any, labels: Any) -> None:
        super().__init__()
        self._setDefault(maxIter=50, batchSize=1)
        self._criterion: Any = None if criterion is None else losses.get(criterion)
        self._preprocessing = FeatureLabelPreprocessing(features, labels)
        self._optimizer: Any = None
        self._decay, self._caching, self._cache_level = 0.0, True, "DRAM"
        self._validation: tuple[Any, list[Any]] | None = None
        self._validation_size: int | None = None
        self._end: Trigger | None = None
        self._saving: list[SaveWhen] = []
        self._summaries: dict[str, Any] = {}
        self._clipping: dict[str, float] = {}
        if model is not None:
            self._set(model=model)

    # ---- setters -------------------------------------------------------------------------------

    @property
    def maxEpoch(self) -> Any:
        """The Param of the number of epochs, which Spark calls maxIter."""
        return self.maxIter

    def setMaxEpoch(self, value: int) -> Any:
        """How many epochs (50)."""
        return self._set(maxIter=value)

    def getMaxEpoch(self) -> int:
        """How many epochs."""
        found: int = self.getOrDefault(self.maxIter)
        return found

    def setOptimMethod(self, value: Any) -> Any:
        """A Keras optimizer, or one of this module (SGD, Adam); without one SGD()."""
        self._optimizer = optimizers.get(value)
        return self

    def getOptimMethod(self) -> Any:
        """The optimizer."""
        return self._optimizer

    def setLearningRateDecay(self, value: float) -> Any:
        """The rate at step t is the learning rate / (1 + t * value)."""
        self._decay = float(value)
        return self

    def getLearningRateDecay(self) -> float:
        """What setLearningRateDecay was given (0)."""
        return self._decay

    def setCachingSample(self, value: bool) -> Any:
        """Either way each rank keeps its rows, in a file where they are many: nothing changes."""
        if not isinstance(value, bool):
            raise ConfigError(f"setCachingSample takes a bool. Received: {value!r}. Pass True.")
        self._caching = value
        return self

    def isCachingSample(self) -> bool:
        """What setCachingSample was given (True)."""
        return self._caching

    def setDataCacheLevel(self, level: str, num_slice: int | None = None) -> Any:
        """ "DRAM" or "DISK_AND_DRAM": ranks keep rows in memory, and in a file where they are many.
        UnsupportedError for others."""
        del num_slice
        if level not in ("DRAM", "DISK_AND_DRAM"):
            raise UnsupportedError(
                f'setDataCacheLevel: levels are "DRAM" and "DISK_AND_DRAM". Received: {level!r}. '
                "Leave it out."
            )
        self._cache_level = level
        return self

    def getDataCacheLevel(self) -> str:
        """What setDataCacheLevel was given ("DRAM")."""
        return self._cache_level

    def setSamplePreprocessing(self, value: Any) -> Any:
        """Other steps: a FeatureLabelPreprocessing, or those of the features."""
        step = as_step(value)
        if not isinstance(step, FeatureLabelPreprocessing):
            step = FeatureLabelPreprocessing(step, self._preprocessing.label)
        self._preprocessing = step
        return self

    def getSamplePreprocessing(self) -> Preprocessing:
        """The steps."""
        return self._preprocessing

    def setValidation(
        self, trigger: Any, val_df: Any, val_method: Any, batch_size: int | None = None
    ) -> Any:
        """Validate on a DataFrame after each epoch, by the criterion and these methods."""
        if not isinstance(trigger, EveryEpoch):
            raise UnsupportedError(
                f"setValidation: validation follows each epoch. Received: {trigger!r}. Pass "
                "EveryEpoch()."
            )
        methods = list(val_method) if isinstance(val_method, (list, tuple)) else [val_method]
        self._validation, self._validation_size = (val_df, methods), batch_size
        return self

    def getValidation(self) -> Any:
        """The DataFrame and the methods, or None."""
        return self._validation

    def setEndWhen(self, trigger: Any) -> Any:
        """End training when a trigger fires, in place of setMaxEpoch."""
        self._end = trigger_of(trigger)
        return self

    def getEndWhen(self) -> Trigger | None:
        """The trigger that ends training, or None."""
        return self._end

    def setCheckpoint(self, path: str, trigger: Any, isOverWrite: bool = True) -> Any:
        """Save the net in a folder, local or of any Hadoop file system, when a trigger fires: as
        model.keras, or model.N.keras without isOverWrite."""
        self._saving = [SaveWhen(str(path), trigger_of(trigger), bool(isOverWrite))]
        return self

    def getCheckpoint(self) -> tuple[str, Trigger, bool] | None:
        """(path, trigger, isOverWrite), or None."""
        found = [(s.path, s.trigger, s.over_write) for s in self._saving]
        return found[0] if found else None

    def setTrainSummary(self, value: Any) -> Any:
        """Write loss and learning rate for TensorBoard, as a TrainSummary says."""
        self._summaries["train"] = _summary(value, TrainSummary)
        return self

    def getTrainSummary(self) -> TrainSummary | None:
        """What setTrainSummary was given, or None."""
        return self._summaries.get("train")

    def setValidationSummary(self, value: Any) -> Any:
        """Write metrics of validation for TensorBoard, as a ValidationSummary says."""
        self._summaries["validation"] = _summary(value, ValidationSummary)
        return self

    def getValidationSummary(self) -> ValidationSummary | None:
        """What setValidationSummary was given, or None."""
        return self._summaries.get("validation")

    def setConstantGradientClipping(self, min: float, max: float) -> Any:
        """Cut each number of the gradient to at least `min` = -max and at most `max`."""
        if max <= 0 or min != -max:
            raise UnsupportedError(
                "setConstantGradientClipping cuts to -max and max. Received: "
                f"min={min!r}, max={max!r}. Pass e.g. -1.0, 1.0."
            )
        self._clipping = {"clipvalue": float(max)}
        return self

    def setGradientClippingByL2Norm(self, clip_norm: float) -> Any:
        """Shorten the whole gradient to this length."""
        self._clipping = {"global_clipnorm": float(clip_norm)}
        return self

    def clearGradientClipping(self) -> Any:
        """Leave gradients as they are."""
        self._clipping = {}
        return self

    # ---- training ------------------------------------------------------------------------------

    def _own_model(self, dataset: Any) -> Model:
        """A copy of the net behind the steps, compiled."""
        if self._criterion is None:
            raise ConfigError(
                f"Stage {self.uid} has no criterion. Received: none. Pass one, such as "
                "ClassNLLCriterion() or a Keras loss."
            )
        net, features = copy.deepcopy(self.getModel()), self._preprocessing.feature
        size = self._image_size(dataset) if wants_size(features) else None
        whole = joined(net, features, True, size)
        self._check_net(net)
        whole.compile(
            self._own_optimizer(), copy.deepcopy(self._criterion), metrics=self._metrics(net)
        )
        return whole

    def _check_net(self, net: Model) -> None:
        """ConfigError for a net of another kind."""

    def _image_size(self, dataset: Any) -> tuple[int, int]:
        """(height, width) of the first image, which all have to have."""
        name = self.feature_cols()
        row = dataset.select(f"{arrow.quoted(name)}.height", f"{arrow.quoted(name)}.width").first()
        if row is None or None in tuple(row):
            raise ConfigError(
                f"Column {name}: a step that draws needs images of one size. Received: "
                f"{'no rows' if row is None else 'a null in the first row'}. Check the data."
            )
        return int(row[0]), int(row[1])

    def _own_optimizer(self) -> Any:
        """A copy of the optimizer, with the rate and the clipping that were set."""
        config = (self._optimizer or SGD()).get_config() | self._clipping
        made = type(self._optimizer or SGD()).from_config(config)
        if self.isSet(self.learningRate) or self._decay:
            given = self.getOrDefault(self.learningRate) if self.isSet(self.learningRate) else None
            rate = float(made.learning_rate) if given is None else given
            made = type(made).from_config(
                {**made.get_config(), "learning_rate": _as_config(decayed(rate, self._decay))}
            )
        return made

    def _metrics(self, net: Model) -> list[Any]:
        if self._validation is None:
            return []
        classes = int(net.output_shape[-1]) if len(net.output_names) == 1 else 0
        made = [
            method.metric(classes) if isinstance(method, ValidationMethod) else method
            for method in self._validation[1]
        ]
        return [metric for metric in made if metric is not None]

    def _parts(self, dataset: Any) -> tuple[Any, Any]:
        train, validation = super()._parts(dataset)
        if self._validation is not None:
            if validation is not None:
                raise ConfigError(
                    "setValidation and validationIndicatorCol exclude each other. Received: both. "
                    "Drop one."
                )
            validation = self._validation[0]
        return self._labelled(train), None if validation is None else self._labelled(validation)

    def _labelled(self, frame: Any) -> Any:
        """The frame with labels as the criterion takes them."""
        return frame

    def _with_classes(self, frame: Any) -> Any:
        """The frame with a column of classes from 0, for labels from 1 or 0."""
        net, name = self.getModel(), self.getOrDefault(self.labelCol)
        kind = {f.name: f.dataType for f in frame.schema.fields}.get(name)
        if kind is None:
            raise ConfigError(
                f"The DataFrame has no column {name}, which labelCol names. Received: columns "
                f"{frame.columns}. Set labelCol."
            )
        if kind.typeName() == "array" or arrow.is_vector(kind):
            return frame.withColumn(_LABEL, self._lists(frame, name))
        return frame.withColumn(_LABEL, _class_column(name, *self._classes(net)))

    def _lists(self, frame: Any, name: str) -> Any:
        """The Column of labels that are no single numbers, as the loss wants them."""
        return frame[arrow.quoted(name)]

    def _classes(self, net: Model) -> tuple[int, int]:
        """The first and the last class."""
        if net._function is None:
            net = joined(copy.deepcopy(net), self._preprocessing.feature, False).layers[-1]
        first, units = first_class(self, net), net.output_shape[-1]
        return first, 1 if units == 1 else first + int(units) - 1

    def _arguments(self) -> dict[str, Any]:
        epochs = self.getOrDefault(self.maxIter)
        if self._end is not None:
            most = self._end.most_epochs
            epochs = _FOREVER if math.isinf(most) else int(most)
        return {
            **super()._arguments(),
            "epochs": epochs,
            "validation_batch_size": self._validation_size,
        }

    def _callbacks(self) -> list[Any]:
        found = [*super()._callbacks(), *map(copy.copy, self._saving)]
        if self._end is not None and not isinstance(self._end, MaxEpoch):
            found.append(EndWhen(self._end))
        return [*found, *map(_writer, sorted({each.folder for each in self._summaries.values()}))]

    # ---- folders -------------------------------------------------------------------------------

    def _more_metadata(self) -> dict[str, Any]:
        for what, given in (
            ("setValidation", self._validation),
            ("setEndWhen", self._end),
            ("setCheckpoint", self._saving or None),
            ("setTrainSummary or setValidationSummary", self._summaries or None),
        ):
            if given is not None:
                raise ConfigError(
                    f"Stage {self.uid} cannot be saved with what {what} was given, which is no "
                    f"plain data. Received: {given!r:.80}. Save it before, or save the fitted "
                    "pipeline."
                )
        return {
            "preprocessing": self._preprocessing.get_config(),
            "criterion": serialize_keras_object(self._criterion),
            "optimizer": serialize_keras_object(self._optimizer),
            "decay": self._decay,
            "clipping": self._clipping,
            "caching": [self._caching, self._cache_level],
        }

    def _take_metadata(self, metadata: dict[str, Any]) -> None:
        self.setSamplePreprocessing(step_of(metadata["preprocessing"]))
        for name in ("criterion", "optimizer"):
            setattr(self, f"_{name}", deserialize_keras_object(metadata[name]))
        self._decay, self._clipping = metadata["decay"], dict(metadata["clipping"])
        self._caching, self._cache_level = metadata["caching"]


def _less(labels: Any, kind: Any, first: int) -> Any:
    """The labels of each row, in arrays or arrays of these, counted from 0."""
    from pyspark.sql.functions import transform

    inner = getattr(kind, "elementType", None)  # of a vector, which is an array by now, none
    nested = getattr(inner, "elementType", None) is not None
    return transform(labels, lambda x: _less(x, inner, first) if nested else x - first)


def _writer(folder: str) -> Any:
    """What writes for TensorBoard."""
    from zoo_keras import callbacks

    module: Any = callbacks
    return module.TensorBoard(folder, write_graph=False)


def _summary(value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    raise ConfigError(
        f"set{kind.__name__} takes a {kind.__name__}. Received: {value!r:.80}. Pass "
        f"{kind.__name__}(log_dir, app_name)."
    )


def _as_config(rate: Any) -> Any:
    return serialize_keras_object(rate) if hasattr(rate, "get_config") else rate


class TrainSummary:
    """Where setTrainSummary writes: log_dir/app_name."""

    def __init__(self, log_dir: str, app_name: str) -> None:
        self.folder = os.path.join(log_dir, app_name)


class ValidationSummary(TrainSummary):
    """Where setValidationSummary writes: log_dir/app_name."""


@nn_stage
class NNEstimator(_NNTrainer, ZeroBased):
    """Trains a Keras model behind preprocessing steps. `fit` gives an NNModel.

    ClassNLLCriterion and CrossEntropyCriterion take labels from 1, from 0 with
    zero_based_label=True; other losses take labels as they are.

    Args:
        model: a Keras model. Each fit trains a copy, from the weights that it has now.
        criterion: a criterion of this module, or a Keras loss.
        feature_preprocessing: a step, a chain of them, or a list of sizes.
        label_preprocessing: sizes of the label, of at most one axis.

    Setters are those of Analytics Zoo, and those of KerasEstimator. Raises ConfigError and
    ShapeError before training; errors name the stage.

    >>> NNEstimator(net, MSECriterion(), [2], [1]).setBatchSize(4).setMaxEpoch(10).fit(frame)
    """

    def __init__(
        self, model: Any = None, criterion: Any = None, feature_preprocessing: Any = None,
        label_preprocessing: Any = None, zero_based_label: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(model, criterion, feature_preprocessing, label_preprocessing)
        self._setDefault(zeroBasedLabel=False)
        if zero_based_label:
            self._set(zeroBasedLabel=True)
        label = self._preprocessing.label
        if isinstance(label, SeqToTensor) and len(label.size) > 1:
            raise UnsupportedError(
                "NNEstimator: labels are numbers or arrays of one axis. Received: "
                f"label_preprocessing of size {label.size}. Flatten the model's output."
            )

    def _takes_classes(self) -> bool:
        return isinstance(self._criterion, (ClassNLLCriterion, CrossEntropyCriterion))

    def _labelled(self, frame: Any) -> Any:
        return self._with_classes(frame) if self._takes_classes() else frame

    def _lists(self, frame: Any, name: str) -> Any:
        """Of several classes a row; the loss itself refuses what is none of them."""
        from pyspark.ml.functions import vector_to_array

        labels, first = super()._lists(frame, name), self._classes(self.getModel())[0]
        if arrow.is_vector(frame.schema[name].dataType):
            labels = vector_to_array(labels)
        return _less(labels, frame.schema[name].dataType, first) if first else labels

    def _label_cols(self) -> Any:
        return _LABEL if self._takes_classes() else super()._label_cols()

    def _transformer(self, model: Model) -> NNModel:
        return NNModel(model.layers[-1], self._preprocessing.feature)


@nn_stage
class NNClassifier(_NNTrainer, ZeroBased):
    """Trains a classifier behind preprocessing steps. `fit` gives an NNClassifierModel.

    Labels are numbers from 1, from 0 with zero_based_label=True; for a net with one output they are
    0 and 1. A label that is none of the classes ends training, and is named.

    Args:
        model, criterion, feature_preprocessing: see NNEstimator.

    >>> head = Sequential().add(Linear(1000, 2)).add(LogSoftMax())
    >>> classifier = NNClassifier(head, ClassNLLCriterion(), SeqToTensor([1000]))
    >>> classifier.setOptimMethod(Adam(learningrate=0.002)).setBatchSize(4).setMaxEpoch(25)
    """

    def __init__(
        self, model: Any = None, criterion: Any = None, feature_preprocessing: Any = None,
        zero_based_label: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(model, criterion, feature_preprocessing, None)
        self._setDefault(zeroBasedLabel=False)
        if zero_based_label:
            self._set(zeroBasedLabel=True)

    def _check_net(self, net: Model) -> None:
        if len(net.output_names) != 1 or len(net.output_shape) != 2:
            raise ConfigError(
                "NNClassifier needs a model with a number a row for each class as its output. "
                f"Received: outputs of shape {net.output_shape}. Use NNEstimator."
            )

    def _labelled(self, frame: Any) -> Any:
        return self._with_classes(frame)

    def _label_cols(self) -> Any:
        return _LABEL

    def _transformer(self, model: Model) -> NNClassifierModel:
        made = NNClassifierModel(model.layers[-1], self._preprocessing.feature)
        return made._set(fromLogits=_gives_logits(model))


def _class_column(name: str, first: int, last: int) -> Any:
    """The Column of classes from 0 for labels of these; others end the job, by name."""
    from pyspark.sql.functions import col, concat, lit, raise_error, when

    label = col(arrow.quoted(name)).cast("double")
    expected = f"Column {name}: expected classes from {first} to {last}. Received: "
    advice = ". Mend the labels" + (
        ", or call setZeroBasedLabel(True) where they count from 0." if first else "."
    )
    shown = when(label.isNull(), lit("null")).otherwise(col(arrow.quoted(name)).cast("string"))
    wrong = raise_error(concat(lit(expected), shown, lit(advice))).cast("double")
    known = label.isin([float(c) for c in range(first, last + 1)])
    return when(known, label - lit(float(first))).otherwise(wrong)


def _gives_logits(model: Model) -> bool:
    """Whether a softmax of the outputs gives probabilities: of log-probabilities it does, too."""
    loss = flatten(model.loss)[0]
    if isinstance(loss, ClassNLLCriterion):
        return loss.logProbAsInput
    if isinstance(loss, CrossEntropyCriterion):
        return True
    return isinstance(loss, Loss) and bool(loss.get_config().get("from_logits", False))
