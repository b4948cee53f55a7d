"""Whatever shapes a model meets, memory stays flat, and a shape that was seen costs no tracing."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import config, layers, ops
from zoo_keras.engine import eager
from zoo_keras.engine import runner as execute
from zoo_keras.engine.runner import Loaded, Packed
from zoo_keras.graph import Spec
from zoo_keras.primitives.op import Op, registry
from zoo_keras.recent import Recent
from zoo_keras.training import programs

ROOT = Path(__file__).resolve().parent.parent

RUN = """
import gc, sys
import numpy as np
import zoo_keras as keras
from zoo_keras import layers, ops

def resident_mb():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * 4 / 1024

def zeros(*shape):
    return np.zeros(shape, "float32")

{setting}
for n in range(*{warm}):
    step(n)
before = resident_mb()
for n in range(*{more}):
    step(n)
print(resident_mb() - before)
"""

LENGTHS = """
model = keras.Sequential([keras.Input((None, 4)), layers.GRU(48), layers.Dense(1)])
model.compile("adam", "mse")
step = lambda n: model.train_on_batch(zeros(8, n, 4), zeros(8, 1))
"""
ROWS = """
model = keras.Sequential([keras.Input((256,)), layers.Dense(1024, "relu"), layers.Dense(10)])
step = lambda n: model.predict(zeros(n, 256), batch_size=1000, verbose=0)
"""
IMAGES = """
inputs = keras.Input((None, None, 3))
x = layers.Conv2D(32, 3, activation="relu")(layers.Conv2D(32, 3, activation="relu")(inputs))
model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
step = lambda n: model.predict(zeros(2, n, n + 3, 3), verbose=0)
"""
MANY = """
from zoo_keras.training import programs
programs.PROGRAMS = 50
model = keras.Sequential([keras.Input((None, 4)), layers.Dense(4), layers.MaxPooling1D(2)])
step = lambda n: model.predict_on_batch(zeros(1 + n % 7, 2 + n % 1500, 4))
"""
EAGER = """
layer = layers.Conv1D(8, 3)
step = lambda n: (layer(zeros(1, 40 + n, 4)), ops.softmax(zeros(100, 40 + n)))
"""
GROWTH = {  # setting, first shapes, more shapes, MB that they may add
    "lengths in training": (LENGTHS, (300, 303), (2, 200, 4), 40),
    "rows in prediction": (ROWS, (297, 300), (1, 250, 3), 30),
    "sizes of images": (IMAGES, (119, 122), (60, 119, 2), 40),
    "many shapes": (MANY, (0, 150), (150, 500), 12),
    "layers and ops on arrays": (EAGER, (700, 800), (1, 300), 20),
}


@pytest.mark.parametrize("setting, warm, more, limit", GROWTH.values(), ids=GROWTH)
def test_memory_is_flat(setting, warm, more, limit):
    """In a process of its own, whose memory nothing else has touched."""
    code = RUN.format(setting=setting, warm=warm, more=more)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=-1, text=True, check=True)
    assert float(done.stdout) < limit


class Counting(layers.Layer):
    calls = 0

    def call(self, x):
        Counting.calls += 1
        return x * 2.0


def counted(function):
    before = Counting.calls
    function()
    return Counting.calls - before


def test_a_shape_seen_before_is_not_traced_again():
    model = keras.Sequential([keras.Input((None, 3)), Counting()])
    look = lambda: [  # noqa: E731
        model.predict_on_batch(np.zeros((2, n, 3), "f")) for n in range(1, 30)
    ]
    assert counted(look) >= 29
    assert counted(look) == 0


def test_programs_and_their_bytes_have_the_limits_that_are_promised():
    kept = keras.Sequential([keras.Input((3,)), layers.Dense(1)])._local()._programs
    assert kept.count <= 1024 and kept.nbytes <= 512 << 20


def test_a_model_keeps_the_programs_used_last(monkeypatch):
    monkeypatch.setattr(programs, "PROGRAMS", 4)
    model = keras.Sequential([keras.Input((None, 3)), Counting()])
    look = lambda n: model.predict_on_batch(np.zeros((2, n, 3), "f"))  # noqa: E731
    for n in (1, 2, 3, 4, 1, 5):
        look(n)
    assert counted(lambda: [look(n) for n in (1, 3, 4, 5)]) == 0
    assert counted(lambda: look(2)) > 0


def test_programs_of_all_batch_sizes_share_what_they_derive_from_the_weights():
    model = keras.Sequential([keras.Input((512,)), layers.Dense(512, "relu"), layers.Dense(512)])
    for rows in (40, 41, 42, 43, 44):
        model.predict_on_batch(np.zeros((rows, 512), "float32"))
    made = [ready.crew.first.loaded.packed for _, ready in model._runtime._programs.items()]
    assert len(made) == 5
    assert len({id(packed) for packed in made if packed.array.nbytes}) <= 1


def test_shared_weights_that_were_derived_are_derived_anew_when_weights_change():
    model = keras.Sequential([keras.Input((64,)), layers.Dense(96, "relu"), layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(9, 64)).astype("float32")
    look = lambda: [model.predict_on_batch(x[:n]) for n in (5, 7, 9)]  # noqa: E731
    look()
    for scale in (2.0, 0.5):
        model.set_weights([w * scale for w in model.get_weights()])
        other = keras.models.clone_model(model)
        other.set_weights(model.get_weights())
        for got, n in zip(look(), (5, 7, 9), strict=True):
            np.testing.assert_array_equal(got, other.predict_on_batch(x[:n]))


def test_a_dropped_model_takes_its_programs_along():
    gc.collect()
    kept = sum(isinstance(o, (Loaded, Packed)) for o in gc.get_objects())
    for _ in range(5):
        model = keras.Sequential([keras.Input((8,)), layers.Dense(8)])
        model.predict(np.zeros((2, 8), "float32"), verbose=0)
        del model
    gc.collect()
    assert sum(isinstance(o, (Loaded, Packed)) for o in gc.get_objects()) <= kept


def test_arenas_are_lent_by_size():
    one = execute._take_arena(100_000)
    other = execute._take_arena(90_000)
    assert one.array is not other.array and one.array.nbytes == other.array.nbytes == 1 << 17
    execute._give_back(one)
    assert execute._take_arena(120_000).array is one.array
    large = execute._take_arena((1 << 28) + 1)
    assert large.array.nbytes == 1 << 29


def test_idle_arenas_of_one_size_stay_within_their_limit(monkeypatch):
    monkeypatch.setattr(execute, "_KEPT", 1 << 20)
    monkeypatch.setattr(execute, "_idle_arenas", {})
    taken = [execute._take_arena(1 << 19) for _ in range(4)]
    for arena in taken:
        execute._give_back(arena)
    assert len(execute._idle_arenas[1 << 19]) == 2


# ---- what was used of late -----------------------------------------------------------------------


def test_the_entries_used_longest_ago_go_first():
    dropped = []
    recent = Recent(3, 1000, dropped=dropped.append)
    for key in "abc":
        recent.put(key, key.upper(), 10)
    assert recent.get("a") == "A"
    recent.put("d", "D", 10)
    assert dropped == ["B"] and recent.get("b") is None and len(recent) == 3


def test_bytes_count_and_what_is_shared_counts_once():
    recent = Recent(100, 1000, shared=lambda value: {7: 600})
    for key in range(5):
        recent.put(key, key, 100)
    assert recent.held() <= 1000 and len(recent) == 4


def test_the_two_used_last_stay_however_large():
    recent = Recent(100, 10)
    for key in range(5):
        recent.put(key, key, 1000)
    assert sorted(key for key, _ in recent.items()) == [3, 4]


# ---- layers and ops on arrays ------------------------------------------------------------------


def traced(layer, *args, **kwargs):
    """Whether a call was traced."""
    before = layer.__dict__.get("_eager")
    count = dict(before.items()) if before else {}
    layer(*args, **kwargs)
    after = dict(layer.__dict__["_eager"].items()) if "_eager" in layer.__dict__ else None
    return after is None or any(count.get(key) is not call for key, call in after.items())


X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


def test_a_second_call_on_arrays_is_not_traced():
    layer = layers.Dense(3)
    assert traced(layer, X)
    assert not traced(layer, X)
    assert traced(layer, X[:2])
    assert not traced(layer, X[:2])
    assert traced(layer, X, training=True)


CHANGES = {
    "an attribute": (layers.LeakyReLU(0.1), lambda layer: setattr(layer, "negative_slope", 0.9)),
    "an activation": (layers.Dense(3), lambda layer: setattr(layer, "activation", ops.tanh)),
    "trainable": (
        layers.BatchNormalization(), lambda layer: setattr(layer, "trainable", False)
    ),
    "a sublayer's attribute": (
        layers.TimeDistributed(layers.LeakyReLU(0.1)),
        lambda layer: setattr(layer.layer, "negative_slope", 0.7),
    ),
}  # fmt: skip


@pytest.mark.parametrize("layer, change", CHANGES.values(), ids=CHANGES)
def test_a_changed_layer_is_traced_anew(layer, change):
    x = X.reshape(4, 2, 3)
    layer(x)
    assert not traced(layer, x)
    change(layer)
    assert traced(layer, x)


def test_changed_weights_are_used_without_tracing():
    layer = layers.Dense(3, use_bias=False)
    first = layer(X)
    layer.kernel.assign(layer.kernel.numpy() * 2)
    assert not traced(layer, X)
    np.testing.assert_allclose(layer(X), first * 2, rtol=1e-6)


def test_training_on_arrays_moves_averages_every_time():
    layer = layers.BatchNormalization(momentum=0.5)
    means = []
    for _ in range(3):
        layer(X + 1, training=True)
        means.append(layer.moving_mean.numpy())
    want = (X + 1).mean(0)
    for k, mean in enumerate(means, 1):
        np.testing.assert_allclose(mean, want * (1 - 0.5**k), rtol=1e-5)


def test_dropout_on_arrays_draws_anew():
    layer = layers.Dropout(0.5)
    drawn = [np.asarray(layer(np.ones((8, 8), "float32"), training=True)) for _ in range(3)]
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], drawn[2])


def test_code_of_the_user_runs_at_every_call():
    layer = Counting()
    assert counted(lambda: [layer(X) for _ in range(3)]) == 3
    lambda_layer = layers.Lambda(lambda x: x * STATE["k"])
    STATE["k"] = 2.0
    lambda_layer(X)
    STATE["k"] = 3.0
    np.testing.assert_array_equal(lambda_layer(X), X * 3)


STATE: dict[str, float] = {}

OPS = {
    "conv": lambda a: ops.conv(a.reshape(-1, 8, 8, 4), np.ones((3, 3, 4, 5), "f") * 0.1),
    "max_pool": lambda a: ops.max_pool(a.reshape(-1, 8, 8, 4), 2),
    "softmax": lambda a: ops.softmax(a.reshape(-1, 32)),
    "matmul": lambda a: ops.matmul(a.reshape(-1, 32), a[:512].reshape(32, 16)),
    "add": lambda a: a + ops.add(a, 1.0),
}


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
@pytest.mark.parametrize("size", [512, 1 << 16])
def test_ops_on_arrays_give_what_numpy_gives(op, size, monkeypatch):
    array = np.random.default_rng(1).normal(size=size).astype("float32")
    got = op(array)
    monkeypatch.setattr(eager, "compute", lambda *args: None)
    monkeypatch.setattr(Recent, "get", lambda self, key: None)
    np.testing.assert_allclose(got, op(array), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name, shapes, attrs, engine", [
    ("softmax", [(32,)], {"axis": 0}, True),
    ("add", [(1 << 10,)] * 2, {}, False),
    ("add", [(1 << 16,)] * 2, {}, True),
    ("add", [(1 << 9, 1), (1, 1 << 9)], {}, True),
    ("reshape", [(1 << 20,)], {"shape": (1 << 20, 1)}, False),
])  # fmt: skip
def test_op_and_shapes_alone_decide_who_computes(name, shapes, attrs, engine):
    specs = [Spec(shape, "float32") for shape in shapes]
    assert eager.in_engine(registry[name], specs, attrs) == engine


IMAGE = np.random.default_rng(3).normal(size=(2, 9, 9, 4)).astype("float32")
KERNEL = np.random.default_rng(4).normal(size=(3, 3, 4, 6)).astype("float32")
STRAIGHT = {
    "a plain call": ((IMAGE, KERNEL), {}),
    "one number, or one for each axis": ((IMAGE, KERNEL, 2), {}),
    "both of them": ((IMAGE, KERNEL, (2, 1)), {}),
    "a keyword": ((IMAGE, KERNEL), {"padding": "same"}),
    "another image": ((IMAGE[:1], KERNEL), {}),
    "strides of memory": ((IMAGE[:, ::2], KERNEL), {}),
    "another byte order": ((IMAGE.astype(">f4"), KERNEL), {}),
    "whole numbers": ((IMAGE.astype("int32"), KERNEL), {}),
    "channels first": ((IMAGE[:, :4].copy(), KERNEL, 1, "same", "channels_first"), {}),
    "kernel by name": ((IMAGE,), {"kernel": KERNEL}),
}  # fmt: skip


@pytest.mark.parametrize("args, kwargs", STRAIGHT.values(), ids=STRAIGHT)
def test_a_repeated_call_gives_what_the_first_gave(args, kwargs):
    first = ops.conv.__wrapped__.__wrapped__(*args, **kwargs)  # what the cache stands before
    for _ in range(2):
        for other, named in STRAIGHT.values():
            ops.conv(*other, **named)
        np.testing.assert_array_equal(ops.conv(*args, **kwargs), first)


def test_a_repeated_call_skips_all_but_the_engine(monkeypatch):
    first = ops.conv(IMAGE, KERNEL)
    monkeypatch.setattr(Op, "__call__", lambda *args, **kwargs: pytest.fail("not skipped"))
    np.testing.assert_array_equal(ops.conv(IMAGE, KERNEL), first)


def test_a_repeated_call_minds_settings():
    image, kernel = IMAGE.repeat(16, -1), KERNEL.repeat(16, 2).repeat(4, 3)
    quick = ops.conv(image, kernel)
    config.set_exact(True)
    try:
        exact = ops.conv(image, kernel)
    finally:
        config.set_exact(False)
    assert (quick != exact).any()
    np.testing.assert_array_equal(ops.conv(image, kernel), quick)
