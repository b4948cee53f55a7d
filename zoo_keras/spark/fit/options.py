"""Arguments of fit for a cluster: which there are, and checks that need no cluster.

In: the FitArguments of Model.fit, and the other keywords that it was given. Out: both as they hold
on a cluster, or a ConfigError before anything has started.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from zoo_keras.errors import ConfigError
from zoo_keras.spark.transport.wire import WIRE_TYPES
from zoo_keras.training.arguments import FitArguments, is_number, whole
from zoo_keras.training.data import check_batch_size
from zoo_keras.training.interface import TrainedModel


class FitOptions(NamedTuple):
    """Arguments of fit that exist only for Spark.

    Attributes:
        feature_cols, label_cols, weight_col: columns of a DataFrame.
        num_ranks: tasks that train together; default: as many as partitions, at most the slots.
        order_rows: whether rows that come out of a Spark shuffle, in whatever order they arrive,
            are ordered by their content before training shuffles them (shuffle=True), so that the
            same data give the same bits. False saves reading them once more.
        seed: of the order of rows; default: drawn, as set_random_seed says.
        wire: dtype of gradients on the network: float32, bfloat16 or float16; default:
            bfloat16 when a layer has the policy mixed_bfloat16, else float32.
        max_restarts: how often a lost executor is survived by going back to the last epoch's end.
        min_ranks: with how few ranks a fit may go on that has lost executors, when none come in
            their place within start_timeout seconds: from the last epoch's end, with the records
            spread anew, as a fit with that num_ranks would. None: it ends with an error.
        snapshot_steps, snapshot_seconds: after how many steps, or seconds, a copy of weights and
            optimizer is kept within an epoch: a fit that loses an executor then goes on from there,
            to the same bits. None: only at the end of an epoch.
        step_timeout: seconds to wait for the slowest rank within a step.
        start_timeout: seconds after the first rank until all must have begun; then those that have
            give their slots back, and fit fails.
        data_budget: bytes of records that a rank keeps in memory before it uses a file.
    """

    feature_cols: Any = None
    label_cols: Any = None
    weight_col: str | None = None
    num_ranks: int | None = None
    order_rows: bool = True
    seed: int | None = None
    wire: str | None = None
    max_restarts: int = 3
    min_ranks: int | None = None
    snapshot_steps: int | None = None
    snapshot_seconds: float | None = None
    step_timeout: float = 600.0
    start_timeout: float = 600.0
    data_budget: int = 1 << 30


def default_wire(model: TrainedModel) -> str:
    """The dtype in which the gradients of a model travel unless the user says otherwise."""
    rounds = any(getattr(layer, "rounds", False) for layer in model._flatten_layers())
    return "bfloat16" if rounds else "float32"


def make_options(given: dict[str, Any]) -> FitOptions:
    """The options, checked."""
    unknown = sorted(set(given) - set(FitOptions._fields))
    if unknown:
        raise ConfigError(
            f"fit on Spark: unknown arguments. Received: {unknown}. "
            f"Known ones are {', '.join(FitOptions._fields)}."
        )
    options = FitOptions(**given)
    _check_options(options)
    return options


def _check_options(o: FitOptions) -> None:
    if o.num_ranks is not None:
        whole("num_ranks", o.num_ranks, 1)
    if o.order_rows not in (True, False):
        raise ConfigError(
            f"fit: order_rows must be a bool. Received: order_rows={o.order_rows!r}. Pass True or "
            "False."
        )
    if o.seed is not None:
        whole("seed", o.seed, 0)
    whole("max_restarts", o.max_restarts, 0)
    if o.min_ranks is not None:
        whole("min_ranks", o.min_ranks, 1)
    whole("data_budget", o.data_budget, 0)
    if o.wire is not None and o.wire not in WIRE_TYPES:
        raise ConfigError(
            f"fit: wire must be one of {', '.join(WIRE_TYPES)}. Received: wire={o.wire!r}. "
            "Leave it out for float32."
        )
    if o.snapshot_steps is not None:
        whole("snapshot_steps", o.snapshot_steps, 1)
    for name in ("step_timeout", "start_timeout", "snapshot_seconds"):
        seconds = getattr(o, name)
        if seconds is None and name == "snapshot_seconds":
            continue
        if not is_number(seconds) or seconds <= 0:
            raise ConfigError(
                f"fit: {name} must be a number of seconds above 0. Received: {seconds!r}. "
                "Leave it out for the default."
            )


def for_cluster(given: FitArguments) -> FitArguments:
    """The arguments with all sizes, checked for what holds on a cluster alone."""
    _refuse_local(given)
    size = check_batch_size(given.batch_size)
    if given.shuffle not in (True, False):
        raise ConfigError(
            f"fit on Spark: shuffle must be a bool. Received: {given.shuffle!r}. Pass True or "
            "False."
        )
    negative = [key for key in given.class_weight or {} if key < 0]
    if negative:
        raise ConfigError(
            f"fit: class_weight maps class numbers 0, 1, ... to weights. Received: {negative[:3]} "
            f"in class_weight={str(given.class_weight)[:80]}. Use the numbers that the labels have."
        )
    if given.validation_split and given.validation_data is not None:
        raise ConfigError(
            "fit: validation_data and validation_split exclude each other. Received: both. "
            "Drop one."
        )
    tests = given.validation_batch_size
    return given.with_sizes(batch_size=size, validation_batch_size=size if tests is None else tests)


def _refuse_local(given: FitArguments) -> None:
    """Arguments that belong to arrays, not to an RDD or DataFrame."""
    for name in ("y", "sample_weight"):
        if getattr(given, name) is not None:
            raise ConfigError(
                f"fit on Spark: {name} comes with the records. Received: {name} as an argument. "
                "Use an RDD of (x, y[, sample_weight]), or label_cols and weight_col of a "
                "DataFrame."
            )
    if given.validation_steps is not None:
        raise ConfigError(
            "fit on Spark: validation uses all rows. Received: validation_steps="
            f"{given.validation_steps!r}. Leave it out, or sample validation_data."
        )
