"""Arguments of fit for a cluster: which there are, and checks that need no cluster.

In: the keyword arguments of Model.fit. Out: FitOptions and the arguments that Keras knows, or a
ConfigError before anything has started.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.spark.transport.wire import WIRE_TYPES
from zoo_keras.training.data import check_batch_size


class FitOptions(NamedTuple):
    """Arguments of fit that exist only for Spark.

    Attributes:
        feature_cols, label_cols, weight_col: columns of a DataFrame.
        fill_value: stands for nulls and NaN of inputs: a number or text, or a dict by column; None:
            they are refused.
        pad_value: pads rows of different sizes to the longest of all rows.
        num_ranks: tasks that train together; default: as many as partitions, at most the slots.
        order_rows: whether rows that come out of a Spark shuffle, in whatever order they arrive,
            are ordered by their content before training shuffles them (shuffle=True), so that the
            same data give the same bits. False saves reading them once more.
        wire: dtype of gradients on the network: float32, bfloat16 or float16; default:
            bfloat16 when a layer has the policy mixed_bfloat16, else float32.
        max_restarts: how often a lost executor is survived by going back to the last epoch's end.
        step_timeout: seconds to wait for the slowest rank within a step.
        data_budget: bytes of records that a rank keeps in memory before it uses a file.
    """

    feature_cols: Any = None
    label_cols: Any = None
    weight_col: str | None = None
    fill_value: Any = None
    pad_value: float | None = None
    num_ranks: int | None = None
    order_rows: bool = True
    wire: str | None = None
    max_restarts: int = 3
    step_timeout: float = 600.0
    data_budget: int = 1 << 30


KERAS_ARGUMENTS = frozenset(
    "y batch_size epochs verbose callbacks validation_split validation_data shuffle class_weight "
    "sample_weight initial_epoch steps_per_epoch validation_steps validation_batch_size "
    "validation_freq".split()
)


def default_wire(model: Any) -> str:
    """The dtype in which the gradients of a model travel unless the user says otherwise."""
    rounds = any(getattr(layer, "rounds", False) for layer in model._flatten_layers())
    return "bfloat16" if rounds else "float32"


def split_arguments(arguments: dict[str, Any]) -> tuple[dict[str, Any], FitOptions]:
    """Keras' arguments and ours, checked."""
    keras = {k: v for k, v in arguments.items() if k in KERAS_ARGUMENTS}
    own = {k: v for k, v in arguments.items() if k not in KERAS_ARGUMENTS}
    unknown = sorted(set(own) - set(FitOptions._fields))
    if unknown:
        raise ConfigError(
            f"fit on Spark: unknown arguments. Received: {unknown}. "
            f"Known ones are {', '.join(FitOptions._fields)}."
        )
    options = FitOptions(**own)
    _check_options(options)
    _check_keras(keras)
    return keras, options


def _check_options(o: FitOptions) -> None:
    if o.num_ranks is not None:
        _whole("num_ranks", o.num_ranks, 1)
    if o.order_rows not in (True, False):
        raise ConfigError(
            f"fit: order_rows must be a bool. Received: order_rows={o.order_rows!r}. Pass True or "
            "False."
        )
    _whole("max_restarts", o.max_restarts, 0)
    _whole("data_budget", o.data_budget, 0)
    if o.wire is not None and o.wire not in WIRE_TYPES:
        raise ConfigError(
            f"fit: wire must be one of {', '.join(WIRE_TYPES)}. Received: wire={o.wire!r}. "
            "Leave it out for float32."
        )
    if not _is_number(o.step_timeout) or o.step_timeout <= 0:
        raise ConfigError(
            f"fit: step_timeout must be a number of seconds above 0. Received: {o.step_timeout!r}. "
            "Leave it out for 600."
        )


def _check_keras(a: dict[str, Any]) -> None:
    _refuse_local(a)
    a["batch_size"] = check_batch_size(a["batch_size"])
    tests = a["validation_batch_size"]
    a["validation_batch_size"] = check_batch_size(a["batch_size"] if tests is None else tests)
    _whole("epochs", a["epochs"], 0)
    _whole("initial_epoch", a["initial_epoch"], 0)
    if a["steps_per_epoch"] is not None:
        _whole("steps_per_epoch", a["steps_per_epoch"], 1)
    if a["shuffle"] not in (True, False):
        raise ConfigError(
            f"fit on Spark: shuffle must be a bool. Received: {a['shuffle']!r}. Pass True or False."
        )
    _check_class_weight(a["class_weight"])
    share = a["validation_split"]
    if not _is_number(share) or not 0 <= share < 1:
        raise ConfigError(
            f"fit: validation_split must lie in [0, 1). Received: {share!r}. Pass e.g. 0.2."
        )
    if share and a["validation_data"] is not None:
        raise ConfigError(
            "fit: validation_data and validation_split exclude each other. Received: both. "
            "Drop one."
        )
    freq = a["validation_freq"]
    if not isinstance(freq, Collection):
        _whole("validation_freq", freq, 1)


def _refuse_local(a: dict[str, Any]) -> None:
    """Arguments that belong to arrays, not to an RDD or DataFrame."""
    for name in ("y", "sample_weight"):
        if a[name] is not None:
            raise ConfigError(
                f"fit on Spark: {name} comes with the records. Received: {name} as an argument. "
                "Use an RDD of (x, y[, sample_weight]), or label_cols and weight_col of a "
                "DataFrame."
            )
    if a["validation_steps"] is not None:
        raise ConfigError(
            "fit on Spark: validation uses all rows. Received: validation_steps="
            f"{a['validation_steps']!r}. Leave it out, or sample validation_data."
        )


def _check_class_weight(given: Any) -> None:
    """Classes by their numbers: the labels are numbers by now."""
    keys = list(given or {})
    wrong = [key for key in keys if not _is_number(key) or int(key) != key or key < 0]
    wrong += [given[key] for key in keys if not _is_number(given[key])]
    if wrong:
        raise ConfigError(
            f"fit: class_weight maps class numbers 0, 1, ... to weights. Received: {wrong[:3]} in "
            f"class_weight={str(given)[:80]}. Use the numbers that the labels have."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _whole(name: str, value: Any, least: int) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise ConfigError(
            f"fit: {name} must be a whole number of at least {least}. Received: {name}={value!r}. "
            "Change it."
        )
