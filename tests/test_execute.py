"""Running programs: memory spaces, host views, the prologue, the GIL, and layers on arrays."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from graph_check import assert_close, compiled, runner_of
from traced import value_and_grad

import zoo_keras as zk
from zoo_keras import layers, native, ops
from zoo_keras import variables as weights
from zoo_keras.engine.runner import Call, Crew, Runner
from zoo_keras.errors import ProgramError, ShapeError
from zoo_keras.graph import Graph, input_tensor, tracing
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import registry as R
from zoo_keras.variables import Variable


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def program_of(build, shape=(2, 3), freeze=False):
    x = input_tensor("x0", shape)
    return compiled(optimise(Graph([x], [build(x)]), freeze), freeze)


def ready(program, **spaces) -> Runner:
    runner = runner_of(program)
    for name, array in spaces.items():
        runner.set(name, array)
    return runner


# --- spaces


def test_a_space_without_memory_is_named():
    runner = ready(program_of(R["exp"]), x0=floats(2, 3))
    with pytest.raises(ProgramError, match=r'Space "out0" has no memory.*Set every space'):
        runner.run()
    runner.set("out0", np.zeros((2, 3), np.float32))
    runner.run()


@pytest.mark.parametrize("array", [floats(2, 2), floats(3, 2).T, floats(2, 6)[:, ::2]], ids=str)
def test_memory_that_is_too_small_or_has_gaps_is_refused(array):
    with pytest.raises(ProgramError, match=r'Space "x0" needs 24 contiguous bytes'):
        ready(program_of(R["exp"]), x0=array)


def test_spaces_that_a_program_does_not_know_are_ignored():
    runner = ready(program_of(R["exp"]), nothing=np.zeros(1))
    assert (runner.space_number("nothing"), runner.space_number("x0") >= 0) == (-1, True)


def test_a_space_may_be_changed_between_runs():
    out = np.zeros((2, 3), np.float32)
    runner = ready(program_of(R["square"]), x0=floats(2, 3), out0=out)
    for seed in range(3):
        x = floats(2, 3, seed=seed)
        runner.set("x0", x)
        runner.run()
        np.testing.assert_array_equal(out, x * x)


def test_runners_may_share_an_arena():
    programs = [program_of(lambda x: R["flip"](R["flip"](x, axes=(1,)), axes=(0,))) for _ in "ab"]
    arena = native.aligned(max(p.bytes_of("arena") for p in programs))
    for seed, program in enumerate(programs):
        runner, x, out = Runner(program, arena), floats(2, 3, seed=seed), floats(2, 3)
        runner.set("x0", x)
        runner.set("out0", out)
        runner.run()
        np.testing.assert_array_equal(out, x[::-1, ::-1])


def test_host_instructions_see_the_memory_of_this_run():
    program = program_of(lambda x: R["cumsum"](R["bessel_i0"](x), axis=1, reverse=False))
    predict = Call(Crew(runner_of(program)), ["x0"], [program_spec()])
    for seed in range(3):
        x = floats(2, 3, seed=seed)
        (out,) = predict([x], version=1)
        np.testing.assert_allclose(out, np.cumsum(np.i0(x), 1), 1e-6)


def test_a_call_of_one_array_gives_the_only_output():
    program = program_of(lambda x: R["cumsum"](R["bessel_i0"](x), axis=1, reverse=False))
    predict = Call(Crew(runner_of(program)), ["x0"], [program_spec()])
    first, second = floats(2, 3, seed=1), floats(2, 3, seed=2)
    found = predict.one(first, version=1)
    np.testing.assert_array_equal(predict.one(second, version=1), predict([second], version=1)[0])
    np.testing.assert_array_equal(found, predict([first], version=1)[0])


def program_spec():
    return input_tensor("y", (2, 3)).spec


def test_quick_predictions_of_a_model_with_host_ops_are_of_their_own_batch():
    inputs = zk.Input((3,))
    model = zk.Model(inputs, ops.i0(ops.cumsum(inputs, axis=1)) + inputs)
    for seed in range(4):
        x = floats(2, 3, seed=seed)
        np.testing.assert_allclose(model.predict_on_batch(x), np.i0(x.cumsum(1)) + x, 1e-6)


def test_time_is_measured_for_each_instruction():
    program = program_of(lambda x: R["softmax"](R["cumprod"](x, axis=1), axis=1))
    runner = ready(program, x0=floats(2, 3), out0=floats(2, 3))
    seconds = np.zeros(len(program.instrs))
    runner.run(seconds=seconds)
    assert (seconds[1] > 0, seconds[0]) == (True, 0), "host instructions are not C's time"


# --- the prologue


class Frozen:
    """y = x @ (w * 2) for a frozen w, whose programs and memory can be counted."""

    def __init__(self) -> None:
        self.w = native.aligned(4 * 12).view(np.float32).reshape(3, 4)
        self.w[:] = floats(3, 4)
        with tracing() as trace:
            w = trace.read(Variable(self.w, name="w"))
        x = input_tensor("x0", (2, 3))
        graph = Graph([x], [R["matmul"](x, R["multiply"](w, 2.0))])
        self.program = compiled(optimise(graph, freeze=True), freeze=True)
        self.runner, self.out = Runner(self.program), np.zeros((2, 4), np.float32)
        self.x = floats(2, 3, seed=1)
        for name, array in (("w", self.w), ("x0", self.x), ("out0", self.out)):
            self.runner.set(name, array)

    def run(self, version) -> bool:
        """Whether the result is that of the present weights."""
        self.runner.run(version)
        return bool(np.allclose(self.out, self.x @ (self.w * 2), atol=1e-5))


def test_the_prologue_runs_again_only_when_the_version_changes():
    frozen = Frozen()
    assert frozen.run(1)
    frozen.w += 1
    assert not frozen.run(1), "packed weights are kept"
    assert frozen.run(2)
    assert frozen.run(2)


def test_without_a_version_the_prologue_always_runs():
    frozen = Frozen()
    assert frozen.run(None)
    frozen.w += 1
    assert frozen.run(None)


def test_weights_at_another_place_are_packed_again():
    frozen = Frozen()
    assert frozen.run(1)
    frozen.w = frozen.w + 1
    frozen.runner.set("w", frozen.w)
    assert frozen.run(1)
    frozen.x = floats(2, 3, seed=5)
    frozen.runner.set("x0", frozen.x)
    frozen.w += 1
    assert not frozen.run(1), "a new input is no reason to pack"


def test_packed_weights_give_what_unpacked_ones_give():
    model = zk.Sequential([zk.Input((5, 4, 3)), layers.Conv2D(7, 3, activation="relu"),
                           layers.BatchNormalization(), layers.Flatten(),
                           layers.Dense(5), layers.Dense(3, activation="softmax")])  # fmt: skip
    for v in model.weights:
        v.assign(np.abs(v.numpy()) + 0.1)
    x = floats(4, 5, 4, 3)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x, training=False), 1e-5, 1e-6)


def test_predictions_follow_every_change_of_the_weights():
    model = zk.Sequential([zk.Input((3,)), layers.Dense(2)])
    x = floats(4, 3)
    model.compile("sgd", "mse")
    changes = [
        lambda: model.layers[0].kernel.assign(np.ones((3, 2), np.float32)),
        lambda: model.set_weights([floats(3, 2), floats(2)]),
        lambda: model.fit(x, floats(4, 2), verbose=0),
        lambda: model.train_on_batch(x, floats(4, 2)),
    ]
    for change in changes:
        model.predict_on_batch(x)
        change()
        kernel, bias = model.get_weights()
        for predicted in (model.predict_on_batch(x), model.predict(x, verbose=0)):
            np.testing.assert_allclose(predicted, x @ kernel + bias, 1e-4, 1e-5)


# --- threads of Python


def busy_runner(rows: int = 1500) -> tuple[Runner, np.ndarray, np.ndarray]:
    program = program_of(lambda x: R["tanh"](R["matmul"](x, x)), (rows, rows))
    x, out = floats(rows, rows) / rows, np.zeros((rows, rows), np.float32)
    return ready(program, x0=x, out0=out), x, out


def test_the_gil_is_free_while_a_program_runs():
    runner, _, _ = busy_runner()
    thread = threading.Thread(target=runner.run)
    thread.start()
    ticks = 0
    while thread.is_alive():
        time.sleep(0)
        ticks += 1
    assert ticks > 1


def test_runners_in_several_python_threads_do_not_disturb_each_other():
    made = [busy_runner(120) for _ in range(4)]
    alone = []
    for runner, _, out in made:
        runner.run()
        alone.append(out.tobytes())
        out[:] = 0
    wrong: list[int] = []

    def work(i: int) -> None:
        runner, _, out = made[i]
        for _ in range(60):
            out[:] = 0
            runner.run()
            if out.tobytes() != alone[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- value_and_grad, layers on arrays


def test_value_and_gradients_of_arrays_and_variables():
    layer, x, unused = layers.Dense(2), floats(4, 3), Variable(1.0)
    layer.build((None, 3))
    value, (by_x, by_ids), (by_kernel, by_bias, by_unused) = value_and_grad(
        lambda a, ids: ops.sum(layer(a) ** 2),
        [x, np.arange(3, dtype="i4")],
        [*layer.trainable_variables, unused],
    )
    y = x @ layer.kernel.numpy() + layer.bias.numpy()
    assert_close([value], [np.sum(y * y)])
    assert_close([by_x, by_kernel, by_bias],
                 [2 * y @ layer.kernel.numpy().T, 2 * x.T @ y, 2 * y.sum(0)])  # fmt: skip
    assert (by_ids, by_unused) == (None, None)


def test_a_layer_called_on_arrays_computes_and_keeps_its_state():
    layer, x = layers.BatchNormalization(momentum=0.5), floats(64, 3) * 2 + 1
    y = layer(x, training=True)
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3), 1e-4, 1e-4)
    np.testing.assert_allclose(layer.moving_mean.numpy(), x.mean(0) / 2, 1e-4)
    assert isinstance(y, np.ndarray)
    before = layer.moving_mean.numpy()
    layer(x, training=False)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


def test_a_layer_takes_lists_several_arrays_and_wide_floats():
    add, dense = layers.Add(), layers.Dense(2, kernel_initializer="ones")
    np.testing.assert_array_equal(add([floats(2, 3), floats(2, 3)]), floats(2, 3) * 2)
    assert dense([[1.0, 2.0]]).tolist() == [[3, 3]]
    assert dense(np.ones((1, 2))).dtype == np.float32


def test_dropout_on_arrays_differs_from_call_to_call():
    layer, x = layers.Dropout(0.5, seed=3), np.ones((100, 4), np.float32)
    first, second = layer(x, training=True), layer(x, training=True)
    assert (first != second).any()
    assert set(np.unique(first)) == {0, 2}
    np.testing.assert_array_equal(layer(x), x)


def test_an_error_in_a_layer_on_arrays_leaves_no_trace_running():
    from zoo_keras.graph import current_trace

    with pytest.raises(ShapeError):
        layers.Dot(axes=1)([floats(2, 3), floats(2, 4)])
    assert current_trace() is None


# --- memory


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("loop", ["train_on_batch", "fit", "predict", "predict_on_batch", "call"])
def test_memory_stops_growing_after_some_hundred_steps(loop):
    inner = [layers.Dense(16, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.5)]
    model = zk.Sequential([zk.Input((8,)), *inner, layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x, y = floats(400, 8), floats(400, 1)
    steps = {
        "train_on_batch": lambda: model.train_on_batch(x[:4], y[:4]),
        "fit": lambda: model.fit(x, y, batch_size=4, verbose=0),
        "predict": lambda: model.predict(x[:6], batch_size=4, verbose=0),
        "predict_on_batch": lambda: model.predict_on_batch(x[:4]),
        "call": lambda: model(x[:4]),
    }
    count = {"fit": 6, "call": 100, "predict": 200}.get(loop, 1000)

    def growth() -> int:
        before = resident()
        for _ in range(count):
            steps[loop]()
        gc.collect()
        return resident() - before

    assert any(growth() < 2**15 for _ in range(8)), "memory grows in every round"


def test_versions_and_structure_grow_with_changes():
    version, structure = weights.version(), weights.structure()
    variable = Variable(1.0)
    assert weights.structure() > structure
    assert weights.version() == version
    variable.assign(2.0)
    assert weights.version() > version
    structure = weights.structure()
    layers.Dense(1).inner = layers.Dense(1)
    assert weights.structure() > structure


def test_a_twin_has_a_small_arena_of_its_own():
    x = input_tensor("x", (3, 5))
    program = compiled(Graph([x], [ops.sort(ops.exp(x))]))
    first = Runner(program)
    twin = first.twin()
    assert not np.shares_memory(first.arrays["arena"], twin.arrays["arena"])
    pointers = [int(native.ffi.cast("intptr_t", r._table[0])) for r in (first, twin)]
    assert pointers == [r.arrays["arena"].ctypes.data for r in (first, twin)]
