"""Params of the stages: what Spark's own mixins lack, checks of their values, setX and getX.

In: values that users set. Out: Params that Spark's tools (grids, explainParams, metadata) know; a
ConfigError that names the Param of a wrong value. Knows no data and no training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol

from zoo_keras.callbacks import Callback
from zoo_keras.errors import ConfigError, ZooKerasError
from zoo_keras.models import Model
from zoo_keras.spark.fit.options import FitOptions
from zoo_keras.training.arguments import FitArguments


def _param(name: str, doc: str, converter: Callable[[Any], Any]) -> Any:
    return Param(Params._dummy(), name, doc, typeConverter=converter)


# ---- checks of values ----------------------------------------------------------------------------


def keras_model(value: Any) -> Model:
    """A Keras model; ConfigError for anything else."""
    if isinstance(value, Model):
        return value
    raise ConfigError(
        f'Param "model" must be a Keras model. Received: {value!r}. Build one with Sequential or '
        "Model, or load it with zoo_keras.saving.load_model."
    )


def _columns(value: Any) -> Any:
    """Names of columns as `fit` takes them: a list, lists in it, or a dict by input."""
    parts = list(value.values()) if isinstance(value, dict) else value
    is_list = isinstance(parts, (list, tuple)) and len(parts) > 0
    if not is_list or not all(_is_name(p) or _are_names(p) for p in parts):
        raise ConfigError(
            "A Param of columns must be a list of names, a list of such lists, or a dict by input "
            f'or output. Received: {value!r}. Pass e.g. ["age", "income"], or {{"image": "pixels", '
            '"words": "text"}.'
        )
    plain = [p if _is_name(p) else list(p) for p in parts]
    return dict(zip(value, plain, strict=True)) if isinstance(value, dict) else plain


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(_is_name, value))


def _callbacks(value: Any) -> list[Callback]:
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    for each in given:
        if not isinstance(each, Callback):
            raise ConfigError(
                f'Param "callbacks" must hold Keras callbacks. Received: {each!r}. Pass e.g. '
                '[EarlyStopping("val_loss")].'
            )
    return given


# Arguments of fit that Params stand for.
_BY_PARAMS = {
    "batch_size", "callbacks", "epochs", "feature_cols", "fill_value", "label_cols", "num_ranks",
    "seed", "validation_data", "validation_split", "verbose", "weight_col",
}  # fmt: skip
_LOCAL = {"y", "sample_weight", "validation_steps"}  # of arrays
FIT_OPTIONS = sorted(
    ({f.name for f in fields(FitArguments)} | set(FitOptions._fields)) - _BY_PARAMS - _LOCAL
)


def _fit_options(value: Any) -> dict[str, Any]:
    unknown = sorted(map(str, set(value) - set(FIT_OPTIONS))) if isinstance(value, dict) else value
    if unknown or not isinstance(value, dict):
        raise ConfigError(
            'Param "fitOptions" must be a dict of further arguments of Model.fit. Received: '
            f"{unknown!r}. Known ones are {', '.join(FIT_OPTIONS)}; others have Params."
        )
    options = dict(value)
    if isinstance(weights := options.get("class_weight"), dict):  # JSON has no other keys than text
        options["class_weight"] = {int(label): float(w) for label, w in weights.items()}
    _as_json("fitOptions", options)
    return options


def _fill_value(value: Any) -> Any:
    return _as_json("fillValue", value)


def _as_json(name: str, value: Any) -> Any:
    try:
        json.dumps(value)
    except TypeError:
        raise ConfigError(
            f'Param "{name}" must hold plain numbers, text, lists and dicts. Received: {value!r}. '
            "Convert numpy's numbers with .item()."
        ) from None
    return value


# ---- Params that Spark has no mixin for ----------------------------------------------------------


class HasFeaturesCols(HasFeaturesCol):
    """Columns of one input or several: `featuresCols` takes the place of `featuresCol`."""

    featuresCols = _param(
        "featuresCols",
        "columns of the inputs, in place of featuresCol: a list (one column for each input, or all "
        "side by side for a single one), a list of lists, or a dict by input name.",
        _columns,
    )

    def feature_cols(self) -> Any:
        """What `fit` and `predict` take."""
        if not self.isSet(self.featuresCols):
            return self.getOrDefault(self.featuresCol)
        if self.isSet(self.featuresCol):
            raise ConfigError(
                "featuresCol and featuresCols exclude each other. Received: featuresCol="
                f"{self.getOrDefault(self.featuresCol)!r}, featuresCols="
                f"{self.getOrDefault(self.featuresCols)!r}. Set one of them."
            )
        return self.getOrDefault(self.featuresCols)


class HasFillValue(Params):
    """Nulls."""

    fillValue = _param(
        "fillValue",
        "what stands for nulls and NaN of inputs: a number or text, or a dict by column. Unset: "
        "they are refused.",
        _fill_value,
    )


class HasErrorCol(Params):
    """Rows that cannot be scored."""

    errorCol = _param(
        "errorCol",
        "a column for what is wrong with a row that cannot be scored, whose outputs are then null; "
        "null for good rows. Unset: such a row ends the job, or the stream, with an error.",
        TypeConverters.toString,
    )


class HasOutputs(Params):
    """Several outputs, and how they become columns."""

    predictionCols = _param(
        "predictionCols",
        "a column for each output, in place of predictionCol.",
        TypeConverters.toListString,
    )
    vectors = _param(
        "vectors",
        "whether outputs that are a list of numbers become ML vectors (or arrays of floats).",
        TypeConverters.toBoolean,
    )


class HasLogits(Params):
    """What outputs of a classifier mean."""

    fromLogits = _param(
        "fromLogits",
        "whether the model gives logits, not probabilities. Unset: as the loss says.",
        TypeConverters.toBoolean,
    )


class HasTraining(Params):
    """What an estimator asks of `Model.fit`, as far as Spark has no mixin for it."""

    model = _param("model", "the compiled Keras model; each fit trains a copy of it.", keras_model)
    labelCols = _param(
        "labelCols",
        "columns of the targets of several outputs, in place of labelCol: as featuresCols.",
        _columns,
    )
    validationSplit = _param(
        "validationSplit",
        "share of the rows that validates after each epoch.",
        TypeConverters.toFloat,
    )
    callbacks = _param(
        "callbacks",
        "Keras callbacks; each fit takes shallow copies. They are not saved.",
        _callbacks,
    )
    patience = _param(
        "patience",
        "epochs without a better value of `monitor` after which training stops, with the weights "
        "of the best epoch. Unset: all epochs.",
        TypeConverters.toInt,
    )
    monitor = _param(
        "monitor",
        "the metric that `patience` and the checkpoint watch. Unset: val_loss where there is "
        "validation, else loss.",
        TypeConverters.toString,
    )
    checkpointPath = _param(
        "checkpointPath",
        "where the model of the best epoch so far is saved, as .keras or .h5: local or of any "
        "Hadoop file system; may hold fields such as {epoch:02d}.",
        TypeConverters.toString,
    )
    verbose = _param(
        "verbose",
        "0: silent, 1: a progress bar, 2: a line for each epoch.",
        TypeConverters.toInt,
    )
    fitOptions = _param(
        "fitOptions",
        f"further arguments of Model.fit by name: {', '.join(FIT_OPTIONS)}.",
        _fit_options,
    )


# ---- what all stages share -----------------------------------------------------------------------


def stage_class(cls: Any) -> Any:
    """A class decorator: setX and getX for every Param that has none, as Spark's stages have, and
    the module under which saved folders and users know the class."""
    cls.__module__ = "zoo_keras.spark.ml"
    for name in dir(cls):
        param = getattr(cls, name)
        if isinstance(param, Param):
            for make in (_getter, _setter):
                method = make(param)
                if not hasattr(cls, method.__name__):
                    setattr(cls, method.__name__, method)
    return cls


def _title(name: str) -> str:
    return name[0].upper() + name[1:]


def _getter(param: Any) -> Any:
    def get(self: Any) -> Any:
        return self.getOrDefault(param.name)

    get.__name__, get.__doc__ = (
        f"get{_title(param.name)}",
        f"The value of {param.name}: {param.doc}",
    )
    return get


def _setter(param: Any) -> Any:
    def put(self: Any, value: Any) -> Any:
        return self._set(**{param.name: value})

    put.__name__, put.__doc__ = f"set{_title(param.name)}", f"Sets {param.name}: {param.doc}"
    return put


def given(stage: Any, param: Any) -> Any:
    """A Param's value; None where it is not set."""
    return stage.getOrDefault(param) if stage.isSet(param) else None


def set_params(stage: Any, given: dict[str, Any]) -> Any:
    """Set the Params of these names, as `setParams` does; ConfigError names an unknown one."""
    known = [param.name for param in stage.params]
    if unknown := sorted(set(given) - set(known)):
        raise ConfigError(
            f"{type(stage).__name__}: unknown Params. Received: {unknown}. Known ones are "
            f"{', '.join(known)}."
        )
    return stage._set(**{name: value for name, value in given.items() if value is not None})


@contextmanager
def at_stage(stage: Any) -> Iterator[None]:
    """Errors of ours say in which stage of a pipeline they arose."""
    try:
        yield
    except ZooKerasError as error:
        error.args = (f"Stage {stage.uid}: {error}", *error.args[1:])
        raise
