"""The training state in `.h5` files, of any Keras: arguments of compile, optimizer variables.

In: the JSON `training_config`, names of stored optimizer arrays. Out: compile's arguments in Keras
3's layout, and which array belongs to which variable of an optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.saving.legacy import modern_object

# Names that Keras 2 gives an optimizer's slots -> those of Keras 3.
_SLOTS = {
    "m": "momentum", "v": "velocity", "vhat": "velocity_hat", "rms": "velocity",
    "mg": "average_gradient", "accum_grad": "accumulated_grad",
    "accum_var": "accumulated_delta_var",
}  # fmt: skip
_ADAMAX = {"m": "momentum", "v": "norm", "u": "norm"}
_CHOSEN_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")


def modern_training_config(config: dict[str, Any]) -> dict[str, Any]:
    """Arguments of compile from a `training_config`."""
    found = {
        "optimizer": _optimizer(config.get("optimizer_config")),
        "loss": _losses(config.get("loss")),
        "metrics": _metrics(config.get("metrics")),
        "loss_weights": config.get("loss_weights"),
        "weighted_metrics": _metrics(config.get("weighted_metrics")),
    }
    return {k: v for k, v in found.items() if v is not None and v != []}


def _optimizer(config: Any) -> Any:
    if not isinstance(config, dict) or "module" in config:
        return config
    inner = dict(config["config"])
    if "lr" in inner:
        inner["learning_rate"] = inner.pop("lr")
    if "name" not in inner:  # Keras itself; tf.keras has names
        inner |= _of_keras_itself(config["class_name"], inner)
    if decay := inner.pop("decay", None):
        inner["learning_rate"] = {
            "module": "keras.optimizers.schedules", "class_name": "InverseTimeDecay",
            "config": {"initial_learning_rate": inner["learning_rate"], "decay_steps": 1,
                       "decay_rate": decay}, "registered_name": None,
        }  # fmt: skip
    return modern_object({"class_name": config["class_name"], "config": inner})


def _of_keras_itself(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Arguments with which Keras 3 does what Keras 1.0 to 2.3 did.

    These added epsilon to a root, not below it: its square below comes closest.
    """
    found: dict[str, Any] = {}
    if name in ("RMSprop", "Adagrad"):
        found["epsilon"] = (config.get("epsilon") or 1e-7) ** 2
    if name == "Adagrad":
        found["initial_accumulator_value"] = 0.0
    return found


def _losses(losses: Any) -> Any:
    if isinstance(losses, dict) and "class_name" not in losses:
        return {
            k: modern_object(v) for k, v in losses.items()
        }  # by output, whose name says nothing
    return modern_object(losses)


def _metrics(metrics: Any) -> Any:
    if isinstance(metrics, dict):
        if "class_name" in metrics:
            return _metric(metrics)
        return {k: _metrics(v) for k, v in metrics.items()}
    if isinstance(metrics, list):
        inner = [_metrics(m) for m in metrics]
        return inner[0] if len(inner) == 1 and isinstance(inner[0], list) else inner
    return metrics


def _metric(config: dict[str, Any]) -> Any:
    """A metric; Keras 2 wraps functions that were given by name."""
    inner = config["config"]
    if config["class_name"] != "MeanMetricWrapper" or not isinstance(inner.get("fn"), str):
        return modern_object(config, "metric")  # MeanSquaredError is also a loss
    if inner.get("name") in _CHOSEN_BY_SHAPE:
        return inner["name"]
    function = {
        "module": "builtins", "class_name": "function", "config": inner["fn"],
        "registered_name": "function",
    }  # fmt: skip
    return {
        "module": "keras.metrics", "class_name": "MeanMetricWrapper",
        "config": {"name": inner.get("name"), "fn": function}, "registered_name": None,
    }  # fmt: skip


def optimizer_order(names: Sequence[str], optimizer: Any) -> list[Any] | None:
    """The optimizer's variable for each stored name (None: it needs no such array).

    None instead of a list when some variable has no array. Keras 3 stores all variables in their
    order. Keras 2 names them `Adam/dense/kernel/m:0` or `Adam/m/dense/kernel:0`, where each slot
    goes through the weights in order.
    """
    if not any(name.endswith(":0") for name in names):
        return list(optimizer.variables) if len(names) == len(optimizer.variables) else None
    slots = {name: iter(made) for name, made in optimizer.slots().items()}
    renamed = _ADAMAX if "norm" in slots else _SLOTS
    found = [_variable(name.removesuffix(":0"), optimizer, slots, renamed) for name in names]
    complete = all(next(rest, None) is None for rest in slots.values())
    return found if complete else None


def _variable(name: str, optimizer: Any, slots: dict[str, Any], renamed: dict[str, str]) -> Any:
    parts = name.split("/")
    if parts[-1] in ("iter", "iteration", "iterations"):
        return optimizer.steps_done
    if parts[-1] in ("learning_rate", "current_learning_rate"):
        return optimizer.variables[1]
    for part in (parts[-1], parts[1] if len(parts) > 1 else ""):
        slot = renamed.get(part, part)
        if slot in slots:
            return next(slots[slot], None)
    return None
