"""One object in many threads: each call gives what it would give alone."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, native, ops
from zoo_keras.guard import Guard, Guards
from zoo_keras.random import set_random_seed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 16)).astype("float32")
Y = RNG.normal(size=(300, 3)).astype("float32")
THREADS = 6


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    """Threads change places often, so that a race is likely to be lost."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(*works: Callable[[], object]) -> None:
    """All at once, each in a thread of its own; the first exception is raised here."""
    start = threading.Barrier(len(works))

    def begin(work: Callable[[], object]) -> None:
        start.wait()
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(begin, work) for work in works]:
            done.result()


def sequential() -> keras.Model:
    return keras.Sequential([
        keras.Input((16,)), layers.Dense(64, activation="relu"), layers.Dense(3)
    ])  # fmt: skip


def deferred() -> keras.Model:
    return keras.Sequential([layers.Dense(64, activation="relu"), layers.Dense(3)])


def functional() -> keras.Model:
    inputs = keras.Input((16,))
    x = layers.BatchNormalization()(layers.Dense(64, activation="tanh")(inputs))
    return keras.Model(inputs, layers.Dense(3)(layers.Dropout(0.5)(x)))


class Own(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.last = layers.Dense(64, activation="relu"), layers.Dense(3)

    def call(self, x):
        return self.last(self.hidden(x) * 2.0)


def host() -> keras.Model:
    """Some of it is computed by numpy, in a loop."""
    inputs = keras.Input((16,))
    x = layers.Reshape((8, 2))(inputs)
    x = layers.SimpleRNN(8, activation="softplus")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.Lambda(ops.erfinv)(x * 0.1)))


MODELS = [sequential, deferred, functional, Own, host]


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, rtol=1e-5, atol=1e-6))


def served(model: keras.Model, want: np.ndarray, call: Callable[..., np.ndarray], first: int):
    """Requests of 1 to 9 rows."""

    def serve() -> None:
        for n in range(1, 60):
            rows = slice(first, first + n % 9 + 1)
            assert same(call(model, X[rows]), want[rows])

    return serve


