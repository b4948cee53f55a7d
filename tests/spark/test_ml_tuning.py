"""Stages in Spark's tuners, and fits of several threads on two slots; stages as folders."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.tuning import (
    CrossValidator,
    CrossValidatorModel,
    ParamGridBuilder,
    TrainValidationSplit,
)

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import ConfigError, FileError
from zoo_keras.spark.ml import (
    KerasClassificationModel,
    KerasClassifier,
    KerasEstimator,
    KerasModel,
    KerasRegressor,
)

pytestmark = [
    pytest.mark.spark,
    # Spark's tuners leave their pools of threads to the collector.
    pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool:ResourceWarning"),
]


@pytest.fixture
def spark(cluster2, sessions):
    return sessions.get("local-cluster[2,1,1024]")


@pytest.fixture
def frame(spark):
    x = np.random.default_rng(3).normal(size=(48, 2))
    rows = [(float(a), float(b), float(a > b)) for a, b in x]
    return spark.createDataFrame(rows, "a double, b double, label double").coalesce(2)


def net(units=1, activation=None, loss="mse"):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(units, activation=activation)])
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def test_a_cross_validator_fits_in_threads_on_all_slots(frame, tmp_path):
    classifier = KerasClassifier(model=net(2, "softmax", "sparse_categorical_crossentropy"))
    stages = [VectorAssembler(inputCols=["a", "b"], outputCol="features"), classifier]
    grid = ParamGridBuilder().addGrid(classifier.learningRate, [0.001, 1.0]).build()
    tuner = CrossValidator(
        estimator=Pipeline(stages=stages), estimatorParamMaps=grid, numFolds=2, parallelism=2,
        evaluator=MulticlassClassificationEvaluator(metricName="logLoss"),
    )  # fmt: skip
    tuned = tuner.fit(frame)
    assert tuned.avgMetrics[1] < tuned.avgMetrics[0]
    best = classifier.copy(grid[1]).fit(stages[0].transform(frame))
    assert tuned.bestModel.stages[1].history == best.history
    tuned.save(str(tmp_path / "tuned"))
    loaded = CrossValidatorModel.load(str(tmp_path / "tuned"))
    assert loaded.transform(frame).collect() == tuned.transform(frame).collect()


def test_a_grid_over_models_scores_with_what_was_trained(frame):
    estimator = KerasRegressor(featuresCols=["a", "b"], maxIter=3)
    grid = ParamGridBuilder().addGrid(estimator.model, [net(), net()]).build()
    tuner = TrainValidationSplit(
        estimator=estimator, estimatorParamMaps=grid, seed=1, parallelism=2, trainRatio=0.5,
        evaluator=RegressionEvaluator(), collectSubModels=True,
    )  # fmt: skip
    tuned = tuner.fit(frame)
    trained = [model.model for model in tuned.subModels]
    for given, model in zip(grid, trained, strict=True):
        assert (given[estimator.model].get_weights()[0] != model.get_weights()[0]).all()
    weights = [tuned.subModels[0].copy(given).model.get_weights()[0] for given in grid]
    np.testing.assert_array_equal(weights[0], weights[1])


class Times(keras.callbacks.Callback):
    """Notes when fits begin and end an epoch; `meet` holds them there until all are."""

    def __init__(self, noted, meet=None):
        super().__init__()
        self.noted, self.meet = noted, meet

    def on_epoch_begin(self, epoch, logs=None):
        self.noted.append((threading.get_ident(), "begin"))

    def on_epoch_end(self, epoch, logs=None):
        if self.meet is not None:
            self.meet.wait(60)
        self.noted.append((threading.get_ident(), "end"))


def fitted_in_threads(frame, ranks, callback):
    """The models of two fits that begin at once."""
    stage = KerasEstimator(
        model=net(), featuresCols=["a", "b"], numTrainWorkers=ranks, maxIter=2, callbacks=[callback]
    )
    found = []
    threads = [threading.Thread(target=lambda: found.append(stage.fit(frame))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found


def test_fits_that_need_all_slots_take_turns(frame):
    noted = []
    a, b = fitted_in_threads(frame, 2, Times(noted))
    assert [what for _, what in noted] == ["begin", "end"] * 4
    assert [who for who, _ in noted] == [noted[0][0]] * 4 + [noted[-1][0]] * 4
    assert a.history == b.history and len(a.history["loss"]) == 2


def test_fits_that_fit_side_by_side_run_side_by_side(frame):
    noted, meet = [], threading.Barrier(2)
    a, b = fitted_in_threads(frame, 1, Times(noted, meet))
    assert not meet.broken and [what for _, what in noted[:2]] == ["begin", "begin"]
    assert a.history == b.history and len(a.history["loss"]) == 2


# ---- folders -------------------------------------------------------------------------------------


def test_a_saved_stage_is_a_keras_file_and_spark_s_metadata(frame, tmp_path):
    x = keras.Input((2,), name="input")
    model = keras.Model({"input": x}, layers.Dense(2, activation="softmax")(x))
    stage = KerasClassificationModel(
        model=model, featuresCols={"input": ["a", "b"]}, thresholds=[0.3, 0.7], fillValue={"a": 0.0}
    )
    stage.history = {"loss": [0.5, 0.25]}
    pipeline = PipelineModel([stage])
    pipeline.save(str(tmp_path / "pipeline"))
    (folder,) = (tmp_path / "pipeline" / "stages").iterdir()
    assert sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) == [
        "metadata", "model.keras"
    ]  # fmt: skip
    file = keras.saving.load_model(folder / "model.keras")
    np.testing.assert_array_equal(file.get_weights()[0], model.get_weights()[0])
    (text,) = (folder / "metadata").glob("part-*")
    assert json.loads(text.read_text())["class"] == "zoo_keras.spark.ml.KerasClassificationModel"
    (loaded,) = PipelineModel.load(str(tmp_path / "pipeline")).stages
    assert (loaded.uid, loaded.history) == (stage.uid, stage.history)
    assert loaded.explainParams() == stage.explainParams()
    assert loaded.transform(frame).collect() == stage.transform(frame).collect()


def test_a_saved_estimator_goes_on_where_it_was(frame, tmp_path):
    path = str(tmp_path / "estimator")
    stage = KerasEstimator(
        model=net(), featuresCols=["a", "b"], fitOptions={"class_weight": {0: 1.0, 1: 2.0}},
        patience=3,
    )  # fmt: skip
    stage.save(path)
    with pytest.raises(FileError, match=r"a file or folder of this name.*overwrite\(\)"):
        stage.save(path)
    stage.setMaxIter(2).write().overwrite().save(path)
    loaded = KerasEstimator.load(path)
    assert loaded.explainParams().split("model:")[0] == stage.explainParams().split("model:")[0]
    assert loaded.getFitOptions() == stage.getFitOptions() and loaded.getPatience() == 3
    want, found = stage.fit(frame), loaded.fit(frame)
    assert want.history == found.history and len(found.history["loss"]) == 2
    with pytest.raises(ConfigError, match=r"callbacks, which are code.*\['History'\]"):
        stage.setCallbacks(keras.callbacks.History()).write().overwrite().save(path)
    assert KerasEstimator.load(path).getMaxIter() == 2  # what was there is there still


def test_folders_that_hold_something_else_are_refused(spark, tmp_path):
    path = str(tmp_path / "stage")
    with pytest.raises(FileError, match="no stage is saved here"):
        KerasModel.load(path)
    evil = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: x + 1)])
    KerasModel(model=evil).save(path)
    with pytest.raises(FileError, match=r"another kind.*KerasModel.load, not KerasC"):
        KerasClassificationModel.load(path)
    with pytest.raises(ConfigError, match="safe_mode"):
        KerasModel.load(path)
    (metadata,) = (tmp_path / "stage" / "metadata").glob("part-*")
    (tmp_path / "stage" / "metadata" / f".{metadata.name}.crc").unlink()
    for text in ('{"class": "zoo_keras.spark.ml.KerasModel"}', "{", metadata.read_text()[:-9]):
        metadata.write_text(text)
        with pytest.raises(FileError, match="metadata of the stage are damaged"):
            KerasModel.load(path)
