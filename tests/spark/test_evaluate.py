"""evaluate on RDDs and DataFrames gives what evaluate on arrays gives."""

from __future__ import annotations

import leftovers
import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras.errors import ConfigError, DataError, NotCompiledError, ShapeError
from zoo_keras.layers import Dense, Dropout

pytestmark = pytest.mark.spark

RNG = np.random.default_rng(2)
ROWS = 301
X = RNG.standard_normal((ROWS, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, ROWS).astype(np.int32)
WEIGHTS = RNG.random(ROWS).astype(np.float32)


@pytest.fixture
def spark(local2, sessions):
    return sessions.get("local[2]")


def classifier(**compiled):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), Dropout(0.5), Dense(3, activation="softmax")])
    loss = keras.losses.SparseCategoricalCrossentropy(**compiled.pop("loss", {}))
    model.compile("sgd", loss, **compiled)
    return model


def assert_logs(found, expected):
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-5, err_msg=name)


def test_an_rdd_of_uneven_partitions(spark):
    model = classifier(metrics=["accuracy"], weighted_metrics=["accuracy"])
    parts = [[], list(zip(X[:200], LABELS[:200], WEIGHTS[:200])), [],
             list(zip(X[200:], LABELS[200:], WEIGHTS[200:]))]  # fmt: skip
    rdd = spark.sparkContext.parallelize(parts, 4).flatMap(lambda part: part).cache()
    expected = model.evaluate(X, LABELS, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    for size in (1, 128):
        assert_logs(model.evaluate(rdd, batch_size=size, return_dict=True), expected)
    in_order = model.evaluate(X, LABELS, sample_weight=WEIGHTS, verbose=0)
    assert model.evaluate(rdd) == pytest.approx(in_order, rel=2e-5)


def test_a_frame_with_weights(spark):
    model = classifier(weighted_metrics=["accuracy"])
    rows = [(x.tolist(), int(y), float(w)) for x, y, w in zip(X, LABELS, WEIGHTS)]
    frame = spark.createDataFrame(rows, "f array<float>, y long, w double").repartition(3)
    found = model.evaluate(frame, feature_cols="f", label_cols="y", weight_col="w",
                           return_dict=True)  # fmt: skip
    expected = model.evaluate(X, LABELS, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    assert_logs(found, expected)


def test_metrics_with_much_state_and_integer_state(spark):
    class Count(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="count")
            self.seen = self.add_variable((), dtype="int32", name="seen")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.seen.assign(self.seen + int(y_true.shape[0]))

        def result(self):
            return self.seen.value

    model = keras.Sequential([keras.Input((4,)), Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["AUC", Count()])
    y = (LABELS > 0).astype(np.float32)
    rdd = spark.sparkContext.parallelize(list(zip(X, y)), 3)
    for _ in range(2):
        found = model.evaluate(rdd, return_dict=True)
        assert found["count"] == ROWS
    assert_logs(found, model.evaluate(X, y, verbose=0, return_dict=True))


def test_a_sum_is_that_of_a_whole_batch(spark):
    model = classifier(loss={"reduction": "sum"})
    rdd = spark.sparkContext.parallelize(list(zip(X[:256], LABELS[:256])), 3)
    expected = model.evaluate(X[:256], LABELS[:256], batch_size=64, verbose=0)
    assert model.evaluate(rdd, batch_size=64) == pytest.approx(expected, rel=2e-5)


def test_evaluation_leaves_weights_and_optimizer_alone(spark):
    model = classifier()
    model.fit(X, LABELS, verbose=0)
    before = [*model.get_weights(), *[v.numpy() for v in model.optimizer.variables]]
    folders = leftovers.driver()
    model.evaluate(spark.sparkContext.parallelize(list(zip(X, LABELS)), 2))
    after = [*model.get_weights(), *[v.numpy() for v in model.optimizer.variables]]
    assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))
    assert leftovers.driver() == folders


BAD = {
    "width": ((np.zeros(5, np.float32), 0), r"Partition 1, row 150: x: expected shape \(4,\)"),
    "label": ((np.zeros(4, np.float32), 3), "Partition 1, row 150: labels must lie in 0..2"),
    "nan": ((np.full(4, np.nan, np.float32), 0), "Partition 1, row 150: x: expected finite"),
    "no tuple": (5, "Partition 1, row 150: a record must be a tuple"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_record_is_named(spark, case):
    record, message = BAD[case]
    records = [*zip(X[:300], LABELS[:300]), record]
    with pytest.raises(DataError, match=message):
        classifier().evaluate(spark.sparkContext.parallelize(records, 2))


def test_a_null_in_a_frame_is_named(spark):
    rows = [(x.tolist(), 0) for x in X[:5]] + [(None, 1)]
    frame = spark.createDataFrame(rows, "f array<float>, y int").coalesce(1)
    with pytest.raises(DataError, match="Partition 0: Row 5: column f: expected numbers"):
        classifier().evaluate(frame, feature_cols="f", label_cols="y")


def test_wrong_calls_are_refused(spark):
    sc = spark.sparkContext
    good = sc.parallelize(list(zip(X, LABELS)), 2)
    with pytest.raises(ConfigError, match=r"Received: \['sample_weight', 'y'\]"):
        classifier().evaluate(good, LABELS, sample_weight=WEIGHTS)
    with pytest.raises(ConfigError, match=r"Received: \['steps'\]"):
        classifier().evaluate(good, steps=3)
    with pytest.raises(DataError, match="evaluate: the RDD holds no records"):
        classifier().evaluate(sc.parallelize([], 2))
    with pytest.raises(ShapeError, match=r"Received: data of shape \(2, 5\)"):
        classifier().evaluate(sc.parallelize([(np.zeros(5), 0)], 1))
    with pytest.raises(NotCompiledError):
        keras.Sequential([keras.Input((4,)), Dense(1)]).evaluate(good)
