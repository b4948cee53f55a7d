"""Curves of a fit: what `History.plot` draws.

In: a History, which knows the epoch of each value. Out: axes of matplotlib, which is imported only
here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoo_keras.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from zoo_keras.callbacks.callback import History


def curves(history: History, metrics: Any, axes: Any) -> Any:
    """A picture for each metric, training and validation in it; see History.plot."""
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history.history))
    wanted = names if metrics is None else [metrics] if isinstance(metrics, str) else list(metrics)
    if unknown := [name for name in wanted if name not in names]:
        raise ConfigError(
            f"History.plot: there are no such metrics. Received: {unknown}. Use some of {names}."
        )
    axes = _axes(len(wanted)) if axes is None else axes
    flat = list(getattr(axes, "flat", axes if isinstance(axes, (list, tuple)) else [axes]))
    if not wanted or len(flat) < len(wanted):
        raise ConfigError(
            f"History.plot: every metric needs axes. Received: {len(flat)} axes for {wanted}. "
            "Train first, or pass more axes."
        )
    for axis, name in zip(flat, wanted):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history.history:
                axis.plot(history._epochs_of(key), history.history[key], label=label)
        axis.set_xlabel("epoch")
        axis.set_title(name)
        axis.legend()
    return axes


def _axes(count: int) -> Any:
    try:
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise UnsupportedError(
            f"History.plot: curves are drawn by the package matplotlib. Received: {error}. Install "
            "zoo_keras[plots]."
        ) from None
    _, axes = pyplot.subplots(1, max(count, 1), figsize=(5 * max(count, 1), 4), squeeze=False)
    return axes[0]
