"""`keras.wrappers.scikit_learn` of Keras 2: estimators made of a function that builds a model.

In: `build_fn`, and arguments for it, fit and predict together. Out: what scikit-learn's searches
and cross-validation want of an estimator; scikit-learn itself is not needed.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.missing import missing
from zoo_keras.models import Sequential
from zoo_keras.utils.arrays import to_categorical

__all__ = ["BaseWrapper", "KerasClassifier", "KerasRegressor"]


class BaseWrapper:
    """What both share: `build_fn` makes a compiled model, other arguments go where they belong."""

    def __init__(self, build_fn: Callable[..., Any], **sk_params: Any) -> None:
        self.build_fn, self.sk_params = build_fn, sk_params
        self._check(sk_params)

    def _check(self, given: dict[str, Any]) -> None:
        known = [self.build_fn, Sequential.fit, Sequential.predict, Sequential.evaluate]
        names = {n for f in known for n in inspect.signature(f).parameters} | {"nb_epoch"}
        unknown = sorted(set(given) - names)
        if unknown:
            raise ConfigError(
                f"{type(self).__name__}: no arguments of build_fn, fit, predict or evaluate. "
                f"Received: {unknown}. Check their spelling."
            )

    def get_params(self, **params: Any) -> dict[str, Any]:
        """All arguments."""
        return {**copy.deepcopy(self.sk_params), "build_fn": self.build_fn}

    def set_params(self, **params: Any) -> Any:
        """Other arguments."""
        self._check({k: v for k, v in params.items() if k != "build_fn"})
        self.build_fn = params.pop("build_fn", self.build_fn)
        self.sk_params.update(params)
        return self

    def _of(self, function: Callable[..., Any], more: dict[str, Any]) -> dict[str, Any]:
        names = inspect.signature(function).parameters
        return {k: v for k, v in {**self.sk_params, **more}.items() if k in names}

    def fit(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Make a model and train it; returns its History."""
        self.model = self.build_fn(**self._of(self.build_fn, {}))
        loss = self.model._require_compiled("fit").arguments["loss"]
        name = getattr(loss, "__name__", getattr(loss, "name", loss))
        if name == "categorical_crossentropy" and np.ndim(y) != 2:
            y = to_categorical(y)
        return self.model.fit(x, y, **self._of(Sequential.fit, kwargs))


class KerasClassifier(BaseWrapper):
    """A classifier: labels may be of any kind, predictions are labels."""

    def fit(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Train on labels (rows,) or one-hot rows."""
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            self.classes_ = np.arange(y.shape[1])
        else:
            self.classes_ = np.unique(y)
            y = np.searchsorted(self.classes_, y)
        self.n_classes_ = len(self.classes_)
        return super().fit(x, y, **kwargs)

    def predict_proba(self, x: Any, **kwargs: Any) -> np.ndarray:
        """A column for each class."""
        found = np.asarray(self.model.predict(x, **self._of(Sequential.predict, kwargs)))
        return np.hstack([1 - found, found]) if found.shape[1] == 1 else found

    def predict(self, x: Any, **kwargs: Any) -> np.ndarray:
        """The likeliest labels."""
        return self.classes_[self.predict_proba(x, **kwargs).argmax(axis=1)]

    def score(self, x: Any, y: Any, **kwargs: Any) -> float:
        """The share of right labels."""
        return float(np.mean(self.predict(x, **kwargs) == np.asarray(y).ravel()))


class KerasRegressor(BaseWrapper):
    """A regressor."""

    def predict(self, x: Any, **kwargs: Any) -> np.ndarray:
        """Predictions, (rows,) where there is one a row."""
        found = self.model.predict(x, **self._of(Sequential.predict, kwargs))
        return np.squeeze(np.asarray(found), -1)

    def score(self, x: Any, y: Any, **kwargs: Any) -> float:
        """The loss, negative: more is better."""
        loss = self.model.evaluate(x, y, **self._of(Sequential.evaluate, kwargs))
        return -float(loss[0] if isinstance(loss, list) else loss)


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.wrappers.scikit_learn", name)
