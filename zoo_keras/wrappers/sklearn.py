"""Models as estimators of scikit-learn: fit, predict and transform on arrays, for its pipelines and
searches.

In: a compiled model, or a function that makes one. Out: an estimator. scikit-learn is an extra.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.models import Model, clone_model

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
    from sklearn.preprocessing import OneHotEncoder
    from sklearn.utils.multiclass import type_of_target
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "zoo_keras.wrappers needs scikit-learn 1.6 or later. Received: "
        f"{error}. Run `pip install scikit-learn`."
    ) from None


class _Wrapper(BaseEstimator):
    """What the three share.

    Args:
        model: a compiled model, which is cloned for each fit, or a function of X and y (and of
            model_kwargs) that makes one.
        warm_start: go on with the weights of the fit before.
        fit_kwargs: for Model.fit; those of `fit` come after them.
    """

    _axes: int

    def __init__(
        self, model: Any, warm_start: bool = False, model_kwargs: dict[str, Any] | None = None,
        fit_kwargs: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.warm_start = model, warm_start
        self.model_kwargs, self.fit_kwargs = model_kwargs, fit_kwargs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        return tags

    def __sklearn_clone__(self) -> Any:
        kept = self.model if not isinstance(self.model, Model) else copy.deepcopy(self.model)
        return type(self)(kept, self.warm_start, self.model_kwargs, self.fit_kwargs)

    def _fresh_model(self, X: Any, y: Any) -> Any:
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        if not isinstance(self.model, Model):
            return self.model(X=X, y=y, **(self.model_kwargs or {}))
        if self.warm_start:
            return self.model
        made = clone_model(self.model)
        if self.model.compiled:
            made.compile_from_config(self.model.get_compile_config())
        return made

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Any:
        """Train the model."""
        X, y = validate_data(self, X, y, multi_output=True)
        target = self._encoded(y, learn=True)
        model = self._fresh_model(X, target)
        if not model.compiled:
            raise ConfigError(
                "Given model needs to be compiled, and have a loss and an optimizer. Received: "
                f'model "{model.name}". Call compile first.'
            )
        history = model.fit(X, target, **{**(self.fit_kwargs or {}), **kwargs})
        self.history_, self.model_ = history.history, model
        return self

    def predict(self, X: Any) -> Any:
        """What the model gives, as targets."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return self._decoded(np.asarray(self.model_.predict(X, verbose=0)))

    def _encoded(self, y: np.ndarray, learn: bool = False) -> np.ndarray:
        """Targets as the model takes them: with an axis for what is predicted."""
        self._axes = y.ndim if learn else self._axes
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        return y.reshape(-1) if self._axes == 1 and y.ndim == 2 and y.shape[1] == 1 else y


class SKLearnClassifier(ClassifierMixin, _Wrapper):
    """A classifier: labels of any kind become one-hot rows, and the likeliest one is predicted.

    Source: keras.wrappers.SKLearnClassifier.
    """

    def _encoded(self, y: np.ndarray, learn: bool = False) -> np.ndarray:
        kind = type_of_target(y, raise_unknown=True)
        if kind not in ("binary", "multiclass"):
            raise ConfigError(
                "SKLearnClassifier: only binary and multiclass targets are supported. Received: "
                f"target type {kind!r}. Pass one label a row."
            )
        rows = y.reshape(-1, 1)
        if learn:
            self._encoder = OneHotEncoder(sparse_output=False).fit(rows)
            self.classes_ = np.unique(y)
            if len(self.classes_) == 1:
                raise ConfigError(
                    "SKLearnClassifier: Classifier can't train when only one class is present. "
                    f"Received: {self.classes_[0]!r} in every row. Pass rows of two classes."
                )
        made: np.ndarray = self._encoder.transform(rows)
        return made

    def predict_proba(self, X: Any) -> Any:
        """The model's output, a column for each of classes_."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.asarray(self.model_.predict(X, verbose=0))

    decision_function = predict_proba

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        if y.shape[1] == 1:
            y = np.concatenate([1 - y, y], axis=1)
        return self.classes_[y.argmax(axis=1)]


class SKLearnRegressor(RegressorMixin, _Wrapper):
    """A regressor. Source: keras.wrappers.SKLearnRegressor."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class SKLearnTransformer(TransformerMixin, _Wrapper):
    """A transformer: `transform` gives what the model gives.

    Source: keras.wrappers.SKLearnTransformer.
    """

    def transform(self, X: Any) -> Any:
        """The model's output."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.asarray(self.model_.predict(X, verbose=0))
