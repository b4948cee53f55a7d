"""Spark ML stages around Keras models: estimators, and the models that they make.

In: DataFrames. Out: DataFrames with more columns. All work is done by `Model.fit` and
`Model.predict`; here are Spark's Params, columns as Spark's evaluators want them, and folders.
"""

from zoo_keras.spark.ml.estimators import KerasClassifier, KerasEstimator, KerasRegressor
from zoo_keras.spark.ml.models import KerasClassificationModel, KerasModel, KerasRegressionModel

__all__ = [
    "KerasClassificationModel",
    "KerasClassifier",
    "KerasEstimator",
    "KerasModel",
    "KerasRegressionModel",
    "KerasRegressor",
]
