"""Programs: lowering keeps values wherever tensors lie, Variables are updated as written, and bad
tables are refused."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graph_check import RandomGraph, assert_close, compiled, evaluate, op_names, run, runner_of
from kernel_check import SETS, instruction_set

from zoo_keras import dtypes, native
from zoo_keras.engine import program as program_module
from zoo_keras.engine.program import Place, Program, compile_graph, join
from zoo_keras.engine.runner import Runner, run_graph
from zoo_keras.errors import DataError, ProgramError, ShapeError
from zoo_keras.graph import Graph, constant, input_tensor, scope, tracing
from zoo_keras.passes.memory import padded
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.chain import chain_of
from zoo_keras.primitives.op import registry as R
from zoo_keras.variables import Variable

HERE = Path(__file__).parent


def total(x):
    return R["reduce_sum"](x, axes=tuple(range(x.ndim)), keepdims=False)


# --- values


@pytest.mark.parametrize("freeze", [False, True], ids=["training", "inference"])
@pytest.mark.parametrize("sizes", [(1, 2, 3, 4), (0, 1, 3), (1, 7, 16, 17)], ids=str)
def test_a_program_computes_what_its_graph_says(sizes, freeze):
    for seed in range(12):
        made = RandomGraph(seed, sizes=sizes)
        graph = made.graph()
        want = evaluate(graph.outputs, made.feeds)
        for each in (graph, optimise(graph, freeze)):
            assert_close(run(each, made.feeds, freeze), want, f"seed {seed}")


def without_reuse(monkeypatch):
    """No buffer shares memory with another, none is taken over."""

    def plan(buffers):
        at = 0
        for buffer in buffers:
            buffer.offset, at = at, at + padded(buffer.size)

    monkeypatch.setattr(program_module, "plan", plan)
    monkeypatch.setattr(program_module._Lowering, "_taken_over", lambda *args: None)


@pytest.mark.parametrize("seed", range(16))
def test_sharing_memory_changes_no_bit(seed, monkeypatch):
    made = RandomGraph(seed, steps=40)
    graph = optimise(made.graph(), freeze=bool(seed % 2))
    shared = run(graph, made.feeds, bool(seed % 2))
    without_reuse(monkeypatch)
    apart = run(graph, made.feeds, bool(seed % 2))
    assert [a.tobytes() for a in shared] == [a.tobytes() for a in apart]


def test_sharing_memory_saves_memory(monkeypatch):
    x = y = input_tensor("x", (1000,))
    for _ in range(20):
        y = R["softmax"](R["flip"](y, axes=(0,)), axis=0)
    graph = Graph([x], [y])
    needed = compiled(graph).bytes_of("arena")
    without_reuse(monkeypatch)
    assert needed < compiled(graph).bytes_of("arena") / 10


def test_outputs_of_one_node_never_share_memory_even_when_one_is_not_read():
    x = input_tensor("x", (128,))
    source = R["flip"](x, axes=(0,))
    first = R["exp"](source)
    nodes = [first.node, R["sin"](first).node]
    chained = chain_of(nodes, [n.outputs[0] for n in nodes])
    value = np.linspace(0, 1, 128, dtype=np.float32)
    graph = Graph([x], [R["flip"](chained[1], axes=(0,))])
    assert_close(run(graph, {"x": value}), [np.sin(np.exp(value))])


def test_wide_numbers_do_not_take_over_the_memory_of_narrow_ones():
    x = input_tensor("x", (100,))
    one = R["strided_slice"](x, begin=(0,), end=(1,), strides=(1,))
    above, kept = (R["flip"](R["greater"](t, 0.0), axes=(0,)) for t in (x, one))
    outputs = [R["where"](kept, R["cast"](above, dtype="float32"), 5.0)]
    value = np.linspace(1, -1, 100, dtype=np.float32)
    assert_close(run(Graph([x], outputs), {"x": value}), evaluate(outputs, {"x": value}))


def test_an_instruction_takes_thousands_of_arguments_but_not_any_number():
    def joined(count: int) -> Graph:
        x = input_tensor("x", (1,))
        return Graph([x], [R["concatenate"](*[x] * count, axis=0)])

    assert run(joined(4000), {"x": np.ones(1, "f")})[0].sum() == 4000
    with pytest.raises(ProgramError, match="too many arguments"):
        Runner(compiled(joined(5000)))


def test_outputs_may_be_inputs_constants_parameters_and_views_of_them():
    with tracing() as trace:
        w = trace.read(Variable(np.arange(6, dtype="f"), name="w"))
    x, seven = input_tensor("x", (2, 3)), constant(np.full((2,), 7, np.int32))
    outputs = [x, x, R["reshape"](x, shape=(6,)), seven, w, R["reshape"](w, shape=(3, 2))]
    value = np.ones((2, 3), np.float32)
    assert_close(run(Graph([x], outputs), {"x": value}), evaluate(outputs, {"x": value}))


def test_a_graph_with_nothing_to_do_runs():
    assert run(Graph([], []), {}) == []
    x = input_tensor("x", (0, 3))
    assert run(Graph([x], [x]), {"x": np.zeros((0, 3), "f")})[0].shape == (0, 3)


@pytest.mark.parametrize("dtype", [d for d in dtypes.ALL if d != "bfloat16"])  # no Program has it
def test_every_dtype_passes_through_a_program(dtype):
    x = input_tensor("x", (3, 2), dtype)
    turned = R["concatenate"](
        R["transpose"](x, perm=(1, 0)), R["transpose"](x, perm=(1, 0)), axis=0
    )
    value = np.array([[0, 1], [1, 0], [3, 2]]).astype(dtype)
    (got,) = run(Graph([x], [turned]), {"x": value})
    np.testing.assert_array_equal(got, np.concatenate([value.T, value.T]))
    assert got.dtype == dtype


def test_a_tensor_of_nine_axes_is_refused_with_its_layer():
    x = input_tensor("x", (1,) * 9)
    with scope("deep"):
        y = R["exp"](x)
    with pytest.raises(ShapeError, match=r'layer "deep", exp: a tensor has at most 8 dimensions'):
        compiled(Graph([x], [y]))


def test_an_input_without_a_place_is_refused():
    x = input_tensor("speed", (2,))
    with pytest.raises(ProgramError, match='"speed" was given no place'):
        compiled(Graph([], [R["exp"](x)]))


# --- host instructions


def test_host_instructions_run_between_those_of_c():
    x = input_tensor("x", (3, 4))
    y = R["tanh"](R["cumprod"](R["exp"](x), axis=1))
    graph = optimise(Graph([x], [R["bessel_i0"](y), y]))
    program = compiled(graph)
    assert [program.labels[i] for i in sorted(program.host)] == ["cumprod", "bessel_i0"]
    value = np.linspace(-1, 1, 12, dtype="f").reshape(3, 4)
    assert_close(run(graph, {"x": value}), evaluate(graph.outputs, {"x": value}))


def test_an_op_that_this_process_lacks_is_named():
    x = input_tensor("x", (3,))
    program = compiled(Graph([x], [R["bessel_i0"](x)]))
    program.host[0] = ("frobnicate", {})
    with pytest.raises(ProgramError, match=r"does not have.*'frobnicate'"):
        Runner(program)


def test_data_that_only_the_run_finds_wrong_names_the_layer():
    table, ids = input_tensor("table", (5, 2)), input_tensor("ids", (3,), "int32")
    with scope("words"):
        rows = R["gather"](table, ids)
    feeds = {"table": np.zeros((5, 2), "f"), "ids": np.array([0, 5, 1], "i4")}
    for outputs in ([rows], [R["bessel_i0"](ids), R["exp"](rows)]):
        with pytest.raises(DataError, match=r'layer "words", gather: .*5'):
            run(optimise(Graph([table, ids], outputs)), feeds)
    double = input_tensor("double", (5, 2), "float64")  # float64 runs on the host
    with scope("words"):
        rows = R["gather"](double, R["cast"](ids, dtype="int16"))
    feeds = {"double": np.zeros((5, 2)), "ids": np.array([0, 5, 1], "i4")}
    with pytest.raises(DataError, match='layer "words", gather'):
        run(Graph([double, ids], [rows]), feeds)


# --- Variables


class Store:
    """Variables in one space, their values, and what a traced function makes of them."""

    def __init__(self, *values) -> None:
        arrays = [np.asarray(v, np.float32) for v in values]
        self.variables = [Variable(a, name=f"v{i}") for i, a in enumerate(arrays)]
        self.memory = native.aligned(64 * len(values))

    def place(self, variable) -> Place:
        return Place("w", 64 * [v is variable for v in self.variables].index(True))

    def view(self, i: int) -> np.ndarray:
        part = self.memory[64 * i : 64 * i + self.variables[i]._value.nbytes]
        return part.view(np.float32).reshape(self.variables[i].shape)

    def program(self, function) -> tuple[Program, list]:
        """The program of function(*variables): its results, then all updates."""
        with tracing() as trace:
            found = function(*self.variables)
        results = list(found) if isinstance(found, tuple) else []
        updates = list(trace.updates.values())
        graph = optimise(Graph([], [*results, *[t for _, t in updates]]))
        places = [Place(f"out{i}") for i in range(len(results))]
        places += [self.place(v) for v, _ in updates]
        return compile_graph(graph, {}, places, self.place), results

    def run(self, function) -> tuple[list, list]:
        """(results, values of the variables after the run)."""
        program, results = self.program(function)
        runner, outs = runner_of(program), [np.zeros(r.shape, r.dtype) for r in results]
        for i in range(len(self.variables)):
            self.view(i)[...] = self.variables[i].numpy()
        for i, out in enumerate(outs):
            runner.set(f"out{i}", out)
        runner.set("w", self.memory)
        runner.run()
        return [o.tolist() for o in outs], [
            self.view(i).tolist() for i in range(len(self.variables))
        ]


def swap(a, b):
    old = a.value
    a.assign(b.value)
    b.assign(old)


def rotate(a, b, c):
    old = a.value
    a.assign(b.value)
    b.assign(c.value)
    c.assign(old)


def shift(a, b):
    old = a.value
    a.assign(a + 1)
    b.assign(old)


def read_before_and_after(a, b):
    before = a * 10
    a.assign_add(b)
    return before, a * 10, a.value


def read_old_after(a, b):
    old = a.value
    a.assign(R["bessel_i0"](b.value) * 0 + 5)
    return (R["exp"](old * 0) + old,)


def same_value_to_both(a, b):
    both = a + b
    a.assign(both)
    b.assign(both)
    return (both,)


UPDATES = {
    "assign_add": (lambda a: a.assign_add([1, 1]), [[1, 2]], [], [[2, 3]]),
    "twice": (lambda a: (a.assign(a + 1), a.assign(a * 2))[:0], [[1, 2]], [], [[4, 6]]),
    "itself": (lambda a: a.assign(a.value), [[1, 2]], [], [[1, 2]]),
    "from another": (lambda a, b: a.assign(b.value), [[1, 2], [3, 4]], [], [[3, 4]] * 2),
    "swap": (swap, [[1, 2], [3, 4]], [], [[3, 4], [1, 2]]),
    "rotate": (rotate, [1, 2, 3], [], [2, 3, 1]),
    "shift": (shift, [[1, 2], [8, 9]], [], [[2, 3], [1, 2]]),
    "read before and after": (read_before_and_after, [1, 2], [10, 30, 3], [3, 2]),
    "old value after": (read_old_after, [[1, 2], [3, 4]], [[2, 3]], [[5, 5], [3, 4]]),
    "one value twice": (same_value_to_both, [[1, 2], [3, 4]], [[4, 6]], [[4, 6]] * 2),
    "constant": (lambda a: a.assign([7, 8]), [[1, 2]], [], [[7, 8]]),
    "transposed": (
        lambda a: a.assign(R["transpose"](a.value, perm=(1, 0))),
        [[[1, 2], [3, 4]]], [], [[[1, 3], [2, 4]]]),
    "broadcast of itself": (
        lambda a, b: a.assign(R["add"](a.value, R["reshape"](b.value, shape=(2, 1)))),
        [[[1, 2], [3, 4]], [10, 20]], [], [[[11, 12], [23, 24]], [10, 20]]),
}  # fmt: skip


@pytest.mark.parametrize(("function", "before", "results", "after"), UPDATES.values(), ids=UPDATES)
def test_variables_change_as_if_line_by_line(function, before, results, after):
    def traced(*variables):
        found = function(*variables)
        return found if isinstance(found, tuple) and results else ()

    assert Store(*before).run(traced) == (results, after)


@pytest.mark.parametrize("seed", range(40))
def test_random_updates_equal_the_same_lines_in_numpy(seed):
    start = np.random.default_rng(seed).normal(size=(3, 2)).astype(np.float32)

    def lines(variables, add, host, assign):
        rng, results, old = np.random.default_rng(seed + 1), [], [v() for v in variables]
        for kind in rng.integers(0, 5, 7):
            i, j, k = rng.integers(0, 3, 3)
            source = old[j] if rng.uniform() < 0.3 else variables[j]()
            if kind == 4:
                results.append(add(source, variables[k]()))
            else:
                choices = [source, add(source, variables[k]()), host(source), source]
                assign(i, choices[kind])
        return results

    def traced(*vs):
        reads = [lambda v=v: v.value for v in vs]
        return tuple(lines(reads, R["add"], R["bessel_i0"], lambda i, t: vs[i].assign(t)))

    values = list(start)
    reads = [lambda i=i: values[i] for i in range(3)]
    want = lines(reads, np.add, np.i0, lambda i, a: values.__setitem__(i, a))
    results, after = Store(*start).run(traced)
    np.testing.assert_allclose(results, want, 1e-5)
    np.testing.assert_allclose(after, values, 1e-5)


def test_an_update_is_computed_where_the_variable_lies():
    program, _ = Store([1.0, 2.0]).program(lambda a: a.assign(a * 0.9 + 0.1))
    assert (len(program.instrs), program.spaces[program.args[0]["space"]]) == (1, "w")


# --- prologue


def dense_and_scale():
    with tracing() as trace:
        w, b, s = (
            trace.read(Variable(np.full(shape, 0.5, np.float32), name=name))
            for name, shape in (("w", (3, 4)), ("b", (4,)), ("s", (4,)))
        )
    x = input_tensor("x", (2, 3))
    return Graph([x], [R["multiply"](R["add"](R["matmul"](x, w), b), R["exp"](s))])


def test_work_on_weights_alone_is_the_prologue():
    program = compiled(optimise(dense_and_scale(), freeze=True), freeze=True)
    assert program.labels[program.prologue :] == ("dense_packed",)
    assert "pack_dense" in program.labels[: program.prologue]
    assert program.bytes_of("packed") > 0
    assert compiled(optimise(dense_and_scale())).prologue == 0


# --- join


def one(name, build, place="out0", shape=(4,)):
    x = input_tensor(name, shape)
    return compile_graph(Graph([x], [build(x)]), {x: Place(name)}, [Place(place)], Place)


def run_spaces(program, **spaces):
    runner = runner_of(program)
    for name, array in spaces.items():
        runner.set(name, array)
    runner.run()


def test_joined_programs_run_one_after_the_other():
    first = one("x", lambda x: R["bessel_i0"](x * 2 + constant(np.arange(4, dtype="f"))), "mid")
    second = one(
        "mid", lambda x: R["flip"](R["bessel_i0"](x) + constant(np.arange(4, dtype="f")), axes=(0,))
    )
    x, mid, out = (np.linspace(0, 1, 4, dtype="f") for _ in range(3))
    both = join(first, second)
    run_spaces(both, x=x, mid=mid, out0=out)
    want_mid = np.i0(x * 2 + np.arange(4, dtype="f"))
    np.testing.assert_allclose(mid, want_mid, 1e-6)
    np.testing.assert_allclose(out, (np.i0(want_mid) + np.arange(4, dtype="f"))[::-1], 1e-6)
    assert both.labels == first.labels + second.labels
    assert sorted(both.host) == [*first.host, *[len(first.instrs) + i for i in second.host]]


def test_spaces_of_the_second_program_can_be_renamed():
    first, second = one("x", lambda x: x + 1), one("in", lambda x: x * 2)
    both = join(first, second, {"in": "out0", "out0": "doubled"})
    x, out, doubled = np.ones(4, "f"), np.zeros(4, "f"), np.zeros(4, "f")
    run_spaces(both, x=x, out0=out, doubled=doubled)
    assert (out.tolist(), doubled.tolist()) == ([2] * 4, [4] * 4)


def test_a_joined_space_is_as_large_as_the_larger_needs():
    first = one("a", lambda x: x + 1, shape=(4,))
    second = one("b", lambda x: R["concatenate"](x, x, axis=0), "out0", (9,))
    assert join(first, second).bytes_of("out0") == 72
    assert join(second, first).bytes_of("out0") == 72
    merged = join(first, second, {"b": "out0", "out0": "out0"})
    assert (merged.bytes_of("out0"), len(set(merged.spaces))) == (72, len(merged.spaces))


@pytest.mark.parametrize("seed", range(6))
def test_joining_random_programs_equals_running_both(seed):
    made = [RandomGraph(seed), RandomGraph(seed + 100)]
    graphs = [optimise(m.graph()) for m in made]
    programs = [compiled(g) for g in graphs]
    marks = {name: f"second {name}" for name in programs[1].spaces[3:]}
    joined = join(*programs, marks)
    spaces, outs = {}, []
    for m, graph, mark in zip(made, graphs, ({}, marks)):
        arrays = {**m.feeds, **{v.path: np.asarray(v) for v in m.variables}}
        outs.append([np.zeros(t.shape, t.dtype) for t in graph.outputs])
        arrays |= {f"out{i}": a for i, a in enumerate(outs[-1])}
        used = programs[len(outs) - 1].spaces
        spaces |= {mark.get(name, name): a for name, a in arrays.items() if name in used}
    run_spaces(joined, **spaces)
    for m, graph, got in zip(made, graphs, outs):
        assert_close(got, run(graph, m.feeds))


def test_programs_of_other_thread_counts_join_with_scratch_for_all(monkeypatch):
    """They run with the fewest threads, with which a kernel may want more scratch memory."""
    wants = lambda instr, args, attrs, threads: 4096 // threads  # noqa: E731
    monkeypatch.setattr(native, "scratch_bytes", wants)
    first, second = (dataclasses.replace(one("x", lambda x: x + 1), threads=n) for n in (8, 1))
    for both in (join(first, second), join(second, first)):
        ends = both.instrs["scratch"] + 4096 // both.threads
        assert both.threads == 1
        assert ends.max() <= both.space_bytes[0]


def test_programs_with_a_prologue_are_not_joined():
    frozen = compiled(optimise(dense_and_scale(), freeze=True), freeze=True)
    with pytest.raises(ProgramError, match="prologue"):
        join(frozen, frozen)


# --- the tables


def test_a_program_runs_in_another_process(tmp_path):
    made = RandomGraph(5, steps=30)
    graph = optimise(made.graph())
    spaces = {**made.feeds, **{v.path: np.asarray(v) for v in made.variables}}
    outs = [np.zeros(t.shape, t.dtype) for t in graph.outputs]
    path = tmp_path / "program"
    path.write_bytes(pickle.dumps((compiled(graph), spaces, outs)))
    code = (
        "import pickle, sys; from zoo_keras.engine.runner import run_graph\n"
        "program, spaces, outs = pickle.load(open(sys.argv[1], 'rb'))\n"
        "run_graph(program, spaces, outs); pickle.dump(outs, open(sys.argv[1], 'wb'))"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=HERE.parent)
    there, here = pickle.loads(path.read_bytes()), run(graph, made.feeds)
    assert [a.tobytes() for a in there] == [a.tobytes() for a in here]


def sample() -> Program:
    x = input_tensor("x", (4, 4))
    return compiled(Graph([x], [R["softmax"](R["matmul"](x, x), axis=1)]))


DAMAGES = [
    ("instrs", "kernel", 10**6, "unknown kernel"), ("instrs", "kernel", -3, "unknown kernel"),
    ("instrs", "nin", 10**6, "arguments outside"), ("instrs", "nout", -1, "arguments outside"),
    ("instrs", "arg0", -1, "arguments outside"), ("instrs", "arg0", 10**6, "arguments outside"),
    ("instrs", "attr0", 10**6, "attributes outside"), ("instrs", "nattr", -1, "attributes outside"),
    ("instrs", "scratch", -64, "scratch memory outside"),
    ("instrs", "scratch", 1 << 62, "scratch memory outside"),
    ("args", "space", -1, "unknown space"), ("args", "space", 99, "unknown space"),
    ("args", "dtype", 99, "bad shape or dtype"), ("args", "ndim", 9, "bad shape or dtype"),
    ("args", "dims", -1, "bad shape or dtype"), ("args", "dims", 1 << 62, "bad shape or dtype"),
    ("args", "dims", 1 << 30, "outside its space"),
    ("args", "offset", 1 << 40, "outside its space"),
    ("args", "offset", -64, "outside its space"),
    ("args", "offset", 2**63 - 1, "outside its space"),
    ("args", "offset", 2, "aligned|outside"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "field", "value", "message"), DAMAGES, ids=str)
def test_bad_tables_are_refused_with_a_message(table, field, value, message):
    program = sample()
    rows = getattr(program, table).copy()
    rows[field].reshape(len(rows), -1)[0, 0] = value
    with pytest.raises(ProgramError, match=f"refused the program: instruction 0: .*({message})"):
        Runner(dataclasses.replace(program, **{table: rows}))


def test_tables_damaged_at_random_end_no_process_and_reach_no_other_memory():
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    done = subprocess.run(
        [sys.executable, str(HERE / "damaged_programs.py"), "3000"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *messages, accepted = done.stdout.split("\n")[:-1]
    assert len(messages) >= 9
    assert int(accepted) > 100


def test_labels_name_layer_and_op():
    x = input_tensor("x", (2, 3))
    with scope("net"), scope("fc"):
        y = R["softmax"](x, axis=1)
    assert compiled(Graph([x], [y, R["flip"](y, axes=(1,))])).labels[0] == 'layer "net/fc", softmax'
    assert op_names(Graph([x], [y])) == ["softmax"]


@pytest.mark.parametrize(("planned", "used"), [(a, b) for a in SETS for b in SETS])
def test_a_program_runs_where_kernels_need_other_scratch_memory(planned: str, used: str) -> None:
    """Planned for one instruction set, run with another: nothing alive is overwritten."""
    x = input_tensor("x0", (2, 9, 9, 16))
    w = np.random.default_rng(0).normal(size=(3, 3, 4, 16)).astype("float32")
    how = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 4}
    alive = [R["exp"](R["multiply"](x, constant(np.float32(k)))) for k in range(3)]
    total = R["conv"](R["add"](alive[0], alive[1]), constant(w), **how)
    for tensor in alive:
        total = R["add"](total, tensor)
    with instruction_set(planned):
        program = compiled(Graph([x], [total]))
    data = np.random.default_rng(1).normal(size=x.shape).astype("float32")
    found = np.zeros(total.shape, np.float32)
    with instruction_set(used):
        run_graph(pickle.loads(pickle.dumps(program)), {"x0": data}, [found])
    assert_close([found], evaluate([total], {"x0": data}))