CALLS = {
    "predict": lambda model, x: model.predict(x, verbose=0),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
    "call": lambda model, x: np.asarray(model(x)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("make", MODELS)
def test_one_model_serves_many_threads(make, call):
    model = make()
    want = model.predict(X, verbose=0)
    together(*[served(model, want, call, 40 * k) for k in range(THREADS)])


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("make", MODELS)
def test_the_first_calls_come_all_at_once(make, call):
    model, found = make(), {}
    together(*[
        lambda k=k: found.update({k: call(model, X[:7])}) for k in range(THREADS)
    ])  # fmt: skip
    assert len(model.weights) == len(make_built(make).weights)
    want = model.predict(X[:7], verbose=0)
    assert all(same(found[k], want) for k in range(THREADS))


def make_built(make: Callable[[], keras.Model]) -> keras.Model:
    model = make()
    model(X[:2])
    return model


def trained(seed: int, model: keras.Model) -> list[np.ndarray]:
    history = model.fit(X, Y, batch_size=50, epochs=3, verbose=0, shuffle=False)
    return [np.asarray(history.history["loss"]), *model.get_weights()]


def fresh(seed: int, make: Callable[[], keras.Model] = functional) -> keras.Model:
    set_random_seed(seed)
    model = make()
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


def test_two_models_train_side_by_side_as_if_alone():
    alone = [trained(seed, fresh(seed, sequential)) for seed in (1, 2)]
    models = [fresh(seed, sequential) for seed in (1, 2)]
    found: dict[int, list[np.ndarray]] = {}
    together(*[
        lambda k=k: found.update({k: trained(k + 1, models[k])}) for k in (0, 1)
    ])  # fmt: skip
    for k in (0, 1):
        for a, b in zip(alone[k], found[k], strict=True):
            np.testing.assert_array_equal(a, b)


def test_two_fits_of_one_model_come_in_turn():
    one, other = fresh(1, sequential), fresh(1, sequential)
    for _ in range(2):
        want = trained(1, one)[1:]
    together(*[lambda: trained(1, other)] * 2)
    for a, b in zip(want, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Stairs(keras.Model):
    """All its weights are equal at any step, so a torn reading of them shows."""

    def __init__(self) -> None:
        super().__init__()
        make = lambda: layers.Dense(  # noqa: E731
            64, use_bias=False, kernel_initializer="zeros"
        )
        self.parts = [make() for _ in range(8)]

    def call(self, x):
        return ops.stack([part(x) for part in self.parts], axis=1)


def stairs() -> keras.Model:
    model = Stairs()
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model(np.ones((1, 64), "float32"))
    return model


def level(parts: np.ndarray) -> bool:
    return all(np.array_equal(parts[0], part) for part in parts[1:])


LOOKS = {
    "predict": lambda model, x: level(model.predict(x, verbose=0)[0]),
    "predict_on_batch": lambda model, x: level(model.predict_on_batch(x)[0]),
    "call": lambda model, x: level(np.asarray(model(x))[0]),
    "get_weights": lambda model, x: level(model.get_weights()),
    "save_weights": lambda model, x: level(saved(model.save_weights, "m.weights.h5")),
    "saving.save_weights": lambda model, x: level(
        saved(partial(keras.saving.save_weights, model), "m.weights.h5")
    ),
    "save": lambda model, x: level(saved(model.save, "m.keras")),
    "saving.save_model": lambda model, x: level(
        saved(partial(keras.saving.save_model, model), "m.keras")
    ),
    "saving.save_model h5": lambda model, x: level(
        saved(partial(keras.saving.save_model, model), "m.h5")
    ),
}


def saved(save: Callable[[str], None], name: str) -> list[np.ndarray]:
    """The weights as a file has them."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        save(path)
        other = stairs()
        other.load_weights(path)
        return other.get_weights()


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_beside_a_fit_the_weights_are_those_of_one_step(look):
    model, x = stairs(), RNG.normal(size=(256, 64)).astype("float32")
    done, looks = threading.Event(), []

    def train() -> None:
        try:
            model.fit(x, np.ones((256, 8, 64), "float32"), batch_size=8, epochs=4, verbose=0)
        finally:
            done.set()

    def watch() -> None:
        while not done.is_set():
            looks.append(look(model, x[:3]))

    together(train, watch, watch)
    assert looks and all(looks)


def test_evaluations_of_one_model_do_not_mix():
    model = fresh(1)
    parts = [slice(50 * k, 50 * k + 50) for k in range(THREADS)]
    alone = [model.evaluate(X[part], Y[part], verbose=0, batch_size=8) for part in parts]
    found: dict[int, list[float]] = {}

    def measure(k: int) -> None:
        for _ in range(5):
            found[k] = model.evaluate(X[parts[k]], Y[parts[k]], verbose=0, batch_size=8)
            assert found[k] == alone[k]

    together(*[lambda k=k: measure(k) for k in range(THREADS)])


def test_models_that_share_layers_take_turns():
    """Each moves the shared weights into vectors of its own when it is called."""
    shared, inputs = layers.Dense(16, activation="relu"), keras.Input((16,))
    models = [keras.Model(inputs, layers.Dense(3)(shared(inputs))) for _ in range(3)]
    for model in models:
        model.compile("sgd", "mse")
    wants = [model.predict(X, verbose=0) for model in models]
    together(*[
        served(model, want, call, 40 * k)
        for k, (model, want) in enumerate(zip(models, wants, strict=True))
        for call in CALLS.values()
    ])  # fmt: skip


def test_assigned_weights_are_seen_by_the_next_prediction():
    model = sequential()
    model.predict(X[:4], verbose=0)
    weights = model.get_weights()
    want = {}
    for k in range(3):
        model.set_weights([w * k for w in weights])
        want[k] = model.predict(X[:4], verbose=0)

    def change() -> None:
        for n in range(300):
            model.set_weights([w * (n % 3) for w in weights])

    def look() -> None:
        for _ in range(300):
            got = model.predict_on_batch(X[:4])
            assert any(np.array_equal(got, value) for value in want.values())

    together(change, look, look)


def test_an_embedding_that_lags_behind_is_settled_under_load():
    def make() -> keras.Model:
        return keras.Sequential([
            keras.Input((4,), dtype="int32"), layers.Embedding(5000, 8), layers.Flatten(),
            layers.Dense(1),
        ])  # fmt: skip

    ids, y = RNG.integers(0, 5000, (256, 4)).astype("int32"), np.ones((256, 1), "float32")
    one, other = fresh(3, make), fresh(3, make)
    one.fit(ids, y, batch_size=16, epochs=3, verbose=0, shuffle=False)
    fit = lambda: other.fit(  # noqa: E731
        ids, y, batch_size=16, epochs=3, verbose=0, shuffle=False
    )
    look = lambda: [other.predict(ids[:5], verbose=0) for _ in range(40)]  # noqa: E731
    together(fit, look, lambda: [other.get_weights() for _ in range(40)])
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_thread_counts_belong_to_the_thread_that_sets_them():
    found = {}

    def work(count: int) -> None:
        for _ in range(200):
            with native.using_threads(count):
                found.setdefault(count, set()).add(native.threads())

    together(*[lambda count=count: work(count) for count in (1, 2, 3, 4)])
    assert found == {count: {count} for count in (1, 2, 3, 4)}


# ---- layers, ops and state on arrays -------------------------------------------------------------


def on_sequences(layer: layers.Layer, count: int = 1) -> Callable[..., np.ndarray]:
    return lambda x: layer(*[x.reshape(-1, 4, 4)] * count)


def looked_up() -> Callable[..., np.ndarray]:
    layer, words = layers.StringLookup(vocabulary=list("abcdefgh")), np.array([*"abcdefghz"], "O")
    return lambda x: layer(words[np.abs(x[:, 0] * 3).astype(int) % 9])


def adapted() -> layers.Layer:
    layer = layers.Normalization()
    layer.adapt(X)
    return layer


KERNEL = RNG.normal(size=(3, 1, 4)).astype("float32")
ON_ARRAYS = {
    "Dense": lambda: layers.Dense(5, "tanh"),
    "GRU": lambda: on_sequences(layers.GRU(6)),
    "MultiHeadAttention": lambda: on_sequences(layers.MultiHeadAttention(2, 4), 2),
    "StringLookup": looked_up,
    "Normalization": adapted,
    "ops.conv": lambda: lambda x: ops.conv(x[..., None], KERNEL),
    "ops.softmax": lambda: ops.softmax,
}


@pytest.mark.parametrize("make", ON_ARRAYS.values(), ids=ON_ARRAYS)
def test_one_layer_on_arrays_serves_many_threads(make):
    """The first calls come all at once, too."""
    call, found = make(), []

    def serve(first: int) -> None:
        for n in range(1, 30):
            rows = slice(first, first + n % 9 + 1)
            found.append((rows, np.asarray(call(X[rows]))))

    together(*[partial(serve, 40 * k) for k in range(THREADS)])
    want = np.asarray(call(X))
    assert all(same(got, want[rows]) for rows, got in found)


def test_convolutions_of_many_threads_have_kernels_of_their_own():
    """Of one shape: they share a program, not what it makes of the kernel."""
    image = RNG.normal(size=(1, 28, 28, 32)).astype("float32")
    kernels = RNG.normal(size=(THREADS, 3, 3, 32, 32)).astype("float32")
    want = [ops.conv(image, kernel) for kernel in kernels]
    found: list[tuple[int, np.ndarray]] = []

    def convolve(k: int) -> None:
        found.extend((k, ops.conv(image, kernels[k])) for _ in range(30))

    together(*[partial(convolve, k) for k in range(THREADS)])
    assert len(found) == 30 * THREADS
    assert all(np.array_equal(got, want[k]) for k, got in found)


def counter() -> tuple[Callable[[], object], Callable[[], float]]:
    variable = keras.Variable(0.0)
    return lambda: variable.assign_add(1.0), lambda: float(variable)


def subtraction() -> tuple[Callable[[], object], Callable[[], float]]:
    variable = keras.Variable(0.0)
    return lambda: variable.assign_sub(1.0), lambda: -float(variable)


def weight() -> tuple[Callable[[], object], Callable[[], float]]:
    """A Variable that a program runs on."""
    model = sequential()
    model.predict(X[:2], verbose=0)
    bias = model.layers[1].bias
    return lambda: bias.assign_add(np.ones(3)), lambda: float(bias.numpy()[0])


def mean() -> tuple[Callable[[], object], Callable[[], float]]:
    metric = keras.metrics.Mean()
    return lambda: metric.update_state(np.ones(2)), lambda: float(metric.count) / 2


def accuracy() -> tuple[Callable[[], object], Callable[[], float]]:
    metric = keras.metrics.SparseCategoricalAccuracy()
    y, scores = np.array([0]), np.eye(1, 2, dtype="float32")
    return lambda: metric(y, scores), lambda: float(metric.total)


def optimizer() -> tuple[Callable[[], object], Callable[[], float]]:
    variable, made = keras.Variable(np.zeros(4)), keras.optimizers.SGD(1.0)
    made.build([variable])

    def count() -> float:
        assert len({*variable.numpy().tolist(), -float(made.iterations)}) == 1
        return float(made.iterations)

    return lambda: made.apply([np.ones(4, "float32")]), count


class Counter(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.calls = self.add_weight((), "zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x


def layer() -> tuple[Callable[[], object], Callable[[], float]]:
    made = Counter()
    return lambda: made(X[:2]), lambda: float(made.calls)


def steps() -> tuple[Callable[[], object], Callable[[], float]]:
    model = fresh(1, sequential)
    return lambda: model.train_on_batch(X, Y), lambda: float(model.optimizer.iterations)


CHANGES = [counter, subtraction, weight, mean, accuracy, optimizer, layer, steps]


@pytest.mark.parametrize("make", CHANGES)
def test_no_change_is_lost(make):
    change, count = make()
    together(*[lambda: [change() for _ in range(60)]] * 4)
    assert count() == 240


def generator() -> Callable[[], np.ndarray]:
    return keras.random.SeedGenerator(1).next


def dropout() -> Callable[[], np.ndarray]:
    made, ones = layers.Dropout(0.5), np.ones(99, "float32")
    return lambda: np.asarray(made(ones, training=True))


def unseeded() -> Callable[[], np.ndarray]:
    return lambda: np.asarray(keras.random.uniform((3,)))


@pytest.mark.parametrize("make", [generator, dropout, unseeded])
def test_no_draw_comes_twice(make):
    draw, drawn = make(), []
    together(*[lambda: [drawn.append(draw().tobytes()) for _ in range(200)]] * 4)
    assert len(set(drawn)) == 800


# ---- guards ------------------------------------------------------------------------------------


def test_writers_are_alone_and_readers_are_not_torn():
    guard, cells = Guard(), [0, 0]

    def write() -> None:
        for _ in range(300):
            with guard.writing():
                cells[0] += 1
                cells[1] += 1

    def read() -> None:
        for _ in range(300):
            with guard.reading(), guard.reading():
                assert cells[0] == cells[1]

    together(write, write, read, read, read)
    assert cells == [600, 600]


def test_a_reader_may_not_become_a_writer():
    guard = Guard()
    with guard.reading(), pytest.raises(RuntimeError, match="tried to change"), guard.writing():
        pass
    with guard.writing(), guard.writing(), guard.reading():
        pass


def test_several_guards_are_taken_in_one_order():
    a, b = Guard(), Guard()
    one, other = Guards([a, b]), Guards([b, a])

    def work(guard: Guards) -> None:
        for n in range(300):
            with guard.writing() if n % 2 else guard.reading():
                pass

    together(lambda: work(one), lambda: work(other), lambda: work(one))


def test_a_reader_who_waited_comes_before_the_next_writer():
    guard, order = Guard(), []
    inside, waiting = threading.Event(), threading.Event()

    def writers() -> None:
        with guard.writing():
            inside.set()
            waiting.wait()
            while not guard._waiting:
                pass
        with guard.writing():
            order.append("writer")

    def reader() -> None:
        inside.wait()
        waiting.set()
        with guard.reading():
            order.append("reader")

    together(writers, reader)
    assert order == ["reader", "writer"]


def test_a_forked_child_finds_no_strangers_inside():
    guard = Guard()
    guard.enter()
    pid = os.fork()
    if pid == 0:
        with guard.writing():
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
